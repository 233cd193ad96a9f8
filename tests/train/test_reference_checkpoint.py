"""The networks that ship with the project are what they say: trained, small, and with their history."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from train.checkpoint import load_checkpoint
from train.data import DecodedImages, ImageSet, load_images
from train.evaluate import evaluate_supernet
from train.spec import load_spec
from train.supernet import Supernet

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
LARGEST_BYTES = 5_000_000
IMAGES = 500
CHANCE = 0.01
TIMES_CHANCE = {"ds_mbv1_64": 35, "ds_mbv1pp_64": 35, "ds_resnet18_64": 15, "ds_vit_tiny_64": 8}
"""By how much every width of a network, and its gate, must be above chance on a part of the validation images."""


@pytest.fixture(scope="module")
def unseen(shared: Path) -> Iterator[ImageSet]:
    """Return some validation images: all networks are of one resolution."""
    folder = shared / "data" / "tiny-imagenet-100"
    if not folder.is_dir():
        pytest.skip("no data set tiny-imagenet-100 in shared/data")
    validation = load_images(folder, load_spec("ds_mbv1_64"), "validation")
    pixels, labels = validation.images.tensors
    yield replace(validation, images=DecodedImages(pixels[:IMAGES], labels[:IMAGES]), count=IMAGES)


def test_every_checkpoint_that_ships_is_tested() -> None:
    assert sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors")) == sorted(TIMES_CHANCE)


@pytest.mark.parametrize("name", TIMES_CHANCE)
def test_it_is_small_and_says_how_both_stages_were_trained(name: str) -> None:
    path = CHECKPOINTS / f"{name}.safetensors"
    loaded = load_checkpoint(path)
    assert loaded.spec == load_spec(name)
    assert path.stat().st_size <= LARGEST_BYTES
    assert len(loaded.provenance["classes"]) == loaded.spec.classes
    history = [loaded.provenance]
    while parent := history[-1].get("parent_provenance"):
        history.append(parent)
    assert {"train supernet", "train gate"} <= {step["command"] for step in history}


@pytest.mark.parametrize("name", TIMES_CHANCE)
def test_it_classifies_unseen_photographs_far_above_chance_at_every_width_and_with_its_gate(
    name: str, unseen: ImageSet
) -> None:
    loaded = load_checkpoint(CHECKPOINTS / f"{name}.safetensors")
    result = evaluate_supernet(Supernet.from_tensors(loaded.spec, loaded.tensors), unseen)
    assert result.dynamic is not None
    top1 = [one.top1 for one in result.widths] + [result.dynamic.top1]
    assert min(top1) > TIMES_CHANCE[name] * CHANCE, f"top-1 per width, then of the gate: {top1}"
