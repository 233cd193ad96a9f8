"""The real native runner on emulated phones: x86-64, and arm64 in qemu, through the real adb."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle
from edge.devices.adb.device import AdbDevice, Options
from edge.devices.adb.runners.native import variable
from edge.profiling import Run, Settings, profile_bundle
from tests.devices.adb.conftest import Phone
from tests.native.conftest import arm64, runner
from tests.native.conversation import Command

__all__ = ["arm64", "runner"]

Start = Callable[..., Phone]
SHORT = Settings(min_runs=10, max_runs=10)


def profile(phone: Phone, bundle: Bundle, artifact: Artifact, out: Path, options: Options) -> Run:
    return profile_bundle(bundle, artifact, AdbDevice(phone.serial, "native", options), out, settings=SHORT)


def assert_measured(run: Run) -> None:
    assert run.complete
    assert run.environment["runtime_version"].startswith("executorch ")
    for entry in run.entries:
        assert entry.blocks_ms and min(map(min, entry.blocks_ms)) > 0, entry.programs


def test_the_runner_for_x86_64_profiles_a_bundle_on_its_phone(
    phone: Start, runner: Command, bundle: Bundle, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable("x86_64"), runner[0])
    assert_measured(profile(phone(), bundle, artifact, tmp_path / "l.json", Options(cores="big", cool_down_s=0)))


def test_the_runner_for_arm64_profiles_a_bundle_on_its_phone_in_qemu(
    phone: Start,
    arm64: Callable[[str], Command],
    bundle: Bundle,
    artifact: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable("arm64-v8a"), arm64("max")[-1])
    target = phone(abis=("arm64-v8a", "armeabi-v7a"))
    run = profile(target, bundle, artifact, tmp_path / "l.json", Options(cool_down_s=0))
    assert_measured(run)
    assert run.environment["abis"] == ["arm64-v8a", "armeabi-v7a"]
