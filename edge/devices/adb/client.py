"""One device over adb: commands, files, and what happens when it goes away.

A command is a list of arguments. It is quoted here, and nowhere else, and ends with a sentinel: a random word and the
exit status. adb's own exit status says nothing (0 for a device lost in mid-command, and always 0 on old devices), so an
answer without the sentinel is that of a lost device.
"""

import re
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from common import sha256_file
from edge.devices.adb.executable import NETWORK_SERIAL, Finished, find_adb, list_devices, run_adb
from edge.errors import DeviceError, DeviceGoneError, DeviceLostError

SECONDS_TO_ANSWER = 30.0
GRACE_SECONDS = 5.0
"""What adb may take beyond the time that the device gives a command."""
SECONDS_TO_RETURN = 60.0
"""How long a lost device is waited for, unless told otherwise."""
POLL_SECONDS = 0.5
RECONNECT_SECONDS = 2.0
"""Not at every poll: a connection that is being made would be cut."""
BYTES_PER_SECOND = 1 << 20
"""Slower than any USB cable: a transfer may take this long."""
REFUSALS = re.compile(
    r"No space left|Permission denied|Read-only file system|couldn't create|Is a directory|No such file"
)
SHOWN_CHARACTERS = 300
T = TypeVar("T")


@dataclass(frozen=True)
class Output:
    """What a command on the device said (both streams, in one), and its exit status there."""

    data: bytes
    status: int

    @property
    def text(self) -> str:
        """Return the output as text."""
        return self.data.decode(errors="replace").replace("\r\n", "\n")


class Adb:
    """A device, by its serial."""

    def __init__(self, serial: str, adb: Path | None = None, back_within_s: float = SECONDS_TO_RETURN) -> None:
        """`adb` is the program, by default what `find_adb` finds; a lost device is waited for `back_within_s`."""
        if not serial or "\0" in serial:
            raise DeviceError(f"{serial!r} is no serial; adb devices lists them")
        self.serial = serial
        self._adb = adb or find_adb()
        self._back_within_s = back_within_s

    @property
    def command(self) -> list[str]:
        """Return the beginning of every command line for this device."""
        return [str(self._adb), "-s", self.serial]

    def shell(self, arguments: Sequence[str], timeout_s: float = SECONDS_TO_ANSWER) -> str:
        """Run a program on the device and return its output.

        Raises DeviceError when it fails or takes longer than `timeout_s`, DeviceLostError when the device goes away.
        """
        done = self.try_shell(arguments, timeout_s)
        if done.status != 0:
            raise DeviceError(f"{self.serial}: {_shown(arguments)} failed ({done.status}): {_line(done.text)}")
        return done.text

    def script(self, script: str, *arguments: str, timeout_s: float = SECONDS_TO_ANSWER) -> str:
        """Run a constant script, which reads `arguments` as $1, $2, …; data is never part of it."""
        return self.shell(["sh", "-c", script, "sh", *arguments], timeout_s)

    def try_shell(self, arguments: Sequence[str], timeout_s: float = SECONDS_TO_ANSWER) -> Output:
        """Run a program on the device and return its output and exit status, whatever that is."""
        started = time.monotonic()
        limited = [*self.limit(timeout_s), *arguments]
        output = self._sentinelled(limited, timeout_s + GRACE_SECONDS, f"running {_shown(arguments)}")
        # Which status a killed command has depends on the age of the device.
        if output.status in (124, 137, 143) and time.monotonic() - started >= timeout_s:
            raise DeviceError(f"{self.serial}: {_shown(arguments)} took over {timeout_s:g} s and was ended there")
        return output

    def try_each(self, commands: Sequence[Sequence[str]], timeout_s: float = SECONDS_TO_ANSWER) -> list[Output]:
        """Run programs one after the other in one command of adb, each with its own time; return what each did.

        A way to the device costs more than most questions. Raises DeviceLostError when the device goes away.
        """
        sentinel = f"@{secrets.token_hex(8)}="
        line = "; ".join(f'{quoted([*self.limit(timeout_s), *each])} 2>&1; echo "{sentinel}$?"' for each in commands)
        done = run_adb(["-s", self.serial, "exec-out", line], len(commands) * timeout_s + GRACE_SECONDS, self._adb)
        found = re.findall(rb"(.*?)%s([0-9]{1,3})\r?\n" % sentinel.encode(), done.stdout, re.DOTALL)
        if len(found) != len(commands):
            raise self._lost(f"running {_shown(commands[0])} and more", done)
        return [Output(data, int(status)) for data, status in found]

    def limit(self, timeout_s: float) -> list[str]:
        """Return what to put before a command so that the device itself ends it: killing adb here does not."""
        return ["timeout", "-k", "2", f"{timeout_s:g}"] if self._has_timeout else []

    @cached_property
    def _has_timeout(self) -> bool:
        return self._sentinelled(["timeout", "-k", "2", "5", "true"], SECONDS_TO_ANSWER).status == 0

    def _sentinelled(self, arguments: Sequence[str], timeout_s: float, doing: str = "greeting it") -> Output:
        """Run a command with its sentinel. `exec-out` gives raw bytes on every device; only old ones lack the rest."""
        sentinel = f"@{secrets.token_hex(8)}="
        line = f'{quoted(arguments)} 2>&1; echo "{sentinel}$?"'
        done = run_adb(["-s", self.serial, "exec-out", line], timeout_s, self._adb)
        data, found, status = done.stdout.rpartition(sentinel.encode())
        if not found or not re.fullmatch(rb"[0-9]{1,3}\r?\n", status):
            raise self._lost(doing, done)
        return Output(data, int(status))

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device and compare it there; whoever needs it whole or not at all renames it afterwards.

        Raises DeviceError where it cannot be written, DeviceLostError when the device goes away or alters it.
        """
        size = local.stat().st_size
        done = run_adb(["-s", self.serial, "push", local.absolute(), remote], _transfer_s(size), self._adb)
        self._check_transfer(done, f"writing {remote}")
        if (found := self.sha256(remote, size)) != (expected := sha256_file(local)):
            raise DeviceLostError(f"{self.serial}: {remote} arrived as {found[:12]}…, not {expected[:12]}…; try again")

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device; raises DeviceLostError when the device goes away or sends a part of it."""
        size = self.size(remote)
        done = run_adb(["-s", self.serial, "pull", remote, local.absolute()], _transfer_s(size), self._adb)
        self._check_transfer(done, f"reading {remote}")
        if (found := local.stat().st_size) != size:
            raise DeviceLostError(f"{self.serial}: {remote} came with {found} bytes, not {size}; try again")

    def size(self, remote: str) -> int:
        """Return how many bytes a file on the device has."""
        said = self.script('wc -c < "$1"', remote).strip()
        if not re.fullmatch("[0-9]{1,18}", said):
            raise DeviceError(f"{self.serial}: size of {remote} cannot be read: {_line(said)!r}")
        return int(said)

    def sha256(self, remote: str, size: int) -> str:
        """Return the SHA-256 of a file on the device, pulled where the device cannot hash."""
        for program in (["sha256sum"], ["toybox", "sha256sum"]):
            done = self.try_shell([*program, remote], _transfer_s(size))
            if match := re.match(r"\\?([0-9a-f]{64})\s", done.text):
                return match[1]
        with TemporaryDirectory() as folder:
            local = Path(folder) / "pulled"
            self.pull(remote, local)
            return sha256_file(local)

    def state(self) -> str:
        """Return the device's state as adb sees it, `absent` where it does not see it."""
        return next((item.state for item in list_devices(self._adb) if item.serial == self.serial), "absent")

    def wait(self) -> None:
        """Return once the device answers a command; starts adb's server and connects again where need be.

        Raises DeviceGoneError when it does not in time.
        """
        deadline = time.monotonic() + self._back_within_s
        reason: DeviceError | None = None
        reconnect_at = 0.0
        while True:
            try:
                if self.state() != "device" and time.monotonic() >= reconnect_at:
                    self._reconnect()
                    reconnect_at = time.monotonic() + RECONNECT_SECONDS
                patience = min(deadline - time.monotonic(), SECONDS_TO_ANSWER)
                if self._sentinelled(["true"], max(patience, GRACE_SECONDS)).status == 0:
                    return
            except DeviceError as error:
                reason = error
            if time.monotonic() >= deadline:
                why = "" if reason is None or isinstance(reason, DeviceLostError) else f": {reason}"
                raise DeviceGoneError(
                    f"{self.serial} did not come back within {self._back_within_s:g} s{why}"
                ) from reason
            time.sleep(POLL_SECONDS)

    def _reconnect(self) -> None:
        """Connect to a device on the network anew: a server that was killed forgets it, any other is slow to retry."""
        if NETWORK_SERIAL.fullmatch(self.serial):
            run_adb(["disconnect", self.serial], GRACE_SECONDS, self._adb)
            run_adb(["connect", self.serial], GRACE_SECONDS, self._adb)

    def persistently(self, action: Callable[[], T], tries: int = 3) -> T:
        """Do something that may be done twice, again each time the device is lost and comes back."""
        for _ in range(tries - 1):
            try:
                return action()
            except DeviceGoneError:
                raise
            except DeviceLostError:
                self.wait()
        return action()

    def _check_transfer(self, done: Finished, doing: str) -> None:
        if done.status == 0 and not done.timed_out:
            return
        said = f"{done.stderr} {done.stdout.decode(errors='replace')}".strip()
        if REFUSALS.search(said):
            why = said.rpartition("': ")[2]  # behind the two paths
            raise DeviceError(f"{self.serial}: {doing}: {_line(why)}")
        raise self._lost(doing, done)

    def _lost(self, doing: str, done: Finished) -> DeviceError:
        if done.timed_out:
            return DeviceLostError(f"{self.serial}: no answer while {doing}")
        if "unauthorized" in done.stderr:
            listed = next((item for item in list_devices(self._adb) if item.serial == self.serial), None)
            return DeviceError((listed and listed.problem) or f"{self.serial}: {_line(done.stderr)}")
        why = _line(done.stderr) or "the answer broke off"
        return DeviceLostError(f"{self.serial} was lost while {doing}: {why}")


def quoted(arguments: Sequence[str]) -> str:
    """Return an argument list as a line for the device's shell."""
    if any("\0" in argument for argument in arguments):
        raise DeviceError("an argument for a device has a zero byte in it; no shell can pass that on")
    return shlex.join(arguments)


def _transfer_s(size: int) -> float:
    return 60 + size / BYTES_PER_SECOND


def _shown(arguments: Sequence[str]) -> str:
    return repr(_line(" ".join(arguments))[:100])


def _line(text: str) -> str:
    return " ".join(text.split())[:SHOWN_CHARACTERS]
