"""Accuracy of a supernet: at every width, and with its own gate deciding."""

from dataclasses import dataclass

import torch

from train.augment import Normalise
from train.data import ImageSet, batches
from train.progress import Progress, Report, ignore
from train.supernet import Supernet


@dataclass(frozen=True)
class WidthAccuracy:
    """One width, run for every image."""

    width: int
    macs: int
    """Multiply-accumulates of one image."""
    params: int
    top1: float
    """Share of the images classified right, 0…1."""


@dataclass(frozen=True)
class DynamicAccuracy:
    """The gate's own choice, by its highest logit."""

    top1: float
    """Share of the images classified right, 0…1."""
    mean_macs: float
    """Multiply-accumulates per image, the gate's included."""
    shares: dict[int, float]
    """Share of the images that each of the gate's widths got."""


@dataclass(frozen=True)
class Evaluation:
    """Every figure of one supernet on one image set."""

    images: int
    widths: tuple[WidthAccuracy, ...]
    dynamic: DynamicAccuracy | None
    """None for a network without a gate."""


@torch.no_grad()
def evaluate_supernet(model: Supernet, images: ImageSet, batch_size: int = 64, report: Report = ignore) -> Evaluation:
    """Classify every image at every width, then once more with the gate deciding; the model runs in evaluation mode."""
    model.eval()
    spec, device = model.spec, model.classifier.weight.device
    normalise = Normalise(spec).to(device)
    loader = batches(images, batch_size)
    right = torch.zeros(spec.n_widths, dtype=torch.int64)
    dynamic_right, used = 0, torch.zeros(spec.n_widths, dtype=torch.int64)
    for number, (pixels, targets) in enumerate(loader, start=1):
        batch, labels = normalise(pixels.to(device)), targets.to(device)
        for width in range(spec.n_widths):
            right[width] += (model(batch, width).argmax(dim=1) == labels).sum().cpu()
        if spec.gate is not None:
            logits, widths = model.forward_dynamic(batch)
            dynamic_right += int((logits.argmax(dim=1) == labels).sum())
            used += torch.bincount(widths.cpu(), minlength=spec.n_widths)
        report(Progress(number, len(loader)))
    accuracies = tuple(
        WidthAccuracy(width, spec.macs(width), spec.params(width), int(right[width]) / images.count)
        for width in range(spec.n_widths)
    )
    if spec.gate is None:
        return Evaluation(images.count, accuracies, None)
    shares = {width: int(used[width]) / images.count for width in spec.gate.choices}
    mean_macs = sum(share * spec.macs(width) for width, share in shares.items())
    return Evaluation(images.count, accuracies, DynamicAccuracy(dynamic_right / images.count, mean_macs, shares))
