"""Fixtures for tests with emulated devices: a conftest imports what it needs."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.emulator.device import HOST, Emulator
from tests.emulator.sandbox import NoSandboxError
from tests.emulator.state import DeviceState

SECONDS_TO_ANSWER = 60
"""Nothing in these tests takes a second; a machine that is busy may be slow."""

SECONDS_BETWEEN_LOOKS = 0.005


@dataclass(frozen=True)
class Adb:
    """The real adb binary, and a server of its own: other devices of this machine are out of its sight."""

    path: str
    environment: dict[str, str]

    def __call__(
        self, *arguments: str, serial: str | None = None, stdin: bytes = b""
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments, serial=serial),
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=SECONDS_TO_ANSWER,
        )

    def start(self, *arguments: str, serial: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a command with pipes for its standard streams."""
        pipe = subprocess.PIPE
        command = self.command(*arguments, serial=serial)
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment)

    def command(self, *arguments: str, serial: str | None = None) -> list[str]:
        """Return the argument list of a command."""
        return [self.path, *(["-s", serial] if serial else []), *arguments]

    def connect(self, device: Emulator) -> str:
        """Connect to a device and return its serial."""
        done = self("connect", device.serial)
        assert b"connected to" in done.stdout, done
        return device.serial


def find_adb() -> str | None:
    """Return the adb binary of $ADB, of PATH, or of the package adbutils; None where there is none."""
    if found := os.environ.get("ADB") or shutil.which("adb"):
        return found
    spec = find_spec("adbutils")
    if spec is None or spec.origin is None:
        return None
    bundled = Path(spec.origin).parent / "binaries" / "adb"
    return str(bundled) if bundled.is_file() else None


@pytest.fixture(scope="session")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    """Yield the real adb binary with a private server, which ends with the tests."""
    path = find_adb()
    if path is None:
        pytest.skip("no adb binary; pip install adbutils, or let ADB name one")
    home = tmp_path_factory.mktemp("adb-home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "ANDROID_ADB_SERVER_PORT": str(free_port()),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # no search for the Android Studio kind of emulators
        "ADB_MDNS": "0",
        "ADB_USB": "0",
    }
    private = Adb(path, environment)
    try:
        yield private
    finally:
        private("kill-server")


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another thread or process. Raises AssertionError when it never does."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(SECONDS_BETWEEN_LOOKS)


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Callable[..., Emulator]]:
    """Yield what starts a device: `emulator(DeviceState(...))`, or `emulator(model="Pixel 8")`."""
    with ExitStack() as devices:

        def start(state: DeviceState | None = None, **fields: object) -> Emulator:
            number = len(list(tmp_path.glob("device-*")))
            folder = tmp_path / f"device-{number}"
            folder.mkdir()
            state = state or DeviceState(**fields)  # type: ignore[arg-type]
            try:
                return devices.enter_context(Emulator(state, folder))
            except NoSandboxError as error:
                pytest.skip(str(error))

        yield start
