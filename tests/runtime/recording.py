"""A session that answers by script and remembers what it was asked, for behaviour no real runtime can show."""

from collections.abc import Callable, Mapping

import numpy as np

from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.runtime import Array

IMAGE = TensorInfo(name="image", shape=[1, 8, 8, 3], dtype="float32")
GATE_LOGITS = TensorInfo(name="gate_logits", shape=[1, 2], dtype="float32")
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
