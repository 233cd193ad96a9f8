"""Devices in processes of their own, as phones are: none takes time from another one or from whoever uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from tests.emulator.device import Emulator
from tests.emulator.state import DeviceState


@dataclass(frozen=True)
class DeviceProcess:
    """An emulated device in another process, out of reach but for adb."""

    serial: str
    pid: int


@contextmanager
def device_process(state: DeviceState, folder: Path) -> Iterator[DeviceProcess]:
    """Yield a device that is there while the `with` block lasts; `folder` becomes its storage.

    Raises EOFError, below the process's own traceback, when it cannot be started.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(state, folder, theirs))
    process.start()
    theirs.close()
    try:
        yield DeviceProcess(ours.recv(), process.pid or 0)
    finally:
        ours.close()
        process.join()


def _serve(state: DeviceState, folder: Path, user: "Connection[str, None]") -> None:
    """Be a device until the user is gone."""
    with Emulator(state, folder) as device:
        user.send(device.serial)
        user.poll(None)
