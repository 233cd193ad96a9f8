"""Batch norms whose gamma changes sign between widths (switchable ones may): the sign becomes an operation of its own.

    gamma · (W x − mean) / σ + beta  =  s · ( |gamma| · (W x − mean) / σ + s · beta ),   s = sign(gamma)

One payload serves all widths only while no scale is negative (see `quantized_weights`). So the convolution keeps
|gamma| and s · beta, and a depthwise 1×1 convolution after it multiplies every channel by s. The two sides are equal in
floating point too: changing a sign rounds nothing. Layers whose signs agree are left as they are.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from convert.fold import Tensors, affine
from convert.quantized_weights import clashing_channels
from convert.slice_plan import LayerSlice, ProgramPlan, uses_of_layers
from train.layer_specs import LayerSpec


def separate_signs(tensors: Tensors, programs: Sequence[ProgramPlan]) -> tuple[tuple[ProgramPlan, ...], Tensors]:
    """Return programs and tensors that compute the same and whose widths agree on the sign of every gamma."""
    clashing = {name: uses for name, uses in uses_of_layers(programs).items() if clashing_channels(tensors, uses).size}
    changed = dict(tensors)
    for uses in clashing.values():
        for piece in uses:
            changed.update(_without_sign(tensors, piece))
    separated = (replace(program, layers=tuple(_pieces(program.layers, clashing))) for program in programs)
    return tuple(separated), changed


def _pieces(layers: Sequence[LayerSlice], clashing: Collection[str]) -> Iterator[LayerSlice]:
    for piece in layers:
        yield piece
        if piece.name in clashing:
            yield _sign_layer(piece)


def _without_sign(tensors: Tensors, piece: LayerSlice) -> dict[str, np.ndarray]:
    """Return |gamma|, s · beta and the weights of the sign's own layer, under their tensor names."""
    assert piece.statistics is not None
    gamma, beta = affine(tensors, piece)
    sign = np.where(gamma < 0, np.float32(-1), np.float32(1))
    prefix = piece.layer.batch_norm_affine(piece.statistics)
    return {
        f"{prefix}.weight": sign * gamma,
        f"{prefix}.bias": sign * beta,
        f"{_sign_layer(piece).name}.weight": sign[:, None, None, None],
    }


def _sign_layer(piece: LayerSlice) -> LayerSlice:
    """Return the layer that multiplies by s; every set of statistics has one, as the widths' signs differ."""
    channels = (piece.out_channels,)
    name = f"{piece.name}_sign_{piece.statistics:02d}"
    layer = LayerSpec(name, "depthwise", channels, channels, 1, 1, False, None, piece.layer.output_size)
    return LayerSlice(layer, piece.out_channels, 1, 1, None, after=piece.name)
