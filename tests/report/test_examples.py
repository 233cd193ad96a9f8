"""Easy and hard images: the bundle itself runs them, and only pixels of theirs reach the page."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from common.images import ImageError
from edge.errors import EdgeError
from edge.report.content import Examples
from edge.report.examples import SIDE, choose_point, examples, thumbnail
from tests.report.cases import Files


def shown(files: Files, folder: Path | None = None, limit: int = 100) -> Examples:
    return examples(files.bundle, choose_point(files.bundle, None), folder or files.images, limit)


def test_easy_images_have_the_lowest_scores_and_hard_ones_the_highest(written: Files) -> None:
    found = shown(written)
    easy, hard = [image.score for image in found.easy], [image.score for image in found.hard]
    assert (found.images, len(easy), len(hard)) == (12, 6, 6)
    assert easy == sorted(easy)
    assert hard == sorted(hard, reverse=True)
    assert easy[-1] <= hard[-1]


def test_an_example_names_the_width_the_answer_and_the_true_class(written: Files) -> None:
    found = shown(written)
    assert found.point in {point.name for point in written.bundle.manifest.operating_points}
    for image in (*found.easy, *found.hard):
        assert (image.width in (0, 1), image.true_class) == (True, image.name.partition("/")[0])
        assert image.class_name in written.bundle.manifest.model.classes


def test_images_without_labels_are_shown_without_true_classes(written: Files) -> None:
    found = shown(written, written.images / "circle")
    assert {image.true_class for image in found.easy} == {None}
    assert found.notes[0].startswith("without true classes: ")


def test_unreadable_images_are_counted(files: Files) -> None:
    (files.images / "circle" / "broken.png").write_bytes(b"no image")
    assert shown(files).notes == ["left out because they cannot be read: 1"]


def test_a_folder_of_nothing_readable_is_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="none of the 1 images in damaged could be read"):
        shown(files, tmp_path / "damaged")


def test_at_most_so_many_images_are_run(written: Files) -> None:
    assert shown(written, limit=5).images == 5


def test_a_point_that_asks_no_gate_cannot_tell_easy_from_hard(written: Files) -> None:
    with pytest.raises(EdgeError, match="operating point 'fast' asks no gate"):
        choose_point(written.bundle, "fast")


def test_a_thumbnail_is_small_and_holds_nothing_but_pixels() -> None:
    image = Image.new("RGB", (400, 200), "teal")
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    written = io.BytesIO()
    image.save(written, "JPEG", exif=exif, comment=b"a secret name")
    uri = thumbnail(written.getvalue(), "photo.jpg")
    head, _, data = uri.partition(",")
    small = base64.b64decode(data)
    assert head == "data:image/jpeg;base64"
    assert b"secret" not in small
    assert Image.open(io.BytesIO(small)).size == (SIDE, SIDE // 2)
