"""Networks of other kinds: side gate, no gate, residual adds, max pool, kernels, several signs; several processes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.executorch.lower import Task, lower, lower_all
from convert.images import CheckImages
from convert.slice_plan import plan_programs
from edge.bundle.executorch import pte
from edge.bundle.reader import open_bundle
from edge.bundle.verify import verify
from tests.convert.supernets import images, trained_like, with_kernels
from tests.train.networks import MICRO, MICRO_V2
from train.spec import GateSpec, SideGateSpec, StageSpec, SupernetSpec

CLASSES = ("red", "green", "blue")
SIDE_GATE = replace(
    MICRO_V2, stages=MICRO_V2.stages[:2], side_gate=SideGateSpec(choices=(0, 2), resolution=4, channels=(4, 4))
)
RESNET_BASIC = SupernetSpec(
    "micro_basic", 16, 3, StageSpec((8,), 1, 1), (StageSpec((8, 12, 16), 1, 2),),
    gates=(GateSpec(0, (0, 2)),), activation="relu", family="resnet_basic", stem_pool=True,
)  # fmt: skip
RESNET_BOTTLENECK = replace(RESNET_BASIC, family="resnet_bottleneck")
SLOW = {"fp32": (), "int8": (pytest.mark.slow,)}
"""ExecuTorch's lowering to int8 takes 10 s for the smallest program; test_bundle.py has one network in int8."""


KINDS = {
    "side gate": (SIDE_GATE, ["gate", "net_00", "net_02"], ("int8",)),
    "no gate, gammas of several signs": (
        replace(MICRO, batch_norm="switchable", gates=(), activation="hardswish", stages=MICRO.stages[1:2]),
        ["net_00", "net_02"],
        ("fp32", "int8"),
    ),
    "kernels of several sizes": (
        with_kernels(replace(MICRO, gates=(), stages=MICRO.stages[1:2]), 0, (3, 3, 5, 5, 5)),
        ["net_00", "net_02"],
        ("int8",),
    ),
    "resnet_basic": (RESNET_BASIC, ["prefix", "tail_00", "tail_02"], ("int8",)),
    "resnet_bottleneck": (RESNET_BOTTLENECK, ["prefix", "tail_00", "tail_02"], ("fp32",)),
}


@pytest.mark.parametrize(
    ("spec", "programs", "precision"),
    [
        pytest.param(spec, programs, precision, id=f"{precision}-{name}", marks=SLOW[precision])
        for name, (spec, programs, precisions) in KINDS.items()
        for precision in precisions
    ],
)
def test_a_network_of_another_kind_converts_and_verifies(
    spec: SupernetSpec, programs: list[str], precision: str, tmp_path: Path
) -> None:
    checkpoint = trained_like(spec)
    for name, gamma in checkpoint.tensors.items():
        if name.endswith("_bn.statistics.0.weight"):  # of the narrowest width alone
            gamma *= -1
    request = Request((0, 2), "executorch", (precision,), CLASSES)
    manifest = build_bundle(checkpoint, request, CheckImages("noise", images(spec, 2), []), tmp_path / "bundle")
    (artifact,) = manifest.artifacts
    assert max(entry.max_abs_difference for entry in artifact.parity) == 0
    program = open_bundle(tmp_path / "bundle").verified_bytes(artifact)
    assert pte.methods(program) == dict.fromkeys(programs, 1), "one delegate each"
    assert [check for check in verify(tmp_path / "bundle") if check.outcome != "pass"] == []


@pytest.mark.slow
def test_several_processes_write_the_same_files_as_one() -> None:
    checkpoint = trained_like(MICRO)
    plans = plan_programs(MICRO, (0, 1, 4))
    # As many as a conversion has: tensors took a file descriptor each on their way to another process.
    inputs = {
        "image": [np.zeros(plans[0].input_shape, np.float32) for _ in range(300)],
        "features": [np.zeros(plans[1].input_shape, np.float32) for _ in range(300)],
    }
    samples = {plan.name: inputs[plan.input_name] for plan in plans}
    task, done = Task(MICRO, checkpoint.tensors, samples), []
    files = lower_all(task, plans, lambda: done.append(1))
    assert len(done) == len(plans)
    ends = [*zip(plans, files, strict=True)][::3]
    different = [plan.name for plan, file in ends if lower(task, plan) != file]
    assert different == []
    assert len(np.unique([len(file) for file in files])) > 1
