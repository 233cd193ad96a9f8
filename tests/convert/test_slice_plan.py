"""Which ranges of which tensors each program uses."""

import numpy as np
import pytest

from convert import SliceError
from convert.slice_plan import plan_programs, weight_levels
from train.spec import load_spec

SPEC = load_spec("ds_mbv1")


def test_a_gated_network_has_one_prefix_and_a_tail_per_width() -> None:
    names = [program.name for program in plan_programs(SPEC, [0, 4, 13])]
    assert names == ["prefix", "tail_00", "tail_04", "tail_13"]


def test_prefix_and_tail_together_do_exactly_the_slices_multiply_accumulates() -> None:
    prefix, *tails = plan_programs(SPEC, range(SPEC.n_widths))
    head = sum(piece.layer.macs(0) for piece in prefix.layers)
    for tail in tails:
        assert tail.width is not None
        assert head + sum(piece.layer.macs(tail.width) for piece in tail.layers) == SPEC.macs(tail.width)


def test_every_layer_belongs_to_one_program_of_a_width() -> None:
    prefix, tail = plan_programs(SPEC, [3])
    assert sorted(piece.name for piece in prefix.layers + tail.layers) == sorted(layer.name for layer in SPEC.layers)


def test_the_levels_of_a_weight_are_its_distinct_ranges() -> None:
    levels = weight_levels(plan_programs(SPEC, [0, 13]))
    assert levels["stages.3.1.pointwise"].out_channels == (224, 640)
    assert levels["stages.3.1.pointwise"].in_channels == (224, 640)
    assert levels["stages.3.0.pointwise"].in_channels == (96, 96)
    assert levels["classifier"].out_channels == (1000, 1000)
    assert (levels["stem"].out_channels[-1], levels["stem"].in_channels[-1]) == (16, 3)


def test_the_pixels_of_the_narrowest_kernel_are_stored_first_and_every_kernel_is_a_prefix() -> None:
    levels = weight_levels(plan_programs(load_spec("ds_mbv1pp_64"), [0, 6, 7, 13]))["stages.3.1.depthwise"]
    assert (levels.out_channels, levels.kernels) == ((64, 160, 176, 272), (3, 3, 5, 5))
    narrow, wide = (np.reshape(levels.positions(kernel), (kernel, kernel)) for kernel in (3, 5))
    assert narrow.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert wide[1:4, 1:4].tolist() == narrow.tolist()
    assert np.sort(wide, axis=None).tolist() == list(range(25))


def test_a_gate_less_network_has_whole_nets() -> None:
    from dataclasses import replace

    gate_less = replace(SPEC, gate=None)
    (net,) = plan_programs(gate_less, [2])
    assert net.name == "net_02"
    assert len(net.layers) == len(gate_less.layers)


@pytest.mark.parametrize("widths", [[14], [-1], [], [3, 0], [1, 1]])
def test_widths_the_network_does_not_have_are_refused_with_the_valid_ones(widths: list[int]) -> None:
    with pytest.raises(SliceError, match=r"0…13"):
        plan_programs(SPEC, widths)
