"""A conversation with dsnet-runner, a program of its own: one JSON command per line, one line of answer to each."""

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

from edge.bundle.records import MAX_JSON_BYTES, parse_json
from edge.errors import EdgeError, MeasurementError, RuntimeUnavailableError

SHOWN_CHARACTERS = 500
SECONDS_TO_END = 5


class NativeProcess:
    """A running dsnet-runner: commands in, answers out. Whatever it refuses is an EdgeError, and the end of it."""

    def __init__(self, command: Sequence[str], threads: int = 1, weight_cache: bool = False) -> None:
        """Start `command`, the runner's path, or an emulator's with its arguments and then the runner's."""
        options = ["--threads", str(threads), *(["--weight-cache"] if weight_cache else [])]
        self.command = self._command_line([*command, *options])
        self._stderr = TemporaryFile()  # noqa: SIM115 - open as long as the process; a pipe that nobody reads would fill
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError as error:
            self._stderr.close()
            raise RuntimeUnavailableError(f"{self.command[0]}: cannot be started: {error.strerror}") from error

    def _command_line(self, arguments: list[str]) -> list[str]:
        """Return what starts the runner with these arguments: here they are the command line itself."""
        return arguments

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
            raise RuntimeUnavailableError(f"dsnet-runner: {one_line(answer['error'])}")
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
        line = self._read_line()
        if not line.endswith(b"\n"):
            raise self._ended(line)
        try:
            answer = parse_json(line)
        except ValueError as error:
            raise MeasurementError(f"dsnet-runner: its answer cannot be read: {error}") from error
        if not isinstance(answer, dict):
            raise MeasurementError(f"dsnet-runner: its answer is no JSON object: {one_line(answer)}")
        return answer

    def _read_line(self) -> bytes:
        """Return the next line, or what there is of it when the process has ended or it is too long for an answer."""
        assert self._process.stdout is not None
        return self._process.stdout.readline(MAX_JSON_BYTES + 1)

    def _ended(self, line: bytes) -> EdgeError:
        """Return the error for a process that ended, or a line that does not end, instead of an answer."""
        if len(line) > MAX_JSON_BYTES:
            return MeasurementError(f"dsnet-runner: an answer longer than {MAX_JSON_BYTES} bytes")
        try:
            status = self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return MeasurementError("dsnet-runner: it closed its answers without ending")
        how = f"signal {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        said = self._said()
        return MeasurementError(f"dsnet-runner ended without an answer ({how})" + (f": {said}" if said else ""))

    def _said(self) -> str:
        """Return the last line that the process wrote to its standard error."""
        self._stderr.seek(0)
        lines = self._stderr.read(MAX_JSON_BYTES).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def json_line(command: Mapping[str, Any]) -> bytes:
    """Return a command as the runner reads it."""
    return json.dumps(command, allow_nan=False).encode() + b"\n"


def one_line(value: Any) -> str:
    """Return a value as a short text on one line."""
    return " ".join(str(value).split())[:SHOWN_CHARACTERS]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
