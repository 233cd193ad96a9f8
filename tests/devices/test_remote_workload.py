"""What measuring does with a device that gets hot or goes away, on one with scripted latencies: actions in order."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.devices import FakeDevice
from edge.devices.adb.device import MOST_RESTS
from edge.devices.base import RemoteWorkload
from edge.errors import DeviceGoneError, DeviceLostError
from edge.profiling import QualityWarning, Run, Settings, load_latency, profile_bundle
from edge.profiling.measure import LOSSES
from tests.runtime import golden


class RemoteDevice(FakeDevice):
    """A scripted device that is lost in the blocks named, and whose canary is slow until it has rested."""

    most_rests = MOST_RESTS

    def __init__(self, lost_at: Sequence[int] = (), hot: Sequence[float] = (), gone: bool = False) -> None:
        super().__init__(lambda unit, _: float(len(unit)))
        self.lost_at, self.hot, self.gone = list(lost_at), list(hot), gone
        self.asked = 0

    @contextmanager
    def open(self, *arguments: Any) -> Iterator[RemoteWorkload]:
        with super().open(*arguments):
            yield self

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        self.asked += 1
        if self.asked in self.lost_at:
            raise DeviceLostError("lost")
        return super().run_block(programs, runs)

    def canary_ms(self) -> float:
        measured = super().canary_ms()
        blocks = sum(action[:2] == ("run", "11") for action in self.log)
        return self.hot.pop(0) if blocks and self.hot else measured

    def conditions(self) -> dict[str, Any]:
        self.log.append(("conditions",))
        return {"thermal_status": 0}

    def cool_down(self) -> None:
        self.log.append(("cool down",))

    def recover(self) -> None:
        self.log.append(("recover",))
        if self.gone:
            raise DeviceGoneError("gone")

    def warnings(self) -> list[QualityWarning]:
        return [QualityWarning(code="noticed", message="m", remedy="r")]


def profile(device: RemoteDevice, out: Path, **settings: Any) -> Run:
    chosen = Settings(**{"min_runs": 20, "max_runs": 20, **settings})
    return profile_bundle(golden.bundle(), golden.artifact(), device, out, settings=chosen, seconds=device.seconds)


def kinds(device: RemoteDevice) -> list[str]:
    return [action[0] for action in device.log]


def codes(run: Run) -> list[str]:
    return [warning.code for warning in run.warnings]


def test_conditions_are_noted_after_every_block_and_what_was_noticed_is_a_warning(tmp_path: Path) -> None:
    device = RemoteDevice()
    run = profile(device, tmp_path / "l.json")
    assert kinds(device).count("conditions") == len(run.environment["conditions"]) == 10
    assert "noticed" in codes(run)


@pytest.mark.parametrize("at", [1, 7, 11, 15, 20])
def test_a_lost_device_is_recovered_and_warmed_up_and_nothing_is_missing_or_double(tmp_path: Path, at: int) -> None:
    device = RemoteDevice(lost_at=[at])
    run = profile(device, tmp_path / "l.json")
    assert run.complete
    assert [len(entry.blocks_ms) for entry in run.entries] == [2] * 5
    after = kinds(device)[kinds(device).index("recover") + 1 :]
    assert after[:10] == ["run"] * 10, "the warm-up of five units"
    assert kinds(device).count("recover") == 1


def test_a_device_that_stays_away_is_the_error_and_blocks_are_kept(tmp_path: Path) -> None:
    with pytest.raises(
        DeviceLostError, match=r"gone; finished blocks are in .*l\.json: the same command with --resume goes on"
    ):
        profile(RemoteDevice(lost_at=[14], gone=True), tmp_path / "l.json")
    (kept,) = load_latency(tmp_path / "l.json").runs
    assert sum(len(entry.blocks_ms) for entry in kept.entries) == 3
    assert profile(RemoteDevice(), tmp_path / "l.json").complete


def test_a_device_that_is_lost_over_and_over_is_given_up(tmp_path: Path) -> None:
    device = RemoteDevice(lost_at=range(1, 100))
    with pytest.raises(DeviceLostError, match="lost"):
        profile(device, tmp_path / "l.json")
    assert kinds(device).count("recover") == LOSSES - 1


def test_a_hot_block_is_measured_again_after_a_rest_and_only_the_cool_one_counts(tmp_path: Path) -> None:
    device = RemoteDevice(hot=[1.2, 1.2])
    run = profile(device, tmp_path / "l.json")
    assert kinds(device).count("cool down") == 2
    assert run.environment["remeasured_blocks"] == 2
    assert max(run.environment["canary_ms"]) == 1.0
    assert "throttled" not in codes(run) and "cool_down_given_up" not in codes(run)


def test_a_device_that_never_cools_is_measured_as_it_is_after_the_last_rest(tmp_path: Path) -> None:
    device = RemoteDevice(hot=[1.2] * 1000)
    run = profile(device, tmp_path / "l.json")
    assert run.complete
    assert kinds(device).count("cool down") == MOST_RESTS
    assert {"throttled", "cool_down_given_up"} <= set(codes(run))


def test_sustained_speed_means_work_first_and_no_rests(tmp_path: Path) -> None:
    device = RemoteDevice(hot=[1.2] * 1000)
    run = profile(device, tmp_path / "l.json", sustained_seconds=0.5)
    worked = sum(int(action[1]) for action in device.log if action[:2] == ("run", "10"))
    assert worked * 1.4 >= 500, "milliseconds; a unit of one or two programs takes 1.4 ms on average"
    assert kinds(device).count("cool down") == 0
    assert run.environment["settings"]["sustained_seconds"] == 0.5
