"""Layers with nested weights: width k uses a prefix of every tensor. Width is an argument of `forward`, never state.

Shapes: n images, c_in[w] and c_out[w] channels at width w, h × w pixels. Tensors are held at full size (the last entry
of the layer's channel counts).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.layer_specs import LayerSpec, centre_out


class SlicedConv2d(nn.Module):
    """A full, depthwise or 1×1 convolution, padded by kernel // 2, or of patches, which do not overlap: not padded.

    Parameters are zero until initialised or loaded.
    """

    def __init__(self, layer: LayerSpec) -> None:
        super().__init__()
        self.layer = layer
        inputs = 1 if layer.kind == "depthwise" else layer.in_channels[-1]
        pixels = (layer.kernel**2,) if layer.kernels else (layer.kernel, layer.kernel)
        self.weight = nn.Parameter(torch.zeros(layer.out_channels[-1], inputs, *pixels))
        for kernel in sorted(set(layer.kernels or ())):
            self.register_buffer(f"order_{kernel}", torch.tensor(centre_out(kernel)), persistent=False)
        self.bias = nn.Parameter(torch.zeros(layer.out_channels[-1])) if layer.bias else None

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Map (n, c_in[w], h, w) to (n, c_out[w], ceil(h / stride), ceil(w / stride))."""
        layer, outputs = self.layer, self.layer.out_channels[width]
        depthwise, kernel = layer.kind == "depthwise", layer.kernel_at(width)
        weight = self.weight[:outputs] if depthwise else self.weight[:outputs, : layer.in_channels[width]]
        if layer.kernels:
            order = self.get_buffer(f"order_{kernel}")
            weight = weight[:, :, : kernel**2].index_select(2, order).reshape(outputs, 1, kernel, kernel)
        bias = None if self.bias is None else self.bias[:outputs]
        groups, padding = outputs if depthwise else 1, 0 if layer.kind == "patch" else kernel // 2
        if depthwise and layer.stride > 1 and x.device.type == "cpu":
            # On CPUs the bfloat16 gradient of a strided depthwise convolution takes 5 to 30 times as long as float32's.
            with torch.autocast("cpu", enabled=False):
                return F.conv2d(x.to(weight.dtype), weight, bias, layer.stride, padding, groups=groups).to(x.dtype)
        return F.conv2d(x, weight, bias, layer.stride, padding, groups=groups)


class SlicedLinear(nn.Module):
    """A fully connected layer. Parameters are zero until initialised or loaded."""

    def __init__(self, layer: LayerSpec) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(torch.zeros(layer.out_channels[-1], layer.in_channels[-1]))
        self.bias = nn.Parameter(torch.zeros(layer.out_channels[-1])) if layer.bias else None

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Map (n, c_in[w]), or pooled features (n, c_in[w], 1, 1), to (n, c_out[w])."""
        inputs, outputs = self.layer.in_channels[width], self.layer.out_channels[width]
        bias = None if self.bias is None else self.bias[:outputs]
        return F.linear(x.flatten(1), self.weight[:outputs, :inputs], bias)


class SlicedPosition(nn.Module):
    """A learned embedding of the place of a token. Zero until initialised or loaded."""

    def __init__(self, layer: LayerSpec) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(torch.zeros(layer.out_channels[-1], layer.output_size, layer.output_size))

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Add to (n, c_out[w], h, w); for smaller images than the spec's, places in between are interpolated."""
        places = self.weight[None, : self.layer.out_channels[width]]
        if x.shape[-2:] != places.shape[-2:]:
            places = F.interpolate(places, x.shape[-2:], mode="bilinear", antialias=True)
        return x + places


class SlicedLayerNorm(nn.Module):
    """Layer norm of every token over the channels of the width (Ba et al., 2016), with ONE affine that widths slice.

    Batch norm needs statistics per width, for a channel's mean over images depends on which channels came in. This
    measures mean and variance of the token at hand, so every width is normalised exactly and nothing is recalibrated.
    """

    def __init__(self, layer: LayerSpec, epsilon: float) -> None:
        super().__init__()
        self.layer = layer
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(layer.out_channels[-1]))
        self.bias = nn.Parameter(torch.zeros(layer.out_channels[-1]))

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Normalise (n, c_out[w], h, w) over its channels."""
        channels = self.layer.out_channels[width]
        gamma, beta = self.weight[:channels], self.bias[:channels]
        return F.layer_norm(x.movedim(1, -1), (channels,), gamma, beta, self.epsilon).movedim(-1, 1)


def attend(queries: Tensor, keys: Tensor, values: Tensor, head_size: int) -> Tensor:
    """Multi-head attention (Vaswani et al., NeurIPS 2017, equation 1) of (n, heads · head_size, h, w), each."""
    shape = queries.shape
    q, k, v = (x.reshape(shape[0], -1, head_size, shape[2] * shape[3]).mT for x in (queries, keys, values))
    return F.scaled_dot_product_attention(q, k, v).mT.reshape(shape)


class Statistics(nn.Module):
    """The mean and variance of one set of channels; in switchable batch norm with an affine of its own."""

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, switchable: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.weight = nn.Parameter(torch.ones(channels)) if switchable else None
        self.bias = nn.Parameter(torch.zeros(channels)) if switchable else None


class WidthBatchNorm2d(nn.Module):
    """Batch norm with statistics per index and ONE affine that every width slices (DS-Net, Li et al., CVPR 2021).

    Switchable (S-Nets, Yu et al., ICLR 2019): an affine per index too. Training touches no statistics: one step runs a
    batch through the same layer several times, and the weights that a running mean has seen are not the final ones. So
    `train.recalibrate_bn` measures them once training is over.
    """

    def __init__(self, layer: LayerSpec, epsilon: float) -> None:
        super().__init__()
        if layer.statistics is None:
            raise ValueError(f"layer {layer.name} has no batch norm")
        self.indices = layer.statistics
        self.channels = layer.out_channels
        self.epsilon = epsilon
        self.weight = None if layer.switchable else nn.Parameter(torch.ones(layer.out_channels[-1]))
        self.bias = None if layer.switchable else nn.Parameter(torch.zeros(layer.out_channels[-1]))
        self.statistics = nn.ModuleList(
            Statistics(channels, layer.switchable) for channels in statistics_channels(layer)
        )

    def statistics_of(self, width: int) -> Statistics:
        """Return the statistics that `width` normalises with."""
        statistics = self.statistics[self.indices[width]]
        assert isinstance(statistics, Statistics)
        return statistics

    def affine_of(self, width: int) -> tuple[Tensor, Tensor]:
        """Return gamma and beta of `width`, (c_out[w],) each."""
        owner = self.statistics_of(width) if self.weight is None else self
        assert owner.weight is not None and owner.bias is not None
        channels = self.channels[width]
        return owner.weight[:channels], owner.bias[:channels]

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Normalise (n, c_out[w], h, w): by the batch in training mode, by the statistics of `width` otherwise."""
        statistics = self.statistics_of(width)
        mean, var = (None, None) if self.training else (statistics.mean, statistics.var)
        gamma, beta = self.affine_of(width)
        return F.batch_norm(x, mean, var, gamma, beta, training=self.training, eps=self.epsilon)


def statistics_channels(layer: LayerSpec) -> list[int]:
    """Return the channel count of every set of batch-norm statistics, in index order; empty without batch norm."""
    counts = dict(zip(layer.statistics or (), layer.out_channels, strict=False))
    return [counts[index] for index in sorted(counts)]


def normalise_by_batch(module: nn.Module) -> None:
    """Put `module` in evaluation mode (no dropout) with every batch norm normalising by the batch at hand."""
    module.eval()
    for child in module.modules():
        if isinstance(child, WidthBatchNorm2d):
            child.train()
