"""The parametrised layers of a network with their channels at every width. No torch."""

from dataclasses import dataclass
from typing import Literal

LayerKind = Literal[
    "conv",
    "depthwise",
    "linear",
    "patch",  # a convolution whose stride is its kernel, without padding
    "position",  # one vector of channels per pixel, added: NAME.weight is [c, h, w]
    "layer_norm",  # gamma and beta
]


@dataclass(frozen=True)
class LayerSpec:
    """One parametrised layer. Channel counts are given for every index 0 … largest."""

    name: str
    """Prefix of its tensors in the state dict: NAME.weight, NAME.bias; its batch norm's are NAME_bn.*"""
    kind: LayerKind
    in_channels: tuple[int, ...]
    out_channels: tuple[int, ...]
    kernel: int
    """Side of the square kernel, at its widest."""
    stride: int
    bias: bool
    statistics: tuple[int, ...] | None
    """Batch-norm statistics index per width index; None for a layer without batch norm."""
    output_size: int
    """Side of the square output in pixels."""
    switchable: bool = False
    """Whether every set of batch-norm statistics has an affine of its own."""
    kernels: tuple[int, ...] | None = None
    """Side of a depthwise kernel for every index, where it is sliced. The weight tensor is then [c, 1, positions] with
    the positions centre-out, so that a smaller kernel is a prefix of a larger one's."""

    @property
    def has_filter(self) -> bool:
        """Return whether it multiplies channels by a matrix or a kernel, rather than pixel by pixel."""
        return self.kind not in ("position", "layer_norm")

    def kernel_at(self, width: int) -> int:
        """Return the side of the kernel at `width`."""
        return self.kernels[width] if self.kernels else self.kernel

    def batch_norm_affine(self, statistics: int) -> str:
        """Return the prefix of the gamma and beta that go with a set of statistics: PREFIX.weight, PREFIX.bias."""
        return f"{self.name}_bn.statistics.{statistics}" if self.switchable else f"{self.name}_bn"

    def macs(self, width: int) -> int:
        """Return the multiply-accumulates of this layer at `width`; normalising and adding have none."""
        if not self.has_filter:
            return 0
        inputs = 1 if self.kind == "depthwise" else self.in_channels[width]
        return self.out_channels[width] * inputs * self.kernel_at(width) ** 2 * self.output_size**2

    def params(self, width: int) -> int:
        """Return the weights of this layer at `width`, batch norm folded (one bias per output channel)."""
        if self.kind == "position":
            return self.out_channels[width] * self.output_size**2
        if self.kind == "layer_norm":
            return 2 * self.out_channels[width]
        inputs = 1 if self.kind == "depthwise" else self.in_channels[width]
        has_bias = self.bias or self.statistics is not None
        return self.out_channels[width] * (inputs * self.kernel_at(width) ** 2 + has_bias)


def centre_out(kernel: int) -> list[int]:
    """Return, for the pixels of a kernel row by row, where each is stored: the centre first, then ring after ring.

    DS-Net++ (Li et al., "DS-Net++: Dynamic Weight Slicing", 2021) slices kernels; how it stores them is not published,
    so this order is a reconstruction. Within a ring, rows come one after the other; the order of a smaller kernel is
    thus the beginning of a larger one's.
    """
    reach = range(-(kernel // 2), kernel // 2 + 1)
    pixels = [(row, column) for row in reach for column in reach]
    stored = sorted(pixels, key=lambda pixel: max(map(abs, pixel)))
    return [stored.index(pixel) for pixel in pixels]
