"""Images on the device: the network's normalisation, and the random changes of training, drawn per image in batches.

Shapes: n images, r × r pixels.
"""

import kornia.augmentation
import torch
import torch.nn.functional as F
from kornia.augmentation.auto import RandAugment
from torch import Tensor, nn

from train.config import AugmentConfig
from train.spec import SupernetSpec

CROP_RATIO = (3 / 4, 4 / 3)
"""Aspect ratios of a random crop, as in Inception's recipe (Szegedy et al., CVPR 2015)."""
RANDAUGMENT_OPERATIONS = 2
"""Operations of RandAugment, as in the published recipe."""
RANDAUGMENT_GROUP = 32
"""Images that share the operations drawn; signs and places differ per image. Fewer cost more time."""
RANDAUGMENT_RANGE = (0.1, 29.9)
"""Magnitudes that kornia accepts."""


class Normalise(nn.Module):
    """uint8 pixels → the float32 that the network reads: (pixel / 255 − mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 (n, 3, r, r), or float pixels in 0…1, to normalised float32."""
        normalised = (to_unit(pixels) - self.mean) / self.std
        # Depthwise and 1×1 convolutions run about 1.5 times faster in this memory layout; the values are the same.
        return normalised.contiguous(memory_format=torch.channels_last)


class NoisyRandAugment(nn.Module):
    """RandAugment (Cubuk et al., CVPRW 2020) whose magnitude varies by a Gaussian, as the published recipe has it."""

    def __init__(self, magnitude: float, deviation: float) -> None:
        super().__init__()
        self.magnitude = magnitude
        self.deviation = deviation

    def forward(self, images: Tensor) -> Tensor:
        """Change float images (n, 3, r, r) in 0…1; every group of `RANDAUGMENT_GROUP` draws its own operations."""
        return torch.cat([self._changed(group) for group in torch.split(images, RANDAUGMENT_GROUP)])

    def _changed(self, images: Tensor) -> Tensor:
        lowest, highest = RANDAUGMENT_RANGE
        drawn = float(torch.normal(self.magnitude, self.deviation, ()))
        changed: Tensor = RandAugment(RANDAUGMENT_OPERATIONS, min(max(drawn, lowest), highest))(images)  # type: ignore[arg-type]
        return changed


def to_unit(pixels: Tensor) -> Tensor:
    """Return uint8 pixels as float32 in 0…1; float pixels are in that range already."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def resized(images: Tensor, resolution: int) -> Tensor:
    """Scale uint8 images, or float ones in 0…1, to a side of `resolution`, bilinearly with antialias, as decoding does.

    Those that have it are returned as they are; others as float in 0…1.
    """
    if images.shape[-1] == resolution:
        return images
    return F.interpolate(to_unit(images), (resolution, resolution), mode="bilinear", antialias=True)


def augmentation(config: AugmentConfig, resolution: int) -> nn.Module:
    """Return the random changes that `config` names, for float pixels (n, 3, r, r) in 0…1, drawn per image.

    resolution: side in pixels of the images given and returned.
    """
    steps: list[nn.Module] = []
    if config.crop < 1:
        size, scale = (resolution, resolution), (config.crop, 1.0)
        # By resampling: cutting each image out by itself would be a Python loop over the batch.
        steps.append(kornia.augmentation.RandomResizedCrop(size, scale, CROP_RATIO, cropping_mode="resample"))
    if config.rotation or config.shift or config.zoom:
        zoom = (1 - config.zoom, 1 + config.zoom)
        steps.append(
            kornia.augmentation.RandomAffine(
                config.rotation, (config.shift, config.shift), zoom, padding_mode="border", p=1.0
            )
        )
    if config.flip:
        steps.append(kornia.augmentation.RandomHorizontalFlip())
    if config.colour:
        steps.append(kornia.augmentation.ColorJitter(config.colour, config.colour, config.colour, p=1.0))
    if config.randaugment:
        steps.append(NoisyRandAugment(config.randaugment, config.randaugment_deviation))
    if config.erasing:
        steps.append(kornia.augmentation.RandomErasing(p=config.erasing, value=0.5))
    return nn.Sequential(*steps)
