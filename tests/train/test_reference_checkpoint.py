"""The network that ships with the project is what it says: trained, small, and with its history."""

from dataclasses import replace
from pathlib import Path

import pytest

from train.checkpoint import load_checkpoint
from train.data import DecodedImages, load_images
from train.evaluate import evaluate_supernet
from train.spec import load_spec
from train.supernet import Supernet

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "ds_mbv1_64.safetensors"
LARGEST_BYTES = 5_000_000
IMAGES = 500
CHANCE = 0.01


def test_it_is_small_and_says_how_both_stages_were_trained() -> None:
    loaded = load_checkpoint(CHECKPOINT)
    assert loaded.spec == load_spec("ds_mbv1_64")
    assert CHECKPOINT.stat().st_size <= LARGEST_BYTES
    assert len(loaded.provenance["classes"]) == loaded.spec.classes
    assert loaded.provenance["command"] == "train gate"
    assert loaded.provenance["parent_provenance"]["command"] == "train supernet"


def test_it_classifies_unseen_photographs_far_above_chance_at_every_width_and_with_its_gate(shared: Path) -> None:
    folder = shared / "data" / "tiny-imagenet-100"
    if not folder.is_dir():
        pytest.skip("no data set tiny-imagenet-100 in shared/data")
    loaded = load_checkpoint(CHECKPOINT)
    validation = load_images(folder, loaded.spec, "validation")
    pixels, labels = validation.images.tensors
    some = replace(validation, images=DecodedImages(pixels[:IMAGES], labels[:IMAGES]), count=IMAGES)
    result = evaluate_supernet(Supernet.from_tensors(loaded.spec, loaded.tensors), some)
    assert result.dynamic is not None
    top1 = [one.top1 for one in result.widths] + [result.dynamic.top1]
    assert min(top1) > 35 * CHANCE, f"top-1 per width, then of the gate: {top1}"
