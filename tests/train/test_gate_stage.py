"""Stage II trains the gate and nothing else, to send each image where it is needed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch.utils.data import TensorDataset

from tests.train.networks import MICRO, MICRO_STAGE, MICRO_VIT, coloured_images
from train import TrainError
from train.config import AugmentConfig, GateStageConfig, HardRule
from train.costs import mac_target
from train.data import ImageSet
from train.evaluate import evaluate_supernet
from train.gate_stage import GateLearner, train_gate
from train.loop import Setting
from train.supernet import Supernet
from train.supernet_stage import train_supernet

STILL = AugmentConfig(flip=False, shift=0.0, zoom=0.0)
CONFIG = GateStageConfig(
    epochs=30, batch_size=20, learning_rate=0.5, weight_decay=0.0, mac_weight=0.1, hold_out=0.0, augment=STILL
)
CPU = Setting(Fabric(accelerator="cpu", devices=1))
RED = 0

Tensors = dict[str, np.ndarray]


def with_red_mislabelled(count: int, seed: int) -> ImageSet:
    """Return images of which no width gets a red one right."""
    pixels, labels = coloured_images(count, seed).images.tensors
    return ImageSet(TensorDataset(pixels, torch.where(labels == RED, 1, labels)), count, ("red", "green", "blue"))


def shares(tensors: Tensors, red: bool) -> dict[int, float]:
    """Return the share of each width among unseen red images, or among the others."""
    pixels, labels = coloured_images(90, seed=2).images.tensors
    chosen = (labels == RED) == red
    images = ImageSet(TensorDataset(pixels[chosen], labels[chosen]), int(chosen.sum()), ("red", "green", "blue"))
    result = evaluate_supernet(Supernet.from_tensors(MICRO, tensors), images)
    assert result.dynamic is not None
    return result.dynamic.shares


@pytest.mark.parametrize(("rule", "width_of_red"), [("try best", 4), ("give up", 0)])
def test_the_gate_learns_which_images_need_the_largest_width(
    trained_supernet: Tensors, rule: HardRule, width_of_red: int
) -> None:
    trained = train_gate(
        MICRO, trained_supernet, with_red_mislabelled(60, 1), replace(CONFIG, hard_rule=rule), setting=CPU
    )
    red, others = shares(trained, red=True), shares(trained, red=False)
    assert red[width_of_red] > 0.9, f"shares of the red images {red}"
    assert others[0] > 0.9, f"shares of the other images {others}"


def test_a_heavy_penalty_sends_every_image_to_the_cheapest_width(trained_supernet: Tensors) -> None:
    thrifty = replace(CONFIG, mac_weight=200.0)
    trained = train_gate(MICRO, trained_supernet, with_red_mislabelled(60, 1), thrifty, setting=CPU)
    assert shares(trained, red=True)[0] == 1.0, shares(trained, red=True)


@pytest.mark.parametrize("place", [0.25, 0.5, 0.75])
def test_a_gate_trained_for_a_budget_meets_it_with_the_weights_of_the_recipe(
    trained_supernet: Tensors, place: float
) -> None:
    cheapest, dearest = MICRO.macs(0), MICRO.macs(4)
    budget = cheapest + place * (dearest - cheapest)
    config = GateStageConfig(epochs=40, batch_size=20, weight_decay=0.0, hold_out=0.0, augment=STILL)
    trained = train_gate(
        MICRO, trained_supernet, coloured_images(60), config, target=mac_target(MICRO, budget), setting=CPU
    )
    result = evaluate_supernet(Supernet.from_tensors(MICRO, trained), coloured_images(90, seed=2))
    assert result.dynamic is not None
    distance = abs(result.dynamic.mean_macs - budget) / (dearest - cheapest)
    assert distance < 0.2, (
        f"mean MACs {result.dynamic.mean_macs:.0f}, budget {budget:.0f}, range {cheapest} … {dearest}"
    )


def test_held_out_images_are_judged_at_the_networks_resolution(trained_supernet: Tensors) -> None:
    pixels, labels = coloured_images(40, seed=3).images.tensors
    larger = torch.nn.functional.interpolate(pixels.float(), (11, 11)).to(torch.uint8)
    images = ImageSet(TensorDataset(larger, labels), 40, ("red", "green", "blue"))
    learner = GateLearner(MICRO, trained_supernet, images, CONFIG, None, CPU.fabric)
    seen: list[tuple[int, ...]] = []
    learner.supernet.stem.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    learner.accuracies()
    assert set(seen) == {(MICRO.resolution, MICRO.resolution)}, seen


def test_only_the_gate_changes(trained_supernet: Tensors) -> None:
    trained = train_gate(MICRO, trained_supernet, coloured_images(30), replace(CONFIG, epochs=1), setting=CPU)
    assert {name for name in trained_supernet if not np.array_equal(trained[name], trained_supernet[name])} == {
        "gate.weight"
    }


def test_the_same_seed_trains_the_same_gate(trained_supernet: Tensors) -> None:
    config = replace(CONFIG, epochs=1)
    first, again, other = (
        train_gate(MICRO, trained_supernet, coloured_images(30), config, seed, setting=CPU)["gate.weight"]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_evaluation_adds_up(trained_supernet: Tensors) -> None:
    result = evaluate_supernet(Supernet.from_tensors(MICRO, trained_supernet), coloured_images(33), batch_size=8)
    assert result.dynamic is not None
    assert sum(result.dynamic.shares.values()) == pytest.approx(1)
    costs = sum(share * MICRO.macs(width) for width, share in result.dynamic.shares.items())
    assert result.dynamic.mean_macs == pytest.approx(costs)


def test_a_network_without_a_gate_is_refused() -> None:
    plain = replace(MICRO, gates=())
    with pytest.raises(TrainError, match="no gate to train"):
        train_gate(plain, Supernet(plain).tensors(), coloured_images(9), CONFIG, setting=CPU)


def test_both_stages_train_a_transformer_with_adamw() -> None:
    stage = replace(MICRO_STAGE, optimizer="adamw", learning_rate=3e-3, weight_decay=0.05)
    supernet = train_supernet(MICRO_VIT, coloured_images(60), stage, setting=CPU)
    budget = (MICRO_VIT.macs(0) + MICRO_VIT.macs(2)) / 2
    recipe = replace(
        CONFIG, optimizer="adamw", epochs=10, learning_rate=0.01, sparsification_weight=0.0, mac_weight=0.0
    )
    tensors = train_gate(
        MICRO_VIT, supernet, coloured_images(60), recipe, target=mac_target(MICRO_VIT, budget), setting=CPU
    )
    moved = [name for name in tensors if not np.array_equal(tensors[name], supernet[name])]
    assert moved == [name for name in tensors if name.startswith("gate.")]
    result = evaluate_supernet(Supernet.from_tensors(MICRO_VIT, tensors), coloured_images(90, seed=1))
    top1 = [one.top1 for one in result.widths]
    assert min(top1) > 0.9, f"top-1 per width {top1}"
    assert result.dynamic is not None
    assert abs(result.dynamic.mean_macs / budget - 1) < 0.2, f"mean {result.dynamic.mean_macs}, budget {budget}"
