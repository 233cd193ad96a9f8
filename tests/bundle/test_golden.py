"""The golden files are a promise: what was written once stays readable and means the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import open_bundle
from edge.runtime.litert_session import LiteRtSession
from edge.runtime.policy import choose, score
from tests.golden.build import image, write_bundle
from tests.golden.supernet import SPEC, write_checkpoint
from train.checkpoint import load_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    "expected", json.loads((GOLDEN / "answers.json").read_text()), ids=lambda case: str(case["image"])
)
def test_the_golden_bundle_answers_as_it_always_did(golden: Path, expected: dict[str, list[float]]) -> None:
    bundle = open_bundle(golden / "bundle")
    session = LiteRtSession(
        bundle.verified_bytes(bundle.artifact()), bundle.artifact(), ["prefix", "tail_00", "tail_01"]
    )
    outputs = session.run("prefix", {"image": image(int(expected["image"]))})  # type: ignore[call-overload]
    found = dict(outputs)
    for tail in ("tail_00", "tail_01"):
        found[tail] = session.run(tail, {"features": outputs["features"]})["logits"]
    # Integer kernels of another processor may round a step differently; each has its own step.
    steps = {"features": 1.0, "gate_logits": 0.25, "tail_00": 0.25, "tail_01": 0.25}
    for name, step in steps.items():
        difference = np.abs(found[name].reshape(-1) - np.array(expected[name])).max()
        assert difference <= step, f"{name} is off by {difference}, more than one step of {step}"


@pytest.mark.parametrize("case", json.loads((GOLDEN / "routing.json").read_text()))
def test_the_threshold_rule_means_what_it_always_did(case: dict[str, list[float]]) -> None:
    found = score(np.array(case["gate_logits"], np.float32))
    assert abs(found - case["score"]) < 1e-9, f"score {found} instead of {case['score']}"
    assert case["widths"][int(choose(found, case["thresholds"]))] == case["width"]


def test_building_the_golden_bundle_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_bundle(tmp_path / name)
    for file in ("manifest.json", "litert/model.tflite"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_golden_checkpoint_is_read_as_it_was_written(golden: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "again.safetensors")
    old, new = load_checkpoint(golden / "supernet.safetensors"), load_checkpoint(tmp_path / "again.safetensors")
    assert old.spec == new.spec == SPEC
    assert all(np.array_equal(old.tensors[name], new.tensors[name]) for name in old.tensors | new.tensors)
