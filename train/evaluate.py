"""Accuracy of a supernet: at every width, and with its own gates deciding.

Shapes: n images, r × r pixels, k classes, w widths.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from train.augment import Normalise
from train.data import ImageSet, batches
from train.paths import Path
from train.progress import Progress, Report, ignore
from train.routing import Routing
from train.spec import SupernetSpec
from train.supernet import Supernet

TOP = 5
"""Highest logits among which top-5 looks for the class."""


@dataclass(frozen=True)
class WidthAccuracy:
    """One width, run for every image."""

    width: int
    path: Path
    """The entry of its channels that every part of the network runs at; with one gate or none, the width alone."""
    macs: int
    """Multiply-accumulates of one image."""
    params: int
    top1: float
    """Share of the images classified right, 0…1."""
    top5: float
    """Share of the images whose class is among the five highest logits, 0…1; 1 where there are at most five classes."""


@dataclass(frozen=True)
class DynamicAccuracy:
    """The gates' own choice, each by its highest logit."""

    top1: float
    """Share of the images classified right, 0…1."""
    top5: float
    """Share of the images whose class is among the five highest logits, 0…1."""
    mean_macs: float
    """Multiply-accumulates per image, the gates' included."""
    shares: dict[int, float]
    """Share of the images that each width got, of those that the gates choose between."""


@dataclass(frozen=True)
class Evaluation:
    """Every figure of one supernet on one image set."""

    images: int
    widths: tuple[WidthAccuracy, ...]
    dynamic: DynamicAccuracy | None
    """None for a network without a gate."""


@torch.no_grad()
def evaluate_supernet(
    model: Supernet,
    images: ImageSet,
    batch_size: int = 64,
    report: Report = ignore,
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Evaluation:
    """Classify every image at every width and with the gates deciding, on the model's device, in evaluation mode.

    What the gates decide is looked up among the answers of all widths; it equals `Supernet.forward_dynamic`.
    autocast: the context that the network runs in, for mixed precision.
    """
    model.eval()
    spec, device = model.spec, next(model.parameters()).device
    normalise = Normalise(spec).to(device)
    loader = batches(images, batch_size)
    routing = Routing(spec, device) if spec.choices else None
    count = _Count(spec, routing.widths if routing else (), device)
    for number, (pixels, labels) in enumerate(loader, start=1):
        with autocast():
            logits, reads = model.forward_widths(normalise(pixels.to(device)), range(spec.n_widths))
            way = routing.decided(model, reads) if routing else None
        count.add(logits, way, labels.to(device))
        report(Progress(number, len(loader)))
    return count.evaluation(images.count)


@torch.no_grad()
def classified_right(model: Supernet, batches: Iterable[tuple[Tensor, Tensor]], widths: Sequence[int]) -> Tensor:
    """Return whether each image is classified right at each of some widths, bool (w, images) on the CPU.

    batches: normalised images (n, 3, r, r) and labels (n,), at least one; the model is in evaluation mode.
    """
    right = [(model.forward_widths(images, widths)[0].argmax(dim=2) == labels).cpu() for images, labels in batches]
    return torch.cat(right, dim=1)


class _Count:
    """Images classified right so far, and the widths that the gates chose."""

    def __init__(self, spec: SupernetSpec, ways: tuple[int, ...], device: torch.device) -> None:
        self.spec = spec
        self.right = torch.zeros(spec.n_widths, 2, dtype=torch.int64, device=device)
        """Top-1 and top-5, (w, 2)."""
        self.dynamic = torch.zeros(2, dtype=torch.int64, device=device)
        self.ways = torch.tensor(ways, dtype=torch.int64, device=device)
        """The widths that the gates choose between."""
        self.chosen = torch.zeros_like(self.ways)
        """Images that got each of them."""

    def add(self, logits: Tensor, way: Tensor | None, labels: Tensor) -> None:
        """Count a batch; logits (w, n, k), labels (n,), way (n,): which of the gates' widths each image got."""
        right = _right(logits, labels)
        self.right += right.sum(dim=1)
        if way is not None:
            self.chosen += torch.bincount(way, minlength=len(self.chosen))
            self.dynamic += right[self.ways[way], torch.arange(len(labels), device=labels.device)].sum(dim=0)

    def evaluation(self, images: int) -> Evaluation:
        """Return the shares of all `images`."""
        spec = self.spec
        shares = (self.right.cpu().double() / images).tolist()
        widths = tuple(
            WidthAccuracy(width, path, spec.macs(width), spec.params(width), *shares[width])
            for width, path in enumerate(spec.paths)
        )
        if not len(self.ways):
            return Evaluation(images, widths, None)
        used = dict(zip(self.ways.tolist(), (self.chosen.cpu().double() / images).tolist(), strict=True))
        mean_macs = sum(share * spec.macs(width) for width, share in used.items())
        top1, top5 = (self.dynamic.cpu().double() / images).tolist()
        return Evaluation(images, widths, DynamicAccuracy(top1, top5, mean_macs, used))


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Return whether each label (n,) is the highest logit and among the five highest of (w, n, k): bool (w, n, 2)."""
    # Stable, so that of equal logits the first class counts: as everywhere else, where argmax decides.
    ranked = logits.argsort(dim=2, descending=True, stable=True)[:, :, :TOP]
    found = ranked == labels.unsqueeze(1)
    return torch.stack([found[:, :, 0], found.any(dim=2)], dim=2)
