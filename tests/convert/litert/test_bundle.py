"""LiteRT bundles of the tiny network, from both front ends, looked at from outside with the stock runtime.

And of a network whose kernels are sliced as well.
"""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from convert.litert.quantize import PRECISIONS
from convert.slice_plan import plan_programs
from convert.static_module import static_module
from edge.bundle.litert.flatbuffer import read
from edge.bundle.litert.hydrate import hydrate, hydrate_monolithic, hydrate_program
from edge.bundle.litert.restrict import restrict
from edge.bundle.reader import Bundle
from edge.bundle.verify import verify
from tests.conftest import REPOSITORY
from tests.convert.litert.conversions import CHECKPOINT, CHECKPOINTS, IMAGES, converted

FRONTENDS = ("onnx2tf", "litert-torch")
OLD_RUNTIME = REPOSITORY / ".venv" / "tflite-runtime-2.14" / "bin" / "python"


@pytest.fixture(
    scope="module",
    params=[*((frontend, "ds_mbv1_tiny") for frontend in FRONTENDS), ("onnx2tf", "ds_mbv1_tiny_kernels")],
    ids="-".join,
)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return converted(*request.param)


def file_of(bundle: Bundle, precision: str) -> bytes:
    return bundle.verified_bytes(bundle.artifact("litert", precision))


def run(data: bytes, program: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    return dict(interpreter.get_signature_runner(program)(**inputs))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_stock_interpreter_runs_every_program_by_signature(bundle: Bundle, precision: str) -> None:
    data = file_of(bundle, precision)
    interpreter = Interpreter(model_content=data, num_threads=1)
    assert sorted(interpreter.get_signature_list()) == ["prefix", "tail_00", "tail_01", "tail_02", "tail_03"]
    features = run(data, "prefix", image=IMAGES[0])["features"]
    for width in range(4):
        logits = run(data, f"tail_{width:02d}", features=features)["logits"]
        assert logits.shape == (1, 10)
        assert np.ptp(logits) > 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nested_outputs_are_identical_to_those_of_the_hydrated_plain_file(bundle: Bundle, precision: str) -> None:
    data = file_of(bundle, precision)
    features = run(data, "prefix", image=IMAGES[1])["features"]
    for width in range(4):
        name = f"tail_{width:02d}"
        nested, plain = run(data, name, features=features), run(hydrate_program(data, name), name, features=features)
        difference = float(np.abs(nested["logits"] - plain["logits"]).max())
        assert difference == 0, f"{name} differs by {difference}"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_hydrated_file_has_no_nested_weight_left(bundle: Bundle, precision: str) -> None:
    file = read(hydrate(file_of(bundle, precision), ["prefix", "tail_02"]))
    assert [program.name for program in file.programs] == ["prefix", "tail_02"]
    assert not [tensor for program in file.programs for tensor in program.graph.tensors if tensor.sparsity is not None]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_monolithic_file_classifies_as_prefix_and_tail_do(bundle: Bundle, precision: str) -> None:
    data = file_of(bundle, precision)
    whole = hydrate_monolithic(data, ("prefix", "tail_01"), "net_01")
    features = run(data, "prefix", image=IMAGES[2])["features"]
    expected, found = run(data, "tail_01", features=features)["logits"], run(whole, "net_01", image=IMAGES[2])["logits"]
    difference = float(np.abs(expected - found).max())
    assert difference == 0, f"differs by {difference}"
    assert len(whole) < len(hydrate(data, ["prefix", "tail_01"])), "the gate should be gone"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_root_offset_loads_one_program_and_unpacks_no_other(bundle: Bundle, precision: str) -> None:
    data, artifact = file_of(bundle, precision), bundle.artifact("litert", precision)
    for program in artifact.programs:
        assert program.root_offset is not None
        alone = program.root_offset.to_bytes(4, "little") + data[4:]
        interpreter = Interpreter(model_content=alone, num_threads=1)
        assert list(interpreter.get_signature_list()) == [program.name]
        assert schema.Model.GetRootAs(alone, 0).SubgraphsLength() == 1
        assert [found.name for found in read(alone).programs] == [program.name]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_payload_lies_in_the_file_once(bundle: Bundle, precision: str) -> None:
    data = file_of(bundle, precision)
    starts: dict[int, list[int]] = {}
    base = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    for constant in read(data).constants.data:
        if constant.size:
            starts.setdefault(constant.__array_interface__["data"][0] - base, []).append(constant.size)
    spans = sorted((start, start + max(sizes)) for start, sizes in starts.items())
    overlaps = [pair for pair in pairwise(spans) if pair[0][1] > pair[1][0]]
    assert not overlaps, overlaps[:3]
    assert any(len(set(sizes)) == 4 for sizes in starts.values()), "some weight should serve four widths from one start"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_delegate_node_computes_each_program_nested_or_plain(bundle: Bundle, precision: str) -> None:
    data = file_of(bundle, precision)
    for program in bundle.artifact("litert", precision).programs:
        assert program.root_offset is not None
        for file in (program.root_offset.to_bytes(4, "little") + data[4:], hydrate_program(data, program.name)):
            interpreter = Interpreter(model_content=file, num_threads=1)
            interpreter.allocate_tensors()
            delegates = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
            outputs = sorted(detail["index"] for detail in interpreter.get_output_details())
            assert [sorted(op["outputs"].tolist()) for op in delegates] == [outputs], program.name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_converted_network_stays_close_to_the_float_one(bundle: Bundle, precision: str) -> None:
    import torch

    checkpoint = CHECKPOINTS[bundle.manifest.model.name]
    data, spec = file_of(bundle, precision), checkpoint.spec
    prefix, *tails = plan_programs(spec, range(4))
    with torch.no_grad():
        features, _ = static_module(spec, prefix, checkpoint.tensors)(torch.from_numpy(IMAGES[0]).permute(0, 3, 1, 2))
        for plan in tails:
            expected = static_module(spec, plan, checkpoint.tensors)(features).numpy()
            found = run(data, plan.name, features=run(data, "prefix", image=IMAGES[0])["features"])["logits"]
            error = float(np.abs(found - expected).max() / np.abs(expected).max())
            # Eight bits over some twenty layers: each adds half a step, 1/254, of noise; √20 / 254 ≈ 2%, and head room.
            assert error < 0.15, f"{plan.name}: off by {error:.3f} of the largest logit"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_of_every_size_are_read_from_one_start(precision: str) -> None:
    data = file_of(converted("onnx2tf", "ds_mbv1_tiny_kernels"), precision)
    file = read(data)
    starts, shapes = set(), []
    for program in file.programs:
        for tensor in program.graph.tensors:
            if tensor.sparsity is not None and list(tensor.sparsity.traversalOrder) == [0, 3, 1, 2, 4]:
                constant = file.constants.data[tensor.buffer]
                starts.add(constant.__array_interface__["data"][0])
                shapes.append(tensor.shape.tolist())
                assert constant.size == np.prod(tensor.shape)
    assert (len(starts), sorted(shapes)) == (1, [[1, 3, 3, 32], [1, 3, 3, 48], [1, 5, 5, 64], [1, 7, 7, 96]])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_file_with_some_of_the_kernels_hydrates_to_the_same_bytes(precision: str) -> None:
    bundle = converted("onnx2tf", "ds_mbv1_tiny_kernels")
    data, programs = file_of(bundle, precision), bundle.artifact("litert", precision).programs
    names = ["prefix", "tail_00", "tail_02"]
    smaller, _ = restrict(data, [program for program in programs if program.name in names])
    assert len(smaller) < len(data)
    assert hydrate(smaller, names) == hydrate(data, names)


def test_both_precisions_and_front_ends_share_one_set_of_integers() -> None:
    payloads = {}
    for frontend in FRONTENDS:
        for precision in PRECISIONS:
            file = read(file_of(converted(frontend, "ds_mbv1_tiny"), precision))
            constants = {c.tobytes() for c in file.constants.data if c.size >= 1024}
            payloads[frontend, precision] = constants
    common = set.intersection(*payloads.values())
    assert len(common) >= 4, {key: len(value) for key, value in payloads.items()}


def test_the_manifest_records_parity_of_zero_and_accuracy_per_width(bundle: Bundle) -> None:
    for artifact in bundle.manifest.artifacts:
        assert {entry.program for entry in artifact.parity} == {program.name for program in artifact.programs}
        assert max(entry.max_abs_difference for entry in artifact.parity) == 0
        assert [entry.width for entry in artifact.accuracy] == [0, 1, 2, 3]
    assert bundle.manifest.model.classes == list("abcdefghij")


def test_int8_features_have_the_same_quantization_on_both_sides(bundle: Bundle) -> None:
    prefix, *tails = bundle.artifact("litert", "int8").programs
    (features,) = [tensor for tensor in prefix.outputs if tensor.name == "features"]
    assert features.dtype == "int8"
    assert all(tail.inputs == [features] for tail in tails)


def test_a_fresh_bundle_verifies(bundle: Bundle) -> None:
    failed = [check for check in verify(bundle.root) if check.outcome == "fail"]
    assert not failed, failed


def test_an_older_runtime_runs_every_program(bundle: Bundle, tmp_path: Path) -> None:
    if not OLD_RUNTIME.exists():
        pytest.skip("tflite-runtime 2.14 is not installed; `make test` installs it beside the project's environment")
    script, image = Path(__file__).with_name("run_old_runtime.py"), tmp_path / "image.npy"
    np.save(image, IMAGES[0])
    for precision in PRECISIONS:
        path = bundle.verified_path(bundle.artifact("litert", precision))
        command = [str(OLD_RUNTIME), str(script), str(path), str(image)]
        answers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        data = path.read_bytes()
        features = run(data, "prefix", image=IMAGES[0])["features"]
        assert sorted(answers) == ["tail_00", "tail_01", "tail_02", "tail_03"]
        for name, logits in answers.items():
            here = run(data, name, features=features)["logits"]
            error = float(np.abs(np.array(logits) - here).max() / np.abs(here).max())
            # Its int8 kernels round halves another way than XNNPACK; its float kernels sum in another order.
            assert error < 0.1, f"{precision} {name}: runtimes differ by {error:.4f} of the largest logit"


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_failed_conversion_leaves_the_bundle_as_it_was(tmp_path: Path) -> None:
    from convert import ConvertError
    from convert.artifacts import Request
    from convert.build_bundle import build_bundle
    from convert.images import CheckImages
    from edge.bundle.writer import write_manifest

    before = converted("onnx2tf", "ds_mbv1_tiny")
    write_manifest(tmp_path, before.manifest.model_copy(update={"artifacts": []}))
    manifest = (tmp_path / "manifest.json").read_bytes()
    broken = {
        name: np.where(np.arange(v.size).reshape(v.shape) == 0, np.float32(1e30), v)
        for name, v in CHECKPOINT.tensors.items()
    }
    from dataclasses import replace

    request = Request((0, 3), "litert", ("wi8",), tuple("abcdefghij"))
    with pytest.raises(ConvertError):
        build_bundle(replace(CHECKPOINT, tensors=broken), request, CheckImages("noise", IMAGES[:1], []), tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == manifest
    assert not (tmp_path / "litert").exists()


def test_an_exporter_leaves_the_recursion_limit_that_guards_against_deeply_nested_json(bundle: Bundle) -> None:
    assert bundle.manifest.artifacts
    assert sys.getrecursionlimit() < 100_000
    with pytest.raises(RecursionError):
        json.loads("[" * 1_000_000)
