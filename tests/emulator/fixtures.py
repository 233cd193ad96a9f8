"""Fixtures for tests with emulated devices: a conftest imports what it needs."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.emulator.device import Emulator
from tests.emulator.real_adb import SECONDS_TO_ANSWER, Adb, private_adb
from tests.emulator.sandbox import NoSandboxError
from tests.emulator.state import DeviceState

SECONDS_BETWEEN_LOOKS = 0.005


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
    with private_adb(path, tmp_path_factory.mktemp("adb-home")) as private:
        yield private


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another thread or process. Raises AssertionError when it never does."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(SECONDS_BETWEEN_LOOKS)


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
