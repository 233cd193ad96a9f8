"""Networks that say what the image says (`build.py` writes them), and the shared cases of policies through them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.policies import rounding
from tests.native.conversation import Command, converse
from tests.native.data import (
    ROUTING,
    ROUTING_CLASSES,
    ROUTING_GATES,
    ROUTING_IMAGE,
    ROUTING_TRUNK_GATES,
    ROUTING_WIDTHS,
)

NEVER = -1e30
"""The logit of a class that a case does not have: its softmax is exactly 0."""
TREE_WIDTHS = 16


def routing_nets() -> list[dict[str, Any]]:
    """Return the commands that load the nets that say what the image says."""
    net = {"do": "load", "role": "net", "pte": str(ROUTING)}
    names = {width: f"net_{width:02d}" for width in range(ROUTING_WIDTHS)}
    return [net | {"unit": name, "widths": [width], "method": name} for width, name in names.items()]


def routing_gate(logits: int) -> dict[str, Any]:
    """Return the command that loads the gate of so many logits that says what the image says."""
    where = {"role": "gate", "widths": list(range(ROUTING_WIDTHS)), "pte": str(ROUTING)}
    return {"do": "load", "unit": "gate", "method": f"gate_{logits:02d}", **where}


def routing_image(gate_logits: Sequence[float], nets: Mapping[int, Sequence[float]]) -> NDArray[np.float32]:
    """Return the image that makes the gate say `gate_logits`, and every net its logits; others answer their width."""
    image = np.zeros(ROUTING_IMAGE, np.float32)
    gate, said = np.split(image.reshape(-1)[: ROUTING_GATES[-1] + ROUTING_WIDTHS * ROUTING_CLASSES], ROUTING_GATES[-1:])
    gate[: len(gate_logits)] = gate_logits
    said = said.reshape(ROUTING_WIDTHS, ROUTING_CLASSES)
    said[:] = np.eye(ROUTING_WIDTHS, ROUTING_CLASSES)
    for width, logits in nets.items():
        said[width] = NEVER
        said[width, : len(logits)] = logits
    return image


def check_gates(runner: Command, golden: Path, kind: str, folder: Path) -> None:
    """Fail unless the shared cases of a kind of policy that asks a gate get their widths, scores and classes."""
    cases = _cases(golden, kind)
    for logits in sorted({len(case["gate_logits"]) for case in cases}):
        asked = [case for case in cases if len(case["gate_logits"]) == logits]
        images = [routing_image(case["gate_logits"], {}) for case in asked]
        said = _classified(runner, [routing_gate(logits), *routing_nets()], asked, images, folder)
        for case, answer in zip(asked, said, strict=True):
            (width,) = case["ran"]
            assert (answer["ran"], answer["width"], answer["class"]) == ([width], width, width), case["name"]
            if len(case["policy"]["widths"]) == 1:
                assert (answer["score"], answer["prefix_ms"]) == (None, 0)
            elif "score" in case:
                apart = abs(answer["score"] - case["score"])
                assert apart <= rounding(logits) * case["score"], f"{answer['score']!r} is not {case['score']!r}"


def routing_trunk() -> list[dict[str, Any]]:
    """Return the commands that load a network with gates on the trunk that all say what the image says."""
    widths = list(range(TREE_WIDTHS))
    shared = {"do": "load", "widths": widths, "pte": str(ROUTING)}
    stages = [{"unit": f"stage_{gate}", "role": "stage", "method": "stage"} for gate in range(1, ROUTING_TRUNK_GATES)]
    tails = [{"unit": f"tail_{width}", "role": "tail", "method": "tail", "widths": [width]} for width in widths]
    return [shared | unit for unit in ({"unit": "prefix", "role": "prefix", "method": "prefix"}, *stages, *tails)]


def trunk_image(gates: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Return the image that makes each gate on the trunk say its logits."""
    image = np.full(ROUTING_IMAGE, NEVER, np.float32)
    for gate, logits in enumerate(gates):
        image.reshape(-1)[gate * ROUTING_GATES[-1] :][: len(logits)] = logits
    return image


def check_trees(runner: Command, golden: Path, folder: Path) -> None:
    """Fail unless the shared cases of trees get their widths, and the first gate its score."""
    cases = [case for case in _cases(golden, "tree") if max(case["policy"]["widths"]) < TREE_WIDTHS]
    images = [trunk_image(case["gates"]) for case in cases]
    for case, answer in zip(cases, _classified(runner, routing_trunk(), cases, images, folder), strict=True):
        assert (answer["ran"], answer["width"]) == (case["ran"], case["ran"][0]), case["name"]
        apart = abs(answer["score"] - case["scores"][0]) if case.get("scores") else 0.0
        assert apart <= rounding(ROUTING_GATES[-1]) * (case.get("scores") or [0.0])[0], case["name"]


def check_cascades(runner: Command, golden: Path, loads: list[dict[str, Any]], folder: Path) -> None:
    """Fail unless the shared cases of cascades run their widths, answer with the last one's class and ask no gate."""
    cases = _cases(golden, "cascade")
    nets = [dict(zip(case["policy"]["widths"], case["logits"], strict=True)) for case in cases]
    images = [routing_image([], logits) for logits in nets]
    for case, answer in zip(cases, _classified(runner, loads, cases, images, folder), strict=True):
        last = case["logits"][len(case["ran"]) - 1]
        found = (answer["ran"], answer["width"], answer["class"])
        assert found == (case["ran"], case["ran"][-1], int(np.argmax(last))), case["name"]
        assert (answer["score"], answer["prefix_ms"]) == (None, 0)


def answers_of_classify(runner: Command, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers about images; fails unless every `classify` ended with how many there were."""
    said = converse(runner, commands)
    assert (said.status, said.stderr) == (0, ""), said
    per_image = [answer for answer in said.answers if "image" in answer]
    asked = sum(command["do"] == "classify" for command in commands)
    counts = [answer["classified"] for answer in said.answers if "classified" in answer]
    assert (len(counts), sum(counts)) == (asked, len(per_image))
    return per_image


def _cases(golden: Path, kind: str) -> list[dict[str, Any]]:
    cases = json.loads((golden / "policies.json").read_text())
    return [case for case in cases if case["policy"]["kind"] == kind]


def _classified(
    runner: Command,
    loads: list[dict[str, Any]],
    cases: list[dict[str, Any]],
    images: list[NDArray[np.float32]],
    folder: Path,
) -> list[dict[str, Any]]:
    """Return what the runner says to every case, each with its policy and an image of its own."""
    commands = []
    for number, (case, image) in enumerate(zip(cases, images, strict=True)):
        image.tofile(folder / str(number))
        commands.append({"do": "classify", "images": str(folder / str(number)), "policy": case["policy"]})
    said = answers_of_classify(runner, [*loads, *commands])
    assert len(said) == len(cases) > 0
    return said
