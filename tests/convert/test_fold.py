"""Batch-norm folding."""

from dataclasses import replace

import numpy as np
import pytest

from convert.fold import fold
from convert.slice_plan import LayerSlice, plan_programs
from tests.convert.supernets import trained_like

CHECKPOINT = trained_like()
EPSILON = CHECKPOINT.spec.bn_epsilon
LAYERS = [piece for plan in plan_programs(CHECKPOINT.spec, [0, 2, 3]) for piece in plan.layers]
NORMED = [piece for piece in LAYERS if piece.statistics is not None]


SWITCHABLE = trained_like(replace(CHECKPOINT.spec, batch_norm="switchable"))


@pytest.mark.parametrize("piece", NORMED, ids=lambda piece: f"{piece.name}-{piece.out_channels}")
def test_a_folded_layer_computes_convolution_then_batch_norm(piece: LayerSlice) -> None:
    weight, bias = fold(CHECKPOINT.tensors, piece, EPSILON)
    name = f"{piece.name}_bn"
    tensors = {key: value.astype(np.float64) for key, value in CHECKPOINT.tensors.items()}
    o = piece.out_channels
    inputs = np.random.default_rng(0).standard_normal(weight[0].size)
    plain = tensors[f"{piece.name}.weight"][:o, : piece.in_channels].reshape(o, -1) @ inputs
    mean, var = (tensors[f"{name}.statistics.{piece.statistics}.{kind}"][:o] for kind in ("mean", "var"))
    normed = (plain - mean) / np.sqrt(var + EPSILON) * tensors[f"{name}.weight"][:o] + tensors[f"{name}.bias"][:o]
    error = np.abs(weight.reshape(o, -1).astype(np.float64) @ inputs + bias - normed).max()
    # float32 rounding of a product per term: √terms · 2⁻²⁴ · |term|, with head room of 10
    assert error < 10 * np.sqrt(inputs.size) * 2**-24 * max(1, np.abs(normed).max()), f"error {error:.2e}"


def test_constants_follow_coremltools_order_of_operations_bit_for_bit() -> None:
    piece = NORMED[-1]
    name, o = f"{piece.name}_bn", piece.out_channels
    tensors = CHECKPOINT.tensors
    var = tensors[f"{name}.statistics.{piece.statistics}.var"][:o]
    mean = tensors[f"{name}.statistics.{piece.statistics}.mean"][:o]
    s = tensors[f"{name}.weight"][:o] / np.sqrt(var + np.float32(EPSILON))
    weight, bias = fold(tensors, piece, EPSILON)
    expected = tensors[f"{piece.name}.weight"][:o, : piece.in_channels] * s[:, None, None, None]
    assert weight.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert bias.tobytes() == (s * (np.float32(0) - mean) + tensors[f"{name}.bias"][:o]).tobytes()


@pytest.mark.parametrize("width", range(SWITCHABLE.spec.n_widths))
def test_switchable_batch_norm_folds_the_affine_of_its_own_width(width: int) -> None:
    pieces = [piece for plan in plan_programs(SWITCHABLE.spec, [width]) for piece in plan.layers]
    (piece,) = [piece for piece in pieces if piece.name == "stages.3.0.pointwise"]
    shared = {
        f"stages.3.0.pointwise_bn.{name}": SWITCHABLE.tensors[f"stages.3.0.pointwise_bn.statistics.{width}.{name}"]
        for name in ("weight", "bias")
    }
    as_shared = replace(piece, layer=replace(piece.layer, switchable=False))
    for found, expected in zip(
        fold(SWITCHABLE.tensors, piece, EPSILON), fold(SWITCHABLE.tensors | shared, as_shared, EPSILON), strict=True
    ):
        assert found.tobytes() == expected.tobytes()


def test_a_layer_without_bias_or_batch_norm_gets_a_bias_of_zeros() -> None:
    (gate,) = [piece for piece in LAYERS if piece.name == "gate"]
    _, bias = fold(CHECKPOINT.tensors, gate, EPSILON)
    assert bias.tolist() == [0.0] * gate.out_channels
