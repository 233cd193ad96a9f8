"""From an image file's bytes to upright 8-bit RGB pixels, the same for training and for the device.

The steps, in this order and exactly so on every platform:
1. decode with Pillow, the first frame only; turn upright by the EXIF orientation;
2. to 8-bit RGB: grey is repeated, 16-bit grey is divided by 257, CMYK is converted, alpha is dropped;
3. scale to side × side with `Image.resize(…, Resampling.BILINEAR)`: the aspect ratio is not kept, and when the image
   shrinks the triangle filter widens by the same factor (antialias); the result is rounded to 8 bits.

Files come from strangers: their size is checked before it is allocated, and whatever Pillow makes of a bad one becomes
an ImageError that names it. Any number of threads may decode at once.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import DsnetError

MAX_PIXELS = 100_000_000
"""100 megapixels: more than any phone camera writes; decoded, 300 MB."""
MAX_FILE_BYTES = 256 << 20

# Errors say what is wrong with a file, within our bound and not Pillow's. For the process: threads share the filters.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class ImageError(DsnetError):
    """An image file that cannot be read, or none where some are needed."""


class DamagedImageError(ImageError):
    """A file that holds no readable image."""

    def __init__(self, name: str, problem: str, reason: str) -> None:
        super().__init__(f"{name} {problem}")
        self.reason = reason
        """The problem in a few words, for lists of files."""


def image_files(folder: Path) -> list[Path]:
    """Return the files below `folder` that Pillow has a reader for, sorted; hidden files and folders are left out."""
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = (file for file in folder.rglob("*") if file.suffix.lower() in readable and file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def read_image(path: Path, name: str) -> bytes:
    """Return the bytes of an image file; raises DamagedImageError when it cannot be read or is too large."""
    with _blaming_file(name):
        _check_bytes(path.stat().st_size, name)
        return path.read_bytes()


def check_header(source: bytes | Path, name: str) -> None:
    """Raise DamagedImageError when the first bytes are those of no image, or of one too large; no pixel is decoded."""
    if isinstance(source, bytes):
        with _blaming_image(name):
            _open(io.BytesIO(source), len(source), name)
        return
    with _blaming_file(name), source.open("rb") as file:
        size = source.stat().st_size
        _check_bytes(size, name)
        with _blaming_image(name):
            _open(file, size, name)


def decode(data: bytes, name: str) -> Image.Image:
    """Return an upright 8-bit RGB image; raises DamagedImageError, by `name`, for no image or one too large."""
    with _blaming_image(name):
        image = _open(io.BytesIO(data), len(data), name)
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
        upright = ImageOps.exif_transpose(image)
        return (_to_8_bit(upright) if is_16_bit else upright).convert("RGB")


def decode_square(data: bytes, name: str, side: int) -> NDArray[np.uint8]:
    """Return one image file as uint8 (side, side, 3); raises DamagedImageError."""
    return np.asarray(decode(data, name).resize((side, side), Image.Resampling.BILINEAR))


def _open(stream: io.IOBase, size: int, name: str) -> Image.Image:
    if not size:
        raise DamagedImageError(name, "is not an image: the file is empty", "empty")
    image = Image.open(stream)  # type: ignore[arg-type]
    if image.width * image.height > MAX_PIXELS:
        pixels = f"{image.width}×{image.height} pixels"
        raise DamagedImageError(name, f"has {pixels}; the limit is {MAX_PIXELS}", pixels)
    return image


def _to_8_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.rint(np.asarray(image, np.float64) / 257).astype(np.uint8))


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise DamagedImageError(name, f"has {size} bytes; the limit is {MAX_FILE_BYTES}", f"{size} bytes")


@contextmanager
def _blaming_file(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DamagedImageError(name, f"cannot be read: {reason}", reason) from None


@contextmanager
def _blaming_image(name: str) -> Iterator[None]:
    try:
        yield
    except DamagedImageError:
        raise
    except UnidentifiedImageError:
        raise DamagedImageError(name, "is not an image that Pillow can read", "not an image") from None
    except Image.DecompressionBombError as error:
        raise DamagedImageError(name, f"is too large: {error}", "too large") from None
    except Exception as error:  # Pillow's readers raise anything on a damaged file: struct.error, KeyError, …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedImageError(name, f"is a damaged image: {reason}", reason.partition(" (")[0]) from None
