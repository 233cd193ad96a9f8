"""Image sets hold what the phones see, leave damaged images out and say so, and give their batches quickly."""

import logging
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from edge.runtime.images import Preprocessing
from tests.train.networks import MICRO, coloured_images
from tests.train.pictures import cut, image_table, noise, write_folder
from train import DataError, load_spec
from train.augment import Normalise
from train.data import (
    DIGITS_SPLIT,
    DecodedImages,
    DecodedOnDemand,
    ImageSet,
    batches,
    collate,
    damage_report,
    hold_out,
    load_images,
    write_digits,
)

TINY = load_spec("ds_mbv1_tiny")
THIRTY = tuple(f"{name}/{number:02}.png" for name in ("ant", "bee", "cat") for number in range(10))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(params=["in memory", "on demand"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a test with sets that fit in memory, and with sets that do not."""
    if request.param == "on demand":
        monkeypatch.setattr("train.data.MEMORY_LIMIT_BYTES", 1)
    yield request.param


@pytest.fixture
def on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no set fit in memory."""
    monkeypatch.setattr("train.data.MEMORY_LIMIT_BYTES", 1)


def whole(images: ImageSet) -> tuple[torch.Tensor, ...]:
    """Return all pixels and labels of a set."""
    return collate([images.images[place] for place in range(images.count)])


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
    file = tmp_path / "set" / "a" / ("0.tif" if mode in ("CMYK", "I;16") else "0.png")
    for name in "abc":
        (tmp_path / "set" / name).mkdir(parents=True)
    image.save(file)
    loaded = load_images(tmp_path / "set", MICRO)
    ours = Normalise(MICRO)(loaded.images[0][0][None]).numpy()
    phone = Preprocessing(MICRO.resolution, MICRO.mean, MICRO.std, "NCHW")(file.read_bytes(), "0")
    difference = np.abs(ours - phone).max()
    assert difference < 1e-6, f"largest difference {difference}"


@pytest.mark.parametrize("threads", [1, 3])
def test_sets_too_large_for_memory_are_decoded_on_demand_and_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    write_folder(tmp_path, *(f"{name}/{number}.png" for name in "abc" for number in range(50)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    held = load_images(tmp_path, MICRO)
    monkeypatch.setattr("train.data.MEMORY_LIMIT_BYTES", 1)
    lazy = load_images(tmp_path, MICRO)
    assert isinstance(held.images, DecodedImages)
    assert isinstance(lazy.images, DecodedOnDemand)
    for ours, theirs in zip(batches(held, 64), batches(lazy, 64), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.usefixtures("memory")
def test_images_can_be_had_larger_than_the_network_takes_them(tmp_path: Path) -> None:
    loaded = load_images(write_folder(tmp_path, *THIRTY), MICRO, resolution=10)
    pixels, labels = whole(loaded)
    assert (pixels.shape, pixels.dtype) == ((30, 3, 10, 10), torch.uint8)
    assert (labels.shape, labels.dtype) == ((30,), torch.int64)


@pytest.mark.parametrize(("names", "count"), [("ab", 2), ("abcd", 4)])
def test_a_set_of_another_number_of_classes_is_refused(tmp_path: Path, names: str, count: int) -> None:
    folder = write_folder(tmp_path, *(f"{name}/one.png" for name in names))
    with pytest.raises(DataError, match=rf"has {count} classes \({', '.join(names)}\), spec 'micro' has 3;"):
        load_images(folder, MICRO)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_beyond_the_spec_are_refused(tmp_path: Path, labels: list[int]) -> None:
    image_table(labels).to_parquet(tmp_path / "set.parquet")
    expected = rf"labels {labels[0]}…{labels[1]}, spec 'micro' has 3 classes; valid: 0…2"
    with pytest.raises(DataError, match=expected):
        load_images(tmp_path / "set.parquet", MICRO)


@pytest.mark.usefixtures("memory")
def test_damaged_images_are_left_out_and_named(tmp_path: Path) -> None:
    write_folder(tmp_path, *THIRTY)
    (tmp_path / "ant" / "03.png").write_text("not an image")
    (tmp_path / "cat" / "07.png").write_bytes(b"")
    (tmp_path / "cat" / "08.png").write_bytes(b"P6 20000 20000 255 ")
    loaded = load_images(tmp_path, MICRO)
    assert loaded.damaged == ("ant/03.png (not an image)", "cat/07.png (empty)", "cat/08.png (too large)")
    _, labels = whole(loaded)
    assert labels.bincount().tolist() == [9, 10, 8]
    report = "3 of 30 images left out: ant/03.png (not an image), cat/07.png (empty), cat/08.png (too large)"
    assert damage_report(loaded) == report


def test_what_is_left_in_memory_are_the_readable_images_in_order(tmp_path: Path) -> None:
    before, _ = whole(load_images(write_folder(tmp_path, *THIRTY), MICRO))
    cut(tmp_path / "bee" / "00.png")
    after, labels = whole(loaded := load_images(tmp_path, MICRO))
    assert loaded.damaged == ("bee/00.png (image file is truncated)",)
    assert torch.equal(after, before[torch.arange(30) != 10])
    assert labels.bincount().tolist() == [10, 9, 10]


@pytest.mark.usefixtures("on_demand")
def test_an_image_found_damaged_later_is_replaced_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_images(write_folder(tmp_path, *THIRTY), MICRO)
    before, _ = whole(loaded)
    cut(tmp_path / "bee" / "00.png")
    (tmp_path / "cat" / "09.png").unlink()
    assert damage_report(loaded) is None
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            after, labels = whole(loaded)
    source = torch.arange(30)
    source[[10, 29]] = torch.tensor([11, 0])
    assert torch.equal(after, before[source])
    assert labels.tolist() == (source // 10).tolist()
    named = ["bee/00.png (image file is truncated)", "cat/09.png (No such file or directory)"]
    assert caplog.messages == [f"left out from now on: {name}" for name in named]


@pytest.mark.usefixtures("on_demand")
def test_a_set_that_vanishes_while_it_is_used_is_one_error(tmp_path: Path) -> None:
    loaded = load_images(write_folder(tmp_path, *THIRTY), MICRO)
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match=r"4 of 30 images in .* are damaged, more than 10%: ant/00\.png \(No such file"):
        whole(loaded)


def test_a_set_with_many_damaged_images_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, *THIRTY)
    for number in range(6):
        cut(tmp_path / "ant" / f"{number:02}.png")
    with pytest.raises(DataError, match=r"6 of 30 images in .* are damaged, .*: ant/00.png .* and 1 more; replace"):
        load_images(tmp_path, MICRO)


@pytest.mark.usefixtures("memory")
def test_damaged_rows_of_a_parquet_file_are_named_by_their_number(tmp_path: Path) -> None:
    table = image_table([row % 3 for row in range(20)])
    images = table.cast_column("image", datasets.Image(decode=False))["image"][:]
    images[4], images[9] = {"bytes": b"no image", "path": None}, None
    labels, features = table["label"][:], table.features
    datasets.Dataset.from_dict({"image": images, "label": labels}, features).to_parquet(tmp_path / "set.parquet")
    loaded = load_images(tmp_path / "set.parquet", MICRO)
    assert loaded.damaged == ("row 4 (not an image)", "row 9 (empty)")
    assert whole(loaded)[1].tolist() == [label for row, label in enumerate(labels) if row not in (4, 9)]


def test_a_sound_set_has_nothing_to_report() -> None:
    assert damage_report(coloured_images(6)) is None


def test_shuffled_batches_are_whole_and_ordered_ones_complete(digits: Path) -> None:
    images = load_images(digits, TINY, "test")
    shuffled = [labels for _, labels in batches(images, 64, torch.Generator().manual_seed(0))]
    assert [len(labels) for labels in shuffled] == [64] * 5
    assert sum(len(labels) for _, labels in batches(images, 64)) == images.count


@pytest.mark.usefixtures("memory")
def test_batches_of_chosen_images_come_from_every_kind_of_set(tmp_path: Path) -> None:
    loaded = load_images(write_folder(tmp_path, *THIRTY), MICRO)
    pixels, labels = whole(loaded)
    chosen = [[29, 0, 5], [3], [7, 7]]
    for images in (loaded.images, TensorDataset(pixels, labels)):
        for numbers, batch in zip(chosen, DataLoader(images, batch_sampler=chosen, collate_fn=collate), strict=True):
            assert torch.equal(batch[0], pixels[numbers])
            assert torch.equal(batch[1], labels[numbers])


def test_a_batch_held_in_memory_is_fetched_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = DecodedImages(*coloured_images(30).images.tensors)
    monkeypatch.setattr(TensorDataset, "__getitem__", None)
    kept, _ = hold_out(ImageSet(images, 30, ("red", "green", "blue")), 0.2, 0)
    assert [len(labels) for _, labels in batches(kept, 10)] == [10, 10, 4]


@pytest.mark.usefixtures("memory")
def test_held_out_images_are_the_same_share_of_every_class(tmp_path: Path) -> None:
    loaded = load_images(write_folder(tmp_path, *THIRTY), MICRO)
    kept, held_out = hold_out(loaded, 0.2, seed=3)
    assert (kept.count, held_out.count) == (24, 6)
    assert whole(kept)[1].tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert whole(held_out)[1].tolist() == [0, 0, 1, 1, 2, 2]
    together = torch.cat([whole(kept)[0], whole(held_out)[0]]).flatten(1).unique(dim=0)
    assert torch.equal(together, whole(loaded)[0].flatten(1).unique(dim=0))


def test_classes_of_any_size_give_their_share_up_or_down_to_a_whole_number() -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor([7, 13, 110])).flip(0)
    images = ImageSet(DecodedImages(torch.zeros(130, 3, 1, 1, dtype=torch.uint8), labels), 130, ("a", "b", "c"))
    _, held_out = hold_out(images, 0.3, seed=0)
    counts = whole(held_out)[1].bincount().tolist()
    assert all(abs(count - 0.3 * size) < 1 for count, size in zip(counts, (7, 13, 110), strict=True)), counts


def test_the_seed_chooses_what_is_held_out() -> None:
    drawn = [whole(hold_out(coloured_images(60), 0.25, seed)[1])[0] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("count", "share", "expected"), [(300, 0.05, 15), (31, 0.29, 9), (30, 0.0, 0), (3, 0.1, 0)])
def test_the_share_holds_for_the_set_as_a_whole(count: int, share: float, expected: int) -> None:
    kept, held_out = hold_out(coloured_images(count), share, seed=0)
    assert (held_out.count if held_out else 0, kept.count) == (expected, count - expected)


def test_real_photographs_load_whole(shared: Path) -> None:
    folder = shared / "data" / "tiny-imagenet-100"
    if not folder.is_dir():
        pytest.skip("no data set tiny-imagenet-100 in shared/data")
    loaded = load_images(folder, load_spec("ds_mbv1_64"), "validation")
    assert (loaded.count, len(loaded.classes), loaded.damaged) == (2500, 100, ())
    mean = loaded.images.tensors[0].float().mean() / 255
    assert 0.3 < mean < 0.6, mean
