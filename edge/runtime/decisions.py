"""Decision points: the gates of an artifact, each once for every way along which an image can come to it.

The features that a gate reads depend on the entries at which the parts before it ran, and so do its logits. All widths
that agree on what runs up to a gate share its decision point. Decision points are ordered gate by gate, those of one
gate by the narrowest width that comes through; with one gate there is one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.console import listed
from edge.bundle.fields import MAX_GATES, MAX_WIDTHS
from edge.bundle.manifest import Artifact, Gate, Program, Record
from edge.errors import CalibrationError
from edge.runtime.route import GATE_LOGITS, Route

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle
    from edge.runtime.predictions import Predictions

Way = tuple[Program, ...]
"""Programs in the order in which they run, from the head on."""


class Decision(Record):
    """One decision point."""

    widths: list[int] = Field(min_length=1, max_length=MAX_WIDTHS)
    """All widths that come through it; they share everything that has run so far."""
    choices: list[int] = Field(min_length=1, max_length=MAX_WIDTHS)
    """Which entry of the next part each of its logits stands for."""


def decision_points(artifact: Artifact, gates: Sequence[Gate]) -> list[tuple[Decision, Way]]:
    """Return an artifact's decision points, and the programs that run up to each; the last one gives its logits."""
    chains = Route.of(artifact).chains
    found: dict[tuple[int, tuple[str, ...]], tuple[list[int], Way]] = {}
    for width, chain in chains.items():
        for gate, end in enumerate(_ends(chain)):
            way = chain[:end]
            widths, _ = found.setdefault((gate, tuple(program.name for program in way)), ([], way))
            widths.append(width)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], item[1][0]))
    return [(Decision(widths=widths, choices=gates[gate].choices), way) for (gate, _), (widths, way) in ordered]


def _ends(chain: Way) -> Iterator[int]:
    """Yield after how many programs each gate on the way has given its logits."""
    for number, program in enumerate(chain, start=1):
        if any(tensor.name == GATE_LOGITS for tensor in program.outputs):
            yield number


def check_decisions(predictions: "Predictions", bundle: "Bundle", origin: str) -> None:
    """Raise CalibrationError, naming `origin`, unless predictions hold the decision points of their artifact."""
    metadata = predictions.metadata
    artifact = bundle.artifact(metadata.runtime, metadata.precision)
    expected = [(decision.widths, decision.choices) for decision, _ in decision_points(artifact, bundle.manifest.gates)]
    if [(decision.widths, decision.choices) for decision in metadata.decisions] != expected:
        raise CalibrationError(
            f"{origin}: its decisions are not those of {artifact.runtime} {artifact.precision} in {bundle.place}; "
            "run dsnet predict again with that bundle"
        )


def decision_problem(decisions: Sequence[Decision], widths: Sequence[int]) -> str | None:
    """Return why decision points cannot be those of an artifact of these widths, if they cannot."""
    passed: dict[int, list[int]] = {width: [] for width in widths}
    for at, decision in enumerate(decisions):
        for name, values in (("widths", decision.widths), ("choices", decision.choices)):
            if values != sorted(set(values)) or values[0] < 0:
                return f"{name} {values[:16]} of a decision must be ascending and not negative"
        if strangers := set(decision.widths) - passed.keys():
            return f"decision {at} is of width {min(strangers)}; valid: {listed(widths)}"
        for width in decision.widths:
            passed[width].append(at)
    most = max(map(len, passed.values()))
    if most > MAX_GATES:
        return f"a width comes through {most} decisions; the most are {MAX_GATES}"
    if any(len(way) < most for way in passed.values()):
        return "the widths do not all come through as many decisions"
    if decisions and decisions[0].widths != list(widths):
        return f"the first decision is of widths {listed(decisions[0].widths)}; all of {listed(widths)} come through it"
    for at, decision in enumerate(decisions):
        ways = {tuple(passed[width][: passed[width].index(at)]) for width in decision.widths}
        if len(ways) > 1:
            return f"widths {listed(decision.widths)} of decision {at} do not come there along one way"
    return None


@dataclass(frozen=True)
class GateLogits:
    """What the gates said about n images, at every decision point."""

    decisions: tuple[Decision, ...]
    logits: NDArray[np.float32]
    """[n, Σ m]: columns of all decision points one after the other."""

    @property
    def images(self) -> int:
        """Return n."""
        return len(self.logits)

    @property
    def first(self) -> NDArray[np.float32]:
        """Return the first gate's logits, [n, m]; no columns where there is no gate."""
        return self.logits[:, : len(self.decisions[0].choices) if self.decisions else 0]

    @property
    def gates(self) -> int:
        """Return how many gates every image comes through."""
        first = [decision for decision in self.decisions if self.decisions[0].widths[0] in decision.widths]
        return len(first)

    def of(self, width: int, gate: int) -> NDArray[np.float32]:
        """Return the logits [n, m] of a gate, counted from 0, on the way to a width."""
        at = [number for number, decision in enumerate(self.decisions) if width in decision.widths][gate]
        begin = sum(len(decision.choices) for decision in self.decisions[:at])
        return self.logits[:, begin : begin + len(self.decisions[at].choices)]

    def take(self, images: NDArray[np.intp]) -> "GateLogits":
        """Return those of some of the images."""
        return replace(self, logits=self.logits[images])
