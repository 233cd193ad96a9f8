"""From an image file's bytes to the tensor a program reads; without torch, and with bounds, files come from strangers.

The steps, in this order and exactly so on every platform:
1. decode with Pillow, the first frame only; turn upright by the EXIF orientation;
2. to 8-bit RGB: grey is repeated, 16-bit grey is divided by 257, CMYK is converted, alpha is dropped;
3. scale to input_size × input_size with `Image.resize(…, Resampling.BILINEAR)`: the aspect ratio is not kept, and when
   the image shrinks the triangle filter widens by the same factor (antialias); the result is rounded to 8 bits;
4. float32: (pixel / 255 − mean) / std per channel, batch 1, NHWC or NCHW.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edge.bundle.manifest import Model, Runtime
from edge.errors import EdgeError

MAX_PIXELS = 100_000_000
"""100 megapixels: more than any phone camera writes; decoded, 300 MB."""
MAX_FILE_BYTES = 256 << 20

Layout = Literal["NHWC", "NCHW"]


class ImageError(EdgeError):
    """An image file that cannot be read, or none where some are needed."""


def decode(data: bytes, name: str) -> Image.Image:
    """Return an upright 8-bit RGB image; raises ImageError naming `name` when the bytes are no image or too large."""
    try:
        with warnings.catch_warnings():
            # The size is checked below, against our own bound, before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(f"{name} has {image.width}×{image.height} pixels; the limit is {MAX_PIXELS}")
        return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not an image that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}") from None
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise ImageError(f"{name} is a damaged image: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        grey = np.rint(np.asarray(image, np.float64) / 257).astype(np.uint8)
        image = Image.fromarray(grey)
    return image.convert("RGB")


@dataclass(frozen=True)
class Preprocessing:
    """How one bundle wants its images."""

    size: int
    """Side of the square input in pixels."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout

    @classmethod
    def of(cls, model: Model, runtime: Runtime) -> "Preprocessing":
        """Return the preprocessing of a bundle's model: LiteRT reads NHWC, the others NCHW."""
        return cls(model.input_size, tuple(model.mean), tuple(model.std), "NHWC" if runtime == "litert" else "NCHW")

    def __call__(self, data: bytes, name: str) -> NDArray[np.float32]:
        """Return the tensor of one image file, float32 [1, size, size, 3] or [1, 3, size, size]; raises ImageError."""
        scaled = decode(data, name).resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.asarray(scaled, np.float32) / np.float32(255)
        values = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        if self.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[np.newaxis], dtype=np.float32)
