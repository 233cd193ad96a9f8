"""Stage I: all widths of the supernet learn together (DS-Net, Li et al., CVPR 2021).

Every step runs {largest, two random widths, smallest}, the sandwich rule of US-Nets (Yu & Huang, ICCV 2019). The
largest learns from the labels, the others from a moving average (EMA) of the network at its largest: in-place
bootstrapping.
"""

import math
from collections.abc import Callable, Mapping
from itertools import islice

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from train.augment import Normalise, augmentation, to_unit
from train.config import SupernetStageConfig
from train.data import ImageSet, batches
from train.errors import DataError
from train.initialise import initialise
from train.layers import normalise_by_batch
from train.losses import cross_entropy, ensemble_target, soft_cross_entropy
from train.progress import Progress, Report, ignore
from train.recalibrate_bn import recalibrate
from train.spec import SupernetSpec
from train.supernet import Supernet

RANDOM_WIDTHS = 2
"""Random widths per step, as published."""
EMA_WARMUP_STEPS = 10
"""The average forgets its random start: after s steps it weighs the past by at most (1 + s) / (10 + s)."""


def train_supernet(
    spec: SupernetSpec,
    images: ImageSet,
    config: SupernetStageConfig,
    seed: int = 0,
    start: Mapping[str, np.ndarray] | None = None,
    report: Report = ignore,
    fabric: Fabric | None = None,
) -> dict[str, np.ndarray]:
    """Train every width and return the averaged network's tensors, batch norm recalibrated on the training images.

    `start` continues from a checkpoint's tensors; otherwise the weights are drawn from `seed`. `fabric` chooses the
    device (default: the first one found). The same seed on the same machine gives the same network. Fewer than two
    images are a DataError.
    """
    if images.count < 2:
        raise DataError(f"{images.count} training image(s); batch norm needs at least 2")
    fabric = fabric or Fabric(devices=1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        model = _starting_point(spec, seed, start)
        loader = fabric.setup_dataloaders(batches(images, config.batch_size, shuffle=generator))
        steps = config.epochs * len(loader)
        optimizer = _optimizer(model, config)
        schedule = LambdaLR(optimizer, warmup_cosine(int(config.warmup_epochs * len(loader)), steps))
        wrapped, optimizer = fabric.setup(model, optimizer)
        average = _average_of(model, config.ema_decay)
        normalise = fabric.to_device(Normalise(spec))
        augment = fabric.to_device(augmentation(config.augment))
        for epoch in range(config.epochs):
            for number, (pixels, labels) in enumerate(loader, start=epoch * len(loader) + 1):
                batch = normalise(augment(to_unit(pixels)))
                widths = sandwich_widths(spec, generator)
                loss = _sandwich_step(fabric, wrapped, average, batch, labels, widths, config)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                average.update_parameters(model)
                report(Progress(number, steps, loss))
        averaged = average.module
        assert isinstance(averaged, Supernet)
        recalibrate(averaged, (normalise(pixels) for pixels, _ in islice(loader, config.recalibration_batches)))
    return averaged.tensors()


def sandwich_widths(spec: SupernetSpec, generator: torch.Generator) -> tuple[int, ...]:
    """Return the widths of one step: largest, up to two distinct random ones between the ends, smallest."""
    between = torch.randperm(max(0, spec.largest - 1), generator=generator)[:RANDOM_WIDTHS] + 1
    return (spec.largest, *between.tolist(), 0) if spec.largest else (0,)


def warmup_cosine(warmup_steps: int, steps: int) -> Callable[[int], float]:
    """Return the learning-rate factor by step: linear over `warmup_steps`, then half a cosine to zero at `steps`."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps))

    return factor


def _starting_point(spec: SupernetSpec, seed: int, start: Mapping[str, np.ndarray] | None) -> Supernet:
    """Return the network to train, its gate frozen: that one learns in stage II."""
    model = Supernet(spec) if start is None else Supernet.from_tensors(spec, start)
    if start is None:
        initialise(model, seed)
    if model.gate is not None:
        model.gate.requires_grad_(False)
    return model.train()


def _optimizer(model: Supernet, config: SupernetStageConfig) -> torch.optim.SGD:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [vector for vector in trained if vector.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, config.learning_rate, config.momentum, nesterov=config.momentum > 0)


def _average_of(model: Supernet, decay: float) -> AveragedModel:
    """Return the EMA copy, which normalises by the batch: `largest` has no statistics of its own in routed stages."""

    def forget(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        weight = min(decay, (1 + int(steps)) / (EMA_WARMUP_STEPS + int(steps)))
        return torch.lerp(current, averaged, weight)

    average = AveragedModel(model, avg_fn=forget)
    normalise_by_batch(average)
    return average


def _sandwich_step(
    fabric: Fabric,
    model: Callable[[Tensor, int], Tensor],
    average: AveragedModel,
    images: Tensor,
    labels: Tensor,
    widths: tuple[int, ...],
    config: SupernetStageConfig,
) -> float:
    """Add the gradients of all widths of one step; return the sum of their losses.

    widths: largest, random ones, smallest. Each is run backward at once, so only one graph is in memory.
    """
    largest, *others = widths
    with torch.no_grad():
        teachers = [average(images, width) for width in (widths[:-1] if config.ensemble else widths[:1])]
    targets = dict.fromkeys(others, teachers[0].softmax(dim=1))
    if config.ensemble:
        targets[0] = ensemble_target(teachers)
    loss = cross_entropy(model(images, largest), labels, config.label_smoothing)
    fabric.backward(loss)
    total = loss.item()
    for width in others:
        loss = soft_cross_entropy(model(images, width), targets[width])
        fabric.backward(loss)
        total += loss.item()
    return total
