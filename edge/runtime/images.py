"""From an image file's bytes to the tensor a program reads; without torch.

`common.images` decodes and scales; then float32: (pixel / 255 − mean) / std per channel, batch 1, NHWC or NCHW.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.images import decode_square
from edge.bundle.manifest import Model, Runtime

Layout = Literal["NHWC", "NCHW"]


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
        pixels = decode_square(data, name, self.size).astype(np.float32) / np.float32(255)
        values = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        if self.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[np.newaxis], dtype=np.float32)
