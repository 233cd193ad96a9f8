"""Accuracy at every width and with the gate deciding, against running each network by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from tests.train.networks import MICRO, coloured_images
from train import SupernetSpec
from train.augment import Normalise
from train.data import ImageSet
from train.evaluate import classified_right, evaluate_supernet
from train.initialise import initial_tensors
from train.progress import Progress
from train.supernet import Supernet

GATELESS = replace(MICRO, gates=())
DIFFERENT_STEMS = replace(GATELESS, stem=replace(MICRO.stem, channels=(4, 5, 6, 7, 8)))
TEN_CLASSES = replace(MICRO, classes=10)


def untrained(spec: SupernetSpec, seed: int = 0) -> Supernet:
    """Return a network with random weights in evaluation mode."""
    return Supernet.from_tensors(spec, initial_tensors(spec, seed))


def noise(count: int, classes: int) -> ImageSet:
    """Return images of noise with labels that mean nothing."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, MICRO.resolution, MICRO.resolution), generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return ImageSet(TensorDataset(pixels.to(torch.uint8), labels), count, tuple(map(str, range(classes))))


def whole(images: ImageSet, spec: SupernetSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images, normalised, and their labels."""
    pixels, labels = zip(*images.images, strict=True)
    return Normalise(spec)(torch.stack(pixels)), torch.stack(labels)


@pytest.fixture(scope="module")
def decisive() -> Supernet:
    """Return a network whose widths disagree and whose gate uses several of them."""
    tensors = initial_tensors(TEN_CLASSES, seed=0)
    gate = np.random.default_rng(0).normal(size=tensors["gate.weight"].shape).astype(np.float32)
    return Supernet.from_tensors(TEN_CLASSES, tensors | {"gate.weight": gate})


@torch.no_grad()
def test_the_dynamic_figures_are_those_of_dynamic_inference(decisive: Supernet) -> None:
    images = noise(200, TEN_CLASSES.classes)
    batch, labels = whole(images, TEN_CLASSES)
    logits, widths = decisive.forward_dynamic(batch)
    found = evaluate_supernet(decisive, images, batch_size=16).dynamic
    assert found is not None
    top1 = float((logits.argmax(dim=1) == labels).double().mean())
    top5 = float((logits.topk(5).indices == labels.unsqueeze(1)).any(dim=1).double().mean())
    shares = {width: float((widths == width).double().mean()) for width in TEN_CLASSES.choices[0]}
    mean_macs = float(np.mean([TEN_CLASSES.macs(width) for width in widths.tolist()]))
    print(f"by look-up {found}")
    print(f"dynamically top-1 {top1}, top-5 {top5}, {mean_macs} MACs, shares {shares}")
    assert len(set(widths.tolist())) > 1
    assert (found.top1, found.top5, found.shares) == (top1, top5, shares)
    assert found.mean_macs == pytest.approx(mean_macs)


@torch.no_grad()
@pytest.mark.parametrize("spec", [TEN_CLASSES, replace(GATELESS, classes=10), replace(DIFFERENT_STEMS, classes=10)])
def test_every_width_counts_as_if_it_ran_alone(spec: SupernetSpec) -> None:
    model, images = untrained(spec), noise(64, spec.classes)
    batch, labels = whole(images, spec)
    found = evaluate_supernet(model, images, batch_size=20)
    for one in found.widths:
        highest = model(batch, one.width).topk(5).indices == labels.unsqueeze(1)
        expected = float(highest[:, 0].double().mean()), float(highest.any(dim=1).double().mean())
        print(f"width {one.width}: {(one.top1, one.top5)} found, {expected} alone")
        assert (one.top1, one.top5) == expected
        assert (one.macs, one.params) == (spec.macs(one.width), spec.params(one.width))


def test_with_few_classes_the_five_highest_are_all() -> None:
    found = evaluate_supernet(untrained(MICRO), coloured_images(12))
    assert {one.top5 for one in found.widths} == {1.0}
    assert found.dynamic is not None and found.dynamic.top5 == 1.0


def test_of_equal_logits_the_first_class_is_the_answer() -> None:
    silent = Supernet(TEN_CLASSES)
    images = noise(40, TEN_CLASSES.classes)
    _, labels = whole(images, TEN_CLASSES)
    expected = float((labels == 0).double().mean()), float((labels < 5).double().mean())
    assert {(one.top1, one.top5) for one in evaluate_supernet(silent, images).widths} == {expected}


def test_a_network_without_a_gate_has_no_dynamic_figures() -> None:
    assert evaluate_supernet(untrained(GATELESS), coloured_images(6)).dynamic is None


def test_what_all_widths_share_runs_once_per_batch(decisive: Supernet) -> None:
    calls = []
    handle = decisive.stem.register_forward_hook(lambda *_: calls.append(1))
    evaluate_supernet(decisive, noise(30, 10), batch_size=10)
    handle.remove()
    assert len(calls) == 3


def test_the_network_runs_in_the_precision_asked_for(decisive: Supernet) -> None:
    kinds = set()
    handle = decisive.classifier.register_forward_hook(lambda _module, _inputs, logits: kinds.add(logits.dtype))
    evaluate_supernet(decisive, noise(6, 10), autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    handle.remove()
    assert kinds == {torch.bfloat16}


def test_every_batch_is_reported(decisive: Supernet) -> None:
    reports: list[Progress] = []
    evaluate_supernet(decisive, noise(25, 10), batch_size=10, report=reports.append)
    assert reports == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]


def test_some_widths_alone_have_the_same_accuracy(decisive: Supernet) -> None:
    images = noise(40, TEN_CLASSES.classes)
    pairs = list(zip(*(part.split(15) for part in whole(images, TEN_CLASSES)), strict=True))
    expected = {one.width: one.top1 for one in evaluate_supernet(decisive, images).widths if one.width in (0, 3)}
    right = classified_right(decisive, pairs, (0, 3))
    assert {width: float(row.double().mean()) for width, row in zip((0, 3), right, strict=True)} == expected
