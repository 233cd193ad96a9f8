"""Transformers through ExecuTorch: layer norm stays outside of the delegate, its constants in the program."""

from pathlib import Path

import pytest
import torch

from convert import ConvertError
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.executorch.check import run_method
from convert.images import CheckImages
from convert.slice_plan import plan_programs
from convert.static_module import static_module
from edge.bundle.executorch.pte import with_constants
from edge.bundle.nested.recipe import Recipe
from edge.bundle.nested.weights import NestedWeights, parse_recipe
from edge.bundle.verify import verify
from tests.convert.supernets import images, trained_like
from tests.train.networks import MICRO_VIT, normal_images

CHECKPOINT = trained_like(MICRO_VIT)


def convert(out: Path, precision: str) -> None:
    request = Request((0, 2), "executorch", (precision,), ("red", "green", "blue"))
    build_bundle(CHECKPOINT, request, CheckImages("noise", images(MICRO_VIT, 3), []), out)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("executorch") / "bundle"
    convert(out, "fp32")
    return out


def test_every_program_answers_as_its_stock_file(bundle: Path) -> None:
    assert [check for check in verify(bundle) if check.outcome != "pass"] == []


def test_filters_are_stored_once_for_all_widths(bundle: Path) -> None:
    names = [tensor.name for tensor in recipe_of(bundle).tensors if tensor.name.endswith(".weight")]
    filters = [layer.name for layer in MICRO_VIT.layers if layer.has_filter]
    assert sorted(names) == sorted(f"{name}.weight" for name in filters)


@torch.no_grad()
def test_a_file_of_one_width_holds_what_its_methods_read(bundle: Path) -> None:
    folder = bundle / "executorch"
    weights = NestedWeights(
        recipe_of(bundle), (folder / "weights.bin").read_bytes(), (folder / "template.bin").read_bytes()
    )
    constants = weights.constants(["prefix.pte", "tail_02.pte"])
    file = with_constants((folder / "model.pte").read_bytes(), ["prefix", "tail_02"], constants)
    value = normal_images(MICRO_VIT, 1)
    for plan in plan_programs(MICRO_VIT, [2]):
        answer = static_module(MICRO_VIT, plan, CHECKPOINT.tensors)(value)
        expected = answer[0] if isinstance(answer, tuple) else answer
        (found,) = run_method(file, plan, [{plan.input_name: value}])
        error = float((next(iter(found.values())) - expected).abs().max() / expected.abs().max())
        # The same float32 products in another order, as in tests/train/test_vit.py.
        assert error < 1e-5, f"{plan.name} differs by {error:.1e} of its largest value"
        value = expected


def test_int8_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="activations in part only; valid for --precision with micro_vit: fp32"):
        convert(tmp_path, "int8")


def recipe_of(bundle: Path) -> Recipe:
    return parse_recipe((bundle / "executorch" / "recipe.json").read_bytes(), "recipe.json")
