import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.images import MAX_FILE_BYTES
from edge.runtime import ImageError, Preprocessing, open_images, open_labelled

CLASSES = ["cat", "dog", "owl"]


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), shade).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path, *names: str) -> Path:
    for shade, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(shade))
    return root


def parquet(path: Path, labels: list[int], names: list[str] | None = None, rows: list[object] | None = None) -> Path:
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = rows or [{"bytes": png(shade), "path": f"{shade}.png"} for shade in range(len(labels))]
    table = arrow.table({"image": images, "label": labels})
    if names:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    writer.write_table(table, path)
    return path


def test_one_file_is_a_set_of_one_image(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path, "a.png") / "a.png")
    assert [(sample.name, sample.data, sample.label) for sample in images] == [("a.png", png(0), None)]


def test_a_folder_yields_its_images_sorted_and_nothing_else(tmp_path: Path) -> None:
    folder(tmp_path, "b.png", "a.JPG", "deep/c.webp")
    (tmp_path / "notes.txt").write_text("no image")
    assert [sample.name for sample in open_images(tmp_path)] == ["a.JPG", "b.png", "deep/c.webp"]


def test_class_folders_are_labels_by_name(tmp_path: Path) -> None:
    images = open_labelled(folder(tmp_path, "owl/1.png", "cat/2.png", "cat/1.png"), CLASSES)
    assert [(sample.name, sample.label) for sample in images] == [("cat/1.png", 0), ("cat/2.png", 0), ("owl/1.png", 2)]


def test_a_bundle_without_class_names_takes_the_folders_in_order(tmp_path: Path) -> None:
    images = open_labelled(folder(tmp_path, "n3/1.png", "n1/1.png", "n2/1.png"), ["0", "1", "2"])
    assert [(sample.name, sample.label) for sample in images] == [("n1/1.png", 0), ("n2/1.png", 1), ("n3/1.png", 2)]


@pytest.mark.parametrize(
    "names",
    [("cat/1.png", "cow/1.png", "pig/1.png"), ("n1/1.png", "n2/1.png"), ("n1/1.png", "n2/1.png", "n3/1.png")],
)
def test_class_folders_that_the_bundle_does_not_know_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ImageError, match="is not one of the bundle's 3 classes: cat, dog, owl"):
        open_labelled(folder(tmp_path, *names), CLASSES)


@pytest.mark.parametrize("classes", [CLASSES, ["0", "1", "2"]])
def test_the_parts_of_a_data_set_are_no_classes(tmp_path: Path, classes: list[str]) -> None:
    folder(tmp_path / "digits", "train/cat/1.png", "calibration/cat/1.png", "test/cat/1.png")
    with pytest.raises(ImageError, match=r"holds parts of a data set, not classes; give one of them: .*/digits/test"):
        open_labelled(tmp_path / "digits", classes)


def test_a_class_may_be_called_like_a_part_of_a_data_set(tmp_path: Path) -> None:
    images = open_labelled(folder(tmp_path, "train/1.png", "boat/1.png"), ["boat", "train"])
    assert [sample.label for sample in images] == [0, 1]


def test_hidden_folders_and_files_are_neither_classes_nor_images(tmp_path: Path) -> None:
    folder(tmp_path, "cat/1.png", ".thumbs/1.png", "cat/.thumbs/1.png", "cat/._1.png")
    assert [sample.name for sample in open_labelled(tmp_path, CLASSES)] == ["cat/1.png"]
    assert [sample.name for sample in open_images(tmp_path)] == ["cat/1.png"]


def test_a_file_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    folder(tmp_path, "huge.png", "ok.png", "vanished.png")
    with (tmp_path / "huge.png").open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    huge, ok, vanished = open_images(tmp_path)
    (tmp_path / "vanished.png").unlink()
    assert ok.data == png(1)
    with pytest.raises(ImageError, match=f"huge.png has {MAX_FILE_BYTES + 1} bytes; the limit is {MAX_FILE_BYTES}"):
        _ = huge.data
    with pytest.raises(ImageError, match=r"vanished\.png cannot be read: No such file"):
        _ = vanished.data


def test_a_limit_is_spread_evenly_over_unlabelled_images(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path, *(f"{number}.png" for number in range(6))), 3)
    assert [sample.name for sample in images] == ["0.png", "2.png", "4.png"]


def test_a_limit_is_spread_evenly_over_the_classes(tmp_path: Path) -> None:
    images = open_labelled(folder(tmp_path, *(f"{name}/{n}.png" for name in CLASSES for n in range(4))), CLASSES, 6)
    assert [sample.label for sample in images] == [0, 0, 1, 1, 2, 2]


def test_parquet_labels_are_mapped_by_name(tmp_path: Path) -> None:
    images = open_labelled(parquet(tmp_path / "v.parquet", [0, 1, 2], ["owl", "cat", "dog"]), CLASSES)
    assert [(sample.name, sample.data, sample.label) for sample in images] == [
        ("0.png", png(0), 2),
        ("1.png", png(1), 0),
        ("2.png", png(2), 1),
    ]


def test_parquet_without_names_uses_the_labels_as_they_are(tmp_path: Path) -> None:
    images = open_labelled(parquet(tmp_path / "v.parquet", [2, 0]), CLASSES)
    assert [sample.label for sample in images] == [2, 0]


def test_a_parquet_limit_is_spread_over_all_rows(tmp_path: Path) -> None:
    labels = [row % 3 for row in range(200)]
    images = open_labelled(parquet(tmp_path / "v.parquet", labels), CLASSES, 4)
    assert len(images) == 4
    assert [(sample.name, sample.label) for sample in images] == [(f"{row}.png", row % 3) for row in (0, 50, 100, 150)]


@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [
        ([3], None, "row 0 of v.parquet has label 3; valid: 0…2"),
        ([0], [{"bytes": None, "path": "elsewhere.png"}], "row 0 of v.parquet holds no image bytes"),
    ],
)
def test_a_bad_parquet_row_is_refused(tmp_path: Path, labels: list[int], rows: list[object], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        _ = [sample.data for sample in open_labelled(parquet(tmp_path / "v.parquet", labels, rows=rows), CLASSES)]


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(ImageError, match="is no parquet file"):
        open_labelled(tmp_path / "v.parquet", CLASSES)


def test_empty_and_missing_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in"):
        open_images(tmp_path)
    with pytest.raises(ImageError, match="does not exist"):
        open_images(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="no class sub-folders"):
        open_labelled(tmp_path, CLASSES)
    with pytest.raises(ImageError, match="is no labelled image set"):
        open_labelled(tmp_path / "absent", CLASSES)


def test_real_photographs_load_with_their_labels() -> None:
    found = sorted((Path(__file__).parents[3] / "shared" / "data").glob("*/validation-*.parquet"))
    if not found:
        pytest.skip("no data set beside the repository")
    metadata = pytest.importorskip("pyarrow.parquet").read_schema(found[0]).metadata
    classes = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    images = open_labelled(found[0], classes, 50)
    preprocessing = Preprocessing(size=32, mean=(0.0,) * 3, std=(1.0,) * 3, layout="NHWC")
    tensors = np.concatenate([preprocessing(sample.data, sample.name) for sample in images])
    assert tensors.shape == (50, 32, 32, 3)
    assert 0.3 < tensors.mean() < 0.6, tensors.mean()
    assert len({sample.label for sample in images}) > 20
