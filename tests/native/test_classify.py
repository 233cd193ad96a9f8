"""Classifying images: the same scores, widths and classes as in Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge.bundle.manifest import Artifact, Policy
from edge.bundle.reader import Bundle
from edge.devices.native import needed_programs
from edge.runtime import Array, open_dynamic, open_session
from edge.runtime.policy import choose, score
from edge.runtime.route import feed, real_values
from tests.golden.policies import rounding
from tests.native.conversation import Command, answers, converse, images, load
from tests.native.data import ROUTING_IMAGE
from tests.native.routing import (
    answers_of_classify,
    check_cascades,
    check_gates,
    check_trees,
    routing_gate,
    routing_image,
    routing_nets,
)


@pytest.mark.parametrize("kind", ["thresholds", "utility"])
def test_a_gate_picks_the_width_that_it_picks_in_every_language(
    runner: Command, golden: Path, kind: str, tmp_path: Path
) -> None:
    check_gates(runner, golden, kind, tmp_path)


def test_every_gate_on_the_way_decides_as_it_does_in_every_language(
    runner: Command, golden: Path, tmp_path: Path
) -> None:
    check_trees(runner, golden, tmp_path)


@pytest.mark.parametrize("loads", [[routing_gate(4), *routing_nets()], routing_nets()], ids=["gate too", "nets alone"])
def test_a_cascade_runs_the_widths_that_it_runs_in_every_language_and_asks_no_gate(
    runner: Command, golden: Path, loads: list[dict[str, Any]], tmp_path: Path
) -> None:
    check_cascades(runner, golden, loads, tmp_path)


POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)
POLICIES: dict[str, dict[str, Any]] = {
    "thresholds": {"kind": "thresholds", "widths": [0, 3, 5], "thresholds": [0.0, 0.0]},
    "utility": {
        "kind": "utility",
        "widths": [0, 3, 5],
        "weights": [[0.0] * 4] * 3,
        "biases": [0.0] * 3,
        "penalties": [0.0] * 3,
    },
    "cascade": {"kind": "cascade", "widths": [0, 3, 5], "confidences": [0.0, 0.0]},
}


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_count_as_hard(runner: Command, kind: str, value: float, tmp_path: Path) -> None:
    image = np.full(ROUTING_IMAGE, value, np.float32)
    image.tofile(tmp_path / "image")
    command = {"do": "classify", "images": str(tmp_path / "image"), "policy": POLICIES[kind]}
    (answer,) = answers_of_classify(runner, [routing_gate(4), *routing_nets(), command])
    assert answer["ran"] == ([0, 3, 5] if kind == "cascade" else [5])
    assert answer["score"] is None


def thresholds(widths: list[int], values: list[float]) -> dict[str, Any]:
    return {"kind": "thresholds", "widths": widths, "thresholds": values}


def tree(widths: list[int], root: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "tree", "widths": widths, "root": root}


def nodes(depth: int) -> dict[str, Any]:
    """Return that many nodes below one another, of which the last chooses between widths 0 and 1."""
    node: dict[str, Any] = {"thresholds": [0.5], "next": [0, 1]}
    for _ in range(depth - 1):
        node = {"thresholds": [], "next": [node]}
    return node


def cascade(widths: list[int], confidences: list[float]) -> dict[str, Any]:
    return {"kind": "cascade", "widths": widths, "confidences": confidences}


def test_a_trunk_gates_network_is_routed_and_classified_as_in_python(
    runner: Command, first: Bundle, tmp_path: Path
) -> None:
    count = 8
    pictures = images(first, count)
    pictures.tofile(tmp_path / "images")
    loads = [load(first, name) for name in ("prefix", "tail_00", "tail_01")]
    expected_scores, classes = one_by_one(runner, loads, pictures, tmp_path)
    middle = float(np.sort(expected_scores)[count // 2 - 1 : count // 2 + 1].mean())
    command = {"do": "classify", "images": str(tmp_path / "images"), "policy": thresholds([0, 1], [middle])}
    said = answers_of_classify(runner, [*loads, command])
    widths = choose(expected_scores, [middle])
    assert [answer["image"] for answer in said] == list(range(count))
    assert sorted(widths) == [0] * (count // 2) + [1] * (count // 2)
    assert [answer["width"] for answer in said] == list(widths)
    assert [answer["class"] for answer in said] == [classes[width][index] for index, width in enumerate(widths)]
    for answer, expected in zip(said, expected_scores, strict=True):
        assert answer["score"] == pytest.approx(expected, rel=rounding(2), abs=0)
        assert answer["total_ms"] == pytest.approx(answer["prefix_ms"] + answer["tail_ms"])
        assert min(answer["prefix_ms"], answer["tail_ms"]) > 0


def test_a_network_of_two_gates_is_routed_and_classified_as_in_python(
    runner: Command, two_gates: Bundle, tmp_path: Path
) -> None:
    pictures = images(two_gates, 8)
    pictures.tofile(tmp_path / "images")
    artifact = two_gates.artifact("executorch", "int8")
    scores = {name: one_score(two_gates, artifact, name, pictures) for name in ("prefix", "stage_1_00", "stage_1_01")}
    middle = {name: float(np.median(values)) for name, values in scores.items()}
    easy = {"thresholds": [middle["stage_1_00"]], "next": [0, 1]}
    hard = {"thresholds": [middle["stage_1_01"]], "next": [2, 4]}
    asked = [
        tree([0, 1, 2, 4], {"thresholds": [middle["prefix"]], "next": [easy, hard]}),
        thresholds([0, 4], [middle["prefix"]]),
        cascade([0, 1, 3], [2.0, 2.0]),
    ]
    loads = [load(two_gates, program.name, "int8") for program in artifact.programs]
    for policy in asked:
        session = open_dynamic(two_gates, artifact, POLICY.validate_python(policy))
        expected = [session.answer(picture[None]) for picture in pictures]
        command = {"do": "classify", "images": str(tmp_path / "images"), "policy": policy}
        said = answers_of_classify(runner, [*loads, command])
        found = [(answer["width"], answer["class"]) for answer in said]
        assert found == [(answer.width, answer.class_index) for answer in expected]
        assert [answer["score"] for answer in said] == pytest.approx([answer.score for answer in expected], rel=1e-12)
        assert policy["kind"] == "cascade" or len({width for width, _ in found}) > 1, found


def one_score(bundle: Bundle, artifact: Artifact, name: str, pictures: NDArray[np.float32]) -> list[float]:
    """Return, for each image, what the gate at the end of a program says, whatever the gates before it say."""
    before = needed_programs(artifact, [name])
    session, found = open_session(bundle, artifact, [program.name for program in before]), []
    for picture in pictures:
        tensors: dict[str, Array] = {"image": picture[None]}
        for program in before:
            tensors |= session.run(program.name, feed(program, tensors))
        found.append(float(score(real_values(before[-1], tensors, "gate_logits"))))
    return found


def one_by_one(
    runner: Command, loads: list[dict[str, Any]], pictures: NDArray[np.float32], folder: Path
) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Return every image's score, and its class at either width, from outputs that Python reads."""
    commands = []
    for index, picture in enumerate(pictures):
        picture.tofile(folder / f"image_{index}")
        commands.append({"do": "image", "file": str(folder / f"image_{index}")})
        for tail in ("tail_00", "tail_01"):
            commands += [
                {"do": "block", "units": ["prefix", tail], "runs": 1},
                {"do": "outputs", "unit": tail, "to": str(folder / f"{tail}_{index}")},
            ]
        commands.append({"do": "outputs", "unit": "prefix", "to": str(folder / f"prefix_{index}")})
    prefix = answers(runner, [*loads, *commands])[0]
    choices = prefix["outputs"][1]["shape"][-1]
    logits = [np.fromfile(folder / f"prefix_{index}", np.float32)[-choices:] for index in range(len(pictures))]
    classes = [
        [int(np.fromfile(folder / f"{tail}_{index}", np.float32).argmax()) for index in range(len(pictures))]
        for tail in ("tail_00", "tail_01")
    ]
    return score(np.stack(logits)), classes


def test_a_cascade_behind_a_trunk_gate_runs_the_prefix_once_and_every_tail_on_its_features(
    runner: Command, first: Bundle, tmp_path: Path
) -> None:
    pictures = images(first, 2)
    pictures.tofile(tmp_path / "images")
    loads = [load(first, name) for name in ("prefix", "tail_00", "tail_01")]
    scores, classes = one_by_one(runner, loads, pictures, tmp_path)
    commands = [
        {"do": "classify", "images": str(tmp_path / "images"), "policy": cascade([0, 1], [least])} for least in (0, 1.5)
    ]
    said = answers_of_classify(runner, [*loads, *commands])
    assert [answer["ran"] for answer in said] == [[0], [0], [0, 1], [0, 1]]
    assert [answer["class"] for answer in said] == [*classes[0], *classes[1]]
    for answer, expected in zip(said, [*scores, *scores], strict=True):
        assert answer["score"] == pytest.approx(expected, rel=rounding(2), abs=0)
        assert answer["total_ms"] == pytest.approx(answer["prefix_ms"] + answer["tail_ms"])
        assert min(answer["prefix_ms"], answer["tail_ms"]) > 0


def test_a_single_tail_still_runs_the_prefix_that_it_reads(runner: Command, first: Bundle, tmp_path: Path) -> None:
    images(first, 2).tofile(tmp_path / "images")
    loads = [load(first, name) for name in ("prefix", "tail_01")]
    command = {"do": "classify", "images": str(tmp_path / "images"), "policy": thresholds([1], [])}
    said = answers_of_classify(runner, [*loads, command])
    assert [answer["width"] for answer in said] == [1, 1]
    assert all(answer["score"] is not None for answer in said)


def utility(**changes: Any) -> dict[str, Any]:
    return POLICIES["utility"] | changes


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (thresholds([0, 1], []), "policy: 2 widths do not go with 0 thresholds; give one fewer than widths"),
        (thresholds([], []), "policy: widths must ascend; give one or more, narrow to wide"),
        (thresholds([3, 0], [0.5]), "policy: widths must ascend"),
        (thresholds([3, 3], [0.5]), "policy: widths must ascend"),
        (thresholds([0, 256], [0.5]), "policy: widths: expected a list of integers from 0 to 255, found 256"),
        (thresholds([0, 1, 2], [1.0, 0.5]), "policy: thresholds must not decrease"),
        (thresholds([0, 99], [0.5]), "no unit of width 99 is loaded; loaded widths: 0, 1, 2, 3, 4"),
        (cascade([0, 1], [0.5, 0.5]), "policy: 2 widths do not go with 2 confidences; give one fewer than widths"),
        (cascade([0, 1], [-0.5]), "policy: confidences must not be negative"),
        ({"kind": "cascade", "widths": [0, 1]}, "policy: the field confidences is missing"),
        (utility(biases=[0.0]), "policy: 3 widths need as many weights (of equal length), biases and penalties"),
        (utility(penalties=[0.0] * 4), "policy: 3 widths need as many weights"),
        (utility(weights=[[0.0] * 4] * 2), "policy: 3 widths need as many weights"),
        (utility(weights=[[0.0] * 4, [0.0] * 4, [0.0]]), "policy: 3 widths need as many weights (of equal length)"),
        (utility(weights=[[]] * 3), "policy: 3 widths need as many weights (of equal length)"),
        (utility(weights=[0.0] * 3), "policy: weights: expected a list of lists of numbers, found 0.0"),
        (utility(weights=[["0"]] * 3), 'policy: weights: expected a list of numbers, found "0"'),
        (
            utility(weights=[[0.0] * 2] * 3),
            "policy: 2 weights for each width, but unit gate gives 4 gate logits; calibrate this bundle again",
        ),
        (tree([0], {"next": [0]}), "policy: the field thresholds is missing"),
        (tree([0, 1], {"thresholds": [], "next": [0, 1]}), "policy: 2 next do not go with 0 thresholds"),
        (tree([0], {"thresholds": [], "next": []}), "policy: 0 next do not go with 0 thresholds"),
        (tree([0, 1, 2], {"thresholds": [1.0, 0.5], "next": [0, 1, 2]}), "policy: thresholds must not decrease"),
        (tree([0, 1], {"thresholds": [0.5], "next": [0, 2]}), "expected nodes, or widths that the policy has, found 2"),
        (tree([0, 1], {"thresholds": [0.5], "next": [0, 0]}), "policy: the tree ends with 1 of 2 widths"),
        (tree([0, 1], nodes(9)), "policy: more nodes below one another than a network may have gates, 8"),
        (tree([0, 1], nodes(2)), "no gate is loaded that could choose between widths 0 to 1"),
        ({"kind": "dice", "widths": [0]}, 'policy: kind: expected thresholds, tree, utility or cascade, found "dice"'),
        ({"widths": [0], "thresholds": []}, "policy: the field kind is missing"),
        ([0.5], "policy: expected an object, found a list"),
    ],
)
def test_a_policy_that_is_none_is_refused(runner: Command, tmp_path: Path, policy: Any, reason: str) -> None:
    routing_image([0.0], {}).tofile(tmp_path / "image")
    command = {"do": "classify", "images": str(tmp_path / "image"), "policy": policy}
    assert reason in converse(runner, [routing_gate(4), *routing_nets(), command]).error


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": "/nonexistent", "policy": thresholds([0], [])}, "/nonexistent: cannot be read"),
        ({"images": __file__, "policy": thresholds([0], [])}, "no whole number of images of 972"),
        ({"images": __file__}, "command: the field policy is missing"),
    ],
)
def test_what_cannot_be_classified_is_refused(runner: Command, changes: dict[str, Any], reason: str) -> None:
    assert reason in converse(runner, [*routing_nets(), {"do": "classify", **changes}]).error


def test_several_widths_without_a_gate_are_refused_except_to_a_cascade(runner: Command, tmp_path: Path) -> None:
    routing_image([], {}).tofile(tmp_path / "image")
    command = {"do": "classify", "images": str(tmp_path / "image")}
    said = converse(runner, [*routing_nets(), command | {"policy": thresholds([0, 1], [0.5])}])
    assert "no gate is loaded that could choose between widths 0 to 1" in said.error
    (answer,) = answers_of_classify(runner, [*routing_nets(), command | {"policy": cascade([0, 1], [0.5])}])
    assert answer["ran"] == [0, 1], "one of 14 equal classes but for one has little confidence"


def test_a_cascade_over_nets_of_different_images_is_refused(runner: Command, first: Bundle, tmp_path: Path) -> None:
    routing_image([], {}).tofile(tmp_path / "image")
    # A tail is as good as a net of small images: one input, one output.
    loads = [routing_nets()[0], load(first, "tail_01", unit="net_01", role="net", widths=[1])]
    command = {"do": "classify", "images": str(tmp_path / "image"), "policy": cascade([0, 1], [0.5])}
    said = converse(runner, [*loads, command])
    assert said.error.startswith("unit net_01 reads float32 [1, 4, 2, 2], but unit net_00 reads float32 [1, 3, 9, 9];")
