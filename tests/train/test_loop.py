"""One loop for both stages: it resumes bit for bit, and any number of processes trains the same network."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from tests.train.networks import MICRO, MICRO_STAGE, MICRO_VIT, coloured_images
from train import TrainError
from train.config import AugmentConfig, OptimizerName, SupernetStageConfig
from train.loop import Setting
from train.progress import Progress
from train.run_folder import RunFolder, State
from train.spec import SupernetSpec
from train.supernet_stage import train_supernet

IMAGES = coloured_images(60)
RICH = replace(
    MICRO_STAGE,
    epochs=4,
    hold_out=0.1,
    early_epochs=1,
    augment=AugmentConfig(crop=0.5, shift=0.1, zoom=0.1, colour=0.1, randaugment=9, erasing=0.2),
)
"""Everything that draws random numbers or changes over time: all of it must survive an interruption."""
ADAMW = replace(RICH, optimizer="adamw", learning_rate=3e-3)
RUN = [sys.executable, "-m", "tests.train.run_training"]
REPOSITORY = Path(__file__).parents[2]
Tensors = dict[str, np.ndarray]


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def differing(first: Tensors, second: Tensors) -> list[str]:
    return [name for name in first if first[name].tobytes() != second[name].tobytes()]


class KilledError(Exception):
    """Stands for a kill at the end of a step."""


@pytest.mark.parametrize("config", [RICH, ADAMW], ids=lambda config: config.optimizer)
def test_a_run_interrupted_after_any_step_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: SupernetStageConfig
) -> None:
    monkeypatch.setattr("train.loop.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("train.loop.REPORT_SECONDS", 0.0)
    whole = train_supernet(MICRO, IMAGES, config, seed=3, setting=Setting(fabric()))
    for last in (1, 3, 4, 10):

        def stop(state: Progress, last: int = last) -> None:
            if state.done == last + 1:  # the state after `last` steps is on disk, that of this step is not
                raise KilledError

        folder = RunFolder(tmp_path / str(last), {"seed": 3})
        with pytest.raises(KilledError):
            train_supernet(MICRO, IMAGES, config, seed=3, setting=Setting(fabric(), folder, stop))
        resumed_at: list[int] = []
        setting = Setting(fabric(), folder, lambda state, seen=resumed_at: seen.append(state.done))  # type: ignore[misc]
        resumed = train_supernet(MICRO, IMAGES, config, seed=3, setting=setting)
        assert resumed_at[0] == last + 1, resumed_at
        assert differing(whole, resumed) == [], f"interrupted after step {last}"


def test_a_run_killed_with_kill_9_again_and_again_ends_bit_identical(tmp_path: Path) -> None:
    def command(folder: str) -> list[str]:
        return [*RUN, str(tmp_path / folder), str(tmp_path / f"{folder}.npz")]

    subprocess.run(command("whole"), check=True, cwd=REPOSITORY)
    state = tmp_path / "killed" / "state.safetensors"
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command("killed"), cwd=REPOSITORY)
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    subprocess.run(command("killed"), check=True, cwd=REPOSITORY)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "killed.npz") as killed:
        assert differing(dict(whole), dict(killed)) == []


def test_two_processes_train_like_one_with_the_same_global_batch(tmp_path: Path) -> None:
    """Two gloo processes of one part each against one process of two parts: batch norm sees the same images."""
    losses, collectives, weights = {}, {}, {}
    for name, processes, accumulate in (("one", 1, 2), ("two", 2, 1)):
        out = tmp_path / f"{name}.npz"
        environment = os.environ | {"PROCESSES": str(processes), "ACCUMULATE": str(accumulate)}
        environment["LOSSES"] = str(tmp_path / f"{name}.json")
        subprocess.run([*RUN, str(tmp_path / name), str(out)], check=True, cwd=REPOSITORY, env=environment)
        found = json.loads((tmp_path / f"{name}.json").read_text())
        losses[name], collectives[name] = found["losses"], found["collectives"]
        with np.load(out) as trained:
            weights[name] = dict(trained)
    assert len(losses["one"]) == len(losses["two"]) > 5
    assert collectives == {"one": 0, "two": len(losses["two"])}, "one gradient synchronisation per step"
    # The order of summing differs: float32 rounding, amplified by the steps in between.
    worst = max(abs(a - b) / a for a, b in zip(losses["one"], losses["two"], strict=True))
    assert worst < 1e-4, f"largest relative difference of a step's loss {worst:.2e}"
    moved = max(float(np.abs(weights["one"][name] - weights["two"][name]).max()) for name in weights["one"])
    assert moved < 1e-3, f"largest difference of a trained weight {moved:.2e}"


def test_a_batch_in_parts_learns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.loop.REPORT_SECONDS", float("inf"))  # only where an epoch ends
    config = replace(MICRO_STAGE, accumulate=3)
    seen: list[Progress] = []
    train_supernet(MICRO, IMAGES, config, setting=Setting(fabric(), report=seen.append))
    top = f"width {MICRO.largest}"  # the one width that every step trains on the labels
    assert seen[-1].losses[top] < 0.7 * seen[0].losses[top], (seen[0].losses, seen[-1].losses)


def test_a_state_that_lacks_a_tensor_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {})
    folder.save(State(1, {"model.stem.weight": torch.zeros(1)}))
    with pytest.raises(TrainError, match="state in the run folder is of another network") as caught:
        train_supernet(MICRO, IMAGES, MICRO_STAGE, setting=Setting(fabric(), folder))
    assert "\n" not in str(caught.value)


def test_a_run_folder_of_other_settings_is_refused_by_the_name_of_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.loop.SAVE_SECONDS", 0.0)
    short = replace(MICRO_STAGE, epochs=1)
    train_supernet(MICRO, IMAGES, short, setting=Setting(fabric(), RunFolder(tmp_path, {"seed": 0, "epochs": 1})))
    other = RunFolder(tmp_path, {"seed": 1, "epochs": 1})
    with pytest.raises(TrainError, match=r"other settings \(seed differ\)") as caught:
        train_supernet(MICRO, IMAGES, short, setting=Setting(fabric(), other))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [MICRO, MICRO_VIT], ids=lambda spec: spec.name)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_filters_decay_and_nothing_else_does(spec: SupernetSpec, optimizer: OptimizerName) -> None:
    """One step with and without decay: what differs has decayed, and the gate is not trained in stage I."""
    step = replace(MICRO_STAGE, epochs=1, batch_size=60, learning_rate=0.01, optimizer=optimizer)
    with_decay, without = (
        train_supernet(spec, IMAGES, replace(step, weight_decay=decay), setting=Setting(fabric())) for decay in (1, 0)
    )
    exempt = ("_bn.", "norm.", ".bias", "position.", "gate.")
    filters = [name for name in without if not any(word in f"{name}." for word in exempt)]
    decayed = [name for name in differing(with_decay, without) if "statistics" not in name]
    assert decayed == filters
