"""Training images are changed at random, each on its own, and stay images."""

import torch

from train.augment import augmentation, to_unit
from train.config import AugmentConfig


def test_augmentation_keeps_shape_and_range_and_differs_per_image() -> None:
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8).expand(6, 3, 8, 8)
    changed = augmentation(AugmentConfig(flip=True, rotation=20.0), 8)(to_unit(pixels))
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6
    assert any(not torch.equal(changed[0], other) for other in changed[1:])


def test_no_augmentation_leaves_images_alone() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    assert torch.equal(augmentation(AugmentConfig(flip=False, rotation=0, shift=0, zoom=0), 8)(pixels), pixels)
