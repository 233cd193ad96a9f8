"""The golden checkpoint: a supernet of two widths with a gate, its values made by formula."""

from pathlib import Path

import numpy as np

from tests.golden.network import integers
from train.checkpoint import expected_tensors, save_checkpoint
from train.spec import GateSpec, StageSpec, SupernetSpec

SPEC = SupernetSpec(
    name="golden",
    resolution=8,
    classes=2,
    stem=StageSpec(channels=(4,), depth=1, stride=2),
    stages=(StageSpec(channels=(4,), depth=1, stride=1), StageSpec(channels=(4, 8), depth=1, stride=2)),
    gates=(GateSpec(stage=1, choices=(0, 1)),),
)


def write_checkpoint(path: Path) -> None:
    """Write the golden checkpoint to `path`."""
    tensors = {}
    for number, (name, shape) in enumerate(expected_tensors(SPEC).items()):
        values = integers(*shape, seed=number).astype(np.float32) / 100
        tensors[name] = np.abs(values) + 0.5 if name.endswith(".var") else values
    save_checkpoint(path, SPEC, tensors, {"command": "tests.golden.build"})
