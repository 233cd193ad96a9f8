"""Labelled images come from class folders, parquet files or the Hub; what is no such thing is refused in one line."""

from pathlib import Path

import datasets
import pytest

from tests.train.networks import MICRO
from tests.train.pictures import image_table, noise, write_folder
from train import DataError
from train.data import ImageSet, batches, load_images

NAMES = ["ant", "bee", "cat"]


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def labels_of(images: ImageSet) -> list[int]:
    return [int(label) for _, labels in batches(images, 4) for label in labels]


def test_a_folder_of_class_folders_needs_no_split(tmp_path: Path) -> None:
    loaded = load_images(write_folder(tmp_path / "set", "cat/1.png", "ant/1.png", "bee/1.png"), MICRO)
    assert loaded.classes == ("ant", "bee", "cat")
    assert labels_of(loaded) == [0, 1, 2]


def test_a_folder_of_splits_gives_the_one_asked_for(tmp_path: Path) -> None:
    both = [f"{split}/{name}/1.png" for split in ("train", "test") for name in NAMES]
    folder = write_folder(tmp_path / "set", *both, "test/cat/2.png")
    assert labels_of(load_images(folder, MICRO)) == [0, 1, 2]
    assert labels_of(load_images(folder, MICRO, "test")) == [0, 1, 2, 2]
    with pytest.raises(DataError, match=r"no split 'validation'; valid: test, train"):
        load_images(folder, MICRO, "validation")


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    loaded = load_images(write_folder(tmp_path / "set", "train/1.png", "boat/1.png", "plane/1.png"), MICRO)
    assert loaded.classes == ("boat", "plane", "train")


def test_hidden_folders_and_other_files_are_neither_classes_nor_images(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", "ant/1.png", "bee/deep/1.png", "cat/1.png", ".thumbs/1.png", "cat/.1.png")
    noise().save(folder / "cat" / "scan.pdf")
    (folder / "cat" / "notes.txt").write_text("x")
    (folder / "list.csv").write_text("x")
    loaded = load_images(folder, MICRO)
    assert (loaded.classes, loaded.count, loaded.damaged) == (("ant", "bee", "cat"), 3, ())


def test_parquet_files_are_read_by_split_with_their_class_names(tmp_path: Path) -> None:
    image_table([0, 1], NAMES).to_parquet(tmp_path / "train-00000.parquet")
    image_table([2, 2], NAMES).to_parquet(tmp_path / "train-00001.parquet")
    image_table([1]).to_parquet(tmp_path / "test-00000.parquet")
    train = load_images(tmp_path, MICRO, "train")
    assert train.classes == ("ant", "bee", "cat")
    assert labels_of(train) == [0, 1, 2, 2]
    assert load_images(tmp_path, MICRO, "test").count == 1
    assert load_images(tmp_path / "test-00000.parquet", MICRO).count == 1
    with pytest.raises(DataError, match=r"found: test, train"):
        load_images(tmp_path, MICRO, "validation")


def test_parquet_without_class_names_may_lack_some_classes(tmp_path: Path) -> None:
    image_table([0, 1]).to_parquet(tmp_path / "set.parquet")
    assert load_images(tmp_path / "set.parquet", MICRO).classes == ("0", "1", "2")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for the Hub: the folder user/set in it is the repository of the set user/set."""
    load = datasets.load_dataset

    def from_folder(name: str, **options: object) -> object:
        if name == "parquet":
            return load(name, **options)
        if not (tmp_path / "hub" / name).is_dir():
            raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nand more")
        return load(str(tmp_path / "hub" / name), **options)

    monkeypatch.setattr(datasets, "load_dataset", from_folder)
    return tmp_path / "hub"


@pytest.mark.parametrize("columns", [("image", "label"), ("img", "labels"), ("img", "fine_label"), ("photo", "kind")])
def test_a_hub_set_is_read_whatever_its_columns_are_called(hub: Path, columns: tuple[str, str]) -> None:
    repository = hub / "user" / "set"
    (repository / "data").mkdir(parents=True)
    for split in ("train", "test"):
        table = image_table([2, 0, 1], NAMES, columns).add_column("note", ["x"] * 3)
        table.to_parquet(repository / "data" / f"{split}-00000-of-00001.parquet")
    (repository / "README.md").write_text("---\npretty_name: A set\n---\n")
    for split in ("train", "test"):
        loaded = load_images("user/set", MICRO, split)
        assert loaded.classes == ("ant", "bee", "cat")
        assert labels_of(loaded) == [2, 0, 1]


def test_a_hub_set_of_image_files_is_read_from_where_it_was_downloaded_to(hub: Path) -> None:
    write_folder(hub / "user" / "photos", *(f"train/{name}/{number}.png" for name in NAMES for number in range(2)))
    loaded = load_images(Path("user/photos"), MICRO)
    assert (loaded.classes, loaded.damaged) == (("ant", "bee", "cat"), ())
    assert labels_of(loaded) == [0, 0, 1, 1, 2, 2]


def test_cifar_100_is_classified_by_its_fine_labels(tmp_path: Path) -> None:
    coarse = datasets.ClassLabel(names=["animal", "thing"])
    table = image_table([2, 1], NAMES, ("img", "fine_label"))
    table.add_column("coarse_label", [0, 1]).cast_column("coarse_label", coarse).to_parquet(tmp_path / "set.parquet")
    assert load_images(tmp_path / "set.parquet", MICRO).classes == ("ant", "bee", "cat")


@pytest.mark.usefixtures("hub")
def test_a_hub_set_that_cannot_be_had_says_what_to_check() -> None:
    expected = (
        r"no folder user/absent, .* Couldn't reach 'user/absent' on the Hub; check the name, the split, the network"
    )
    with pytest.raises(DataError, match=expected) as error:
        load_images("user/absent", MICRO)
    assert "\n" not in str(error.value)


def test_a_split_that_a_hub_set_lacks_is_refused_by_name(hub: Path) -> None:
    write_folder(hub / "user" / "photos", *(f"train/{name}/1.png" for name in NAMES))
    with pytest.raises(DataError, match=r"split 'validation' of the Hugging Face set user/photos cannot be had"):
        load_images("user/photos", MICRO, "validation")


def test_a_local_folder_is_preferred_to_a_hub_set(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.mkdir()
    monkeypatch.chdir(hub.parent)
    write_folder(Path("user/set"), *(f"{name}/1.png" for name in NAMES))
    assert load_images("user/set", MICRO).count == 3


@pytest.mark.parametrize("missing", ["image", "label"])
def test_missing_columns_are_refused_with_those_found(tmp_path: Path, missing: str) -> None:
    table = image_table([0], NAMES).remove_columns(missing).add_column("caption", ["x"])
    table.to_parquet(tmp_path / "set.parquet")
    found = "label (ClassLabel)" if missing == "image" else "image (Image)"
    with pytest.raises(DataError) as error:
        load_images(tmp_path / "set.parquet", MICRO)
    assert f"has columns {found}, caption (string); an image set needs images in a column image or img" in str(
        error.value
    )


def test_a_row_without_a_label_is_refused(tmp_path: Path) -> None:
    image_table([0, None, 2], NAMES).to_parquet(tmp_path / "set.parquet")
    with pytest.raises(DataError, match=r"no label in row 1"):
        load_images(tmp_path / "set.parquet", MICRO)


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
