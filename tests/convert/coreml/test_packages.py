"""Packages from outside: what stock coremltools writes for the same modules, and what Apple's readers make of them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from common import sha256_bytes
from convert.coreml.nest import masters
from convert.coreml.options import PRECISIONS, Precision
from convert.quiet import quiet
from convert.slice_plan import ProgramPlan, plan_programs
from convert.static_module import static_module
from edge.bundle.checks import artifact_widths
from edge.bundle.coreml.blobs import read_blobs
from edge.bundle.coreml.model_file import constants
from edge.bundle.coreml.multifunction import merge
from edge.bundle.coreml.package import ITEMS, MODEL, WEIGHTS, Package, model_of
from tests.conftest import REPOSITORY
from tests.convert.coreml.conversions import (
    CHECKPOINT,
    CLASSES,
    FEW,
    convert,
    converted,
    packages_of,
    references,
    weights_of,
)
from tests.convert.coreml.test_other_networks import MOBILENET_V1, MOBILENET_V2
from tests.convert.supernets import trained_like
from train.checkpoint import Checkpoint

with quiet():
    import coremltools
    from coremltools.libmilstoragepython import _BlobStorageReader
    from coremltools.libmodelpackage import ModelPackage
    from coremltools.models.utils import MultiFunctionDescriptor, load_spec, save_multifunction
    from coremltools.proto import Model_pb2

DATE = "com.github.apple.coremltools.conversion_date"
HASHES = """
from common import sha256_bytes
from tests.convert.coreml.conversions import convert
from tests.convert.coreml.test_other_networks import MOBILENET_V1
from tests.convert.supernets import trained_like
print(*map(sha256_bytes, convert(trained_like(MOBILENET_V1), (0, 1), "int8").files.values()))
"""


def written(package: Package, place: Path) -> Path:
    for path, content in package.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    return place


def differing_fields(found: bytes, expected: Path) -> set[str]:
    """Return which parts of two model files differ once what we add and what changes daily is gone from both."""
    specifications = Model_pb2.Model.FromString(found), load_spec(str(expected))
    for specification in specifications:
        specification.description.metadata.Clear()
        specification.mlProgram.attributes.clear()
    ours, stock = ({name.name: value for name, value in one.ListFields()} for one in specifications)
    return {name for name in {*ours, *stock} if ours.get(name) != stock.get(name)}


@pytest.mark.slow
def test_two_conversions_in_two_processes_give_equal_hashes() -> None:
    artifact = convert(trained_like(MOBILENET_V1), (0, 1), "int8")
    done = subprocess.run(
        [sys.executable, "-c", HASHES], cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": "12345"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [sha256_bytes(data) for data in artifact.files.values()]


def stock_package(checkpoint: Checkpoint, plan: ProgramPlan, precision: Precision, place: Path) -> Path:
    """Convert one program as coremltools' documentation says, with our tensors' names and types."""
    module = static_module(checkpoint.spec, plan, masters(checkpoint.tensors, [plan], precision))
    example = torch.zeros(plan.input_shape)
    with quiet(), torch.no_grad():
        stock = coremltools.convert(
            torch.jit.trace(module, example),  # type: ignore[no-untyped-call]
            inputs=[coremltools.TensorType(name=plan.input_name, shape=example.shape, dtype=np.float32)],
            outputs=[coremltools.TensorType(name=name, dtype=np.float32) for name in plan.output_names],
            minimum_deployment_target=coremltools.target.iOS18,
            compute_precision=coremltools.precision.FLOAT16 if precision == "fp16" else coremltools.precision.FLOAT32,
            skip_model_load=True,
        )
        stock.save(str(place))
    return place


@pytest.mark.parametrize(("number", "precision"), [(0, "fp16"), (-1, "fp16"), (-1, "fp32")])
def test_a_rebuilt_package_is_what_stock_coremltools_writes(number: int, precision: Precision, tmp_path: Path) -> None:
    plan = plan_programs(CHECKPOINT.spec, FEW)[number]
    stock = stock_package(CHECKPOINT, plan, precision, tmp_path / "stock.mlpackage")
    rebuilt = packages_of(converted(precision))[plan.name]
    assert rebuilt[WEIGHTS] == (stock / WEIGHTS).read_bytes()
    assert differing_fields(rebuilt[MODEL], stock) == set()


def test_the_package_of_a_side_gate_is_what_stock_coremltools_writes(tmp_path: Path) -> None:
    checkpoint = trained_like(MOBILENET_V2.with_side_gate((0, 1)))
    plan = plan_programs(checkpoint.spec, [0])[0]
    assert plan.role == "gate"
    stock = stock_package(checkpoint, plan, "fp16", tmp_path / "stock.mlpackage")
    rebuilt = packages_of(convert(checkpoint, (0,), "fp16"))["gate"]
    assert rebuilt[WEIGHTS] == (stock / WEIGHTS).read_bytes()
    assert differing_fields(rebuilt[MODEL], stock) == set()


SUBSETS = [["prefix", "tail_03"], ["prefix", "tail_00", "tail_01"], ["tail_01"]]


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_any_choice_of_programs_merges_as_stock_coremltools_merges_it(names: list[str], tmp_path: Path) -> None:
    packages = {name: package for name, package in packages_of(converted("fp16")).items() if name in names}
    stock = stock_merge(packages, names[0], tmp_path)
    merged = merge(packages, names[0])
    assert merged[WEIGHTS] == (stock / WEIGHTS).read_bytes()
    assert differing_fields(merged[MODEL], stock) == set()
    assert model_of(merged).metadata == model_of(packages[names[0]]).metadata


def test_constants_that_are_almost_equal_merge_as_stock_coremltools_merges_them(tmp_path: Path) -> None:
    """It compares the first 100 elements exactly and all of them within 6e-8."""
    package = packages_of(converted("fp16"))["tail_03"]
    blobs = read_blobs(package[WEIGHTS])
    largest = max(blobs, key=lambda offset: len(blobs[offset].data))
    last = largest + 64 + len(blobs[largest].data) - 2
    packages = {}
    for name, value in (("first", 0), ("close", 1), ("other", 3)):  # 0, 6.0e-8 and 1.8e-7
        data = package[WEIGHTS][:last] + value.to_bytes(2, "little") + package[WEIGHTS][last + 2 :]
        packages[name] = {**package, WEIGHTS: data}
    merged, stock = merge(packages, "first"), stock_merge(packages, "first", tmp_path)
    assert merged[WEIGHTS] == (stock / WEIGHTS).read_bytes()
    assert differing_fields(merged[MODEL], stock) == set()
    assert len(read_blobs(merged[WEIGHTS])) == len(blobs) + 1, "two of three constants should be one"


def stock_merge(packages: Mapping[str, Package], default: str, folder: Path) -> Path:
    described = MultiFunctionDescriptor()
    for name, package in packages.items():
        described.add_function(str(written(package, folder / f"{name}.mlpackage")), "main", name)
    described.default_function_name = default
    with quiet():
        save_multifunction(described, str(folder / "stock.mlpackage"))
    return folder / "stock.mlpackage"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_apples_own_readers_accept_every_package(precision: Precision, tmp_path: Path) -> None:
    packages = packages_of(converted(precision))
    for name, package in {**packages, "all": merge(packages, "prefix")}.items():
        place = written(package, tmp_path / f"{name}.mlpackage")
        assert ModelPackage.isValid(str(place))
        assert Path(ModelPackage(str(place)).getRootModel().path()).read_bytes() == package[MODEL]
        reader = _BlobStorageReader(str(place / WEIGHTS))
        read = {"float16": reader.read_fp16_data, "float32": reader.read_float_data, "int8": reader.read_int8_data}
        blobs = read_blobs(package[WEIGHTS])
        found = [constant for function in model_of(package).functions.values() for constant in constants(function.body)]
        assert {constant.offset for constant in found} == set(blobs)
        for constant in found:
            theirs = np.asarray(read[constant.dtype](constant.offset))
            assert theirs.tobytes() == blobs[constant.offset].data, f"{name}: the constant at {constant.offset}"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_package_says_what_it_is(precision: Precision, tmp_path: Path) -> None:
    package = packages_of(converted(precision))["prefix"]
    model = coremltools.models.MLModel(str(written(package, tmp_path / "prefix.mlpackage")), skip_model_load=True)
    assert (model.author, model.license) == ("An author", "A licence")
    assert model.short_description.startswith("ds_mbv1_tiny: one network of 4 widths")
    own = model.user_defined_metadata
    assert DATE not in own
    assert json.loads(own["dsnet.classes"]) == list(CLASSES)
    described = json.loads(own["dsnet.model"])
    assert (described["precision"], described["checkpoint_sha256"]) == (precision, CHECKPOINT.sha256)
    assert (described["gates"], described["paths"]) == ([[0, 1, 2, 3]], [[0], [1], [2], [3]])


@pytest.mark.parametrize(("target", "version"), [("iOS16", 7), ("iOS18", 9)])
def test_the_deployment_target_decides_the_specification_version(target: str, version: int) -> None:
    artifact = converted("int8", target)
    index = json.loads(artifact.data)
    assert {model_of(package).version for package in packages_of(artifact).values()} == {version}
    assert (index["deployment_target"], index["specification_version"]) == (target, version)
    assert (index["all_functions"] is None) == (target == "iOS16")


def test_the_index_pins_the_recipe_and_the_package_with_all_functions() -> None:
    artifact = converted("fp16")
    index = json.loads(artifact.data)
    (recipe,) = (item for item in artifact.weights if item.record.role == "recipe")
    assert index["recipe_sha256"] == recipe.record.sha256
    merged = merge(packages_of(artifact), "prefix")
    assert {part["path"]: part["bytes"] for part in index["all_functions"]} == {p: len(c) for p, c in merged.items()}
    assert set(merged) == {ITEMS, MODEL, WEIGHTS}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_weight_lies_in_the_store_once(precision: Precision) -> None:
    recipe = weights_of(converted(precision)).recipe
    layers = {name for _, module in references(CHECKPOINT, FEW, precision).values() for name in map(str, module.pieces)}
    named = [tensor for tensor in recipe.tensors if tensor.name.endswith(".weight")]
    assert len(named) == len(layers)
    item = {"fp16": "float16", "fp32": "float32", "int8": "int8"}[precision]
    assert {tensor.dtype for tensor in named} == {item}
    several = [number for number, tensor in enumerate(recipe.tensors) if tensor.name == "stages.2.1.pointwise.weight"]
    assert len([piece for piece in recipe.slices if piece.tensor == several[0]]) == len(
        artifact_widths(converted(precision).record)
    )
