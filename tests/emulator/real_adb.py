"""The real adb binary, with a server of its own."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.emulator.state import HOST

SECONDS_TO_ANSWER = 60
"""Nothing in these tests takes a second; a machine that is busy may be slow."""


class Connectable(Protocol):
    """A device, here or in a process of its own."""

    @property
    def serial(self) -> str:
        """Return its address, which is what adb calls it."""


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

    def connect(self, device: Connectable) -> str:
        """Connect to a device and return its serial."""
        done = self("connect", device.serial)
        assert b"connected to" in done.stdout, done
        return device.serial


@contextmanager
def private_adb(path: str, home: Path) -> Iterator[Adb]:
    """Yield adb with a server of its own, which ends with the `with` block and keeps its files in `home`."""
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


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
