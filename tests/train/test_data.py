"""Image sets are read from folders and parquet alike, prepared as the phones do it, and refused when damaged."""

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from edge.runtime.images import Preprocessing
from tests.train.networks import MICRO
from train import DataError, load_spec
from train.augment import Normalise
from train.data import DIGITS_SPLIT, batches, load_images, write_digits

TINY = load_spec("ds_mbv1_tiny")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def save(image: Image.Image, path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path.read_bytes()


def noise(mode: str, size: tuple[int, int] = (11, 7)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path: Path, labels: list[int], names: list[str] | None = None) -> None:
    image, features = {"bytes": png(noise("RGB")), "path": None}, {"image": datasets.Image()}
    features["label"] = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    columns = {"image": [image] * len(labels), "label": labels}
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).to_parquet(path)


def test_digits_are_split_by_class_and_hold_all_1797_images(digits: Path) -> None:
    counts = {split: load_images(digits, TINY, split).count for split in DIGITS_SPLIT}
    assert sum(counts.values()) == 1797
    for split, share in DIGITS_SPLIT.items():
        assert abs(counts[split] / 1797 - share) < 0.01, counts
        _, labels = load_images(digits, TINY, split).images.tensors
        per_class = torch.bincount(labels, minlength=10) / len(labels)
        assert (per_class - 0.1).abs().max() < 0.01, f"{split}: {per_class}"


def test_no_digit_is_in_two_splits(digits: Path) -> None:
    names = [path.name for path in digits.rglob("*.png")]
    assert len(names) == len(set(names)) == 1797


def test_digits_are_the_same_every_time_and_32_pixels_rgb(digits: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "again")
    again = {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.png")}
    assert again == {path.relative_to(digits): path.read_bytes() for path in digits.rglob("*.png")}
    with Image.open(next(digits.rglob("*.png"))) as image:
        assert (image.size, image.mode) == ((32, 32), "RGB")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "I;16"])
def test_training_sees_the_pixels_that_the_phone_sees(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((7, 11), 40_000, np.uint16)) if mode == "I;16" else noise(mode)
    data = save(image, tmp_path / "set" / "a" / ("0.tif" if mode in ("CMYK", "I;16") else "0.png"))
    loaded = load_images(tmp_path / "set", MICRO)
    ours = Normalise(MICRO)(loaded.images[0][0][None]).numpy()
    phone = Preprocessing(MICRO.resolution, MICRO.mean, MICRO.std, "NCHW")(data, "0")
    difference = np.abs(ours - phone).max()
    assert difference < 1e-6, f"largest difference {difference}"


def test_a_folder_of_class_folders_needs_no_split(tmp_path: Path) -> None:
    for name in ("cat", "ant", "bee"):
        save(noise("RGB"), tmp_path / name / "one.png")
    loaded = load_images(tmp_path, MICRO)
    assert loaded.classes == ("ant", "bee", "cat")
    assert [int(loaded.images[number][1]) for number in range(3)] == [0, 1, 2]


def test_sets_too_large_for_memory_are_decoded_on_demand_and_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ant", "bee"):
        save(noise("RGB"), tmp_path / name / "one.png")
    held = load_images(tmp_path, MICRO)
    monkeypatch.setattr("train.data.MEMORY_LIMIT_BYTES", 1)
    lazy = load_images(tmp_path, MICRO)
    for ours, theirs in zip(batches(held, 2), batches(lazy, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_parquet_files_are_read_by_split_with_their_class_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000.parquet", [0, 1], ["ant", "bee", "cat"])
    write_parquet(tmp_path / "train-00001.parquet", [2, 2], ["ant", "bee", "cat"])
    write_parquet(tmp_path / "test-00000.parquet", [1])
    train = load_images(tmp_path, MICRO, "train")
    assert (train.count, train.classes) == (4, ("ant", "bee", "cat"))
    assert [int(label) for _, labels in batches(train, 3) for label in labels] == [0, 1, 2, 2]
    assert load_images(tmp_path, MICRO, "test").count == 1
    assert load_images(tmp_path / "test-00000.parquet", MICRO).count == 1
    with pytest.raises(DataError, match=r"found: test, train"):
        load_images(tmp_path, MICRO, "validation")


def test_labels_beyond_the_spec_are_refused(tmp_path: Path) -> None:
    for name in "abcd":
        save(noise("RGB"), tmp_path / name / "one.png")
    with pytest.raises(DataError, match=r"labels 0…3, spec 'micro' has 3 classes"):
        load_images(tmp_path, MICRO)


def test_a_damaged_image_is_refused_by_name(tmp_path: Path) -> None:
    data = save(noise("RGB"), tmp_path / "a" / "cut.png")
    (tmp_path / "a" / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut\.png is not an image"):
        load_images(tmp_path, MICRO)


def test_an_oversized_image_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(noise("RGB"), tmp_path / "a" / "vast.png")
    monkeypatch.setattr("train.data.MAX_PIXELS", 76)
    with pytest.raises(DataError, match=r"vast\.png has 11×7 pixels; the limit is 76"):
        load_images(tmp_path, MICRO)


@pytest.mark.parametrize("prepare", ["absent", "empty", "no images", "no parquet"])
def test_where_there_is_nothing_to_read_the_layouts_are_named(tmp_path: Path, prepare: str) -> None:
    path = tmp_path / "set"
    if prepare == "empty":
        path.mkdir()
    elif prepare == "no images":
        (path / "a").mkdir(parents=True)
        (path / "a" / "notes.txt").write_text("x")
    elif prepare == "no parquet":
        path = tmp_path / "set.parquet"
        path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="sub-folder per class"):
        load_images(path, MICRO)


def test_a_split_that_the_folder_lacks_is_refused(digits: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'validation'; valid: calibration, test, train"):
        load_images(digits, TINY, "validation")


def test_shuffled_batches_are_whole_and_ordered_ones_complete(digits: Path) -> None:
    images = load_images(digits, TINY, "test")
    shuffled = [labels for _, labels in batches(images, 64, torch.Generator().manual_seed(0))]
    assert [len(labels) for labels in shuffled] == [64] * 5
    assert sum(len(labels) for _, labels in batches(images, 64)) == images.count
