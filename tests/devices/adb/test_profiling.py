"""Profiling an emulated phone through the real adb, and what happens when the phone does not cooperate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.settings import Wanted, pending
from edge.errors import DeviceLostError
from edge.profiling import Run, Settings, load_latency, profile_bundle
from edge.profiling.statistics import samples_ms
from tests.devices.adb.conftest import Phone

pytestmark = pytest.mark.usefixtures("scripted_runner")

Start = Callable[..., Phone]
SETTINGS = Settings(min_runs=30, max_runs=30)


@pytest.fixture
def profile(bundle: Bundle, artifact: Artifact, tmp_path: Path) -> Callable[..., Run]:
    def run(device: AdbDevice, **options: Any) -> Run:
        return profile_bundle(bundle, artifact, device, tmp_path / "l.json", settings=SETTINGS, **options)

    return run


def test_a_phone_is_profiled_like_any_other_device(phone: Start, profile: Callable[..., Run], tmp_path: Path) -> None:
    device = AdbDevice(phone().serial, "native")
    run = profile(device)
    assert run.complete
    assert run.runner == "native"
    assert {tuple(entry.programs): set(samples_ms(entry)) for entry in run.entries}[("prefix", "tail_01")] == {4.0}
    assert run.environment["soc"] == "Tensor G3"
    rounds = {len(entry.blocks_ms) for entry in run.entries} | {len(e.turns_ms) for e in run.entries if e.turns_ms}
    assert len(rounds) == 1, "a block of every unit, and one of whole images in turns, in every round"
    assert len(run.environment["conditions"]) == rounds.pop() * (len(run.entries) + 1)
    assert run.environment["conditions"][0]["battery_c"] == 27.5
    assert load_latency(tmp_path / "l.json").runs == [run]


def test_a_second_run_pushes_nothing(phone: Start, profile: Callable[..., Run]) -> None:
    target = phone()
    profile(AdbDevice(target.serial, "native"))
    pushed = dict(target.emulator.log.pushed)
    second = AdbDevice(target.serial, "native")
    profile(second, restart=True)
    assert second.store.pushed_bytes == 0
    assert target.emulator.log.pushed == pushed


def test_sustained_speed_is_measured_after_work_and_without_rests(
    phone: Start, bundle: Bundle, artifact: Artifact, tmp_path: Path
) -> None:
    target, rests, clock = phone(), list[float](), iter(range(10_000))
    device = AdbDevice(target.serial, "native", sleep=rests.append)
    settings = Settings(min_runs=10, max_runs=10, sustained_seconds=3)

    def heat_up(_: Run) -> None:
        target.emulator.state.canary_slowdown = 1.5

    run = profile_bundle(
        bundle, artifact, device, tmp_path / "l.json", settings=settings, seconds=lambda: next(clock), on_block=heat_up
    )
    assert run.complete
    assert rests == []
    assert "throttled" in [warning.code for warning in run.warnings]


def test_cores_and_settings_are_part_of_the_fingerprint_and_undone(phone: Start, profile: Callable[..., Run]) -> None:
    target = phone(settings={"system": {"screen_brightness": "120"}})
    options = Options(cores="big", wanted=Wanted(fixed_performance=True, screen=True))
    run = profile(AdbDevice(target.serial, "native", options))
    assert (run.environment["affinity"], run.environment["fixed_performance"]) == ("1f0", True)
    assert any(" taskset 1f0 " in command for command in target.emulator.log.commands)
    assert not target.emulator.state.fixed_performance
    assert target.emulator.state.settings["system"] == {"screen_brightness": "120"}


def test_ctrl_c_in_mid_run_keeps_blocks_and_undoes_settings(
    phone: Start, profile: Callable[..., Run], tmp_path: Path
) -> None:
    target, seen = phone(), list[Run]()
    options = Options(wanted=Wanted(fixed_performance=True))

    def press(run: Run) -> None:
        seen.append(run)
        if len(seen) == 4:
            assert target.emulator.state.fixed_performance
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(AdbDevice(target.serial, "native", options), on_block=press)
    assert not target.emulator.state.fixed_performance
    (kept,) = load_latency(tmp_path / "l.json").runs
    assert sum(len(entry.blocks_ms) for entry in kept.entries) == 3
    assert profile(AdbDevice(target.serial, "native", options)).complete


def test_a_cable_pulled_while_fixed_performance_mode_is_on_leaves_it_off_at_the_end(
    phone: Start, profile: Callable[..., Run]
) -> None:
    target = phone()
    target.emulator.faults.vanish_after("thermalservice", nth=3, back_after=0.3)
    run = profile(AdbDevice(target.serial, "native", Options(wanted=Wanted(fixed_performance=True), cool_down_s=0)))
    assert run.complete
    assert not target.emulator.state.fixed_performance


def test_a_phone_lost_for_good_is_set_back_when_it_is_profiled_again(phone: Start, profile: Callable[..., Run]) -> None:
    target = phone()
    target.emulator.faults.vanish_after("thermalservice", nth=3)
    options = Options(wanted=Wanted(fixed_performance=True), back_within_s=0.3)
    with pytest.raises(DeviceLostError):
        profile(AdbDevice(target.serial, "native", options))
    assert pending() == [target.serial]
    target.emulator.plug_in()
    profile(AdbDevice(target.serial, "native"), restart=True)
    assert pending() == []
    assert not target.emulator.state.fixed_performance
