"""Networks of several gates through ExecuTorch: every path of programs, each weight once, features of one form."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.executorch.check import run_method
from convert.executorch.measure import measure
from convert.executorch.quantize import observed
from convert.images import CheckImages
from convert.program_inputs import Named, run_widths
from convert.slice_plan import ProgramPlan, plan_programs, whole_program
from convert.static_module import static_module
from edge.bundle.executorch import pte
from edge.bundle.nested.weights import open_nested_weights
from edge.bundle.plain_files import plain_files
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.restrict import take_part
from edge.bundle.verify import verify
from tests.convert.supernets import images, trained_like
from tests.gated_network import THREE_GATES, TWO_GATES
from train.spec import SupernetSpec

CHECKPOINT = trained_like(TWO_GATES)
WIDTHS = (1, 2, 3)
"""Paths (0, 1), (1, 0) and (1, 1): the first two use ranges of the last stage that hold neither the other."""
PROGRAMS = {
    "prefix": [1, 2, 3],
    "stage_1_00": [1],
    "stage_1_01": [2, 3],
    "tail_00_01": [1],
    "tail_01_00": [2],
    "tail_01_01": [3],
}


def convert(out: Path, precision: str) -> Bundle:
    request = Request(WIDTHS, "executorch", (precision,), ("red", "green", "blue"))
    build_bundle(CHECKPOINT, request, CheckImages("noise", images(TWO_GATES, 3), [0, 1, 2]), out)
    return open_bundle(out)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return convert(tmp_path_factory.mktemp("executorch") / "bundle", "fp32")


def pictures_of(spec: SupernetSpec) -> list[Tensor]:
    return [torch.from_numpy(image).permute(0, 3, 1, 2).contiguous() for image in images(spec, 3)]


def plans() -> tuple[ProgramPlan, ...]:
    return plan_programs(TWO_GATES, WIDTHS)


def test_widths_share_the_programs_that_their_paths_have_in_common(bundle: Bundle) -> None:
    artifact = bundle.artifact()
    assert {program.name: program.widths for program in artifact.programs} == PROGRAMS
    assert pte.methods(bundle.verified_bytes(artifact)) == dict.fromkeys(PROGRAMS, 1), "one delegate each"
    assert [entry.width for entry in artifact.accuracy] == list(WIDTHS)
    assert {entry.program: entry.max_abs_difference for entry in artifact.parity} == dict.fromkeys(PROGRAMS, 0.0)


def test_programs_along_a_path_answer_as_the_whole_width(bundle: Bundle, tmp_path: Path) -> None:
    """All of them from slices of one store; the reference has neither gates nor cuts."""
    artifact = bundle.artifact()
    (data,) = plain_files(bundle, artifact, WIDTHS, "pte", tmp_path / "all.pte").values()

    def run(plan: ProgramPlan, inputs: Sequence[Named[Tensor]]) -> Sequence[Named[Tensor]]:
        return run_method(data, plan, inputs)

    pictures = pictures_of(TWO_GATES)
    for width, found in run_widths(plans(), pictures, run):
        whole = static_module(TWO_GATES, whole_program(TWO_GATES, width), CHECKPOINT.tensors)
        for picture, answer in zip(pictures, found, strict=True):
            expected = whole(picture)
            difference = float((answer["logits"] - expected).abs().max() / expected.abs().max())
            # The same float32 products in another order, as in tests/train/test_vit.py.
            assert difference < 1e-5, f"width {width}: logits differ by {difference:.1e} of the largest"


def test_every_weight_is_stored_once_and_any_rows_and_columns_of_it_are_a_slice(bundle: Bundle) -> None:
    recipe = open_nested_weights(bundle, bundle.artifact()).recipe
    names = [tensor.name for tensor in recipe.tensors if tensor.name.endswith(".weight")]
    assert sorted(names) == sorted({f"{piece.name}.weight" for plan in plans() for piece in plan.layers})
    (between,) = (n for n, tensor in enumerate(recipe.tensors) if tensor.name == "stages.1.0.first.weight")
    assert recipe.tensors[between].shape == [16, 9, 16], "outputs, pixels, inputs"
    shapes = [piece.shape for piece in recipe.slices if piece.tensor == between]
    assert sorted(shapes) == [[8, 9, 16], [16, 9, 8], [16, 9, 16]]


def test_a_file_of_one_width_has_the_programs_of_its_path(bundle: Bundle, tmp_path: Path) -> None:
    artifact = bundle.artifact()
    (data,) = plain_files(bundle, artifact, [2], "pte", tmp_path / "w2.pte").values()
    assert list(pte.methods(data)) == ["prefix", "stage_1_01", "tail_01_00"]
    folder = plain_files(bundle, artifact, [1], "programs", tmp_path)
    assert [path.name for path in folder] == ["prefix.pte", "stage_1_00.pte", "tail_00_01.pte"]


def test_fewer_widths_keep_what_they_run_to_the_byte_and_less_of_the_store(bundle: Bundle) -> None:
    artifact = bundle.artifact()
    part = take_part(bundle, artifact, [1])
    assert {program.name: program.widths for program in part.artifact.programs} == {
        "prefix": [1], "stage_1_00": [1], "tail_00_01": [1],
    }  # fmt: skip
    sizes = {item.role: item.bytes for item in part.weights}
    before = {item.role: item.bytes for item in bundle.manifest.weights}
    assert all(sizes[role] < before[role] for role in before), f"{sizes} of {before}"


@torch.no_grad()
def test_the_range_of_features_is_that_of_all_the_programs_that_give_them() -> None:
    checkpoint, pictures = trained_like(THREE_GATES), pictures_of(THREE_GATES)
    every = plan_programs(THREE_GATES, range(THREE_GATES.n_widths))
    modules = {plan.name: static_module(THREE_GATES, plan, checkpoint.tensors) for plan in every}
    samples, joints = measure(every, modules, pictures)
    assert {name: len(found) for name, found in samples.items()} == {plan.name: 3 for plan in every}
    scales = []
    for way in (("prefix", "stage_1_00", "stage_2_00_01"), ("prefix", "stage_1_01", "stage_2_01_01")):
        given = []
        for values in pictures:
            for name in way:
                values, _ = modules[name](values)
            given.append(values.numpy())
        scales.append(observed([given]).scale)
    assert abs(scales[0] / scales[1] - 1) > 0.01, "ranges so close would not show which was taken"
    # Activations begin at 0, so the wider range holds the other.
    assert joints["stages.2.0.relu", 16].scale == max(scales)


@pytest.mark.slow
def test_int8_features_have_one_form_for_all_that_give_and_take_them(tmp_path: Path) -> None:
    """The stock files agree to the bit (parity), and the manifest's own checks compare what follows on what."""
    bundle = convert(tmp_path / "bundle", "int8")
    artifact = bundle.artifact()
    assert [check for check in verify(bundle.root) if check.outcome != "pass"] == []
    assert {entry.program: entry.max_abs_difference for entry in artifact.parity} == dict.fromkeys(PROGRAMS, 0.0)
    forms: dict[tuple[int, ...], set[tuple[float | None, int | None]]] = {}
    for program in artifact.programs:
        for tensor in (*program.inputs, *program.outputs):
            if tensor.name == "features":
                assert tensor.dtype == "int8"
                forms.setdefault(tuple(tensor.shape), set()).add((tensor.scale, tensor.zero_point))
    assert {shape[1:]: len(found) for shape, found in forms.items()} == {(8, 8, 8): 2, (16, 8, 8): 1}
