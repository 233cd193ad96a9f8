"""Emulated phones for benchmarks: the real adb sees them, and nothing else; none of the user's files is touched."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from edge.devices.adb.executable import ADB_VARIABLE, find_adb
from edge.devices.adb.runners.native import variable
from edge.devices.adb.settings import STATE_VARIABLE
from edge.profiling.history import VARIABLE as HISTORY_VARIABLE
from tests.emulator.processes import DeviceProcess, device_process
from tests.emulator.real_adb import private_adb
from tests.emulator.state import DeviceState


@dataclass(frozen=True)
class Phones:
    """Phones that adb is connected to."""

    devices: tuple[DeviceProcess, ...]
    port: str
    """Of adb's server."""

    @property
    def serials(self) -> list[str]:
        """Return what adb calls them."""
        return [device.serial for device in self.devices]

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time so far of adb's server and of the phones with what has ended on them."""
        pids = {"adb server": [self._server], "emulated phones": [device.pid for device in self.devices]}
        return {name: sum(map(_cpu_s, found)) for name, found in pids.items()}

    @property
    def _server(self) -> int:
        """Return the server's process; it has put itself into the background."""
        processes = psutil.process_iter(["cmdline"])
        commands: dict[int, list[str]] = {process.pid: process.info["cmdline"] or [] for process in processes}
        place = f"tcp:{self.port}"
        return next(pid for pid, words in commands.items() if "fork-server" in words and place in words)


@contextmanager
def emulated_phones(number: int, state: DeviceState, runner: Path) -> Iterator[Phones]:
    """Yield phones that are alike, each in a process of its own, for which `runner` is built.

    Changes the environment of this process, and so of those that it starts, for good: adb and its server, the home
    folder, the history of runs.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        adb = stack.enter_context(private_adb(str(find_adb()), home))
        ours = {ADB_VARIABLE: adb.path, STATE_VARIABLE: str(home), HISTORY_VARIABLE: str(home / "runs.sqlite")}
        os.environ.update(adb.environment | ours | {variable(abi): str(runner) for abi in state.abis})
        folders = [home / f"phone-{index}" for index in range(number)]
        devices = tuple(stack.enter_context(device_process(state, folder)) for folder in folders)
        for device in devices:
            adb.connect(device)
        yield Phones(devices, adb.environment["ANDROID_ADB_SERVER_PORT"])


def _cpu_s(pid: int) -> float:
    return float(sum(psutil.Process(pid).cpu_times()[:4]))  # its own and its ended children's, user and system
