"""Batch-norm folding in NumPy float32: y = conv(x, weight·scale) + bias with

    scale = gamma / sqrt(var + epsilon)        bias = scale·(0 − mean) + beta

in exactly this order of operations: it is the one coremltools uses, so folded constants equal its own bit for bit.
torch is not used because its square root is not correctly rounded on every build.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.slice_plan import LayerSlice
from train.layer_specs import centre_out

Float = NDArray[np.float32]
Tensors = Mapping[str, Float]


@dataclass(frozen=True)
class BatchNormSlice:
    """The per-channel affine map of one batch norm at one width: y = scale·x + bias."""

    scale: Float
    """[c] gamma / sqrt(var + epsilon); negative where gamma is."""
    bias: Float
    """[c]"""


def affine(tensors: Tensors, piece: LayerSlice) -> tuple[Float, Float]:
    """Return gamma and beta of a layer's batch norm at this width, [c] each; the layer must have one."""
    assert piece.statistics is not None
    name, channels = piece.layer.batch_norm_affine(piece.statistics), piece.out_channels
    return tensors[f"{name}.weight"][:channels], tensors[f"{name}.bias"][:channels]


def batch_norm(tensors: Tensors, piece: LayerSlice, epsilon: float) -> BatchNormSlice:
    """Return the affine map of a layer's batch norm at this width; the layer must have one."""
    name, channels = f"{piece.name}_bn", piece.out_channels
    gamma, beta = affine(tensors, piece)
    mean = tensors[f"{name}.statistics.{piece.statistics}.mean"][:channels]
    var = tensors[f"{name}.statistics.{piece.statistics}.var"][:channels]
    scale = gamma / np.sqrt(var + np.float32(epsilon))
    return BatchNormSlice(scale, scale * (np.float32(0) - mean) + beta)


def weight_slice(tensors: Tensors, piece: LayerSlice) -> Float:
    """Return the unfolded weight at this width, OIHW: [out, in, k, k]; depthwise [c,1,k,k], linear [out,in,1,1]."""
    weight = tensors[f"{piece.name}.weight"]
    if piece.layer.kind == "linear":
        weight = weight[:, :, None, None]
    if piece.layer.kernels:
        weight = weight[:, :, centre_out(piece.kernel)].reshape(*weight.shape[:2], piece.kernel, piece.kernel)
    return weight[: piece.out_channels, : piece.in_channels]


def bias_slice(tensors: Tensors, piece: LayerSlice, epsilon: float) -> Float:
    """Return the bias that the folded layer adds at this width, [out].

    Zeros where it has neither bias nor batch norm.
    """
    if piece.statistics is not None:
        return batch_norm(tensors, piece, epsilon).bias
    if piece.layer.bias:
        return tensors[f"{piece.name}.bias"][: piece.out_channels]
    return np.zeros(piece.out_channels, np.float32)


def fold(tensors: Tensors, piece: LayerSlice, epsilon: float) -> tuple[Float, Float]:
    """Return the folded weight (OIHW, as `weight_slice`) and bias of a layer at this width."""
    weight = weight_slice(tensors, piece)
    if piece.statistics is not None:
        weight = weight * batch_norm(tensors, piece, epsilon).scale[:, None, None, None]
    return np.ascontiguousarray(weight), bias_slice(tensors, piece, epsilon)
