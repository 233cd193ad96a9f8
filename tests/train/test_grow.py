"""A network with larger kernels begins as the trained one with smaller ones, whatever way either stores them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.convert.supernets import trained_like
from tests.train.networks import MICRO, MICRO_STAGE, MICRO_VIT, coloured_images, normal_images
from train import ConfigError, SupernetSpec, load_spec
from train.grow import grown
from train.spec import StageSpec
from train.supernet import Supernet
from train.supernet_stage import train_supernet

ROUNDING = 1e-5
"""Largest difference of two logits of about 1 that are summed in another order, relative to the largest."""
RESNET = load_spec("ds_resnet18_64")
RESNET_5 = replace(RESNET, stages=tuple(replace(stage, kernel=5) for stage in RESNET.stages))
SLICED = (3, 3, 5, 5, 5)


def with_kernels(kernel: int, kernels: tuple[int, ...] | None = None, name: str = "other") -> SupernetSpec:
    """Return MICRO with these depthwise kernels in its deepest stage."""
    first, deepest, last = MICRO.stages
    return replace(MICRO, name=name, stages=(first, replace(deepest, kernel=kernel, kernels=kernels), last))


@torch.no_grad()
@pytest.mark.parametrize(
    ("small", "large"),
    [
        (MICRO, with_kernels(3, SLICED)),
        (MICRO, with_kernels(7)),
        (with_kernels(3, SLICED), with_kernels(5, (3, 3, 7, 9, 9))),
        (with_kernels(3, (5,) * 5), with_kernels(5)),
        (MICRO, MICRO),
    ],
    ids=["sliced", "whole", "sliced further", "no longer sliced", "the same"],
)
def test_at_every_width_a_grown_network_says_what_the_small_one_did(small: SupernetSpec, large: SupernetSpec) -> None:
    tensors = trained_like(small).tensors
    before = Supernet.from_tensors(small, tensors)
    after = Supernet.from_tensors(large, grown(large, small, tensors))
    images = normal_images(MICRO, 4)
    for width in range(MICRO.n_widths):
        said, expected = after(images, width), before(images, width)
        error = ((said - expected).abs().max() / expected.abs().max()).item()
        assert error < ROUNDING, f"width {width}: relative difference {error:.2e}"


def test_the_small_kernel_stands_in_the_centre_and_zeros_around_it() -> None:
    tensors, name = trained_like(MICRO).tensors, "stages.1.1.depthwise.weight"
    whole = grown(with_kernels(7), MICRO, tensors)[name]
    assert np.array_equal(whole[:, :, 2:5, 2:5], tensors[name])
    assert np.count_nonzero(whole) == np.count_nonzero(tensors[name]) == tensors[name].size
    sliced = grown(with_kernels(3, SLICED), MICRO, tensors)[name]
    assert np.array_equal(np.sort(sliced[:, 0, :9]), np.sort(tensors[name].reshape(-1, 9)))
    assert not sliced[:, :, 9:].any()


def test_training_fills_what_was_zero() -> None:
    large = with_kernels(3, SLICED)
    start = grown(large, MICRO, trained_like(MICRO).tensors)
    trained = train_supernet(large, coloured_images(30), replace(MICRO_STAGE, epochs=1), start=start)
    assert trained["stages.1.1.depthwise.weight"][:, :, 9:].all()


@pytest.mark.parametrize(
    ("small", "large", "fragment"),
    [
        (MICRO, replace(MICRO, resolution=16, classes=4), "they differ in resolution, classes, valid: in depthwise"),
        (MICRO, replace(MICRO, stem=StageSpec((4, 6), 1, 1, kernel=5)), "they differ in stem"),
        (MICRO_VIT, MICRO, "they differ in"),
        (RESNET, RESNET_5, "they differ in stages"),
        (with_kernels(5), MICRO, "has kernel 3 at width 0, the checkpoint's sees 5 of 5 there; valid: 5 or more"),
        (with_kernels(3, SLICED), with_kernels(3, (3, 5, 5, 5, 5)), "has kernel 5 at width 1, the checkpoint's sees 3"),
    ],
)
def test_other_differences_are_refused_in_one_line(small: SupernetSpec, large: SupernetSpec, fragment: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grown(large, small, trained_like(small).tensors)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
