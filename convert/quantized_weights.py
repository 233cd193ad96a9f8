"""One int8 payload per weight, for all widths; what differs between widths is a scale per output channel.

    payload[o] = rint(s_o · W[o] / step[o]),   step[o] = max|W[o]| / 127 over the widest range any program uses
    folded weight at width k ≈ payload[:O_k, :I_k] · scale_k,   scale_k[o] = step[o] · |bn_k.scale[o]|

s_o is the sign of the batch norm's gamma: moving it into the payload keeps every scale positive, which the int8 kernels
of all three runtimes require (LiteRT silently loses delegation otherwise). A shared gamma has the same sign at every
width; where switchable ones have not, `gamma_signs` gives the sign a layer of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.errors import SliceError
from convert.fold import Float, Tensors, affine, batch_norm, weight_slice
from convert.slice_plan import LayerSlice, ProgramPlan, uses_of_layers, widest

Int8 = NDArray[np.int8]

NEGLIGIBLE = np.float32(2.0**-24)
"""A channel whose gamma is below this share of its layer's largest adds less than float32 resolves: payload 0."""


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight's shared integers at its widest range."""

    payload: Int8
    """[O, I, k, k] (depthwise [C, 1, k, k]), within ±127."""
    step: Float
    """[O], above 0."""


def quantize_weight(tensors: Tensors, uses: Sequence[LayerSlice]) -> QuantizedWeight:
    """Return the shared integers of a layer from the widest of the ranges in which it is used.

    A channel whose gamma is positive at one width and negative at another is a SliceError: `separate_signs` first.
    """
    weight = weight_slice(tensors, widest(uses))
    if (clashing := clashing_channels(tensors, uses)).size:
        raise SliceError(
            f"layer {uses[0].name}: gamma of {clashing.size} channel(s), first {clashing[0]}, is negative at some of "
            "the widths and positive at others, so these cannot share weights; give its sign a layer of its own"
        )
    sign = np.sign(_signs(tensors, uses).sum(axis=0))
    reach = np.abs(weight).max(axis=(1, 2, 3))
    step = np.where(reach > 0, reach / np.float32(127), np.float32(1)).astype(np.float32)
    payload = np.rint(weight * (sign / step)[:, None, None, None]).clip(-127, 127).astype(np.int8)
    return QuantizedWeight(payload, step)


def quantize_weights(tensors: Tensors, programs: Sequence[ProgramPlan]) -> dict[str, QuantizedWeight]:
    """Return the shared integers of every layer of a set of programs."""
    return {name: quantize_weight(tensors, uses) for name, uses in uses_of_layers(programs).items()}


def clashing_channels(tensors: Tensors, uses: Sequence[LayerSlice]) -> NDArray[np.intp]:
    """Return the channels of a layer whose gamma is positive at one width and negative at another."""
    signs = _signs(tensors, uses)
    return np.flatnonzero(signs.max(axis=0) * signs.min(axis=0) < 0)


def scale_at(quantized: QuantizedWeight, tensors: Tensors, layer: LayerSlice, epsilon: float) -> Float:
    """Return scale_k, [out_channels], above 0: folded weight ≈ payload · scale."""
    step = quantized.step[: layer.out_channels]
    if layer.statistics is None:
        return step
    factor = np.abs(batch_norm(tensors, layer, epsilon).scale)
    largest = factor.max(initial=0)
    # A zeroed payload row needs some positive scale; its own may underflow.
    return step * np.maximum(factor, NEGLIGIBLE * largest if largest > 0 else np.float32(1))


def payload_at(quantized: QuantizedWeight, layer: LayerSlice) -> Int8:
    """Return the payload's range at this width, OIHW: of a sliced kernel, the centre."""
    ring = (quantized.payload.shape[-1] - layer.kernel) // 2
    centre = slice(ring, ring + layer.kernel)
    return quantized.payload[: layer.out_channels, : layer.in_channels, centre, centre]


def _signs(tensors: Tensors, uses: Sequence[LayerSlice]) -> Float:
    """Return the sign of gamma per use and channel, 0 where it is negligible or the use does not reach; [uses, O]."""
    channels = max(piece.out_channels for piece in uses)
    if uses[0].statistics is None:
        return np.ones((1, channels), np.float32)
    signs = np.zeros((len(uses), channels), np.float32)
    for row, piece in zip(signs, uses, strict=True):
        gamma, _ = affine(tensors, piece)
        counts = np.abs(gamma) >= NEGLIGIBLE * np.abs(gamma).max(initial=0)
        row[: piece.out_channels] = np.sign(gamma) * counts
    return signs


QuantizedWeights = Mapping[str, QuantizedWeight]
