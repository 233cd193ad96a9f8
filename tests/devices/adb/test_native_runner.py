"""The real native runner on emulated phones: x86-64, and arm64 in qemu, through the real adb."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.cli import main
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


def test_the_runner_for_arm64_profiles_a_bundle_on_its_phone_in_qemu_up_to_an_operating_point(
    phone: Start,
    arm64: Callable[[str], Command],
    bundle: Bundle,
    artifact: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable("arm64-v8a"), arm64("max")[-1])
    target = phone(abis=("arm64-v8a", "armeabi-v7a"))
    own = open_bundle(Path(copytree(bundle.root, tmp_path / "bundle")))
    run = profile(target, own, artifact, tmp_path / "l.json", Options(cool_down_s=0))
    assert_measured(run)
    assert run.environment["abis"] == ["arm64-v8a", "armeabi-v7a"]
    calibrate(own.root, tmp_path, budget_ms=2 * max(max(map(max, entry.blocks_ms)) for entry in run.entries))
    point = open_bundle(own.root).operating_point("mine")
    assert (point.device, point.runner) == (target.serial, "native")


def calibrate(bundle: Path, folder: Path, budget_ms: float) -> None:
    """Predict here, as a phone would answer the same, and calibrate for the phone's latencies."""
    noise = np.random.default_rng(0)
    for name in ("class 0", "class 1"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8)).save(
                folder / "images" / name / f"{number}.png"
            )
    chosen = ("--runtime", "executorch", "--precision", "fp32")
    dsnet("predict", bundle, *chosen, "--data", folder / "images", "--out", folder / "p.npz")
    tables = ("--latency", folder / "l.json", "--predictions", folder / "p.npz")
    dsnet("calibrate", bundle, *tables, "--budget", f"{budget_ms:.3f}ms", "--name", "mine")


def dsnet(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code
