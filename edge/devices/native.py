"""ExecuTorch artifacts on the native runner (docs/native.md): their weights are slices of the store, never plain files.

The runner is a program of its own. It takes one JSON command per line and answers each with one line.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.bundle.nested.weights import weights_files
from edge.bundle.records import MAX_JSON_BYTES, parse_json
from edge.errors import BundleError, EdgeError, MeasurementError, RuntimeUnavailableError
from edge.runtime.route import Route

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

RUNNER_VARIABLE = "DSNET_RUNNER"
BUILT_RUNNER = Path(__file__).parents[2] / "build" / "native" / "dsnet-runner"
VERSION = re.compile(r"dsnet-runner ([0-9.]+), executorch ([0-9.]+|unknown)\n")
SHOWN_CHARACTERS = 500
SECONDS_TO_START = 60
SECONDS_TO_END = 5


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


class NativeProcess:
    """A running dsnet-runner: commands in, answers out. Whatever it refuses is an EdgeError, and the end of it."""

    def __init__(self, command: Sequence[str], threads: int = 1, weight_cache: bool = False) -> None:
        """Start `command`, the runner's path, or an emulator's with its arguments and then the runner's."""
        options = ["--threads", str(threads), *(["--weight-cache"] if weight_cache else [])]
        self.command = [*command]
        self._stderr = TemporaryFile()  # noqa: SIM115 - open as long as the process; a pipe that nobody reads would fill
        try:
            self._process = subprocess.Popen(
                [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError as error:
            self._stderr.close()
            raise RuntimeUnavailableError(f"{command[0]}: cannot be started: {error.strerror}") from error

    def __enter__(self) -> Self:
        """Return the process itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the process, whatever happened."""
        self.close()

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises RuntimeUnavailableError with the runner's own words when it refuses, and MeasurementError when it ends
        or says what is no answer.
        """
        self._send(command)
        answer = self._read_answer()
        if "error" in answer:
            raise RuntimeUnavailableError(f"dsnet-runner: {_one_line(answer['error'])}")
        return answer

    def close(self) -> None:
        """End the process: it ends by itself when there are no more commands. Closing twice does nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # unsent bytes for a process that is gone
                pipe.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _send(self, command: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        line = json_line(command)
        try:
            with suppress(BrokenPipeError):  # it has ended; its last answer says why
                self._process.stdin.write(line)
                self._process.stdin.flush()
        except ValueError as error:
            raise MeasurementError("this dsnet-runner has been closed; start another") from error

    def _read_answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline(MAX_JSON_BYTES + 1)
        if not line.endswith(b"\n"):
            raise self._ended(line)
        try:
            answer = parse_json(line)
        except ValueError as error:
            raise MeasurementError(f"dsnet-runner: its answer cannot be read: {error}") from error
        if not isinstance(answer, dict):
            raise MeasurementError(f"dsnet-runner: its answer is no JSON object: {_one_line(answer)}")
        return answer

    def _ended(self, line: bytes) -> EdgeError:
        """Return the error for a process that ended, or a line that does not end, instead of an answer."""
        if len(line) > MAX_JSON_BYTES:
            return MeasurementError(f"dsnet-runner: an answer longer than {MAX_JSON_BYTES} bytes")
        try:
            status = self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return MeasurementError("dsnet-runner: it closed its answers without ending")
        how = f"signal {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        self._stderr.seek(0)
        said = self._stderr.read(MAX_JSON_BYTES).decode(errors="replace").strip().splitlines()
        return MeasurementError(f"dsnet-runner ended without an answer ({how})" + (f": {said[-1]}" if said else ""))


class NativeWorkload:
    """Programs of one ExecuTorch artifact in one process of the runner, on its image of Gaussian noise."""

    def __init__(
        self,
        bundle: "Bundle",
        artifact: Artifact,
        programs: Sequence[str],
        threads: int = 1,
        command: Sequence[str] | None = None,
    ) -> None:
        """Load `programs`, and the prefix where one of them reads its features; `command` starts another runner.

        Every file's size and SHA-256 is compared with the manifest's first. Raises BundleError for files that are not
        what the manifest says, and RuntimeUnavailableError without a runner or for programs that it refuses.
        """
        if artifact.runtime != "executorch":
            raise RuntimeUnavailableError(f"the native runner runs executorch artifacts, not {artifact.runtime} ones")
        command = command or [str(find_runner())]
        self.runtime_version = runtime_version(command)
        """The runtime's name and version."""
        self._bodies = len(Route.of(artifact).bodies)
        files = weights_files(bundle, artifact)
        paths = {
            "pte": str(bundle.verified_path(artifact)),
            "store": str(bundle.verified_path(files["store"])),
            "recipe": str(bundle.verified_path(files["recipe"])),
        }
        self._process = NativeProcess(command, threads)
        try:
            for program in _resident(artifact, programs):
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
        """Run one program, or a head and a body, `runs` times; returns milliseconds per run."""
        # What the gate decides does not matter, as the body is given; how many thresholds it compares with does.
        thresholds = [0.0] * (self._bodies - 1)
        answer = self._process.ask({"do": "block", "units": list(programs), "runs": runs, "thresholds": thresholds})
        samples = answer.get("samples_ms")
        if not isinstance(samples, list) or len(samples) != runs:
            raise MeasurementError(f"dsnet-runner: no list of {runs} times in its answer")
        return [_milliseconds(sample) for sample in samples]

    def canary_ms(self) -> float:
        """Return the median time of the runner's fixed work."""
        return _milliseconds(self._process.ask({"do": "canary"}).get("canary_ms"))

    def _load(self, program: Program, paths: Mapping[str, str]) -> None:
        where = {"unit": program.name, "role": program.role, "width": program.width, "method": program.name}
        answer = self._process.ask({"do": "load", **where, **paths})
        for kind, expected in (("inputs", program.inputs), ("outputs", program.outputs)):
            described = [_described(tensor) for tensor in expected]
            if answer.get(kind) != described:
                found = _one_line(answer.get(kind))
                raise BundleError(
                    f"the {kind} of {program.name} are {found} in the file and {described} in the manifest"
                )


def runtime_version(command: Sequence[str]) -> str:
    """Return the versions of the runtime and of the runner that `command` starts."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=SECONDS_TO_START)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise RuntimeUnavailableError(f"{command[0]}: does not tell its version: {_one_line(error)}") from error
    match = VERSION.fullmatch(done.stdout)
    if match is None:
        said = _one_line(done.stdout or done.stderr)
        raise RuntimeUnavailableError(f"{command[0]} is no dsnet-runner: asked for its version it says {said!r}")
    return f"executorch {match[2]} (dsnet-runner {match[1]})"


def json_line(command: Mapping[str, Any]) -> bytes:
    """Return a command as the runner reads it."""
    return json.dumps(command, allow_nan=False).encode() + b"\n"


def _resident(artifact: Artifact, names: Sequence[str]) -> list[Program]:
    """Return the programs to load: those named, and the prefix that a tail among them cannot do without."""
    known = {program.name: program for program in artifact.programs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BundleError(f"no program {unknown[0]} in this artifact; it has {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)]
    head = Route.of(artifact).head
    if head is not None and head not in chosen and any(program.role == "tail" for program in chosen):
        chosen.insert(0, head)
    return chosen


def _described(tensor: TensorInfo) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": tensor.shape}


def _milliseconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise MeasurementError(f"dsnet-runner: {_one_line(value)} is no time in milliseconds")
    return float(value)


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())[:SHOWN_CHARACTERS]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
