"""The parametrised layers of a network with their channels at every width. No torch."""

from dataclasses import dataclass
from typing import Literal

LayerKind = Literal["conv", "depthwise", "linear"]


@dataclass(frozen=True)
class LayerSpec:
    """One parametrised layer. Channel counts are given for every index 0 … largest."""

    name: str
    """Prefix of its tensors in the state dict: NAME.weight, NAME.bias; its batch norm's are NAME_bn.*"""
    kind: LayerKind
    in_channels: tuple[int, ...]
    out_channels: tuple[int, ...]
    kernel: int
    stride: int
    bias: bool
    statistics: tuple[int, ...] | None
    """Batch-norm statistics index per width index; None for a layer without batch norm."""
    output_size: int
    """Side of the square output in pixels."""
    switchable: bool = False
    """Whether every set of batch-norm statistics has an affine of its own."""

    def batch_norm_affine(self, statistics: int) -> str:
        """Return the prefix of the gamma and beta that go with a set of statistics: PREFIX.weight, PREFIX.bias."""
        return f"{self.name}_bn.statistics.{statistics}" if self.switchable else f"{self.name}_bn"

    def macs(self, width: int) -> int:
        """Return the multiply-accumulates of this layer at `width`."""
        inputs = 1 if self.kind == "depthwise" else self.in_channels[width]
        return self.out_channels[width] * inputs * self.kernel**2 * self.output_size**2

    def params(self, width: int) -> int:
        """Return the weights of this layer at `width`, batch norm folded (one bias per output channel)."""
        inputs = 1 if self.kind == "depthwise" else self.in_channels[width]
        has_bias = self.bias or self.statistics is not None
        return self.out_channels[width] * (inputs * self.kernel**2 + has_bias)
