"""Profiling an emulated phone through the real adb, and what happens when the phone does not cooperate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.devices.adb.device import AdbDevice
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
    assert len(run.environment["conditions"]) == sum(len(entry.blocks_ms) for entry in run.entries)
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
