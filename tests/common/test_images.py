"""Image files are decoded one way everywhere; what is no image is named, whatever Pillow makes of it."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import DsnetError
from common.images import MAX_PIXELS, DamagedImageError, check_header, decode, decode_square, image_files, read_image

# pytest puts its own warning filters in place of those that the module sets.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore::UserWarning")

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_16_bit_portable_greymaps_are_scaled_like_other_16_bit_images() -> None:
    grey = np.full((2, 2), 257 * 90)
    portable = b"P5\n2 2\n65535\n" + grey.astype(">u2").tobytes()
    png = encoded(Image.fromarray(grey.astype(np.uint16)), "PNG")
    assert {decode(data, "x").getpixel((1, 1)) for data in (portable, png)} == {(90, 90, 90)}


def test_cmyk_photographs_keep_their_colours() -> None:
    flat = Image.new("RGB", (16, 16), (200, 80, 40))
    found = decode(encoded(flat.convert("CMYK"), "JPEG", quality=95), "x").getpixel((8, 8))
    assert np.abs(np.subtract(found, (200, 80, 40))).max() <= 3, found


def test_an_upright_image_of_any_shape_becomes_a_square() -> None:
    assert decode_square(encoded(PHOTO, "PNG"), "x", 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"GIF, not really", "not an image"),
        (encoded(PHOTO, "JPEG")[:900], "image file is truncated"),
        (b"P6\n20000 20000\n255\n", "too large"),
        (b"P6\n10000 10001\n255\n", "10000×10001 pixels"),
    ],
    ids=["empty", "no image", "cut", "bomb", "large"],
)
def test_a_damaged_image_is_named_with_the_reason_in_a_few_words(data: bytes, reason: str) -> None:
    with pytest.raises(DamagedImageError, match=r"^a/cat\.jpg ") as error:
        decode(data, "a/cat.jpg")
    assert isinstance(error.value, DsnetError)
    assert error.value.reason == reason
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000"])
def test_no_damage_to_a_file_is_more_than_an_error_of_ours(kind: str) -> None:
    generator = np.random.default_rng(0)
    whole = np.frombuffer(encoded(PHOTO.resize((16, 16)), kind), np.uint8)
    for _ in range(40):
        damaged = whole[: generator.integers(1, len(whole) + 1)].copy()
        places = generator.integers(0, len(damaged), 4)
        damaged[places] = generator.integers(0, 256, 4)
        try:
            check_header(damaged.tobytes(), "x")
            decode(damaged.tobytes(), "x")
        except DamagedImageError as error:
            assert error.reason


def test_a_header_is_checked_without_decoding(tmp_path: Path) -> None:
    cut, text, empty = tmp_path / "cut.jpg", tmp_path / "text.jpg", tmp_path / "empty.jpg"
    cut.write_bytes(encoded(PHOTO, "JPEG")[:900])
    text.write_text("no image")
    empty.touch()
    for source in (cut, cut.read_bytes()):
        check_header(source, "cut")
    for source in (text, text.read_bytes()):
        with pytest.raises(DamagedImageError, match="text is not an image"):
            check_header(source, "text")
    for source in (empty, b""):
        with pytest.raises(DamagedImageError, match="the file is empty"):
            check_header(source, "empty")
    with pytest.raises(DamagedImageError, match=f"the limit is {MAX_PIXELS}"):
        check_header(b"P6\n10000 10001\n255\n", "vast")


def test_a_file_that_is_gone_is_a_damaged_image(tmp_path: Path) -> None:
    for read in (read_image, check_header):
        with pytest.raises(DamagedImageError, match="x cannot be read: No such file") as error:
            read(tmp_path / "absent.png", "x")
        assert error.value.reason == "No such file or directory"


def test_only_visible_files_that_pillow_can_open_count_as_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.tif", "notes.txt", "book.pdf", ".hidden.png", ".thumbs/d.png", "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [os.fspath(path.relative_to(tmp_path)) for path in image_files(tmp_path)] == ["a/c.tif", "b.JPG"]
