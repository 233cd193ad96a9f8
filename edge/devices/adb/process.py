"""The native runner's conversation, over adb: the runner is a process on the device, which may hang or go away."""

import re
import secrets
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from edge.bundle.records import MAX_JSON_BYTES
from edge.devices.adb.client import Adb, quoted
from edge.devices.adb.executable import run_adb
from edge.devices.native_process import SECONDS_TO_END, SHOWN_CHARACTERS, NativeProcess, json_line, one_line
from edge.errors import DeviceError, DeviceLostError, EdgeError, MeasurementError, RuntimeUnavailableError

LEASE_SECONDS = 6 * 3600.0
"""The device ends the runner after this time, should everything here be gone by then."""
STARTED = 'echo "$1$$"; shift; exec "$@"'
"""The shell tells its process number and becomes the runner."""
STARTED_QUIETLY = f"{STARTED} 2>/dev/null"
"""For old devices, which mix standard error into the answers."""
END = """case "$(tr '\\0' ' ' < "/proc/$1/cmdline")" in *"$2"*) kill -9 "$1" ;; esac 2>/dev/null; true"""
"""By number, if that process is still the runner."""


class RemoteProcess(NativeProcess):
    """A dsnet-runner on a device. Its answers end with a sentinel; where that is missing the device was lost."""

    def __init__(self, adb: Adb, command: Sequence[str], program: str, threads: int, answer_s: float) -> None:
        """Start `command` there, in which `program` is the runner's path; it may take `answer_s` for each answer."""
        self._adb, self._program, self._answer_s = adb, program, answer_s
        self._sentinel = f"@{secrets.token_hex(8)}"
        self._sent = b""
        self._hung = False
        self._pid: str | None = None
        self._status: str | None = None
        # Only newer devices pass on that there are no more commands.
        features = run_adb(["-s", adb.serial, "features"], answer_s).stdout.split()
        self._ends_by_itself = b"shell_v2" in features
        super().__init__(command, threads)
        try:
            self._pid = self._read_pid()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process, here and on the device, where one that was lost or hangs may still be there."""
        if self._ends_by_itself:
            super().close()
        with suppress(DeviceError):
            self._end_on_device()
        super().close()

    def _command_line(self, arguments: list[str]) -> list[str]:
        script = STARTED if self._ends_by_itself else STARTED_QUIETLY
        started = ["sh", "-c", script, "sh", f"{self._sentinel} pid=", *arguments]
        line = quoted([*self._adb.limit(LEASE_SECONDS), *started])
        return [*self._adb.command, "shell", f'{line}; echo "{self._sentinel} status=$?"']

    def _read_pid(self) -> str:
        line = self._read_line()
        match = re.fullmatch(rf"{self._sentinel} pid=([0-9]{{1,10}})\s*", line.decode(errors="replace"))
        if match is None:
            raise self._ended(line)
        return match[1]

    def _send(self, command: Mapping[str, Any]) -> None:
        self._sent = json_line(command).strip()
        super()._send(command)

    def _read_line(self) -> bytes:
        """Return the next line; what comes before the sentinel is a line without an end."""
        assert self._process.stdout is not None
        timer = threading.Timer(self._answer_s, self._give_up)
        timer.daemon = True  # interrupted while it starts, it goes on, and must not keep this process from ending
        try:
            timer.start()
            line = self._process.stdout.readline(MAX_JSON_BYTES + 1)
            while line.strip() == self._sent and line:  # a terminal, on old devices, shows what was typed
                line = self._process.stdout.readline(MAX_JSON_BYTES + 1)
        finally:
            timer.cancel()
        before, ended, status = line.partition(f"{self._sentinel} status=".encode())
        if ended:
            self._status = status.decode(errors="replace").strip()
        return before

    def _give_up(self) -> None:
        self._hung = True
        self._process.kill()

    def _ended(self, line: bytes) -> EdgeError:
        if len(line) > MAX_JSON_BYTES:
            return super()._ended(line)
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        serial, said = self._adb.serial, one_line(self._said())
        if self._hung:
            try:
                self._end_on_device()
            except DeviceLostError as error:
                return error
            return MeasurementError(
                f"{serial}: no answer from dsnet-runner for {self._answer_s:g} s; it was ended there"
            )
        if self._status is None:
            return DeviceLostError(f"{serial} was lost while its runner worked: {said or 'the answer broke off'}")
        how = f"(exit status {self._status}): {said or 'it said nothing'}"
        if self._pid is None:
            return RuntimeUnavailableError(f"{serial}: dsnet-runner cannot be started there {how}")
        return MeasurementError(f"{serial}: dsnet-runner ended without an answer {how}")

    def _said(self) -> str:
        """Return what the runner, and after it the shell, wrote to standard error; the end of it."""
        self._stderr.seek(0)
        return self._stderr.read(MAX_JSON_BYTES).decode(errors="replace").strip()[-SHOWN_CHARACTERS:]

    def _end_on_device(self) -> None:
        if self._pid is not None:
            self._adb.script(END, self._pid, self._program)
            self._pid = None
