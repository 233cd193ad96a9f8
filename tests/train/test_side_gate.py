"""A network that came without a gate gets one beside it, which learns, costs little and leaves the network alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch.utils.data import TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from tests.train.networks import MICRO, coloured_images, normal_images
from train import SideGateSpec, SpecError, load_spec
from train.checkpoint import expected_tensors
from train.config import AugmentConfig, GateStageConfig
from train.data import ImageSet
from train.evaluate import evaluate_supernet
from train.gate_stage import train_gate
from train.initialise import initial_supernet
from train.loop import Setting
from train.side_gate import add_side_gate, spread_choices
from train.spec import SIDE_GATE_SHARE, SupernetSpec
from train.supernet import Supernet

GATE_LESS = ("us_mobilenet_v1", "us_mobilenet_v2", "s_mobilenet_v1", "s_mobilenet_v2")
TINY = replace(load_spec("ds_mbv1_tiny"), gates=())
WITH_SIDE_GATE = replace(MICRO, gates=(), side_gate=SideGateSpec((0, 2, 4), 8, (4, 8)))
"""Larger than the rule allows beside so small a network: what is tested with it is that a side gate learns."""
RED = 0


@pytest.mark.parametrize("name", GATE_LESS)
def test_a_side_gate_costs_at_most_its_share_of_the_narrowest_width(name: str) -> None:
    spec = load_spec(name)
    gated = spec.with_side_gate(spread_choices(spec.n_widths))
    more = {gated.macs(width) - spec.macs(width) for width in range(spec.n_widths)}
    assert len(more) == 1
    share = more.pop() / spec.macs(0)
    assert 0 < share <= SIDE_GATE_SHARE, f"{share:.2%}"
    assert SupernetSpec.from_json(gated.to_json()) == gated


def test_a_network_too_small_for_a_side_gate_is_refused() -> None:
    with pytest.raises(SpecError, match="no side gate of at most 2% of these reads an image of 4…32 pixels"):
        replace(MICRO, gates=()).with_side_gate((0, 4))
    with pytest.raises(SpecError, match="that divide those"):
        replace(TINY, resolution=97).with_side_gate((0, 3))


@pytest.mark.parametrize("resolution", [32, 64, 96, 224])
def test_a_side_gate_is_the_largest_that_fits(resolution: int) -> None:
    spec = replace(load_spec("us_mobilenet_v1"), resolution=resolution)
    gated = spec.with_side_gate((0, 30))
    share = gated.macs(0) / spec.macs(0) - 1
    assert 0.005 < share <= SIDE_GATE_SHARE, f"{share:.2%} of the narrowest width"
    assert gated.side_gate.channels[0] >= 4, gated.side_gate


def test_a_network_with_a_gate_gets_no_second_one() -> None:
    with pytest.raises(SpecError, match=r"has 1 gate\(s\) already; train those$"):
        MICRO.with_side_gate((0, 4))
    with pytest.raises(SpecError, match="a gate and a side_gate; one decides"):
        replace(MICRO, side_gate=SideGateSpec((0, 4), 8, (4,)))


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (SideGateSpec((0, 9), 8, (4,)), r"gate choices \[0, 9\] must be ascending entries of \[0, 1, 2, 3, 4\]"),
        (SideGateSpec((0, 4), 3, (4,)), "side_gate: resolution 3 must divide 8"),
        (SideGateSpec((0, 4), 8, ()), "side_gate: channels need 1…8 whole numbers"),
    ],
)
def test_a_side_gate_out_of_range_is_refused_by_name(gate: SideGateSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(MICRO, gates=(), side_gate=gate)


@pytest.mark.parametrize(("widths", "choices"), [(31, (0, 10, 20, 30)), (4, (0, 1, 2, 3)), (2, (0, 1)), (1, (0,))])
def test_a_side_gate_chooses_between_four_widths_evenly_spread(widths: int, choices: tuple[int, ...]) -> None:
    assert spread_choices(widths) == choices


def test_adding_a_side_gate_leaves_every_other_tensor_as_it_is() -> None:
    tensors = initial_supernet(TINY, seed=0).tensors()
    spec, gated = add_side_gate(TINY, tensors, (0, 3), seed=1)
    assert spec.choices == ((0, 3),)
    assert {name: values.shape for name, values in gated.items()} == expected_tensors(spec)
    assert all(np.array_equal(gated[name], values) for name, values in tensors.items())
    again, other = (add_side_gate(TINY, tensors, (0, 3), seed)[1]["gate.logits.weight"] for seed in (1, 2))
    assert np.array_equal(gated["gate.logits.weight"], again)
    assert not np.array_equal(gated["gate.logits.weight"], other)


@torch.no_grad()
def test_dynamic_inference_runs_the_side_gate_and_the_chosen_width_alone() -> None:
    model = Supernet.from_tensors(*add_side_gate(TINY, initial_supernet(TINY, seed=0).tensors(), (0, 1, 2, 3)))
    model.gate.logits.weight.normal_(0, 5, generator=torch.Generator().manual_seed(1))
    images = normal_images(TINY, 24)
    with FlopCounterMode(display=False) as counter:
        logits, widths = model.forward_dynamic(images)
    executed, expected = counter.get_total_flops() // 2, sum(model.spec.macs(width) for width in widths.tolist())
    assert len(set(widths.tolist())) > 1, f"the gate chose {set(widths.tolist())} alone, so this test shows nothing"
    assert executed == expected, f"{executed} MACs executed, the chosen widths need {expected}"
    for image, width, row in zip(images, widths.tolist(), logits, strict=True):
        error = (model(image[None], width)[0] - row).abs().max().item()
        assert error < 1e-5, f"width {width}: dynamic and static logits differ by {error}"


def test_a_side_gate_learns_which_images_need_the_largest_width(trained_supernet: dict[str, np.ndarray]) -> None:
    tensors = {name: values for name, values in trained_supernet.items() if not name.startswith("gate.")}
    start = initial_supernet(WITH_SIDE_GATE, seed=0).tensors() | tensors
    config = GateStageConfig(
        epochs=30, batch_size=20, learning_rate=0.2, weight_decay=0.0, mac_weight=0.1, hold_out=0.0,
        augment=AugmentConfig(flip=False, shift=0.0, zoom=0.0),
    )  # fmt: skip
    setting = Setting(Fabric(accelerator="cpu", devices=1))
    trained = train_gate(WITH_SIDE_GATE, start, _with_red_mislabelled(60), config, setting=setting)
    changed = {name for name in start if not np.array_equal(trained[name], start[name])}
    assert changed == {name for name in start if name.startswith("gate.")}
    red, others = (_shares(trained, kept) for kept in (True, False))
    assert red[4] > 0.9, f"shares of the red images, which no width gets right, {red}"
    assert others[0] > 0.9, f"shares of the other images {others}"


def _with_red_mislabelled(count: int) -> ImageSet:
    pixels, labels = coloured_images(count, seed=1).images.tensors
    return ImageSet(TensorDataset(pixels, torch.where(labels == RED, 1, labels)), count, ("red", "green", "blue"))


def _shares(tensors: dict[str, np.ndarray], red: bool) -> dict[int, float]:
    """Return the share of each width among unseen red images, or among the others."""
    pixels, labels = coloured_images(90, seed=2).images.tensors
    chosen = (labels == RED) == red
    images = ImageSet(TensorDataset(pixels[chosen], labels[chosen]), int(chosen.sum()), ("red", "green", "blue"))
    result = evaluate_supernet(Supernet.from_tensors(WITH_SIDE_GATE, tensors), images)
    assert result.dynamic is not None
    return result.dynamic.shares
