"""One step of stage I, ours and the published one written plainly: `python -m benchmarks.training_step`.

Both train the same network on the same batch at the same widths, on the same device. First their float32 gradients are
compared; then peak memory, each in a fresh process; then time, in interleaved steps. Ours is also run with one of its
savings off at a time, which shows what each of them brings. Data loading and augmentation are no part of it.

Shapes: n images, r × r pixels.
"""

import argparse
import copy
import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.device import one_device
from benchmarks.side_by_side import write_json
from common import DsnetError
from common.console import progress, stdout, table
from edge.devices.local import LocalDevice
from edge.profiling import Entry, paired_ratio
from train.augment import Normalise
from train.config import Precision, SupernetStageConfig, config_for, overridden
from train.data import DecodedImages, ImageSet
from train.initialise import initialise
from train.layers import normalise_by_batch
from train.losses import cross_entropy, soft_cross_entropy
from train.sampling import WIDTHS, generator_of
from train.spec import SupernetSpec, load_spec
from train.supernet import Supernet
from train.supernet_stage import SupernetLearner, sandwich_widths

SEED = 0
LEARNING_RATE = 1e-4
"""The images are noise: the weights should stay where they are, finite and not denormal, while steps are timed."""
GRADIENT_IMAGES = 32
MEMORY_STEPS = 2
"""The second step has the optimiser's momenta in memory from its start."""
PUBLISHED, OURS = "published", "ours"


@dataclass(frozen=True)
class Task:
    """What every step trains."""

    spec: SupernetSpec
    config: SupernetStageConfig
    resolution: int
    """Side of the training images in pixels."""

    def noise(self) -> DecodedImages:
        """Return one batch of uint8 noise (n, 3, r, r) with random labels (n,)."""
        generator, count = torch.Generator().manual_seed(SEED), self.config.batch_size
        pixels = torch.randint(0, 256, (count, 3, self.resolution, self.resolution), generator=generator)
        labels = torch.randint(0, self.spec.classes, (count,), generator=generator)
        return DecodedImages(pixels.to(torch.uint8), labels)

    def image_set(self) -> ImageSet:
        """Return that batch as a whole image set."""
        return ImageSet(self.noise(), self.config.batch_size, tuple(map(str, range(self.spec.classes))))

    def batch(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return that batch as training gets it: (n, 3, r, r), normalised, in channels-last memory, and the labels."""
        pixels, labels = self.noise().tensors
        return Normalise(self.spec)(pixels).to(device), labels.to(device)

    def optimizer(self, parameters: list[torch.nn.Parameter]) -> torch.optim.SGD:
        """Return the optimiser of the published recipe."""
        config = self.config
        return torch.optim.SGD(parameters, LEARNING_RATE, config.momentum, 0, config.weight_decay, nesterov=True)


class Step(Protocol):
    """One implementation of the step."""

    def gradients(self, step: int) -> dict[str, Tensor]:
        """Return the gradient of every parameter that the losses of a step depend on."""
        ...

    def run(self, step: int) -> None:
        """Take a whole step."""
        ...


class OurStep:
    """The step that `dsnet train supernet` takes."""

    def __init__(
        self,
        task: Task,
        precision: Precision = "32-true",
        channels_last: bool = True,
        shared_prefix: bool = True,
        compiled: bool = False,
    ) -> None:
        fabric = one_device(precision)
        config = overridden(task.config, precision=precision, compile=compiled)
        self.learner = SupernetLearner(task.spec, task.image_set(), None, config, SEED, None, fabric)
        self.learner.student.shares &= shared_prefix
        images, self.labels = task.batch(fabric.device)
        self.images = images if channels_last else images.contiguous()
        self.optimizer = task.optimizer([weight for _, weight in self.learner.named_parameters()])

    def gradients(self, step: int) -> dict[str, Tensor]:
        """Return the gradients of a step by parameter; at most once per object."""
        self.learner.add_gradients(self.images, self.labels, step, share=1.0, view=lambda: self.images)
        return {name: weight.grad for name, weight in self.learner.named_parameters() if weight.grad is not None}

    def run(self, step: int) -> None:
        """Take a whole step."""
        self.learner.add_gradients(self.images, self.labels, step, share=1.0, view=lambda: self.images)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.learner.after_step()


class PublishedStep:
    """In-place bootstrapping as the public code of DS-Net runs it (Li et al., CVPR 2021): each width by itself.

    float32 in NCHW memory; the teacher at its largest; then one whole forward and backward per width, whose loss is
    read at once for the log; the moving average tensor by tensor.
    """

    def __init__(self, task: Task, dtype: torch.dtype = torch.float32) -> None:
        self.task = task
        device = one_device().device
        self.model = Supernet(task.spec)
        initialise(self.model, SEED)
        self.model.train().to(device, dtype)
        self.average = copy.deepcopy(self.model)
        normalise_by_batch(self.average)
        images, self.labels = task.batch(device)
        self.images = images.contiguous().to(dtype)
        self.optimizer = task.optimizer(list(self.model.parameters()))

    def gradients(self, step: int) -> dict[str, Tensor]:
        """Return the gradients of a step by parameter; at most once per object."""
        self._add_gradients(step)
        return {name: weight.grad for name, weight in self.model.named_parameters() if weight.grad is not None}

    def run(self, step: int) -> None:
        """Take a whole step."""
        self._add_gradients(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decay = self.task.config.ema_decay
        with torch.no_grad():
            for averaged, current in zip(self.average.parameters(), self.model.parameters(), strict=True):
                averaged.copy_(averaged * decay + (1 - decay) * current)

    def _add_gradients(self, step: int) -> None:
        largest, config = self.task.spec.largest, self.task.config
        with torch.no_grad():
            target = self.average(self.images, largest).softmax(dim=1)
        for width in sandwich_widths(largest, config.random_widths, generator_of(SEED, WIDTHS, step)):
            logits = self.model(self.images, width)
            if width == largest:
                loss = cross_entropy(logits, self.labels, config.label_smoothing)
            else:
                loss = soft_cross_entropy(logits, target)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.item()


Build = Callable[[Task], Step]


def implementations(precision: Precision) -> dict[str, Build]:
    """Return what is compared: ours, ours with one saving off at a time, on a GPU all that it can do, the published."""
    found: dict[str, Build] = {
        OURS: partial(OurStep, precision=precision),
        "ours, NCHW": partial(OurStep, precision=precision, channels_last=False),
        "ours, unshared": partial(OurStep, precision=precision, shared_prefix=False),
    }
    if precision != "32-true":
        found["ours, float32"] = partial(OurStep, precision="32-true")
    if torch.cuda.is_available():
        found["ours, bf16, compiled"] = partial(OurStep, precision="bf16-mixed", compiled=True)
    return found | {PUBLISHED: PublishedStep}


def compare_gradients(task: Task) -> dict[str, float]:
    """Return, in float32, how far ours and the published are from each other and from the published in float64.

    Each is the largest, over the tensors, of the norm of the difference over the norm. "same_layout" is ours in NCHW
    memory, as the published is. No dropout, so that the masks drawn do not matter.
    """
    count = min(GRADIENT_IMAGES, task.config.batch_size)
    task = replace(task, spec=replace(task.spec, dropout=0.0), config=overridden(task.config, batch_size=count))
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        ours, published = OurStep(task).gradients(0), PublishedStep(task).gradients(0)
        same_layout = OurStep(task, channels_last=False).gradients(0)
    exact = PublishedStep(task, torch.float64).gradients(0)
    return {
        "same_layout_published": _largest_difference(same_layout, published),
        "ours_published": _largest_difference(ours, published),
        "ours_float64": _largest_difference(ours, exact),
        "published_float64": _largest_difference(published, exact),
    }


def _largest_difference(found: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> float:
    assert found.keys() == reference.keys()
    return max(float((found[name] - wanted).norm() / wanted.norm()) for name, wanted in reference.items())


def peak_bytes(task: Task, build: Build) -> int:
    """Return by how much steps raise this process's peak memory; on a GPU, the device's. Needs a fresh process."""
    step = build(task)
    before = _peak_bytes_so_far()
    for number in range(MEMORY_STEPS):
        step.run(number)
    return _peak_bytes_so_far() - before


def _peak_bytes_so_far() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_memory(task: Task, builds: Mapping[str, Build], advance: Callable[[], None]) -> dict[str, int]:
    """Return the peak of every implementation.

    To be called while this process is small: on Linux a child's peak starts at that of the process it came from.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = {}
        for (name, _), peak in zip(builds.items(), pool.map(partial(peak_bytes, task), builds.values()), strict=True):
            peaks[name] = peak
            advance()
    return peaks


def measure_time(task: Task, builds: Mapping[str, Build], count: int, advance: Callable[[], None]) -> dict[str, Entry]:
    """Time `count` steps of every implementation in turn; equal steps have equal widths, and each runs once before."""
    steps = {name: build(task) for name, build in builds.items()}
    first = {}
    for name, step in steps.items():
        warm_up = []
        for number in range(count):
            warm_up.append(_timed_ms(step, number))
            advance()
        first[name] = warm_up[0]
    blocks: dict[str, list[list[float]]] = {name: [] for name in steps}
    for number in range(count):
        for name, step in steps.items():
            blocks[name].append([_timed_ms(step, number)])
            advance()
    return {
        name: Entry(
            programs=[name], first_run_ms=first[name], warm_up_runs=count, blocks_ms=blocks[name],
            block_order=list(range(place, count * len(steps), len(steps))),
        )
        for place, name in enumerate(steps)
    }  # fmt: skip


def _timed_ms(step: Step, number: int) -> float:
    _synchronize()
    start = time.perf_counter_ns()
    step.run(number)
    _synchronize()
    return (time.perf_counter_ns() - start) / 1e6


def _synchronize() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    spec = load_spec(options.spec)
    config = overridden(config_for(spec.name).supernet, batch_size=options.batch_size, precision=options.precision)
    task = Task(spec, config, options.resolution or spec.resolution)
    builds = implementations(config.precision)
    with progress() as bar:
        todo = bar.add_task("peak memory", total=len(builds) * (1 + 2 * options.steps))
        peaks = measure_memory(task, builds, lambda: bar.advance(todo))
        bar.update(todo, description="gradients")
        gradients = compare_gradients(task)
        bar.update(todo, description="time")
        entries = measure_time(task, builds, options.steps, lambda: bar.advance(todo))
    return {
        "spec": spec.name,
        "resolution": task.resolution,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "lightning")},
        "gradients": gradients,
        "steps": [_figures(name, entries, peaks[name], config.batch_size) for name in builds],
    }


def _figures(name: str, entries: Mapping[str, Entry], peak: int, batch_size: int) -> dict[str, Any]:
    ratio = paired_ratio(entries[name], entries[OURS])
    return {
        "name": name,
        "images_per_second": batch_size / (median(block[0] for block in entries[name].blocks_ms) / 1e3),
        "ours_is_faster": {"value": ratio.value, "low": ratio.interval.low, "high": ratio.interval.high},
        "peak_bytes": peak,
        "blocks_ms": entries[name].blocks_ms,
    }


COLUMNS = ("step", "images/s", "ours is faster [95%]", "peak MiB", "ours' peak")


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    gradients, (ours, *_) = result["gradients"], result["steps"]
    print(
        "float32 gradients, largest relative difference of a tensor: ours to published "
        f"{gradients['same_layout_published']:.1e} in the same memory layout, {gradients['ours_published']:.1e} with "
        f"ours in channels-last; to the published in float64, ours {gradients['ours_float64']:.1e}, published "
        f"{gradients['published_float64']:.1e}. Not zero, as float32 sums depend on their order: the gradients of the "
        "common layers are summed before these run backward, not after, and kernels sum as the layout suits them."
    )
    rows = [
        (
            row["name"],
            f"{row['images_per_second']:.1f}",
            _times(row["ours_is_faster"]) if row is not ours else "–",
            f"{row['peak_bytes'] / 2**20:.0f}",
            f"{ours['peak_bytes'] / row['peak_bytes']:.2f} ×" if row is not ours else "–",
        )
        for row in result["steps"]
    ]
    title = (
        f"{result['spec']}, {result['batch_size']} images of {result['resolution']} px per step, "
        f"{result['precision']}, {result['device']}"
    )
    stdout().print(table(title, COLUMNS, rows))


def _times(ratio: Mapping[str, float]) -> str:
    return f"{ratio['value']:.2f} × [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def main() -> None:
    """Run the comparison, print its table and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step", description="Compare our step of stage I with the published one."
    )
    parser.add_argument("--spec", default="ds_mbv1_64", help="a shipped network or the path of a .json spec")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--resolution", type=int, help="side of the training images in pixels; default: the spec's")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), help="of ours; default: the spec's config")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each, at least 2")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/training_step.json"))
    options = parser.parse_args()
    try:
        result = run(options)
    except DsnetError as error:
        parser.exit(2, f"{error}\n")
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
