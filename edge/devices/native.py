"""ExecuTorch artifacts on the native runner (docs/native.md): weights are slices of the store, never plain files."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from common.console import listed
from edge.bundle.checks import chains
from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.bundle.nested.weights import weights_files
from edge.devices.native_process import NativeProcess as NativeProcess
from edge.devices.native_process import one_line
from edge.devices.timed_policy import timed_policy
from edge.errors import BundleError, MeasurementError, RuntimeUnavailableError

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

RUNNER_VARIABLE = "DSNET_RUNNER"
BUILT_RUNNER = Path(__file__).parents[2] / "build" / "native" / "dsnet-runner"
VERSION = re.compile(r"dsnet-runner ([0-9]{1,6}(?:\.[0-9]{1,6})*), executorch ([0-9.]+|unknown)\n")
OLDEST = "0.2.0"
"""The first version whose `load` takes the widths that a program serves, and whose policies may be trees."""
SECONDS_TO_START = 60


def find_runner() -> Path:
    """Return the runner that $DSNET_RUNNER names, else the one built beside this repository.

    Raises RuntimeUnavailableError, saying how to build it, when there is none.
    """
    path = Path(os.environ.get(RUNNER_VARIABLE) or BUILT_RUNNER)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise RuntimeUnavailableError(
            f"no native runner at {path}; build it: cmake -S edge/native -B build/native && "
            f"cmake --build build/native, or let {RUNNER_VARIABLE} name one (docs/native.md)"
        )
    return path


class RunnerWorkload:
    """Programs of one ExecuTorch artifact in a runner's process, wherever that is, on its image of Gaussian noise."""

    takes_turns = True

    def __init__(
        self,
        process: NativeProcess,
        version: str,
        artifact: Artifact,
        programs: Sequence[str],
        paths: Mapping[str, str],
    ) -> None:
        """Load `programs`, and what makes the features that they read, from `paths`, as the runner sees them.

        The process is the workload's from now on. Raises RuntimeUnavailableError for programs that the runner refuses.
        """
        self.runtime_version = version
        """The runtime's name and version."""
        self._policy = timed_policy(artifact).model_dump()
        self._process = process
        try:
            for program in needed_programs(artifact, programs):
                self._load(program, paths)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the workload itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the process, whatever happened."""
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Run one program, or several that follow one another, `runs` times; returns milliseconds per run."""
        command = {"do": "block", "units": list(programs), "runs": runs, "policy": self._policy}
        samples = self._process.ask(command).get("samples_ms")
        if not isinstance(samples, list) or len(samples) != runs:
            raise MeasurementError(f"dsnet-runner: no list of {runs} times in its answer")
        return [_milliseconds(sample) for sample in samples]

    def canary_ms(self) -> float:
        """Return the median time of the runner's fixed work."""
        return _milliseconds(self._process.ask({"do": "canary"}).get("canary_ms"))

    def _load(self, program: Program, paths: Mapping[str, str]) -> None:
        where = {"unit": program.name, "role": program.role, "widths": program.widths, "method": program.name}
        answer = self._process.ask({"do": "load", **where, **paths})
        for kind, expected in (("inputs", program.inputs), ("outputs", program.outputs)):
            described = [_described(tensor) for tensor in expected]
            if answer.get(kind) != described:
                found = one_line(answer.get(kind))
                raise BundleError(
                    f"the {kind} of {program.name} are {found} in the file and {described} in the manifest"
                )


class NativeWorkload(RunnerWorkload):
    """Programs of one ExecuTorch artifact in a runner's process on this machine."""

    def __init__(
        self,
        bundle: "Bundle",
        artifact: Artifact,
        programs: Sequence[str],
        threads: int = 1,
        command: Sequence[str] | None = None,
    ) -> None:
        """Load `programs`, and what makes the features that they read; `command` starts another runner.

        Every file's size and SHA-256 is compared with the manifest's first. Raises BundleError for files that are not
        what the manifest says, and RuntimeUnavailableError without a runner or for programs that it refuses.
        """
        check_runtime(artifact)
        command = command or [str(find_runner())]
        version = runtime_version(command)
        paths = {role: str(path) for role, path in artifact_files(bundle, artifact).items()}
        super().__init__(NativeProcess(command, threads), version, artifact, programs, paths)


def check_runtime(artifact: Artifact) -> None:
    """Raise RuntimeUnavailableError for an artifact that is not ExecuTorch's."""
    if artifact.runtime != "executorch":
        raise RuntimeUnavailableError(f"the native runner runs executorch artifacts, not {artifact.runtime} ones")


def artifact_files(bundle: "Bundle", artifact: Artifact) -> dict[str, Path]:
    """Return the files that the runner reads by their names in its `load` command, each compared with the manifest."""
    files = weights_files(bundle, artifact)
    return {
        "pte": bundle.verified_path(artifact),
        "store": bundle.verified_path(files["store"]),
        "recipe": bundle.verified_path(files["recipe"]),
    }


def runtime_version(command: Sequence[str]) -> str:
    """Return the versions of the runtime and of the runner that `command` starts."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=SECONDS_TO_START)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise RuntimeUnavailableError(f"{command[0]}: does not tell its version: {one_line(error)}") from error
    return parse_version(command[0], done.stdout or done.stderr)


def parse_version(runner: str, said: str) -> str:
    """Return the versions of the runtime and of the runner from what `runner` says when it is asked for them."""
    match = VERSION.fullmatch(said)
    if match is None:
        raise RuntimeUnavailableError(f"{runner} is no dsnet-runner: asked for its version it says {one_line(said)!r}")
    if _numbers(match[1]) < _numbers(OLDEST):
        raise RuntimeUnavailableError(
            f"{runner} is dsnet-runner {match[1]}; this needs {OLDEST} or later: build it and push it again"
        )
    return f"executorch {match[2]} (dsnet-runner {match[1]})"


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def needed_programs(artifact: Artifact, names: Sequence[str]) -> list[Program]:
    """Return the programs to load, in running order: those named, and all that make the features that they read.

    Where several make what one reads, those on the path of its first width.
    """
    known = {program.name: program for program in artifact.programs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BundleError(f"no program {unknown[0]} in this artifact; it has {listed(known)}")
    through = chains(artifact)
    needed = set(names) | {
        before.name for name in names for before in _before(known[name], through[known[name].widths[0]])
    }
    return [program for program in artifact.programs if program.name in needed]


def _before(program: Program, chain: Sequence[Program]) -> Sequence[Program]:
    """Return what of a chain runs up to the features that one of its programs reads."""
    return chain[: chain.index(program)] if program.role in ("stage", "tail") else ()


def _described(tensor: TensorInfo) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": tensor.shape}


def _milliseconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise MeasurementError(f"dsnet-runner: {one_line(value)} is no time in milliseconds")
    return float(value)
