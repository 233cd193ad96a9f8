"""Conversion of networks unlike the tiny one: other families, gates, activations, kernels or batch norm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from convert import SliceError
from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from convert.litert.quantize import PRECISIONS
from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.bundle.verify import verify
from tests.convert.supernets import images, trained_like
from train.spec import GateSpec, StageSpec, SupernetSpec, load_spec

TINY = load_spec("ds_mbv1_tiny")
ENDS = (0, TINY.n_widths - 1)
CLASSES = tuple("abcdefghij")


def with_kernel(spec: SupernetSpec, stage: int, kernel: int) -> SupernetSpec:
    changed: list[StageSpec] = list(spec.stages)
    changed[stage] = replace(changed[stage], kernel=kernel)
    return replace(spec, stages=tuple(changed))


MOBILENET_V1 = SupernetSpec(
    "small_v1", 32, 10, StageSpec((8, 8, 16, 16), 1, 2),
    (StageSpec((16, 24, 24, 32), 1, 1), StageSpec((24, 32, 40, 48), 2, 2)),
    gates=(), activation="relu6", family="mobilenet_v1",
)  # fmt: skip
MOBILENET_V2 = SupernetSpec(
    "small_v2", 32, 10, StageSpec((8, 8, 16, 16), 1, 2),
    (
        StageSpec((4, 4, 8, 8), 1, 1),
        StageSpec((8, 16, 16, 24), 2, 2, expansion=4),
        StageSpec((16, 24, 24, 40), 2, 1, expansion=4),
    ),
    gates=(), activation="relu6", family="mobilenet_v2", head=StageSpec((64,), 1, 1, kernel=1),
)  # fmt: skip
RESNET_BASIC = SupernetSpec(
    "small_basic", 16, 10, StageSpec((8,), 1, 1), (StageSpec((8,), 1, 1), StageSpec((16, 24, 32), 2, 2)),
    gates=(GateSpec(1, (0, 2)),), activation="relu", family="resnet_basic", stem_pool=True,
)  # fmt: skip
RESNET_BOTTLENECK = replace(
    RESNET_BASIC, family="resnet_bottleneck", stages=(StageSpec((16,), 1, 1), StageSpec((16, 32, 48), 2, 2))
)

NETWORKS = {
    "gate-less": replace(TINY, gates=()),
    "side gate": replace(TINY, gates=()).with_side_gate((0, 3)),
    "mobilenet_v1": MOBILENET_V1,
    "mobilenet_v2": MOBILENET_V2,
    "mobilenet_v2 with a side gate": MOBILENET_V2.with_side_gate((0, 3)),
    "hardswish": replace(TINY, activation="hardswish"),
    "5x5": with_kernel(TINY, 3, 5),
    "switchable": replace(TINY, batch_norm="switchable"),
    "restricted": TINY.restricted_to((1, 3)),
    "switchable mobilenet_v2": replace(MOBILENET_V2, batch_norm="switchable"),
    "resnet_basic": RESNET_BASIC,
    "resnet_bottleneck": RESNET_BOTTLENECK,
}


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_its_ends_convert_in_every_precision_with_parity_of_zero(spec: SupernetSpec, tmp_path: Path) -> None:
    sample = CheckImages("noise", images(spec, 4), [])
    ends = (0, spec.n_widths - 1)
    build_bundle(trained_like(spec), Request(ends, "litert", PRECISIONS, CLASSES), sample, tmp_path)
    bundle = open_bundle(tmp_path)
    role = "tail" if spec.gates else "net"
    for precision in PRECISIONS:
        artifact = bundle.artifact("litert", precision)
        bodies = [program.name for program in artifact.programs if program.role in ("tail", "net")]
        assert bodies == [f"{role}_{width:02d}" for width in ends]
        assert max(entry.max_abs_difference for entry in artifact.parity) == 0
        if spec.activation != "hardswish":  # which XNNPACK lacks in int8
            bodies_alone = {name: count for name, count in _delegates(bundle, artifact).items() if name != "gate"}
            assert set(bodies_alone.values()) == {1}, bodies_alone
        logits = _logits(bundle.verified_bytes(artifact), role, ends, sample.images[0])
        assert all(np.ptp(values) > 0 for values in logits), logits
    failed = [check for check in verify(tmp_path) if check.outcome == "fail"]
    assert not failed, failed


def test_widths_that_disagree_on_the_sign_of_a_gamma_share_their_weights_all_the_same(tmp_path: Path) -> None:
    spec = replace(MOBILENET_V2, batch_norm="switchable")
    agreeing, clashing = trained_like(spec), trained_like(spec)
    for name in ("stages.1.1.expansion", "stages.2.0.depthwise", "stages.2.1.pointwise"):
        clashing.tensors[f"{name}_bn.statistics.0.weight"] *= -1
    sizes = {}
    for label, checkpoint in {"agreeing": agreeing, "clashing": clashing}.items():
        sample = CheckImages("noise", images(spec, 4), [])
        build_bundle(checkpoint, Request((0, 3), "litert", PRECISIONS, CLASSES), sample, tmp_path / label)
        artifacts = open_bundle(tmp_path / label).manifest.artifacts
        assert max(entry.max_abs_difference for artifact in artifacts for entry in artifact.parity) == 0
        sizes[label] = [artifact.bytes for artifact in artifacts]
    weights = spec.params(3)
    more = [clashing - agreeing for agreeing, clashing in zip(*sizes.values(), strict=True)]
    assert max(more) < 0.25 * weights, f"{more} bytes more for a network of {weights} weights"


def test_a_width_that_no_block_divides_is_refused_before_the_network_is_exported(tmp_path: Path) -> None:
    *others, last = TINY.stages
    spec = replace(TINY, stages=(*others, replace(last, channels=(63, 96, 128, 192))))
    told: list[str] = []
    request = Request(ENDS, "litert", ("int8",), CLASSES)
    with pytest.raises(SliceError, match=r"no block of 4 or more divides every output width of \[63, 192\]"):
        build_bundle(trained_like(spec), request, CheckImages("noise", images(spec, 1), []), tmp_path, told.append)
    assert told == []


def _delegates(bundle: Bundle, artifact: Artifact) -> dict[str, int]:
    """Return how many delegate nodes each program has."""
    data, counts = bundle.verified_bytes(artifact), {}
    for program in artifact.programs:
        assert program.root_offset is not None
        interpreter = Interpreter(model_content=program.root_offset.to_bytes(4, "little") + data[4:], num_threads=1)
        interpreter.allocate_tensors()
        counts[program.name] = sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return counts


def _logits(data: bytes, role: str, widths: tuple[int, ...], image: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    given = {"image": image}
    if role == "tail":
        given = {"features": interpreter.get_signature_runner("prefix")(image=image)["features"]}
    return [interpreter.get_signature_runner(f"{role}_{width:02d}")(**given)["logits"] for width in widths]
