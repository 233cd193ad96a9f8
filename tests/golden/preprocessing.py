"""Write preprocessing.json: `python -m tests.golden.preprocessing`. What images become before a program reads them.

One record per case: an image of `width` by `height` pixels, drawn by the formula of `drawn`; `size`, `mean`, `std` and
`layout` of the tensor; `pixels`, the scaled image as 8-bit RGB in base64; `tensor_sha256` of the float32 tensor's
little-endian bytes. Other languages MUST find the same, to the last bit.
"""

import io
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common import sha256_bytes
from common.images import decode_square
from edge.runtime.images import Layout, Preprocessing

FILE = Path(__file__).with_name("preprocessing.json")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.25, 0.5, 1.0)
CASES: list[tuple[str, int, int, int, Layout]] = [
    ("shrinks by factors that are no integers", 97, 61, 16, "NHWC"),
    ("shrinks by integers", 64, 32, 8, "NCHW"),
    ("grows", 5, 7, 16, "NHWC"),
    ("shrinks along one side and grows along the other", 40, 6, 16, "NCHW"),
    ("is of the size already", 16, 16, 16, "NHWC"),
    ("is as wide already", 16, 90, 16, "NHWC"),
    ("is one pixel", 1, 1, 8, "NCHW"),
    ("is one row", 300, 1, 8, "NHWC"),
    ("is one column", 1, 300, 8, "NHWC"),
    ("is a photo's size", 640, 480, 32, "NCHW"),
    ("is a little larger", 33, 35, 32, "NHWC"),
    ("is tall", 61, 97, 16, "NCHW"),
    ("is tall, but not by so much that its height is scaled first", 61, 106, 16, "NHWC"),
    ("is tall, and just by so much", 61, 107, 16, "NCHW"),
    ("is tall and narrow", 6, 40, 16, "NHWC"),
]


def drawn(width: int, height: int) -> NDArray[np.uint8]:
    """Return [height, width, 3], of which (y, x, c) is (37x + 101y + 59c + 13xy) mod 256."""
    y, x, channel = np.ogrid[:height, :width, :3]
    return ((x * 37 + y * 101 + channel * 59 + x * y * 13) % 256).astype(np.uint8)


def records() -> list[dict[str, Any]]:
    """Return every case."""
    found = []
    for number, (name, width, height, size, layout) in enumerate(CASES):
        mean, std = (IMAGENET, HALVES)[number % 2]
        file = io.BytesIO()
        Image.fromarray(drawn(width, height)).save(file, "PNG")
        tensor = Preprocessing(size, mean, std, layout)(file.getvalue(), name)
        case = {"case": name, "width": width, "height": height, "size": size, "mean": mean, "std": std}
        pixels = decode_square(file.getvalue(), name, size)
        found.append(
            {
                **case,
                "layout": layout,
                "pixels": b64encode(pixels.tobytes()).decode(),
                "tensor_sha256": sha256_bytes(tensor.astype("<f4").tobytes()),
            }
        )
    return found


def text() -> str:
    """Return the file's content, one record per line."""
    return "[\n" + ",\n".join(json.dumps(record) for record in records()) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
