"""Classifying images: the same scores, widths and classes as in Python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle.reader import Bundle
from edge.runtime.policy import choose, score
from tests.native.conversation import Command, answers, converse, images, load
from tests.native.data import ROUTING, ROUTING_IMAGE, ROUTING_LOGITS, ROUTING_WIDTHS

ROUNDING = 2.0**-53
SCORE_TOLERANCE = 16 * ROUNDING
"""Relative. Python and C++ each round: an exponential (within 2 units of rounding), a sum of at most 4 positive terms
(3), a quotient (1), the products and their sum (at most 2 more, in another order): at most 8 units on each side."""


def routing_units() -> list[dict[str, Any]]:
    """Return the commands that load the gate that says what the image says, and its nets."""
    gate = {"do": "load", "unit": "gate", "role": "gate", "width": None, "pte": str(ROUTING), "method": "gate"}
    nets = [(f"net_{width:02d}", width) for width in ROUTING_WIDTHS]
    return [gate, *(gate | {"unit": net, "role": "net", "width": width, "method": net} for net, width in nets)]


def image_saying(gate_logits: list[float]) -> NDArray[np.float32]:
    """Return the image that makes the gate say `gate_logits`; logits that it has too many get a weight of exactly 0."""
    image = np.zeros(ROUTING_IMAGE, np.float32)
    image.reshape(-1)[:ROUTING_LOGITS] = -1e30
    image.reshape(-1)[: len(gate_logits)] = gate_logits
    return image


def test_golden_cases_get_their_scores_widths_and_exactly_that_widths_class(
    runner: Command, golden: Path, tmp_path: Path
) -> None:
    cases = json.loads((golden / "routing.json").read_text())
    commands = []
    for number, case in enumerate(cases):
        file = tmp_path / str(number)
        image_saying(case["gate_logits"]).tofile(file)
        widths = {"widths": case["widths"], "thresholds": case["thresholds"]}
        commands.append({"do": "classify", "images": str(file), **widths})
    said = answers_of_classify(runner, [*routing_units(), *commands])
    assert len(said) == len(cases)
    for case, answer in zip(cases, said, strict=True):
        assert (answer["width"], answer["class"]) == (case["width"], case["width"])
        if len(case["widths"]) > 1:
            assert answer["score"] == pytest.approx(case["score"], rel=SCORE_TOLERANCE, abs=0)
        else:
            assert (answer["score"], answer["prefix_ms"]) == (None, 0)


def test_a_trunk_gates_network_is_routed_and_classified_as_in_python(
    runner: Command, first: Bundle, tmp_path: Path
) -> None:
    count = 8
    pictures = images(first, count)
    pictures.tofile(tmp_path / "images")
    loads = [load(first, name) for name in ("prefix", "tail_00", "tail_01")]
    expected_scores, classes = one_by_one(runner, loads, pictures, tmp_path)
    middle = float(np.sort(expected_scores)[count // 2 - 1 : count // 2 + 1].mean())
    command = {"do": "classify", "images": str(tmp_path / "images"), "widths": [0, 1], "thresholds": [middle]}
    said = answers_of_classify(runner, [*loads, command])
    widths = choose(expected_scores, [middle])
    assert [answer["image"] for answer in said] == list(range(count))
    assert sorted(widths) == [0] * (count // 2) + [1] * (count // 2)
    assert [answer["width"] for answer in said] == list(widths)
    assert [answer["class"] for answer in said] == [classes[width][index] for index, width in enumerate(widths)]
    for answer, expected in zip(said, expected_scores, strict=True):
        assert answer["score"] == pytest.approx(expected, rel=SCORE_TOLERANCE, abs=0)
        assert answer["total_ms"] == pytest.approx(answer["prefix_ms"] + answer["tail_ms"])
        assert min(answer["prefix_ms"], answer["tail_ms"]) > 0


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


def answers_of_classify(runner: Command, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers about images; fails unless every `classify` ended with how many there were."""
    said = converse(runner, commands)
    assert (said.status, said.stderr) == (0, ""), said
    per_image = [answer for answer in said.answers if "image" in answer]
    asked = sum(command["do"] == "classify" for command in commands)
    counts = [answer["classified"] for answer in said.answers if "classified" in answer]
    assert (len(counts), sum(counts)) == (asked, len(per_image))
    return per_image


def test_a_single_tail_still_runs_the_prefix_that_it_reads(runner: Command, first: Bundle, tmp_path: Path) -> None:
    images(first, 2).tofile(tmp_path / "images")
    loads = [load(first, name) for name in ("prefix", "tail_01")]
    command = {"do": "classify", "images": str(tmp_path / "images"), "widths": [1], "thresholds": []}
    said = answers_of_classify(runner, [*loads, command])
    assert [answer["width"] for answer in said] == [1, 1]
    assert all(answer["score"] is not None for answer in said)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"widths": [0, 1], "thresholds": []}, "2 widths do not go with 0 thresholds"),
        ({"widths": [], "thresholds": []}, "0 widths do not go with 0 thresholds"),
        ({"widths": [0, 1, 2], "thresholds": [1.0, 0.5]}, "thresholds must not decrease"),
        ({"widths": [0, 3], "thresholds": [0.5]}, "no unit of width 3 is loaded; loaded widths: 0, 1, 2, 4"),
        ({"images": "/nonexistent", "widths": [0], "thresholds": []}, "/nonexistent: cannot be read"),
        ({"widths": [0], "thresholds": [], "images": __file__}, "no whole number of images of 48"),
    ],
)
def test_what_cannot_be_classified_is_refused(
    runner: Command, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    image_saying([0.0]).tofile(tmp_path / "image")
    command = {"do": "classify", "images": str(tmp_path / "image"), **changes}
    assert reason in converse(runner, [*routing_units(), command]).error


def test_several_widths_without_a_gate_are_refused(runner: Command, tmp_path: Path) -> None:
    image_saying([0.0]).tofile(tmp_path / "image")
    command = {"do": "classify", "images": str(tmp_path / "image"), "widths": [0, 1], "thresholds": [0.5]}
    assert "no head is loaded" in converse(runner, [*routing_units()[1:], command]).error
