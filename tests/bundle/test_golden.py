"""The golden files are a promise: what was written once stays readable and means the same."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field, TypeAdapter

from edge.bundle import open_bundle
from edge.bundle.manifest import Policy, UtilityPolicy
from edge.runtime.litert_session import LiteRtSession
from edge.runtime.policy import confidence, decided, next_width, score, start, utilities
from tests.golden.build import image, write_bundle
from tests.golden.policies import Case, cases, distances, rounding, utility_rounding
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


@pytest.mark.parametrize(
    "case",
    json.loads((GOLDEN / "policies.json").read_text()),
    ids=lambda case: f"{case['policy']['kind']}: {case['name']}",
)
def test_a_policy_runs_the_widths_that_it_always_did(case: dict[str, Any]) -> None:
    policy: Policy = TypeAdapter(Annotated[Policy, Field(discriminator="kind")]).validate_python(case["policy"])
    gate_logits = np.array(case["gate_logits"], np.float32) if "gate_logits" in case else None
    logits = np.array(case.get("logits", [[0.0]] * len(policy.widths)), np.float32)
    said = [np.array(logits, np.float32) for logits in case.get("gates", [case.get("gate_logits", [0.0])])]
    place = start(policy)
    for depth in range(len(said)):
        place = decided(place, said[depth])
    assert isinstance(place, int)
    ran = [place]
    while (following := next_width(policy, ran[-1], logits[policy.widths.index(ran[-1])])) is not None:
        ran.append(following)
    assert ran == case["ran"]
    if "score" in case:
        assert gate_logits is not None
        found, bound = score(gate_logits), rounding(len(gate_logits)) * case["score"]
        assert abs(found - case["score"]) <= bound, f"score {found!r} instead of {case['score']!r}"
    for found, expected, logits in zip(map(score, said), case.get("scores", []), said, strict=False):
        bound = rounding(len(logits)) * expected
        assert abs(found - expected) <= bound, f"score {found!r} instead of {expected!r}"
    if "utilities" in case:
        assert isinstance(policy, UtilityPolicy) and gate_logits is not None
        bounds = [utility_rounding(policy, case["gate_logits"], at) for at in range(len(policy.widths))]
        off = np.abs(utilities(policy, gate_logits) - case["utilities"])
        assert (off <= bounds).all(), f"utilities are off by {off}, allowed are {bounds}"
    if "confidences" in case:
        expected = np.array(case["confidences"])
        off = np.abs(confidence(logits[: len(ran)]) - expected) / expected
        assert off.max() <= rounding(logits.shape[1]), f"confidences are off by {off}, relative to themselves"


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.policy.kind}: {case.name}")
def test_rounding_decides_no_case_of_a_policy_unless_its_arithmetic_is_exact(case: Case) -> None:
    close = [(apart, moved) for apart, moved in distances(case) if apart <= moved]
    assert bool(close) == case.name.startswith("exact: "), f"(distance, rounding): {close}"


def test_the_cases_of_policies_are_those_that_are_built() -> None:
    assert json.loads((GOLDEN / "policies.json").read_text()) == [case.record() for case in cases()]


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
