"""Networks that say what the image says (`build.py` writes them), and the shared cases of policies through them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.policies import rounding
from tests.native.conversation import Command, converse
from tests.native.data import ROUTING, ROUTING_CLASSES, ROUTING_GATES, ROUTING_IMAGE, ROUTING_WIDTHS

NEVER = -1e30
"""The logit of a class that a case does not have: its softmax is exactly 0."""


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
        said = _classified(runner, [routing_gate(logits), *routing_nets()], asked, folder)
        for case, answer in zip(asked, said, strict=True):
            (width,) = case["ran"]
            assert (answer["ran"], answer["width"], answer["class"]) == ([width], width, width), case["name"]
            if len(case["policy"]["widths"]) == 1:
                assert (answer["score"], answer["prefix_ms"]) == (None, 0)
            elif "score" in case:
                apart = abs(answer["score"] - case["score"])
                assert apart <= rounding(logits) * case["score"], f"{answer['score']!r} is not {case['score']!r}"


def check_cascades(runner: Command, golden: Path, loads: list[dict[str, Any]], folder: Path) -> None:
    """Fail unless the shared cases of cascades run their widths, answer with the last one's class and ask no gate."""
    cases = _cases(golden, "cascade")
    for case, answer in zip(cases, _classified(runner, loads, cases, folder), strict=True):
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
    runner: Command, loads: list[dict[str, Any]], cases: list[dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """Return what the runner says to every case, each with its policy and an image of its own."""
    commands = []
    for number, case in enumerate(cases):
        nets = dict(zip(case["policy"]["widths"], case.get("logits", []), strict=False))
        routing_image(case.get("gate_logits", []), nets).tofile(folder / str(number))
        commands.append({"do": "classify", "images": str(folder / str(number)), "policy": case["policy"]})
    said = answers_of_classify(runner, [*loads, *commands])
    assert len(said) == len(cases) > 0
    return said
