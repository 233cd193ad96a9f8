"""One payload for all widths."""

from dataclasses import replace

import numpy as np
import pytest

from convert import SliceError
from convert.fold import fold
from convert.quantized_weights import payload_at, quantize_weights, scale_at
from convert.slice_plan import plan_programs
from tests.convert.supernets import trained_like, with_kernels

CHECKPOINT = trained_like()
SPEC, TENSORS = CHECKPOINT.spec, CHECKPOINT.tensors
PLANS = plan_programs(SPEC, range(SPEC.n_widths))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_payload_times_scale_is_the_folded_weight_within_half_a_step(plan) -> None:  # type: ignore[no-untyped-def]
    weights = quantize_weights(TENSORS, PLANS)
    for piece in plan.layers:
        scale = scale_at(weights[piece.name], TENSORS, piece, SPEC.bn_epsilon)[:, None, None, None]
        folded, _ = fold(TENSORS, piece, SPEC.bn_epsilon)
        rebuilt = payload_at(weights[piece.name], piece) * scale
        error = float((np.abs(rebuilt - folded) / scale).max())
        assert error <= 0.5 + 1e-4, f"{piece.name}: off by {error:.4f} steps"


def test_a_narrow_kernel_has_the_integers_in_the_centre_of_the_wide_one() -> None:
    checkpoint = trained_like(with_kernels(SPEC, 2, (3, 3, 5, 7)))
    plans = plan_programs(checkpoint.spec, range(4))
    weights = quantize_weights(checkpoint.tensors, plans)
    for plan in plans:
        for piece in plan.layers:
            scale = scale_at(weights[piece.name], checkpoint.tensors, piece, SPEC.bn_epsilon)[:, None, None, None]
            folded, _ = fold(checkpoint.tensors, piece, SPEC.bn_epsilon)
            assert (payload_at(weights[piece.name], piece).shape, piece.kernel) == (folded.shape, folded.shape[-1])
            error = float((np.abs(payload_at(weights[piece.name], piece) * scale - folded) / scale).max())
            assert error <= 0.5 + 1e-4, f"{plan.name} {piece.name}: off by {error:.4f} steps"


def test_scales_stay_positive_whatever_the_signs_of_gamma() -> None:
    gammas = [values for name, values in TENSORS.items() if name.endswith("_bn.weight")]
    assert sum(int((gamma < 0).sum()) for gamma in gammas) > 10, "the network under test needs negative gammas"
    weights = quantize_weights(TENSORS, PLANS)
    smallest = min(
        float(scale_at(weights[p.name], TENSORS, p, SPEC.bn_epsilon).min()) for plan in PLANS for p in plan.layers
    )
    assert smallest > 0, f"smallest scale {smallest}"


def test_a_channel_without_gamma_adds_nothing_and_keeps_a_usable_scale() -> None:
    name = "stages.2.1.pointwise"
    gamma = TENSORS[f"{name}_bn.weight"].copy()
    gamma[5] = 0
    tensors = {**TENSORS, f"{name}_bn.weight": gamma}
    weights = quantize_weights(tensors, PLANS)
    (piece,) = [piece for piece in PLANS[-1].layers if piece.name == name]
    assert not weights[name].payload[5].any()
    scale = float(scale_at(weights[name], tensors, piece, SPEC.bn_epsilon)[5])
    assert 0 < scale < float(scale_at(weights[name], tensors, piece, SPEC.bn_epsilon).max()), f"scale {scale}"


def test_switchable_gammas_of_both_signs_are_refused_for_widths_together_and_accepted_apart() -> None:
    spec = replace(SPEC, batch_norm="switchable")
    name = "stages.2.1.pointwise"
    tensors = trained_like(spec).tensors
    assert quantize_weights(tensors, plan_programs(spec, range(spec.n_widths)))
    tensors[f"{name}_bn.statistics.2.weight"][5] *= -1
    with pytest.raises(SliceError, match=rf"layer {name}: gamma of 1 channel\(s\), first 5, is negative at some of"):
        quantize_weights(tensors, plan_programs(spec, [0, 2]))
    alone = quantize_weights(tensors, plan_programs(spec, [2]))[name].payload[5]
    others = quantize_weights(tensors, plan_programs(spec, [0, 1, 3]))[name].payload[5]
    used = len(alone)
    assert np.array_equal(np.sign(alone), -np.sign(others[:used])), "the sign of gamma is not in the payload"


def test_a_row_of_zeros_gets_a_step_of_one() -> None:
    weight = TENSORS["classifier.weight"].copy()
    weight[3] = 0
    weights = quantize_weights({**TENSORS, "classifier.weight": weight}, PLANS)
    assert weights["classifier"].step[3] == 1
    assert not weights["classifier"].payload[3].any()
