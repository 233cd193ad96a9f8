"""The training loop of both stages: parts of a batch in, one gradient synchronisation and one optimiser step out.

Lightning Fabric brings the device, the precision and the processes; every process holds the whole network.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from train.augment import Normalise, augmentation, resized, to_unit
from train.config import StageConfig
from train.data import ImageSet
from train.errors import TrainError
from train.progress import Progress, Report, ignore
from train.run_folder import RunFolder, State
from train.sampling import DRAWS, VIEWS, PartSampler, loaded_parts, seed_of, steps_per_epoch
from train.schedule import warmup_cosine
from train.spec import SupernetSpec

REPORT_SECONDS = 0.5
"""Time between two reports: reading a loss makes a GPU wait."""
CROP_MARGIN = 8 / 7
"""Largest side of an image that is cropped, in sides of the crop: 256 pixels for 224."""
SAVE_SECONDS = 60.0
"""Time between two saved states: what a killed run loses at most."""

ADAMW_BETA2 = 0.999
"""Weight of the past, per step, in the mean of squared gradients, as DeiT has it (Touvron et al., ICML 2021)."""
OPTIMIZER = "optimizer"
"""What the names of the optimiser's tensors begin with in a saved state."""

View = Callable[[], Tensor]
NamedParameters = list[tuple[str, nn.Parameter]]


class Learner(Protocol):
    """What a stage trains."""

    def named_parameters(self) -> NamedParameters:
        """Return what the optimiser changes."""
        ...

    def carried(self) -> dict[str, Tensor]:
        """Return, by name, the tensors that are carried from step to step besides the optimiser's; they are live."""
        ...

    def resolution(self, epoch: int) -> int:
        """Return the side in pixels of the images that an epoch trains on."""
        ...

    def add_gradients(self, images: Tensor, labels: Tensor, step: int, share: float, view: View) -> dict[str, Tensor]:
        """Add `share` × the gradients of one part to the parameters'; return its losses by name, detached.

        images: normalised, (n, 3, r, r); labels (n,). `view` makes other random changes of the same images.
        """
        ...

    def after_step(self) -> None:
        """Follow the step that the optimiser took."""
        ...

    def accuracies(self) -> dict[str, float]:
        """Return the share of held-out images classified right, by network; empty where none are held out."""
        ...


@dataclass(frozen=True)
class Setting:
    """Where and how a stage runs; the trained network does not depend on it, but for the number of processes."""

    fabric: Fabric
    folder: RunFolder | None = None
    """Where the state is kept and resumed from; None keeps nothing."""
    report: Report = ignore


@contextmanager
def kept_random_state(fabric: Fabric) -> Iterator[None]:
    """Leave the caller's random state as it was, on the CPU and on the device that is used."""
    with torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []):
        yield


def run_steps(
    learner: Learner, spec: SupernetSpec, images: ImageSet, config: StageConfig, seed: int, setting: Setting
) -> None:
    """Train `learner` to the end of the last epoch, starting from the state in the run folder if there is one.

    The same seed and configuration train the same network wherever a run was interrupted. n processes train like one
    that accumulates n parts.
    """
    fabric = setting.fabric
    size = min(config.batch_size, images.count)
    per_epoch = steps_per_epoch(images.count, size)
    total = config.epochs * per_epoch
    optimizer = _optimizer(learner, spec, config)
    state = _restored(learner, optimizer, setting)
    stepping = fabric.setup_optimizers(optimizer)
    assert not isinstance(stepping, tuple)
    rate = warmup_cosine(int(min(config.warmup_epochs, config.epochs / 2) * per_epoch), total)
    prepare = _Preparation(spec, config, seed).to(fabric.device)
    own = range(fabric.global_rank * config.accumulate, (fabric.global_rank + 1) * config.accumulate)
    sampler = PartSampler(
        images.count, size, range(state.step, total), seed, own, fabric.world_size * config.accumulate
    )
    own_parts = loaded_parts(images, sampler)
    journal = _Journal(setting, total, size, state)
    while state.step < total:
        step, epoch = state.step, state.step // per_epoch
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step)
        losses: dict[str, Tensor] = {}
        for part in own:
            pixels, labels = (tensor.to(fabric.device, non_blocking=True) for tensor in next(own_parts))
            batch, view = (partial(prepare, pixels, learner.resolution(epoch), step, part, p) for p in (DRAWS, VIEWS))
            for name, loss in learner.add_gradients(batch(), labels, step, 1 / config.accumulate, view).items():
                losses[name] = losses.get(name, torch.zeros_like(loss)) + loss / config.accumulate
        journal.add(_averaged(fabric, optimizer, losses))
        stepping.step()
        optimizer.zero_grad()
        learner.after_step()
        state.step += 1
        ends_epoch = state.step % per_epoch == 0
        if fabric.is_global_zero:
            journal.report(learner.accuracies() if ends_epoch else {}, ends_epoch)
            journal.keep(learner, optimizer, ends_epoch)


class _Preparation(nn.Module):
    """uint8 pixels of one part → the normalised, randomly changed images that the network trains on."""

    def __init__(self, spec: SupernetSpec, config: StageConfig, seed: int) -> None:
        super().__init__()
        self.normalise = Normalise(spec)
        self.config = config.augment
        self.seed = seed
        self.by_resolution: dict[int, nn.Module] = {}

    def forward(self, pixels: Tensor, resolution: int, step: int, part: int, purpose: int) -> Tensor:
        """Map (n, 3, r, r) to a side of `resolution`; every later draw depends on step, part and purpose alone."""
        torch.manual_seed(seed_of(self.seed, purpose, step, part))
        if resolution not in self.by_resolution:
            self.by_resolution[resolution] = augmentation(self.config, resolution)
        needed = int(resolution * CROP_MARGIN) if self.config.crop < 1 else resolution
        scaled = resized(to_unit(pixels), max(resolution, min(needed, pixels.shape[-1])))
        changed = self.by_resolution[resolution](scaled)
        normalised: Tensor = self.normalise(changed)
        return normalised


class _Journal:
    """Reports and saves now and then, and after every epoch."""

    def __init__(self, setting: Setting, total: int, batch_size: int, state: State) -> None:
        self.setting = setting
        self.total = total
        self.batch_size = batch_size
        self.state = state
        self.losses: dict[str, Tensor] = {}
        self.reported_at = self.saved_at = time.perf_counter()
        self.reported_step = state.step

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Note the losses of one step."""
        self.losses.update(losses)

    def report(self, accuracies: Mapping[str, float], ends_epoch: bool) -> None:
        """Tell how far training is, if it is time."""
        now, step = time.perf_counter(), self.state.step
        if not ends_epoch and now - self.reported_at < REPORT_SECONDS:
            return
        losses = {name: loss.item() for name, loss in self.losses.items()}
        speed = (step - self.reported_step) * self.batch_size / (now - self.reported_at)
        self.setting.report(Progress(step, self.total, losses, speed, accuracies))
        self.losses.clear()
        # Measuring accuracy belongs to no step: the clock starts again.
        self.reported_at, self.reported_step = time.perf_counter(), step

    def keep(self, learner: Learner, optimizer: torch.optim.Optimizer, ends_epoch: bool) -> None:
        """Save the state, if it is time."""
        now = time.perf_counter()
        if self.setting.folder is None or (not ends_epoch and now - self.saved_at < SAVE_SECONDS):
            return
        self.state.tensors = learner.carried() | _optimizer_state(optimizer)
        self.setting.folder.save(self.state)
        self.saved_at = now


def _optimizer(learner: Learner, spec: SupernetSpec, config: StageConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a stage; filters decay, what shifts, scales or places does not."""
    filters = {f"{layer.name}.weight" for layer in spec.layers if layer.has_filter}
    trained = learner.named_parameters()
    decayed = [(name, weight) for name, weight in trained if name in filters]
    exempt = [(name, weight) for name, weight in trained if name not in filters]
    decays = ((decayed, config.weight_decay), (exempt, 0.0))
    groups = [{"params": params, "weight_decay": decay} for params, decay in decays if params]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, config.learning_rate, (config.momentum, ADAMW_BETA2))
    return torch.optim.SGD(groups, config.learning_rate, config.momentum, nesterov=config.momentum > 0)


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what the optimiser remembers of every parameter, by `optimizer.PARAMETER.KEY`."""
    remembered = optimizer.state_dict()["state"]
    return {
        f"{OPTIMIZER}.{name}.{key}": value
        for number, name in enumerate(_trained_names(optimizer))
        for key, value in remembered.get(number, {}).items()
        if value is not None
    }


def _remember(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put what `_optimizer_state` returned back into the optimiser, on the devices where it keeps it."""
    remembered: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        scope, _, place = name.partition(".")
        if scope == OPTIMIZER:
            parameter, _, key = place.rpartition(".")
            remembered.setdefault(parameter, {})[key] = tensor
    by_number = {number: remembered.get(name, {}) for number, name in enumerate(_trained_names(optimizer))}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": by_number})


def _trained_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """Return the parameters' names in the order in which the optimiser numbers them."""
    return [name for group in optimizer.param_groups for name in group["param_names"]]


@torch.no_grad()
def _restored(learner: Learner, optimizer: torch.optim.Optimizer, setting: Setting) -> State:
    """Return the state to go on from, its tensors copied into the learner and the optimiser."""
    fabric = setting.fabric
    found = setting.folder.load() if setting.folder and fabric.is_global_zero else None
    state: State | None = fabric.broadcast(found)
    if state is None:
        return State(0, {})
    carried = learner.carried()
    if any(name not in state.tensors or state.tensors[name].shape != tensor.shape for name, tensor in carried.items()):
        raise TrainError("the state in the run folder is of another network; delete the folder to start anew")
    for name, tensor in carried.items():
        tensor.copy_(state.tensors[name])
    _remember(optimizer, state.tensors)
    return state


def _averaged(fabric: Fabric, optimizer: torch.optim.Optimizer, losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Replace every gradient by its mean over all processes, in one collective, in which the losses ride along."""
    if fabric.world_size == 1:
        return losses
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.stack(list(losses.values()))])
    mean = fabric.all_reduce(flat, reduce_op="mean")
    assert isinstance(mean, Tensor)
    *means, averaged = torch.split(mean, [*(gradient.numel() for gradient in gradients), len(losses)])
    for gradient, own in zip(gradients, means, strict=True):
        gradient.copy_(own.view_as(gradient))
    return dict(zip(losses, averaged, strict=True))
