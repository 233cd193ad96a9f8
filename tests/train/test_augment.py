"""Training images are changed at random, each on its own, and stay images."""

from typing import Any

import pytest
import torch
from torch import Tensor

from train.augment import augmentation, resized, to_unit
from train.config import AugmentConfig

OFF: dict[str, Any] = {"flip": False, "shift": 0.0, "zoom": 0.0}
ALONE: dict[str, dict[str, Any]] = {
    "crop": {"crop": 0.3},
    "flip": {"flip": True},
    "rotation": {"rotation": 30.0},
    "shift": {"shift": 0.2},
    "zoom": {"zoom": 0.3},
    "colour": {"colour": 1.0},
    "randaugment": {"randaugment": 9.0},
    "strong randaugment": {"randaugment": 29.0, "randaugment_deviation": 5.0},
    "erasing": {"erasing": 1.0},
}
PUBLISHED = AugmentConfig(**OFF | {"crop": 0.08, "flip": True, "colour": 0.06, "randaugment": 9.0, "erasing": 0.2})
SIDE = 16


def pictures(count: int = 24) -> Tensor:
    """Return pixels (count, 3, r, r) in 0…1: a black and a white image, then noise on a gradient."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, SIDE).expand(count, 3, SIDE, SIDE)
    images = (ramp + torch.rand(ramp.shape, generator=generator)) / 2
    images[0], images[1] = 0, 1
    return images


def changed(config: AugmentConfig, images: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    result: Tensor = augmentation(config, images.shape[-1])(images)
    return result


def test_augmentation_keeps_shape_and_range_and_differs_per_image() -> None:
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8).expand(6, 3, 8, 8)
    result = changed(AugmentConfig(flip=True, rotation=20.0), to_unit(pixels))
    assert result.shape == pixels.shape
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6
    assert any(not torch.equal(result[0], other) for other in result[1:])


def test_no_augmentation_leaves_images_alone_and_runs_nothing() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    assert changed(AugmentConfig(**OFF), pixels) is pixels
    assert list(augmentation(AugmentConfig(**OFF), 8).children()) == []


@pytest.mark.parametrize("fields", ALONE.values(), ids=ALONE.keys())
def test_every_change_is_one_module_that_changes_images_and_keeps_shape_and_range(fields: dict[str, Any]) -> None:
    images = pictures()
    given, config = images.clone(), AugmentConfig(**OFF | fields)
    assert len(list(augmentation(config, SIDE).children())) == 1
    for seed in range(4):
        result = changed(config, images, seed)
        assert (result.shape, result.dtype) == (images.shape, torch.float32)
        assert not torch.equal(result, images)
        assert torch.equal(images, given), "the images given were written to"
        low, high = result.min().item(), result.max().item()
        assert -1e-4 <= low <= high <= 1 + 1e-4, f"pixels within {low} … {high}"


@pytest.mark.parametrize("fields", [*ALONE.values(), {}], ids=[*ALONE.keys(), "published"])
def test_the_same_seed_gives_the_same_images(fields: dict[str, Any]) -> None:
    config = AugmentConfig(**OFF | fields) if fields else PUBLISHED
    first = changed(config, pictures(), seed=7)
    assert torch.equal(changed(config, pictures(), seed=7), first)
    assert not torch.equal(changed(config, pictures(), seed=8), first)


def test_half_of_the_images_are_mirrored() -> None:
    images = pictures(200)[2:]
    result = changed(AugmentConfig(**OFF | {"flip": True}), images)
    mirrored = [torch.equal(after, before.flip(-1)) for before, after in zip(images, result, strict=True)]
    kept = [torch.equal(after, before) for before, after in zip(images, result, strict=True)]
    assert sum(mirrored) + sum(kept) == len(images)
    # 198 fair coins: 5 standard deviations are 35.
    assert 64 <= sum(mirrored) <= 134, sum(mirrored)


def test_erasing_spares_the_share_that_it_should() -> None:
    images = pictures(200)
    result = changed(AugmentConfig(**OFF | {"erasing": 0.2}), images)
    erased = sum(not torch.equal(after, before) for before, after in zip(images, result, strict=True))
    # 40 expected, standard deviation 5.7.
    assert 12 <= erased <= 68, erased


def test_groups_draw_randaugment_operations_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are equal and so is the magnitude: only the two operations and their signs can tell results apart."""
    images = pictures(3)[2:].expand(16, 3, SIDE, SIDE)
    config = AugmentConfig(**OFF | {"randaugment": 9.0, "randaugment_deviation": 0.0})
    distinct = {}
    for group in (16, 4):
        monkeypatch.setattr("train.augment.RANDAUGMENT_GROUP", group)
        distinct[group] = len(torch.unique(changed(config, images).flatten(1), dim=0))
    assert distinct[16] <= 4 < distinct[4], f"distinct images by the size of a group: {distinct}"


def test_a_last_group_may_be_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.augment.RANDAUGMENT_GROUP", 4)
    assert len(changed(AugmentConfig(**OFF | {"randaugment": 9.0}), pictures(9))) == 9


def test_resizing_halves_a_side_by_averaging_and_keeps_the_range() -> None:
    halved = resized(pictures(), SIDE // 2)
    assert halved.shape == (24, 3, SIDE // 2, SIDE // 2)
    assert torch.equal(halved[0], torch.zeros(3, SIDE // 2, SIDE // 2))
    assert (halved[1] - 1).abs().max() < 1e-6
    assert -1e-6 <= halved.min() <= halved.max() <= 1 + 1e-6
    apart = (halved[2:].mean() - pictures()[2:].mean()).abs().item()
    assert apart < 0.01, f"mean brightness changed by {apart}"


def test_resizing_to_the_same_side_is_the_same_tensor() -> None:
    images = pictures()
    assert resized(images, SIDE) is images
