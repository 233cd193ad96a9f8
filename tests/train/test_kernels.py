"""A sliced kernel: positions are stored centre-out, so a narrow width's kernel is the centre of the wide one's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from convert.fold import weight_slice
from convert.slice_plan import plan_programs, whole_program
from convert.static_module import static_module
from tests.convert.supernets import trained_like
from tests.train.networks import MICRO, MICRO_STAGE, coloured_images, normal_images
from train import SpecError, SupernetSpec, load_spec
from train.checkpoint import expected_tensors
from train.initialise import initial_supernet
from train.layer_specs import centre_out
from train.supernet import Supernet
from train.supernet_stage import train_supernet

KERNELS = (3, 3, 5, 5, 7)
SPEC = replace(
    MICRO, name="kernels", stages=(MICRO.stages[0], replace(MICRO.stages[1], kernels=KERNELS), MICRO.stages[2])
)
LAYER = "stages.1.1.depthwise"


def kernels_used(spec: SupernetSpec, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the kernels [c, k, k] of every width, as exporters see them."""
    programs = [whole_program(spec, width) for width in range(spec.n_widths)]
    return [weight_slice(tensors, piece)[:, 0] for plan in programs for piece in plan.layers if piece.name == LAYER]


def test_positions_are_stored_centre_first_and_ring_by_ring() -> None:
    assert np.reshape(centre_out(3), (3, 3)).tolist() == [[1, 2, 3], [4, 0, 5], [6, 7, 8]]
    for small, large in ((1, 3), (3, 5), (5, 7)):
        assert sorted(centre_out(large)) == list(range(large**2))
        assert np.reshape(centre_out(large), (large, large))[1:-1, 1:-1].flatten().tolist() == centre_out(small)


def test_a_narrow_kernel_is_the_centre_of_a_wide_one_and_a_prefix_of_what_is_stored() -> None:
    tensors = trained_like(SPEC).tensors
    stored = tensors[f"{LAYER}.weight"]
    assert stored.shape == (12, 1, 49)
    widest = kernels_used(SPEC, tensors)[-1]
    for kernel, found in zip(KERNELS, kernels_used(SPEC, tensors), strict=True):
        ring = (7 - kernel) // 2
        assert np.array_equal(found, widest[: len(found), ring : 7 - ring, ring : 7 - ring])
        assert sorted(found.flatten()) == sorted(stored[: len(found), :, : kernel**2].flatten())


@torch.no_grad()
@pytest.mark.parametrize("width", range(SPEC.n_widths))
def test_a_width_executes_the_multiply_accumulates_of_its_kernels(width: int) -> None:
    model = initial_supernet(SPEC, seed=0)
    gate = next(layer for layer in SPEC.layers if layer.name == "gate")
    with FlopCounterMode(display=False) as counter:
        model(normal_images(SPEC, 1), width)
    assert counter.get_total_flops() // 2 == SPEC.macs(width) - gate.macs(width)
    wider = SPEC.params(width) - MICRO.params(width)
    channels = MICRO.stages[1].channels[width]
    assert wider == channels * (KERNELS[width] ** 2 - 9), f"{wider} weights more than with 3×3 kernels"


@torch.no_grad()
@pytest.mark.parametrize("width", range(SPEC.n_widths))
def test_static_programs_answer_as_the_supernet(width: int) -> None:
    checkpoint = trained_like(SPEC)
    supernet, image = Supernet.from_tensors(SPEC, checkpoint.tensors), normal_images(SPEC, 1)
    prefix, tail = (static_module(SPEC, plan, checkpoint.tensors) for plan in plan_programs(SPEC, [width]))
    expected, found = supernet(image, width), tail(prefix(image)[0])
    error = float((found - expected).abs().max() / expected.abs().max())
    # As in test_static_module: folding reorders float32 operations, each within √(terms) · 2⁻²⁴ ≈ 1e-6.
    assert error < 2e-5, f"logits differ by {error:.2e} of their largest value"


def test_training_moves_the_centre_and_the_rings() -> None:
    before = initial_supernet(SPEC, seed=0).tensors()[f"{LAYER}.weight"]
    config = replace(MICRO_STAGE, epochs=1, hold_out=0.0)
    after = train_supernet(SPEC, coloured_images(30), config, seed=0)[f"{LAYER}.weight"]
    moved = np.abs(after - before)[:, 0].max(axis=0)
    assert moved.min() > 0, f"positions that did not move: {np.flatnonzero(moved == 0)}"


def test_a_restricted_network_has_the_kernels_of_its_widths_alone() -> None:
    narrow, both = SPEC.restricted_to((0,)), SPEC.restricted_to((1, 3))
    assert expected_tensors(narrow)[f"{LAYER}.weight"] == (4, 1, 9)
    assert expected_tensors(both)[f"{LAYER}.weight"] == (10, 1, 25)
    for index, width in enumerate((1, 3)):
        gate = next(layer for layer in SPEC.layers if layer.name == "gate")
        assert both.macs(index) == SPEC.macs(width) - gate.macs(width)


@pytest.mark.parametrize(
    ("stage", "kernels", "message"),
    [
        (1, (3, 5), "stage 1: 2 kernels; a stage of 5 widths has one for each"),
        (1, (5, 3, 3, 3, 3), "stage 1: kernels [5, 3, 3, 3, 3] must be odd, within 1…15 and not decrease"),
        (1, (2, 3, 3, 3, 3), "stage 1: kernels [2, 3, 3, 3, 3] must be odd"),
        (0, (3, 5), "stage 0: 2 kernels; a stage of 5 widths"),
    ],
)
def test_kernels_that_no_width_can_use_are_refused(stage: int, kernels: tuple[int, ...], message: str) -> None:
    stages = list(MICRO.stages)
    stages[stage] = replace(stages[stage], kernels=kernels)
    with pytest.raises(SpecError) as refused:
        replace(MICRO, stages=tuple(stages))
    assert message in str(refused.value)


def test_the_shipped_network_with_larger_kernels_differs_in_wide_widths_alone() -> None:
    plain, larger = load_spec("ds_mbv1_64"), load_spec("ds_mbv1pp_64")
    more = [larger.macs(width) - plain.macs(width) for width in range(plain.n_widths)]
    assert [extra > 0 for extra in more] == [False] * 7 + [True] * 7, f"multiply-accumulates more: {more}"
