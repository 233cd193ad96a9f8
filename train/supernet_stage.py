"""Stage I: all widths of the supernet learn together (DS-Net, Li et al., CVPR 2021), and so do its baselines.

Every step runs {largest, random widths, smallest}, the sandwich rule of US-Nets (Yu & Huang, ICCV 2019). The widest
learns from the labels, the others from a moving average (EMA) of the network at its widest: in-place bootstrapping.
Multi-view consistency (DS-Net++, for transformers) shows that average other views of the images.
US-Nets learn from the widest network as it is now, S-Nets (Yu et al., ICLR 2019) run every width on the labels.

Shapes: n images, r × r pixels, k classes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from train.augment import Normalise, resized
from train.config import SupernetStageConfig
from train.data import ImageSet, batches, hold_out
from train.errors import DataError
from train.evaluate import classified_right
from train.initialise import begin_as_identity, initialise
from train.layers import normalise_by_batch
from train.loop import NamedParameters, Setting, View, kept_random_state, run_steps
from train.losses import cross_entropy, ensemble_target, soft_cross_entropy
from train.recalibrate_bn import recalibrate
from train.sampling import STATISTICS, WIDTHS, generator_of
from train.spec import SupernetSpec
from train.supernet import Supernet

TensorList = tuple[Tensor, ...] | list[Tensor]

EMA_WARMUP_STEPS = 10
"""The average forgets its random start: after s steps it weighs the past by at most (1 + s) / (10 + s)."""
GLIMPSE_BATCHES = 8
"""Batches that batch-norm statistics are measured on for the accuracy after an epoch."""


def train_supernet(
    spec: SupernetSpec,
    images: ImageSet,
    config: SupernetStageConfig,
    seed: int = 0,
    start: Mapping[str, np.ndarray] | None = None,
    setting: Setting | None = None,
) -> dict[str, np.ndarray]:
    """Train every width and return the averaged network's tensors, batch norm recalibrated on the training images.

    `start` continues from a checkpoint's tensors; otherwise the weights are drawn from `seed`. The default setting is
    the first device found, and no run folder. The same seed on the same machine gives the same network. Too few images
    for batch norm are a DataError.
    """
    setting = setting or Setting(Fabric(devices=1))
    kept, held_out = hold_out(images, config.hold_out, seed)
    _check_part_size(kept, config, setting.fabric.world_size)
    with kept_random_state(setting.fabric):
        learner = SupernetLearner(spec, kept, held_out, config, seed, start, setting.fabric)
        run_steps(learner, spec, kept, config, seed, setting)
        return learner.finished()


class SupernetLearner:
    """The network at its widths, and its moving average."""

    def __init__(
        self,
        spec: SupernetSpec,
        images: ImageSet,
        held_out: ImageSet | None,
        config: SupernetStageConfig,
        seed: int,
        start: Mapping[str, np.ndarray] | None,
        fabric: Fabric,
    ) -> None:
        self.spec = spec
        self.images = images
        self.held_out = held_out
        self.config = config
        self.seed = seed
        self.fabric = fabric
        self.model = _starting_point(spec, seed, start).to(fabric.device)
        self.average = _average_of(self.model, config.ema_decay)
        self.normalise = Normalise(spec).to(fabric.device)
        self.seen_resolution = spec.resolution
        self.student = _Runner(self.model, config.compile)
        assert isinstance(self.average.module, Supernet)
        self.averaged = self.average.module
        self.teacher = _Runner(self.averaged, config.compile)

    def named_parameters(self) -> NamedParameters:
        """Return every weight but the gates', which learn in stage II."""
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]

    def carried(self) -> dict[str, Tensor]:
        """Return the weights of the network and of its average; batch-norm statistics are measured at the end."""
        network = {f"model.{name}": weight.data for name, weight in self.model.named_parameters()}
        average = {f"average.{name}": weight.data for name, weight in self.averaged.named_parameters()}
        return network | average | {"average.steps": self.average.n_averaged}

    def resolution(self, epoch: int) -> int:
        """Return the network's resolution, or a smaller one in the early epochs if the config says so."""
        early = self.config.early_resolution or self.spec.resolution // 2
        return early if epoch < self.config.early_epochs else self.spec.resolution

    def add_gradients(self, images: Tensor, labels: Tensor, step: int, share: float, view: View) -> dict[str, Tensor]:
        """Run every width of the step forward and backward; only one width's graph is in memory at a time."""
        config, self.seen_resolution = self.config, images.shape[-1]
        top, *others = self.widths(step)
        shown = view() if config.objective == "multi-view consistency" else images
        targets = self._bootstrapped_targets(shown, (top, *others))
        losses = {}
        prefix = _SharedPrefix(self.student, images, self.fabric.autocast)
        for width in (top, *others):
            logits = prefix.logits(width)
            if width == top or config.objective == "labels":
                loss = cross_entropy(logits, labels, config.label_smoothing)
            else:
                loss = soft_cross_entropy(logits, targets[width])
            if width == top and config.objective == "distillation":
                targets = dict.fromkeys(others, logits.detach().softmax(dim=1))
            self.fabric.backward(loss * share)
            losses[f"width {width}"] = loss.detach()
        prefix.backward()
        return losses

    def after_step(self) -> None:
        """Move the average."""
        self.average.update_parameters(self.model)

    def accuracies(self) -> dict[str, float]:
        """Return the average's held-out top-1 at the smallest, the middle and the widest width."""
        if self.held_out is None:
            return {}
        widths = sorted({0, self.spec.n_widths // 2, self.spec.n_widths - 1})
        with self.fabric.autocast():
            recalibrate(self.averaged, self._sample(GLIMPSE_BATCHES), widths)
            right = classified_right(self.averaged.eval(), self._prepared(self.held_out), widths)
        normalise_by_batch(self.average)
        return {f"width {width}": float(row.double().mean()) for width, row in zip(widths, right, strict=True)}

    def finished(self) -> dict[str, np.ndarray]:
        """Return the averaged network's tensors, batch norm recalibrated at every width."""
        self.seen_resolution = self.spec.resolution
        limit = self.config.recalibration_batches
        with self.fabric.autocast():
            recalibrate(self.averaged, self._sample(limit))
        return self.averaged.tensors()

    def widths(self, step: int) -> tuple[int, ...]:
        """Return the widths of a step, the widest first."""
        top = self.spec.largest if self.config.wide_teacher else self.spec.n_widths - 1
        if self.config.sampling == "all":
            return tuple(range(top, -1, -1))
        return sandwich_widths(top, self.config.random_widths, generator_of(self.seed, WIDTHS, step))

    @torch.no_grad()
    def _bootstrapped_targets(self, images: Tensor, widths: Sequence[int]) -> dict[int, Tensor]:
        """Return what the average at its widest says, (n, k), for every width but the widest; for the smallest in IEB,
        the mean of what the average says at the step's other widths."""
        objective, (*taught_by, smallest) = self.config.objective, widths
        if objective in ("distillation", "labels") or not taught_by:
            return {}
        with self.fabric.autocast():
            if objective != "ensemble bootstrapping":
                taught_by = taught_by[:1]
            logits = [self.teacher.whole(images, width).float() for width in taught_by]
        targets = dict.fromkeys(widths[1:], logits[0].softmax(dim=1))
        return targets | {smallest: ensemble_target(logits)}

    def _sample(self, count: int) -> Iterator[Tensor]:
        """Yield batches of training images of all classes: sets often hold one class after the other."""
        generator = generator_of(self.seed, STATISTICS)
        return (images for images, _ in islice(self._prepared(self.images, generator), count))

    def _prepared(self, images: ImageSet, shuffle: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield unchanged images, normalised, at the resolution that training is at, and their labels."""
        for pixels, labels in batches(images, self.config.batch_size, shuffle):
            unchanged = self.normalise(resized(pixels.to(self.fabric.device), self.seen_resolution))
            yield unchanged, labels.to(self.fabric.device)


class _Runner:
    """The network's parts as the loop calls them, compiled if asked for."""

    def __init__(self, model: Supernet, compiled: bool) -> None:
        self.n_widths = model.spec.n_widths
        self.shares = model.split is not None
        self.whole, self.prefix, self.rest = model.forward, model.forward_shared, model.forward_rest
        if compiled:
            # Every width is a static shape; dynamo would stop at 8 of them.
            torch._dynamo.config.recompile_limit = max(64, 2 * model.spec.n_widths)
            self.whole, self.prefix, self.rest = (
                torch.compile(part, dynamic=False) for part in (self.whole, self.prefix, self.rest)
            )


class _SharedPrefix:
    """Runs the layers that all widths have in common once per part of a batch, forward and backward.

    Batch norm in training mode normalises by the batch, so these layers do the same for every width: their gradient is
    that of the sum of the losses. The training-only largest network is wider there and runs by itself.
    """

    def __init__(self, runner: _Runner, images: Tensor, autocast: Callable[[], AbstractContextManager[None]]) -> None:
        self.runner = runner
        self.images = images
        self.autocast = autocast
        self.features: Tensor | None = None
        self.leaf: Tensor | None = None

    def logits(self, width: int) -> Tensor:
        """Return the logits (n, k) of one width, float32."""
        with self.autocast():
            if not self.runner.shares or width >= self.runner.n_widths:
                return self.runner.whole(self.images, width).float()
            if self.leaf is None:
                self.features = self.runner.prefix(self.images)
                self.leaf = self.features.detach().requires_grad_()
            return self.runner.rest(self.leaf, width).float()

    def backward(self) -> None:
        """Carry the gradients of all widths so far through the common layers."""
        if self.features is not None and self.leaf is not None:
            torch.autograd.backward(self.features, self.leaf.grad)


def sandwich_widths(top: int, random_widths: int, generator: torch.Generator) -> tuple[int, ...]:
    """Return the widths of one step: the widest, up to `random_widths` distinct ones between the ends, the smallest."""
    between = torch.randperm(max(0, top - 1), generator=generator)[:random_widths] + 1
    return (top, *between.tolist(), 0) if top else (0,)


def _check_part_size(images: ImageSet, config: SupernetStageConfig, processes: int) -> None:
    parts = processes * config.accumulate
    size = min(config.batch_size, images.count) // parts
    if size < 2:
        raise DataError(
            f"{images.count} training image(s) and batch_size {config.batch_size} over {parts} part(s) leave {size} to "
            "each; batch norm needs at least 2"
        )


def _starting_point(spec: SupernetSpec, seed: int, start: Mapping[str, np.ndarray] | None) -> Supernet:
    """Return the network to train, its gates frozen: they learn in stage II."""
    model = Supernet(spec) if start is None else Supernet.from_tensors(spec, start)
    if start is None:
        initialise(model, seed)
        begin_as_identity(model)
    for gate in model.gates:
        gate.requires_grad_(False)
    return model.train()


def _average_of(model: Supernet, decay: float) -> AveragedModel:
    """Return the EMA copy, which normalises by the batch: `largest` has no statistics of its own in routed stages."""

    @torch.no_grad()
    def forget(averaged: TensorList, current: TensorList, steps: Tensor | int) -> None:
        weight = min(decay, (1 + int(steps)) / (EMA_WARMUP_STEPS + int(steps)))
        torch._foreach_lerp_(averaged, current, 1 - weight)

    average = AveragedModel(model, multi_avg_fn=forget)
    normalise_by_batch(average)
    return average
