import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edge.runtime import ImageError, Preprocessing

PLAIN = Preprocessing(size=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), layout="NHWC")
ORANGE = (255, 128, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds nothing."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def pixel(preprocessing: Preprocessing, image: Image.Image, kind: str = "PNG") -> list[float]:
    """The 8-bit value of the tensor's first pixel."""
    return (preprocessing(encoded(image, kind), "x")[0, 0, 0] * 255).round(3).tolist()


def test_pixels_are_scaled_to_one_then_normalised_per_channel() -> None:
    preprocessing = Preprocessing(size=2, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0), layout="NHWC")
    found = preprocessing(encoded(Image.new("RGB", (2, 2), (255, 0, 51))), "x")
    assert found.shape == (1, 2, 2, 3)
    assert found.dtype == np.float32
    assert found[0, 1, 1].tolist() == pytest.approx([1.0, -1.0, 0.1]), found[0, 1, 1]


def test_other_runtimes_get_channels_first() -> None:
    nchw = Preprocessing(size=2, mean=(0.0,) * 3, std=(1.0,) * 3, layout="NCHW")
    found = nchw(encoded(Image.new("RGB", (2, 2), ORANGE)), "x")
    assert found.shape == (1, 3, 2, 2)
    assert found.flags.c_contiguous
    assert (found[0, :, 1, 1] * 255).round(3).tolist() == [255, 128, 0]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 77), [77, 77, 77]),
        (Image.new("RGBA", (4, 4), (*ORANGE, 10)), [255, 128, 0]),
        (Image.new("P", (4, 4), 0), [0, 0, 0]),
        (Image.new("1", (4, 4), 1), [255, 255, 255]),
        (Image.fromarray(np.full((4, 4), 257 * 90, np.uint16)), [90, 90, 90]),
    ],
    ids=["grey", "alpha", "palette", "one bit", "16 bit"],
)
def test_every_mode_becomes_rgb(image: Image.Image, expected: list[int]) -> None:
    assert pixel(PLAIN, image) == expected


def test_cmyk_becomes_rgb() -> None:
    assert pixel(PLAIN, Image.new("CMYK", (4, 4), (0, 0, 0, 255)), "TIFF") == [0, 0, 0]


def test_an_image_is_turned_upright_by_its_exif_orientation() -> None:
    image = Image.new("RGB", (4, 4), (0, 0, 0))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half a circle
    found = PLAIN(encoded(image, "PNG", exif=exif), "x")
    assert found[0, 3, 3, 0] == 1.0, found[0, :, :, 0]
    assert found[0, 0, 0, 0] == 0.0, found[0, :, :, 0]


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = PLAIN(encoded(Image.fromarray(stripes)), "x") * 255
    assert found.min() > 120, found.min()
    assert found.max() < 135, found.max()


def test_the_aspect_ratio_is_not_kept() -> None:
    assert PLAIN(encoded(Image.new("RGB", (3, 50))), "x").shape == (1, 4, 4, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cat.png is not an image"),
        (b"not an image", "cat.png is not an image"),
        (encoded(Image.new("RGB", (64, 64), ORANGE), "JPEG")[:200], "cat.png is"),
        (encoded(Image.new("RGB", (64, 64), ORANGE))[:60], "cat.png is a damaged image"),
        (png_header(11_000, 10_000), "cat.png has 11000×10000 pixels; the limit is 100000000"),
        (png_header(60_000, 60_000), "cat.png is too large"),
    ],
    ids=["empty", "text", "cut jpeg", "cut png", "many pixels", "bomb"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_file_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        PLAIN(data, "cat.png")
    assert "\n" not in str(error.value)
