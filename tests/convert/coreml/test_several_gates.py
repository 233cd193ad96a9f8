"""Networks of several gates through Core ML: a function per program, each weight once, paths in the metadata."""

import json
from pathlib import Path

import numpy as np
import pytest

from convert.artifacts import NewArtifact, Request
from convert.build_bundle import build_bundle
from convert.coreml.options import Precision
from convert.images import CheckImages
from edge import BundleError
from edge.bundle.coreml.hydrate import OPERATING_POINTS, hydrate
from edge.bundle.coreml.model_file import read_model
from edge.bundle.coreml.multifunction import merge
from edge.bundle.coreml.package import MODEL, model_of
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.verify import verify
from edge.bundle.writer import add_operating_points
from tests.bundle.coreml.test_hydrate import point
from tests.convert.coreml.conversions import CLASSES, answers, convert, in_torch, packages_of, weights_of
from tests.convert.coreml.mil_interpreter import Interpreter
from tests.convert.supernets import images, trained_like
from tests.gated_network import TWO_GATES

CHECKPOINT = trained_like(TWO_GATES)
WIDTHS = tuple(range(TWO_GATES.n_widths))
EXACT = 1e-12
"""As in test_numerics: float64 on both sides, on the same constants."""
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
PATH_OF_2 = ["prefix", "stage_1_01", "tail_01_00"]


@pytest.fixture(scope="module", params=PRECISIONS)
def artifact(request: pytest.FixtureRequest) -> NewArtifact:
    return convert(CHECKPOINT, WIDTHS, request.param)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with operating points for width 2 alone and for widths 2 and 3."""
    out = tmp_path_factory.mktemp("coreml") / "bundle"
    request = Request((2, 3), "coreml", ("fp16",), CLASSES[: TWO_GATES.classes])
    manifest = build_bundle(CHECKPOINT, request, CheckImages("none", [], []), out)
    sha256 = manifest.artifacts[0].sha256
    add_operating_points(out, [point("narrow", [2], sha256), point("both", [2, 3], sha256)])
    return open_bundle(out)


def test_programs_alone_and_as_functions_of_one_package_compute_what_torch_does(artifact: NewArtifact) -> None:
    packages, image = packages_of(artifact), images(TWO_GATES, 1)[0].transpose(0, 3, 1, 2)
    merged = Interpreter(merge(packages, "prefix"), "exact")
    precision: Precision = artifact.record.precision  # type: ignore[assignment]
    for name, given, expected in in_torch(CHECKPOINT, WIDTHS, precision, image):
        for interpreter, function in ((Interpreter(packages[name], "exact"), "main"), (merged, name)):
            found = answers(interpreter, function, given)
            assert list(found) == list(expected)
            for output, values in expected.items():
                difference = float(np.abs(found[output] - values).max() / np.abs(values).max())
                assert difference <= EXACT, f"{name} {output}: {difference:.2e}"


def test_what_a_stage_gives_has_another_name_than_what_it_reads(artifact: NewArtifact) -> None:
    function = model_of(packages_of(artifact)["stage_1_01"]).functions["main"]
    assert [feature.name for feature in function.inputs] == ["features"]
    assert [feature.name for feature in function.outputs] == ["next_features", "gate_logits"]


def test_every_weight_is_stored_once_and_any_rows_and_columns_of_it_are_a_slice(artifact: NewArtifact) -> None:
    recipe = weights_of(artifact).recipe
    names = [tensor.name for tensor in recipe.tensors if tensor.name.endswith(".weight")]
    assert len(names) == len(set(names)) == len(TWO_GATES.layers)
    (between,) = (n for n, tensor in enumerate(recipe.tensors) if tensor.name == "stages.1.0.first.weight")
    shapes = [piece.shape for piece in recipe.slices if piece.tensor == between]
    assert sorted(shapes) == [[8, 8, 9], [8, 16, 9], [16, 8, 9], [16, 16, 9], [24, 16, 9]], "outputs, inputs, pixels"


def test_packages_say_which_path_every_width_is(artifact: NewArtifact) -> None:
    metadata = model_of(packages_of(artifact)["prefix"]).user_metadata
    described = json.loads(metadata["dsnet.model"])
    assert described["gates"] == [[0, 1], [0, 1, 2]]
    assert described["paths"] == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]


def test_a_bundle_of_some_paths_verifies(bundle: Bundle) -> None:
    checks = {check.claim: check.outcome for check in verify(bundle.root)}
    assert "fail" not in checks.values(), checks
    assert checks["coreml fp16 stage_1_01 package"] == checks["coreml fp16 package with all functions"] == "pass"


def test_hydrated_packages_carry_the_operating_points_whose_programs_they_have(bundle: Bundle) -> None:
    out = Path("Model.mlpackage")
    files = hydrate(bundle, bundle.artifact(), PATH_OF_2, out, operating_points=True)
    model = read_model(files[out / MODEL])
    assert list(model.functions) == PATH_OF_2
    assert [entry["name"] for entry in json.loads(model.user_metadata[OPERATING_POINTS])] == ["narrow"]
    with pytest.raises(BundleError, match="no operating point of this artifact fits"):
        hydrate(bundle, bundle.artifact(), ["prefix", "tail_01_00"], out, operating_points=True)
