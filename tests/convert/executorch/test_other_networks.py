"""Networks of other kinds: side gate, no gate, residual adds, gammas of several signs; and several processes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.executorch.lower import Task, lower, lower_all
from convert.images import CheckImages
from convert.slice_plan import plan_programs
from edge.bundle.verify import verify
from tests.convert.supernets import images, trained_like, with_kernels
from tests.train.networks import MICRO, MICRO_V2
from train.spec import SideGateSpec, SupernetSpec

CLASSES = ("red", "green", "blue")
SIDE_GATE = replace(MICRO_V2, side_gate=SideGateSpec(choices=(0, 2), resolution=4, channels=(4, 4)))


@pytest.mark.parametrize(
    ("spec", "programs"),
    [
        (SIDE_GATE, ["gate", "net_00", "net_02"]),
        (replace(MICRO, gate=None, activation="hardswish"), ["net_00", "net_02"]),
        (replace(MICRO, batch_norm="switchable", gate=None), ["net_00", "net_02"]),
        (with_kernels(replace(MICRO, gate=None, stages=MICRO.stages[1:2]), 0, (3, 3, 5, 5, 5)), ["net_00", "net_02"]),
    ],
    ids=["side gate", "no gate", "gammas of several signs", "kernels of several sizes"],
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_network_of_another_kind_converts_and_verifies(
    spec: SupernetSpec, programs: list[str], precision: str, tmp_path: Path
) -> None:
    checkpoint = trained_like(spec)
    for name, gamma in checkpoint.tensors.items():
        if name.endswith("_bn.statistics.0.weight"):  # of the narrowest width alone
            gamma *= -1
    request = Request((0, 2), "executorch", (precision,), CLASSES)
    manifest = build_bundle(checkpoint, request, CheckImages("noise", images(spec, 4), []), tmp_path / "bundle")
    (artifact,) = manifest.artifacts
    assert [program.name for program in artifact.programs] == programs
    assert [check for check in verify(tmp_path / "bundle") if check.outcome != "pass"] == []


def test_several_processes_write_the_same_files_as_one() -> None:
    checkpoint = trained_like(MICRO)
    plans = plan_programs(MICRO, (0, 1, 4))
    # As many as a conversion has: tensors took a file descriptor each on their way to another process.
    samples = {
        name: [np.zeros(plan.input_shape, np.float32) for _ in range(300)]
        for name, plan in (("image", plans[0]), ("features", plans[1]))
    }
    task, done = Task(MICRO, checkpoint.tensors, samples), []
    files = lower_all(task, plans, lambda: done.append(1))
    assert len(done) == len(plans)
    different = [plan.name for plan, file in zip(plans, files, strict=True) if lower(task, plan) != file]
    assert different == []
    assert len(np.unique([len(file) for file in files])) > 1
