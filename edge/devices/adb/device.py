"""An Android device as profiling sees it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from edge.bundle.manifest import Artifact
from edge.devices.adb.client import SECONDS_TO_RETURN, Adb
from edge.devices.adb.facts import Facts, read_conditions, read_facts
from edge.devices.adb.runners import find_device_runner
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.devices.adb.settings import NOTHING, Wanted, apply, changed
from edge.devices.adb.store import Store
from edge.profiling.latency_table import QualityWarning

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle


@dataclass(frozen=True)
class Options:
    """How a device is to be used."""

    cores: str | None = None
    """`big`, or an affinity mask such as 0xf0; None leaves the choice to the device."""
    wanted: Wanted = NOTHING
    """Settings to change for the measurement, and back."""
    cool_down_s: float = 30.0
    """How long a device that is too hot rests before a block is measured again."""
    back_within_s: float = SECONDS_TO_RETURN
    """How long a lost device is waited for."""
    answer_s: float = 120.0
    """How long a runner may take for one answer before it counts as hung."""


DEFAULT_OPTIONS = Options()
MOST_RESTS = 5
"""Rests that a block may cost before the device counts as one that will not cool."""


class AdbDevice:
    """A device over adb, with one of the runners that it can have."""

    def __init__(
        self,
        serial: str,
        runner: str,
        options: Options = DEFAULT_OPTIONS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`runner` is a name in `edge.devices.adb.runners.RUNNERS`; nothing is asked of the device yet."""
        self.name = serial
        self.runner = runner
        self.adb = Adb(serial, back_within_s=options.back_within_s)
        self.store = Store(self.adb)
        self._options = options
        self._sleep = sleep

    @cached_property
    def facts(self) -> Facts:
        """What the device says of itself, asked once."""
        return self.adb.persistently(lambda: read_facts(self.adb))

    def fingerprint(self) -> dict[str, Any]:
        """Return the device's facts and how it is used."""
        wanted = self._options.wanted
        how = {"affinity": self._mask, "fixed_performance": wanted.fixed_performance, "screen_set": wanted.screen}
        return {**self.facts.fingerprint(), **how}

    @contextmanager
    def open(
        self, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> "Iterator[AdbWorkload]":
        """Push what is missing and load programs; on leaving, settings are what they were.

        What pushes that were killed have left is removed: one command at a time has a device.
        """
        runner = find_device_runner(self.runner, artifact.runtime)
        options = self._options
        place = Place(self.adb, self.store, self.facts, self._mask, options.answer_s)
        with changed(self.adb, options.wanted):
            self.store.remove_parts()
            workload = AdbWorkload(
                place, lambda: runner.open(place, bundle, artifact, programs, threads), options, self._sleep
            )
            try:
                yield workload
            finally:
                workload.close()

    @property
    def _mask(self) -> str | None:
        return self.facts.mask(self._options.cores) if self._options.cores else None


class AdbWorkload:
    """A runner's workload, opened again when its device was away."""

    def __init__(
        self, place: Place, load: Callable[[], OpenWorkload], options: Options, sleep: Callable[[float], None]
    ) -> None:
        """`load` opens the workload; it may be called again."""
        self._adb, self._load, self._options, self._sleep = place.adb, load, options, sleep
        self._loaded = self._adb.persistently(load)

    most_rests = MOST_RESTS

    @property
    def takes_turns(self) -> bool:
        """Return whether the runner can change from one unit to the next at little cost."""
        return self._loaded.takes_turns

    @property
    def runtime_version(self) -> str:
        """Return the runtime's name and version."""
        return self._loaded.runtime_version

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Run the programs one after the other `runs` times; returns milliseconds per run."""
        return self._loaded.run_block(programs, runs)

    def canary_ms(self) -> float:
        """Return the time of a fixed amount of work."""
        return self._loaded.canary_ms()

    def conditions(self) -> dict[str, Any]:
        """Return temperature, thermal status and clocks."""
        return read_conditions(self._adb)

    def cool_down(self) -> None:
        """Let the device rest."""
        self._sleep(self._options.cool_down_s)

    def recover(self) -> None:
        """Wait for the device, which may have started anew, and load the programs again.

        Raises DeviceLostError if it stays away.
        """
        self._adb.wait()
        self._loaded.close()
        self._adb.persistently(lambda: apply(self._adb, self._options.wanted))
        self._loaded = self._adb.persistently(self._load)

    def warnings(self) -> list[QualityWarning]:
        """Return what the runner noticed."""
        return self._loaded.warnings()

    def close(self) -> None:
        """End what runs on the device."""
        self._loaded.close()
