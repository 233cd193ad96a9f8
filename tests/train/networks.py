"""Small networks and images that the training tests share."""

from dataclasses import replace

import torch
from torch.utils.data import TensorDataset

from train import GateSpec, StageSpec, SupernetSpec
from train.config import AugmentConfig, SupernetStageConfig
from train.data import ImageSet
from train.initialise import initial_supernet
from train.supernet import Supernet

MICRO = SupernetSpec(
    name="micro",
    resolution=8,
    classes=3,
    stem=StageSpec((4, 6), depth=1, stride=1),
    stages=(
        StageSpec((4, 8), depth=1, stride=2),
        StageSpec((4, 6, 8, 10, 12), depth=2, stride=1),
        StageSpec((6, 8, 10, 12, 16), depth=1, stride=2),
    ),
    gates=(GateSpec(stage=1, choices=(0, 2, 4)),),
    attention_ratio=1.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
"""Five widths, a training-only largest, a gate: every feature of the family in 8×8 pixels."""

MICRO_V2 = SupernetSpec(
    name="micro_v2",
    resolution=8,
    classes=3,
    stem=StageSpec((4, 6, 8), depth=1, stride=1),
    stages=(
        StageSpec((2, 4, 4), depth=1, stride=1),
        StageSpec((4, 6, 8), depth=2, stride=2, expansion=3),
        StageSpec((6, 6, 10), depth=1, stride=1, expansion=3),
    ),
    gates=(),
    activation="relu6",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    family="mobilenet_v2",
    head=StageSpec((20,), depth=1, stride=1, kernel=1),
)
"""Three widths of inverted residuals: a block without expansion, one that adds, an un-slimmed head."""

MICRO_VIT = SupernetSpec(
    name="micro_vit",
    resolution=8,
    classes=3,
    stem=StageSpec((8, 16), depth=1, stride=2, kernel=2),
    stages=(
        StageSpec((8, 16), depth=1, stride=1, kernel=1, heads=(1, 2), head_size=8, hidden=(8, 32)),
        StageSpec(
            (8, 12, 16), depth=1, stride=1, kernel=1, heads=(1, 1, 2), head_size=8, hidden=(8, 24, 32), widens=True
        ),
    ),
    gates=(GateSpec(stage=1, choices=(0, 1, 2)),),
    activation="quick_gelu",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    family="vit",
)
"""Three widths that slice embedding, heads and MLP, a training-only largest, a gate."""

MICRO_GATES = replace(
    MICRO,
    name="micro_gates",
    stages=(MICRO.stages[0], StageSpec((4, 8, 12), depth=2, stride=1), StageSpec((6, 10, 16), depth=1, stride=2)),
    gates=(GateSpec(stage=1, choices=(0, 2)), GateSpec(stage=2, choices=(0, 1, 2), reach=1)),
)
"""MICRO with a second gate: seven paths, four of which the gates choose between."""

MICRO_VIT_GATES = replace(
    MICRO_VIT,
    name="micro_vit_gates",
    stages=(
        *MICRO_VIT.stages,
        StageSpec((8, 16), depth=1, stride=1, kernel=1, heads=(1, 2), head_size=8, hidden=(8, 32), widens=True),
    ),
    gates=(*MICRO_VIT.gates, GateSpec(stage=2, choices=(0, 1), reach=1)),
)
"""A transformer whose second gate decides on another number of embeddings: five paths."""

MICRO_STAGE = SupernetStageConfig(
    epochs=16,
    batch_size=15,
    learning_rate=0.1,
    warmup_epochs=1.0,
    ema_decay=0.8,
    hold_out=0.0,
    augment=AugmentConfig(flip=True, shift=0.0, zoom=0.0),
)
"""Enough of stage I for MICRO to tell `coloured_images` apart at every width."""


def normal_images(spec: SupernetSpec, count: int, seed: int = 0) -> torch.Tensor:
    """Return normalised images (count, 3, r, r) of Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, spec.resolution, spec.resolution, generator=generator)


def coloured_noise(spec: SupernetSpec, count: int, seed: int = 0) -> torch.Tensor:
    """Return normalised images (count, 3, r, r) of noise, each of a colour of its own."""
    colours = torch.randn(count, 3, 1, 1, generator=torch.Generator().manual_seed(seed + 1))
    return normal_images(spec, count, seed) + 2 * colours


def decisive(spec: SupernetSpec, seed: int = 5) -> Supernet:
    """Return an untrained network whose gates send `coloured_noise` to several widths."""
    model = initial_supernet(spec, seed=0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (weight for gate in model.gates for weight in gate.parameters()):
            weight.normal_(0, 1, generator=generator)
    return model


def coloured_images(count: int, seed: int = 0) -> ImageSet:
    """Return images for MICRO that can be told apart: each class brightens its own colour channel."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % MICRO.classes
    pixels = torch.randint(0, 128, (count, 3, MICRO.resolution, MICRO.resolution), generator=generator)
    pixels[torch.arange(count), labels] += 127
    return ImageSet(TensorDataset(pixels.to(torch.uint8), labels), count, ("red", "green", "blue"))
