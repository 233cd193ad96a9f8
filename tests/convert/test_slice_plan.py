"""Which ranges of which tensors each program uses."""

import numpy as np
import pytest

from convert import SliceError
from convert.slice_plan import feeding, plan_programs, weight_levels
from tests.gated_network import THREE_GATES, TWO_GATES
from train.spec import load_spec

SPEC = load_spec("ds_mbv1")


def test_a_gated_network_has_one_prefix_and_a_tail_per_width() -> None:
    names = [program.name for program in plan_programs(SPEC, [0, 4, 13])]
    assert names == ["prefix", "tail_00", "tail_04", "tail_13"]


def test_prefix_and_tail_together_do_exactly_the_slices_multiply_accumulates() -> None:
    prefix, *tails = plan_programs(SPEC, range(SPEC.n_widths))
    head = sum(piece.layer.macs(0) for piece in prefix.layers)
    for tail in tails:
        assert head + sum(piece.layer.macs(tail.width) for piece in tail.layers) == SPEC.macs(tail.width)


def test_every_layer_belongs_to_one_program_of_a_width() -> None:
    prefix, tail = plan_programs(SPEC, [3])
    assert sorted(piece.name for piece in prefix.layers + tail.layers) == sorted(layer.name for layer in SPEC.layers)


def test_the_levels_of_a_weight_are_its_distinct_ranges() -> None:
    levels = weight_levels(plan_programs(SPEC, [0, 13]))
    assert levels["stages.3.1.pointwise"].extents == ((224, 224, 1), (640, 640, 1))
    assert levels["stages.3.0.pointwise"].extents == ((224, 96, 1), (640, 96, 1))
    assert levels["classifier"].extents == ((1000, 736, 1), (1000, 1152, 1))
    assert levels["stem"].extents == ((16, 3, 3),)


def test_ranges_between_two_gates_make_runs_that_hold_one_another() -> None:
    levels = weight_levels(plan_programs(TWO_GATES, range(TWO_GATES.n_widths)))
    assert levels["stages.0.0.first"].chains == (((8, 8, 3), (16, 8, 3)),)
    first = levels["stages.1.0.first"]
    assert first.chains == (((8, 8, 3), (8, 16, 3), (16, 16, 3), (24, 16, 3)), ((16, 8, 3),))
    assert [first.place(extent) for extent in first.extents] == [(0, 0), (0, 1), (1, 0), (0, 2), (0, 3)]


def test_widths_share_the_programs_that_their_paths_have_in_common() -> None:
    plans = {plan.name: plan.widths for plan in plan_programs(TWO_GATES, [0, 2, 4])}
    assert TWO_GATES.paths == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
    assert plans == {
        "prefix": (0, 2, 4),
        "stage_1_00": (0,),
        "stage_1_01": (2, 4),
        "tail_00_00": (0,),
        "tail_01_00": (2,),
        "tail_01_02": (4,),
    }


def test_a_program_reads_the_features_of_all_that_may_come_before_it() -> None:
    plans = plan_programs(THREE_GATES, range(THREE_GATES.n_widths))
    before = {plan.name: [other.name for other in feeding(plans, plan)] for plan in plans}
    assert before["prefix"] == []
    assert before["stage_2_01_00"] == ["stage_1_01"]
    assert before["tail_01_02"] == ["stage_2_00_01", "stage_2_01_01"]


def test_the_pixels_of_the_narrowest_kernel_are_stored_first_and_every_kernel_is_a_prefix() -> None:
    levels = weight_levels(plan_programs(load_spec("ds_mbv1pp_64"), [0, 6, 7, 13]))["stages.3.1.depthwise"]
    assert levels.extents == ((64, 1, 3), (160, 1, 3), (176, 1, 5), (272, 1, 5))
    narrow, wide = (np.reshape(levels.positions(kernel), (kernel, kernel)) for kernel in (3, 5))
    assert narrow.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert wide[1:4, 1:4].tolist() == narrow.tolist()
    assert np.sort(wide, axis=None).tolist() == list(range(25))


def test_a_gate_less_network_has_whole_nets() -> None:
    from dataclasses import replace

    gate_less = replace(SPEC, gates=())
    (net,) = plan_programs(gate_less, [2])
    assert net.name == "net_02"
    assert len(net.layers) == len(gate_less.layers)


@pytest.mark.parametrize("widths", [[14], [-1], [], [3, 0], [1, 1]])
def test_widths_the_network_does_not_have_are_refused_with_the_valid_ones(widths: list[int]) -> None:
    with pytest.raises(SliceError, match=r"0…13"):
        plan_programs(SPEC, widths)
