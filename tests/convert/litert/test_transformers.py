"""Transformers through LiteRT: every width exported by itself, filters nested all the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from convert import ConvertError
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from convert.slice_plan import ProgramPlan, plan_programs
from edge.bundle.litert.flatbuffer import GraphFile, read
from edge.bundle.manifest import Manifest
from edge.bundle.reader import open_bundle
from edge.bundle.verify import verify
from tests.convert.supernets import images, trained_like
from tests.train.networks import MICRO_VIT

ARTIFACT = "litert/model_wi8.tflite"
CLASSES = ("red", "green", "blue")


def convert(out: Path, **options: object) -> Manifest:
    sample = CheckImages("noise", images(MICRO_VIT, 3), [])
    request = replace(Request((0, 2), "litert", ("wi8",), CLASSES), **options)
    return build_bundle(trained_like(MICRO_VIT), request, sample, out)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("litert") / "bundle"
    convert(out)
    return out


def test_every_program_answers_as_its_plain_counterpart(bundle: Path) -> None:
    (artifact,) = open_bundle(bundle).manifest.artifacts
    assert [entry.max_abs_difference for entry in artifact.parity] == [0.0] * 3
    assert [check for check in verify(bundle) if check.outcome == "fail"] == []


def test_integers_of_a_narrow_width_are_prefixes_of_the_widest_ones(bundle: Path) -> None:
    file = read((bundle / ARTIFACT).read_bytes())
    wide, narrow = (int8_constants(file, name) for name in ("tail_02", "tail_00"))
    assert len(narrow) == len(plan_of("tail_00").layers) == 8
    alone = [
        constant.size
        for constant in narrow
        if not any(np.array_equal(constant, other[: constant.size]) for other in wide)
    ]
    assert not alone, f"{len(alone)} of {len(narrow)} filters are stored by themselves, {sum(alone)} bytes"


def test_a_tail_is_one_partition_of_the_delegate(bundle: Path) -> None:
    (artifact,) = open_bundle(bundle).manifest.artifacts
    (tail,) = [program for program in artifact.programs if program.name == "tail_02"]
    assert tail.root_offset is not None
    data = tail.root_offset.to_bytes(4, "little") + (bundle / ARTIFACT).read_bytes()[4:]
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1, f"{names.count('DELEGATE')} partitions of {len(names)} operators"


def int8_constants(file: GraphFile, name: str) -> list[np.ndarray]:
    tensors = file.program(name).graph.tensors
    constants = (file.constants.data[tensor.buffer] for tensor in tensors if tensor.type == schema.TensorType.INT8)
    return [constant for constant in constants if constant.size]


def plan_of(name: str) -> ProgramPlan:
    return next(plan for plan in plan_programs(MICRO_VIT, [0, 2]) if plan.name == name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precisions": ("int8",)},
            "activations in part only; valid for --precision with micro_vit: wi8",
        ),
        (
            {"frontend": "onnx2tf"},
            "onnx2tf does not export transformers like micro_vit; valid for --frontend: litert-torch",
        ),
    ],
)
def test_what_would_convert_in_part_is_refused_in_one_line(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path, **options)
