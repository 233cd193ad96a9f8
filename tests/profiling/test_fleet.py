"""Several devices at once: each has its table, one that fails stops no other, and Ctrl-C ends them all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.devices.fake import FakeDevice
from edge.errors import MeasurementError
from edge.profiling import Settings, load_latency
from edge.profiling.fleet import Job, profile_devices, table_of
from tests.runtime import golden

Latency = Callable[[tuple[str, ...], int], float]


class Phone(FakeDevice):
    """A scripted device with a serial."""

    def __init__(self, serial: str, latency_ms: Latency) -> None:
        super().__init__(latency_ms)
        self.name = serial


def job(**settings: int) -> Job:
    return Job(golden.bundle(), golden.artifact(), None, 1, Settings(**settings), False)  # type: ignore[arg-type]


def steady(_: tuple[str, ...], __: int) -> float:
    return 2.0


def test_every_device_has_a_table_and_a_run_of_its_own(tmp_path: Path) -> None:
    phones = [Phone(serial, steady) for serial in ("first", "192.168.0.7:5555")]
    done, problems = profile_devices(job(min_runs=10, max_runs=10), phones, tmp_path / "l.json")
    assert [path.name for path in done] == ["l-first.json", "l-192.168.0.7_5555.json"]
    assert [load_latency(path).runs[0].device for path in done] == ["first", "192.168.0.7:5555"]
    assert problems == []


def test_a_device_that_fails_is_named_and_stops_no_other(tmp_path: Path) -> None:
    def failing(_: tuple[str, ...], number: int) -> float:
        if number > 20:
            raise MeasurementError("it went away")
        return 2.0

    phones = [Phone("good", steady), Phone("bad", failing)]
    done, problems = profile_devices(job(min_runs=50, max_runs=50), phones, tmp_path / "l.json")
    assert [run.device for run in done.values()] == ["good"]
    assert problems == ["bad: it went away"]
    with pytest.raises(MeasurementError, match="it went away"):
        profile_devices(job(min_runs=50, max_runs=50), [Phone("bad", failing)], tmp_path / "alone.json")


def test_an_interrupt_ends_devices_that_would_go_on_for_ever(tmp_path: Path) -> None:
    def interrupted(_: tuple[str, ...], number: int) -> float:
        if number > 30:
            raise KeyboardInterrupt
        return 2.0

    endless = Phone("endless", steady)
    with pytest.raises(KeyboardInterrupt):
        phones = [Phone("interrupted", interrupted), endless]
        profile_devices(job(min_runs=10**7, max_runs=10**7), phones, tmp_path / "l.json")
    assert endless.log[-1] == ("close",)
    assert load_latency(table_of(tmp_path / "l.json", "endless")).runs[0].complete is False
