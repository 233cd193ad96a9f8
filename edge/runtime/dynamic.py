"""One image in, one answer out: the gate says how hard the image is, the policy picks the width, only that one runs."""

from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from edge.bundle.manifest import Artifact, Policy, Program
from edge.runtime.open_session import open_session
from edge.runtime.policy import confidence, first_width, next_width, score
from edge.runtime.route import GATE_LOGITS, IMAGE, LOGITS, Route, feed, real_values
from edge.runtime.session import Array, Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.bundle.reader import Bundle


@dataclass(frozen=True)
class Answer:
    """What the network said about one image, and what it took."""

    class_index: int
    class_name: str
    probability: float
    """Softmax of the class's logit."""
    width: int
    """The width that answered."""
    score: float | None
    """The gate's score, from 0 (easy) up; None when no gate ran."""
    prefix_ms: float
    """Time of what runs before the width is known, decision included: the prefix or a side gate; 0 when nothing."""
    tail_ms: float
    """Time of the width's program: the tail, or the whole net; of a cascade, of every width that ran."""
    total_ms: float


class DynamicSession:
    """A session with a policy: prefix → gate logits → policy → ONE tail; the same for a side gate, or without a gate.

    A cascade asks no gate and may run several tails, one after the other.
    """

    def __init__(self, session: Session, artifact: Artifact, classes: list[str], policy: Policy) -> None:
        """Take a session that holds `resident_programs(artifact, policy)`, and run each of them once to warm up."""
        self._session = session
        self._classes = classes
        self._policy = policy
        self._route = Route.of(artifact)
        self._head = _needed_head(self._route, policy)
        self._warm_up()

    def answer(self, image: Array) -> Answer:
        """Classify one preprocessed image (float32, batch 1, the layout of the runtime)."""
        tensors: dict[str, Array] = {IMAGE: image}
        start = perf_counter_ns()
        gate_logits = self._run_head(tensors)
        width = first_width(self._policy, gate_logits)
        decided = perf_counter_ns()
        logits = self._run_body(width, tensors)
        while (following := next_width(self._policy, width, logits)) is not None:
            width = following
            logits = self._run_body(width, tensors)
        done = perf_counter_ns()
        index = int(logits.argmax())
        return Answer(
            class_index=index,
            class_name=self._classes[index],
            probability=float(confidence(logits)),
            width=width,
            score=None if gate_logits is None else float(score(gate_logits)),
            prefix_ms=(decided - start) / 1e6 if self._head else 0.0,
            tail_ms=(done - decided) / 1e6,
            total_ms=(done - start) / 1e6,
        )

    def _run_head(self, tensors: dict[str, Array]) -> "NDArray[np.float32] | None":
        """Run the prefix or gate, add its outputs to `tensors` and return the gate's logits [m]; None: no head."""
        if self._head is None:
            return None
        outputs = self._session.run(self._head.name, feed(self._head, tensors))
        tensors.update(outputs)
        return real_values(self._head, outputs, GATE_LOGITS)

    def _run_body(self, width: int, tensors: dict[str, Array]) -> "NDArray[np.float32]":
        """Run one width and return its logits [classes]."""
        body = self._route.body(width)
        return real_values(body, self._session.run(body.name, feed(body, tensors)), LOGITS)

    def _warm_up(self) -> None:
        """Run every resident program once on zeros, so that the first image does not pay for lazy initialisation."""
        programs = [self._head, *(self._route.body(width) for width in self._policy.widths)]
        for program in filter(None, programs):
            zeros: dict[str, Array] = {info.name: np.zeros(info.shape, info.dtype) for info in program.inputs}
            self._session.run(program.name, zeros)


def resident_programs(artifact: Artifact, policy: Policy) -> tuple[str, ...]:
    """Return the names of the programs that `policy` can ever run, the head left out where nothing reads it."""
    route = Route.of(artifact)
    head = _needed_head(route, policy)
    return tuple(program.name for program in (*filter(None, [head]), *map(route.body, policy.widths)))


def open_dynamic(bundle: "Bundle", artifact: Artifact, policy: Policy, threads: int = 1) -> DynamicSession:
    """Open what `policy` needs of one of a bundle's artifacts; raises what `open_session` raises."""
    session = open_session(bundle, artifact, resident_programs(artifact, policy), threads)
    return DynamicSession(session, artifact, bundle.manifest.model.classes, policy)


def _needed_head(route: Route, policy: Policy) -> Program | None:
    """Return the head where the policy asks its gate, or a body reads its features."""
    return route.head if policy.asks_gate or route.reads_features(policy.widths) else None
