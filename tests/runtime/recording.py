"""A session that answers by script and remembers what it was asked, for behaviour no real runtime can show."""

from collections.abc import Callable, Mapping

import numpy as np

from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.runtime import Array

IMAGE = TensorInfo(name="image", shape=[1, 8, 8, 3], dtype="float32")
GATE_LOGITS = TensorInfo(name="gate_logits", shape=[1, 2], dtype="float32")
FEATURES = TensorInfo(name="features", shape=[1, 2], dtype="float32")
LOGITS = TensorInfo(name="logits", shape=[1, 3], dtype="float32")


class RecordingSession:
    """Answers `script(program, inputs)`; `calls` lists (program, inputs) in order."""

    runtime_version = "recording 1"

    def __init__(self, programs: list[str], script: Callable[[str, Mapping[str, Array]], dict[str, Array]]) -> None:
        self.programs = tuple(programs)
        self.calls: list[tuple[str, Mapping[str, Array]]] = []
        self._script = script

    def run(self, program: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert program in self.programs, f"{program} is not resident, only {self.programs}"
        self.calls.append((program, dict(inputs)))
        return self._script(program, inputs)

    @property
    def order(self) -> list[str]:
        return [program for program, _ in self.calls]


def artifact(*programs: Program) -> Artifact:
    return Artifact(
        runtime="litert", precision="int8", file="m.tflite", bytes=9, sha256="0" * 64,
        programs=list(programs), runtime_version="recording 1", parity=[],
    )  # fmt: skip


def net(width: int) -> Program:
    return Program(name=f"net_{width:02d}", role="net", widths=[width], inputs=[IMAGE], outputs=[LOGITS])


SIDE_GATE = Program(name="gate", role="gate", widths=[0, 1], inputs=[IMAGE], outputs=[GATE_LOGITS])


def bright_is_hard(program: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """A side gate that finds bright images hard, and nets whose answer is their width."""
    if program == "gate":
        return {"gate_logits": np.array([[0.0, 9.0 * inputs["image"].mean()]], np.float32)}
    logits = np.zeros((1, 3), np.float32)
    logits[0, int(program[-1])] = 5.0
    return {"logits": logits}


def part(name: str, *widths: int) -> Program:
    """Return a program of a network with gates on its trunk: a prefix, a stage or a tail."""
    role = name.split("_")[0]
    given = [IMAGE] if role == "prefix" else [FEATURES]
    gives = [LOGITS] if role == "tail" else [FEATURES, GATE_LOGITS]
    return Program.model_validate(
        {"name": name, "role": role, "widths": list(widths), "inputs": given, "outputs": gives}
    )


TWO_GATES = artifact(
    part("prefix", 0, 1, 2, 3),
    part("stage_1_00", 0, 1), part("tail_00_00", 0), part("tail_00_01", 1),
    part("stage_1_01", 2, 3), part("tail_01_00", 2), part("tail_01_01", 3),
)  # fmt: skip
"""Paths (0, 0), (0, 1), (1, 0), (1, 1)."""


def hard_by(shades: Mapping[str, float]) -> Callable[[str, Mapping[str, Array]], dict[str, Array]]:
    """Return a script whose gates find images as hard as said, by program; features hold the length of its name."""

    def script(program: str, _: Mapping[str, Array]) -> dict[str, Array]:
        if program.startswith("tail"):
            return {"logits": np.array([[float(program[-1]), 0.5, 0.0]], np.float32)}
        features = np.full((1, 2), len(program), np.float32)
        return {"features": features, "gate_logits": np.array([[0.0, shades.get(program, 0.0)]], np.float32)}

    return script
