"""Widths that disagree on the sign of a gamma compute the same once the sign is a layer of its own."""

from dataclasses import replace

import numpy as np
import torch

from convert.gamma_signs import separate_signs
from convert.quantized_weights import quantize_weights
from convert.slice_plan import plan_programs
from convert.static_module import static_module
from tests.convert.supernets import trained_like
from train.spec import load_spec

SPEC = replace(load_spec("ds_mbv1_tiny"), batch_norm="switchable")
CLASHING = ("stem", "stages.0.0.depthwise", "stages.2.1.pointwise")


def test_separating_the_signs_changes_no_bit_of_any_output() -> None:
    tensors = trained_like(SPEC).tensors
    for name in CLASHING:
        tensors[f"{name}_bn.statistics.0.weight"] *= -1
        tensors[f"{name}_bn.statistics.0.bias"] += 0.5
    programs = plan_programs(SPEC, range(SPEC.n_widths))
    separated, changed = separate_signs(tensors, programs)
    assert quantize_weights(changed, separated)
    for before, after in zip(programs, separated, strict=True):
        x = torch.randn(before.input_shape, generator=torch.Generator().manual_seed(0))
        expected = static_module(SPEC, before, tensors)(x)
        found = static_module(SPEC, after, changed)(x)
        for one, other in zip(_outputs(expected), _outputs(found), strict=True):
            difference = (one - other).abs().max().item()
            assert difference == 0, f"{before.name} differs by {difference}"


def test_layers_whose_signs_agree_are_left_as_they_are() -> None:
    tensors = trained_like(SPEC).tensors
    programs = plan_programs(SPEC, range(SPEC.n_widths))
    separated, changed = separate_signs(tensors, programs)
    assert separated == programs
    assert all(np.array_equal(changed[name], values) for name, values in tensors.items())


def _outputs(found: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (found,) if isinstance(found, torch.Tensor) else found
