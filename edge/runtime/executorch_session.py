"""Programs of an ExecuTorch artifact on its official Python runtime.

One of the two modules of `edge` that load torch: the runtime takes and gives its tensors.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakSet

import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime

from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.bundle.nested.weights import NestedWeights
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime.native_stderr import native_stderr_silenced
from edge.runtime.session import Array, check_inputs, named_program

DTYPES = {1: "int8", 6: "float32"}
"""Number of a type in ExecuTorch's `ScalarType` → its name in the manifest."""

_open_sessions: "WeakSet[ExecuTorchSession]" = WeakSet()


class LoadedMethod:
    """One program, loaded from a plain file, or from one without weights and a data file."""

    def __init__(self, path: Path, program: Program, data_path: Path | None = None) -> None:
        """Load the program; the files are not needed afterwards.

        Raises BundleError when the runtime refuses the file or its tensors are not the manifest's.
        """
        try:
            with native_stderr_silenced():
                loaded = Runtime.get().load_program(path, data_path=data_path)
                method = loaded.load_method(program.name)
        except (RuntimeError, KeyError, ValueError) as error:
            text = " ".join(str(error).split())
            raise BundleError(f"{runtime_version()} refuses program {program.name}: {text}") from error
        assert method is not None
        meta = method.metadata
        inputs = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
        outputs = [meta.output_tensor_meta(index) for index in range(meta.num_outputs())]
        _check_tensors(program.name, "input", program.inputs, inputs)
        _check_tensors(program.name, "output", program.outputs, outputs)
        self._program = program
        self._loaded = loaded  # a method does not keep its program alive
        self._method = method

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program on named inputs and return copies of its named outputs."""
        given = [torch.from_numpy(inputs[tensor.name]) for tensor in self._program.inputs]
        outputs = self._method.execute(given)
        return {tensor.name: value.numpy() for tensor, value in zip(self._program.outputs, outputs, strict=True)}


class ExecuTorchSession:
    """Loaded programs of one ExecuTorch artifact; each is rebuilt as a plain file from the nested weights and loaded.

    The official Python runtime cannot be given slices of a store (the native runner can). The plain files are gone when
    the session is open: the backend has packed the weights it needs.
    """

    def __init__(self, weights: NestedWeights, artifact: Artifact, programs: Sequence[str], threads: int = 1) -> None:
        """Open `programs` of an artifact, given its verified weights, with `threads` threads.

        Raises BundleError when a program is not what the manifest says or the runtime refuses it, and
        RuntimeUnavailableError when a session with another number of threads is open: they share one pool of threads.
        """
        self._programs = {name: named_program(artifact, name) for name in programs}
        _set_threads(threads)
        self.threads = threads
        self._methods: dict[str, LoadedMethod] = {}
        with TemporaryDirectory(prefix="dsnet-executorch-") as folder:
            for name, program in self._programs.items():
                path = Path(folder) / f"{name}.pte"
                path.write_bytes(weights.file(path.name))
                self._methods[name] = LoadedMethod(path, program)
        _open_sessions.add(self)

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the names of the resident programs."""
        return tuple(self._programs)

    @property
    def runtime_version(self) -> str:
        """Return the runtime's name and version."""
        return runtime_version()

    def run(self, program: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one program on named inputs (shapes and dtypes as in the manifest) and return copies of its outputs.

        Raises BundleError for a program that is not resident or inputs that do not fit it.
        """
        if program not in self._programs:
            raise BundleError(f"program {program} is not resident; this session opened {', '.join(self._programs)}")
        check_inputs(self._programs[program], inputs)
        return self._methods[program].run(inputs)


def runtime_version() -> str:
    """Return the runtime's name and version."""
    return f"executorch {version('executorch')}"


def _set_threads(threads: int) -> None:
    """Resize the runtime's pool of threads. Loaded methods hold on to the pool, so it must not change under them."""
    others = {session.threads for session in _open_sessions} - {threads}
    if others:
        raise RuntimeUnavailableError(
            f"an ExecuTorch session with {others.pop()} thread(s) is open in this process, and all share one pool; "
            f"close it before opening one with {threads}"
        )
    with native_stderr_silenced():
        if not _open_sessions and portable_lib._threadpool_get_thread_count() != threads:
            portable_lib._unsafe_reset_threadpool(threads)


def _check_tensors(program: str, kind: str, expected: Sequence[TensorInfo], found: Sequence[Any]) -> None:
    manifest = [(tensor.shape, tensor.dtype) for tensor in expected]
    file = [(list(tensor.sizes()), DTYPES.get(tensor.dtype(), f"type {tensor.dtype()}")) for tensor in found]
    if manifest != file:
        raise BundleError(f"the {kind}s of {program} are {file} in the file and {manifest} in the manifest")
