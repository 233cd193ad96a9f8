"""Stage I trains every width together, repeatably, and leaves the gate alone."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch.utils.data import TensorDataset

from tests.train.networks import MICRO, MICRO_STAGE, MICRO_V2, coloured_images
from train import DataError, load_spec
from train.augment import Normalise
from train.config import SupernetStageConfig
from train.evaluate import evaluate_supernet
from train.initialise import initialise
from train.loop import Setting
from train.progress import Progress
from train.schedule import warmup_cosine
from train.supernet import Supernet
from train.supernet_stage import sandwich_widths, train_supernet

IMAGES = coloured_images(60)
SHORT = replace(MICRO_STAGE, epochs=1)
CPU = Setting(Fabric(accelerator="cpu", devices=1))

Tensors = dict[str, np.ndarray]


def trained(config: SupernetStageConfig = SHORT, seed: int = 0) -> Tensors:
    return train_supernet(MICRO, IMAGES, config, seed, setting=CPU)


def equal(first: Tensors, second: Tensors) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_every_width_learns_to_tell_unseen_images_apart(trained_supernet: Tensors) -> None:
    result = evaluate_supernet(Supernet.from_tensors(MICRO, trained_supernet), coloured_images(90, seed=1))
    top1 = {one.width: one.top1 for one in result.widths}
    assert min(top1.values()) > 0.9, f"top-1 per width {top1}"


def test_inverted_residuals_learn_as_well() -> None:
    tensors = train_supernet(MICRO_V2, IMAGES, MICRO_STAGE, setting=CPU)
    result = evaluate_supernet(Supernet.from_tensors(MICRO_V2, tensors), coloured_images(90, seed=1))
    top1 = {one.width: one.top1 for one in result.widths}
    assert min(top1.values()) > 0.9, f"top-1 per width {top1}"


def test_batch_norm_is_measured_on_all_classes_of_a_set_that_holds_one_after_the_other() -> None:
    pixels, labels = IMAGES.images.tensors
    by_class = labels.argsort(stable=True)
    in_order = replace(IMAGES, images=TensorDataset(pixels[by_class], labels[by_class]))
    config = replace(SHORT, recalibration_batches=1, batch_size=20)
    tensors = train_supernet(MICRO, in_order, config, setting=CPU)
    model = Supernet.from_tensors(MICRO, tensors)
    stem = torch.nn.functional.conv2d(Normalise(MICRO)(pixels), model.stem.weight[:4], padding=1)
    spread = stem.mean((2, 3)).std(0).max().item()
    error = (model.stem_bn.statistics[0].mean - stem.mean((0, 2, 3))).abs().max().item()
    assert error < 0.5 * spread, f"the mean is off by {error:.3f}, images differ by {spread:.3f}"


def test_the_gate_waits_for_its_own_stage(trained_supernet: Tensors) -> None:
    untrained = Supernet(MICRO)
    initialise(untrained, seed=0)
    assert np.array_equal(trained_supernet["gate.weight"], untrained.tensors()["gate.weight"])


def test_the_same_seed_trains_the_same_network_whatever_the_callers_random_state() -> None:
    torch.manual_seed(1)
    first = trained(seed=3)
    torch.manual_seed(2)
    assert equal(first, trained(seed=3))
    assert not equal(first, trained(seed=4))


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained()
    assert torch.equal(torch.rand(3), expected)


def test_training_can_continue_from_a_checkpoint(trained_supernet: Tensors) -> None:
    gentle = replace(SHORT, learning_rate=1e-6)
    continued = train_supernet(MICRO, IMAGES, gentle, 0, trained_supernet, setting=CPU)
    moved = max(float(np.abs(continued[name] - trained_supernet[name]).max()) for name in continued if "bn" not in name)
    assert 0 < moved < 1e-3, f"largest change of a weight {moved}"


def test_ensemble_bootstrapping_teaches_the_smallest_network_otherwise() -> None:
    assert not equal(trained(), trained(replace(SHORT, objective="ensemble bootstrapping")))


def test_progress_tells_of_every_epoch_and_carries_the_loss_of_each_width() -> None:
    seen: list[Progress] = []
    train_supernet(MICRO, IMAGES, replace(SHORT, epochs=2), setting=replace(CPU, report=seen.append))
    assert [state.done for state in seen] == sorted({state.done for state in seen})
    assert {4, 8} <= {state.done for state in seen}
    assert {state.total for state in seen} == {8}
    for state in seen:
        assert {"width 0", "width 5"} <= set(state.losses)
        assert all(0 < loss < 100 for loss in state.losses.values()), state


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    seen: list[Progress] = []
    train_supernet(MICRO, coloured_images(6), SHORT, setting=replace(CPU, report=seen.append))
    assert len(seen) == 1


def test_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2"):
        train_supernet(MICRO, coloured_images(1), SHORT, setting=CPU)


def test_each_step_runs_the_largest_the_smallest_and_two_distinct_widths_between() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        largest, *between, smallest = sandwich_widths(MICRO.largest, 2, generator)
        assert (largest, smallest) == (MICRO.largest, 0)
        assert len(between) == len(set(between)) == 2
        assert all(0 < width < MICRO.largest for width in between)


def test_defect_d_every_width_takes_its_turn_not_just_the_first_four() -> None:
    spec = load_spec("ds_mbv1")
    generator = torch.Generator().manual_seed(0)
    turns = Counter(width for _ in range(600) for width in sandwich_widths(spec.largest, 2, generator)[1:-1])
    assert sorted(turns) == list(range(1, 14))
    rarest, most = min(turns.values()), max(turns.values())
    assert most < 2 * rarest, f"turns per width {turns}"


def test_the_rate_climbs_then_falls_to_zero() -> None:
    factor = warmup_cosine(4, 20)
    factors = [factor(step) for step in range(20)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert factor(20) == pytest.approx(0, abs=1e-12)
