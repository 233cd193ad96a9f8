"""Programs of a `.tflite` artifact on the LiteRT interpreter (ai-edge-litert, else tflite-runtime 2.14)."""

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from tempfile import NamedTemporaryFile
from typing import IO, Any

import numpy as np

from common.console import listed
from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.errors import BundleError, RuntimeUnavailableError
from edge.runtime.native_stderr import native_stderr_silenced
from edge.runtime.session import Array, check_inputs, named_program

DISTRIBUTIONS = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
"""Distribution → package, the preferred one first."""
Call = Callable[[Mapping[str, Array]], dict[str, Array]]


def installed_litert() -> str | None:
    """Return the distribution that runs LiteRT artifacts here, or None."""
    return next((name for name, package in DISTRIBUTIONS.items() if find_spec(package)), None)


class LiteRtSession:
    """Loaded programs of one LiteRT artifact: one interpreter per program, over one private copy of the file.

    A `.tflite` file holds several root tables over the same weights, and the runtime sees the one that the file's first
    four bytes name. The session writes the file to a temporary place once, puts a program's `root_offset` there and
    opens an interpreter, program after program. Every interpreter maps the same pages, so the file is in memory once
    however many programs are open; an interpreter reads the first four bytes only while it is opened.
    """

    def __init__(self, content: bytes, artifact: Artifact, programs: Sequence[str], threads: int = 1) -> None:
        """Open `programs` of an artifact, given its verified bytes, with `threads` threads each.

        Raises BundleError when a program is not in the file as the manifest describes it or no runtime may open it
        (`soundness.check_sound`), and RuntimeUnavailableError when no runtime is installed or it refuses the file.
        """
        distribution = installed_litert()
        if distribution is None:
            raise RuntimeUnavailableError("no LiteRT runtime is installed; pip install ai-edge-litert")
        interpreter_class = import_module(f"{DISTRIBUTIONS[distribution]}.interpreter").Interpreter
        self._runtime_version = f"{distribution} {version(distribution)}"
        self._programs = {name: named_program(artifact, name) for name in programs}
        self._calls: dict[str, Call] = {}
        checked: set[int | None] = set()
        with NamedTemporaryFile(suffix=".tflite") as copy:
            copy.write(content)
            copy.flush()
            for name, program in self._programs.items():
                _select(copy, program, content)
                # The check reads with ai-edge-litert's schema; a device with only tflite-runtime opens files unchecked.
                if distribution == "ai-edge-litert" and program.root_offset not in checked:
                    _check_sound(copy, f"{artifact.file}, opened for {name}")
                    checked.add(program.root_offset)
                try:
                    self._calls[name] = _open(interpreter_class, copy.name, program, threads)
                except (ValueError, RuntimeError) as error:
                    raise RuntimeUnavailableError(
                        f"{self._runtime_version} refuses program {name} of {artifact.file}: {error}"
                    ) from error

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the names of the resident programs."""
        return tuple(self._programs)

    @property
    def runtime_version(self) -> str:
        """Return the runtime's name and version."""
        return self._runtime_version

    def run(self, program: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one program on named inputs (shapes and dtypes as in the manifest) and return copies of its outputs.

        Raises BundleError for a program that is not resident or inputs that do not fit it.
        """
        if program not in self._programs:
            raise BundleError(f"program {program} is not resident; this session opened {', '.join(self._programs)}")
        check_inputs(self._programs[program], inputs)
        return self._calls[program](inputs)


def _select(copy: IO[bytes], program: Program, content: bytes) -> None:
    """Make the runtime see one program: point the file's first four bytes (uint32, little-endian) at its root table."""
    root, size = program.root_offset, len(content)
    if root is not None and root > size - 4:
        raise BundleError(f"root_offset {root} of {program.name} lies outside its file ({size} bytes)")
    os.pwrite(copy.fileno(), content[:4] if root is None else struct.pack("<I", root), 0)


def _check_sound(copy: IO[bytes], what: str) -> None:
    """Check the programs that the runtime would see now, in the very pages that it would map."""
    from edge.bundle.litert.flatbuffer import read
    from edge.bundle.litert.soundness import check_sound

    try:
        check_sound(read(memoryview(mmap(copy.fileno(), 0, access=ACCESS_READ))))
    except BundleError as error:
        raise BundleError(f"{what}: {error}") from error


def _open(interpreter_class: Any, path: str, program: Program, threads: int) -> Call:
    with native_stderr_silenced():
        interpreter = interpreter_class(model_path=path, num_threads=threads)
        # tflite-runtime 2.14 applies XNNPACK only when tensors are allocated before a signature runner is asked for.
        interpreter.allocate_tensors()
    signatures = interpreter.get_signature_list()
    if program.name not in signatures:
        raise BundleError(f"the file has no signature {program.name}, only {listed(signatures)}")
    runner = interpreter.get_signature_runner(program.name)
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    _check_details(program, "input", program.inputs, inputs)
    _check_details(program, "output", program.outputs, outputs)
    if len(signatures) == 1:
        return _direct_call(interpreter, _indices(inputs), _indices(outputs))
    return partial(_runner_call, runner)


def _direct_call(interpreter: Any, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Call:
    """Return a call by tensor index: half the overhead of a signature runner, which resizes and allocates every time.

    It works for a file's first subgraph only, and while no signature runner of the interpreter is alive.
    """

    def call(values: Mapping[str, Array]) -> dict[str, Array]:
        for name, index in inputs.items():
            interpreter.set_tensor(index, values[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in outputs.items()}

    return call


def _runner_call(runner: Any, values: Mapping[str, Array]) -> dict[str, Array]:
    return dict(runner(**values))


def _indices(details: Mapping[str, Any]) -> dict[str, int]:
    return {name: tensor["index"] for name, tensor in details.items()}


def _check_details(program: Program, kind: str, expected: list[TensorInfo], found: Mapping[str, Any]) -> None:
    manifest = {tensor.name: (tuple(tensor.shape), tensor.dtype) for tensor in expected}
    file = {name: (tuple(map(int, d["shape"])), np.dtype(d["dtype"]).name) for name, d in found.items()}
    if manifest != file:
        raise BundleError(f"the {kind}s of {program.name} are {file} in the file and {manifest} in the manifest")
