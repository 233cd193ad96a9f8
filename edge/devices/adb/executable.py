"""The adb program itself: where it is, how it is run, which devices it sees."""

import os
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryFile

from edge.errors import DeviceError, RuntimeUnavailableError

ADB_VARIABLE = "ADB"
SECONDS_TO_LIST = 30
MAX_OUTPUT_BYTES = 64 << 20
"""No command of ours prints more; a device that does is not listened to any longer."""

LISTED = re.compile(
    r"(?P<serial>.+?)\s+(?P<state>device|offline|unauthorized|authorizing|connecting|recovery|rescue|sideload|bootloader"
    r"|host|detached|unknown|no device|no permissions(?: .*?)?)(?P<facts>(?:\s+[a-z_]+:\S+)*)\s*"
)
"""A line of `adb devices -l`. Only such facts may follow the state; a serial that contains a state is read whole."""
NETWORK_SERIAL = re.compile(r"(\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._\-]+)?\]|[A-Za-z0-9.\-]+):[0-9]{1,5}")
"""Host and port, which is what `adb connect` takes. Devices that adb finds by itself have other names: over USB, by
mDNS (`adb-R5CT1234-abcdef._adb-tls-connect._tcp`), Android Studio's emulators (`emulator-5554`)."""
FACT = re.compile(r"(product|model|device|transport_id):(\S+)")
REMEDIES = {
    "unauthorized": "unlock it and accept this computer in its dialog on USB debugging",
    "authorizing": "wait a moment; then unlock it and accept this computer in its dialog on USB debugging",
    "offline": "unplug it and plug it in again, or switch USB debugging off and on",
    "connecting": "wait a moment and try again",
    "no permissions": "this user may not open its USB port; install adb's udev rules, or join the group plugdev",
}
OTHER_REMEDY = "start Android on it, with USB debugging on"


@dataclass(frozen=True)
class Listed:
    """A device as `adb devices -l` lists it."""

    serial: str
    state: str
    """`device` when it can be used."""
    facts: dict[str, str]
    """What adb itself says of it: product, model, device, transport_id."""

    @property
    def problem(self) -> str | None:
        """Return, in one line, why it cannot be used and what to do; None for one that can."""
        if self.state == "device":
            return None
        return f"{self.serial!r} is {self.state}: {REMEDIES.get(self.state, OTHER_REMEDY)}"


@dataclass(frozen=True)
class Finished:
    """How a run of adb ended."""

    status: int
    stdout: bytes
    stderr: str
    """On one line."""
    timed_out: bool


def find_adb() -> Path:
    """Return adb: what $ADB names, else the one on PATH, else the one in the Python package adbutils.

    Raises RuntimeUnavailableError when there is none.
    """
    named = os.environ.get(ADB_VARIABLE)
    if named:
        if found := which(named):
            return Path(found)
        raise RuntimeUnavailableError(f"${ADB_VARIABLE} names {named!r}, which is no program; correct or unset it")
    if found := which("adb"):
        return Path(found)
    spec = find_spec("adbutils")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        if found := which("adb", path=str(Path(folder) / "binaries")):
            return Path(found)
    raise RuntimeUnavailableError(
        f"no adb: install Android's platform tools, or pip install adbutils, or let ${ADB_VARIABLE} name the program"
    )


def run_adb(arguments: Sequence[str | Path], timeout_s: float, adb: Path | None = None) -> Finished:
    """Run adb to its end, or to the end of the time it may take."""
    with TemporaryFile() as stderr:  # a file, not a pipe: a server that adb starts may keep it open
        try:
            process = subprocess.Popen(
                [adb or find_adb(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
            )
        except (OSError, ValueError) as error:
            raise RuntimeUnavailableError(f"adb cannot be started: {error}") from error
        expired = threading.Event()

        def end() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.daemon = True  # interrupted while it starts, it goes on, and must not keep this process from ending
        try:
            timer.start()
            with process:
                assert process.stdout is not None
                stdout = process.stdout.read(MAX_OUTPUT_BYTES)
                process.kill() if len(stdout) == MAX_OUTPUT_BYTES else None
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        stderr.seek(0)
        said = stderr.read(MAX_OUTPUT_BYTES).decode(errors="replace")
    return Finished(process.returncode, stdout, " ".join(said.split()), expired.is_set())


def list_devices(adb: Path | None = None) -> list[Listed]:
    """Return the devices that adb sees, usable or not; raises DeviceError when adb cannot list them."""
    done = run_adb(["devices", "-l"], SECONDS_TO_LIST, adb)
    text = done.stdout.decode(errors="replace")
    if done.timed_out or done.status != 0:
        raise DeviceError(f"adb cannot list devices: {done.stderr[-300:] or 'no answer'}; try adb kill-server")
    return parse_devices(text)


def parse_devices(text: str) -> list[Listed]:
    """Return what `adb devices -l` printed; raises DeviceError with the line that cannot be read."""
    devices = []
    for line in text.splitlines():
        if not line.strip() or line.startswith(("List of devices", "* daemon", "adb server")):
            continue
        match = LISTED.fullmatch(line)
        if match is None:
            raise DeviceError(f"adb lists a device in a way that is not understood: {line!r}")
        state = "no permissions" if match["state"].startswith("no permissions") else match["state"]
        devices.append(Listed(match["serial"], state, dict(FACT.findall(match["facts"]))))
    return devices


def choose_devices(wanted: str | None, adb: Path | None = None) -> list[str]:
    """Return the serials to use: the one `wanted`, every usable one for "all", and for None the only one there is.

    A host and port that adb does not see yet, or not any more, is connected to. Raises DeviceError, naming what adb
    sees, when there is none, when several are there and none was named, or when the one wanted cannot be used.
    """
    listed = list_devices(adb)
    if wanted and NETWORK_SERIAL.fullmatch(wanted) and wanted not in [device.serial for device in listed]:
        run_adb(["connect", wanted], SECONDS_TO_LIST, adb)
        listed = list_devices(adb)
    usable = [device.serial for device in listed if device.problem is None]
    problems = "; ".join(device.problem for device in listed if device.problem)
    if wanted not in (None, "all"):
        found = next((device for device in listed if device.serial == wanted), None)
        if found is None:
            raise DeviceError(f"no device {wanted!r}; adb sees: {', '.join(d.serial for d in listed) or 'none'}")
        if found.problem:
            raise DeviceError(found.problem)
        return [found.serial]
    if not usable:
        raise DeviceError(problems or "adb sees no device; plug one in and switch USB debugging on")
    if wanted is None and len(usable) > 1:
        raise DeviceError(f"{len(usable)} devices: {', '.join(usable)}; name one with --device, or all of them: all")
    return usable
