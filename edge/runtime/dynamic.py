"""One image in, one answer out: the gate scores the image, the thresholds pick the width, and only that width runs."""

from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from edge.bundle.manifest import Artifact, OperatingPoint, Program
from edge.calibration.score import choose, score
from edge.runtime.open_session import open_session
from edge.runtime.route import GATE_LOGITS, IMAGE, LOGITS, Route, feed, real_values
from edge.runtime.session import Array, Session

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle


@dataclass(frozen=True)
class Policy:
    """Which width an image gets: widths[number of thresholds below its score]."""

    widths: tuple[int, ...]
    thresholds: tuple[float, ...]
    """One fewer than `widths`; none: every image gets the one width."""

    @classmethod
    def of(cls, point: OperatingPoint) -> "Policy":
        """Return the policy of an operating point."""
        return cls(tuple(point.widths), tuple(point.thresholds))

    @classmethod
    def fixed(cls, width: int) -> "Policy":
        """Return the policy that gives every image `width`."""
        return cls((width,), ())

    def width(self, image_score: float) -> int:
        """Return the width for one score."""
        return self.widths[int(choose(np.asarray(image_score), list(self.thresholds)))]


@dataclass(frozen=True)
class Answer:
    """What the network said about one image, and what it took."""

    class_index: int
    class_name: str
    probability: float
    """Softmax of the class's logit."""
    width: int
    score: float | None
    """The gate's score, from 0 (easy) up; None when no gate ran."""
    prefix_ms: float
    """Time of what runs before the width is known, decision included: the prefix or a side gate; 0 when nothing."""
    tail_ms: float
    """Time of the chosen width's program: the tail, or the whole net."""
    total_ms: float


class DynamicSession:
    """A session with a policy: prefix → score → thresholds → ONE tail; the same for a side gate, or without a gate."""

    def __init__(self, session: Session, artifact: Artifact, classes: list[str], policy: Policy) -> None:
        """Take a session that holds `resident_programs(artifact, policy)`, and run each of them once to warm up."""
        self._session = session
        self._classes = classes
        self._policy = policy
        self._route = Route.of(artifact)
        self._head = self._route.head if self._route.needs_head(policy.widths) else None
        self._warm_up()

    def answer(self, image: Array) -> Answer:
        """Classify one preprocessed image (float32, batch 1, the layout of the runtime)."""
        tensors: dict[str, Array] = {IMAGE: image}
        start = perf_counter_ns()
        image_score = self._run_head(tensors)
        width = self._policy.widths[0] if image_score is None else self._policy.width(image_score)
        body = self._route.body(width)
        decided = perf_counter_ns()
        outputs = self._session.run(body.name, feed(body, tensors))
        done = perf_counter_ns()
        index, probability = _top_class(body, outputs)
        return Answer(
            class_index=index,
            class_name=self._classes[index],
            probability=probability,
            width=width,
            score=image_score,
            prefix_ms=(decided - start) / 1e6 if self._head else 0.0,
            tail_ms=(done - decided) / 1e6,
            total_ms=(done - start) / 1e6,
        )

    def _run_head(self, tensors: dict[str, Array]) -> float | None:
        """Run the prefix or gate, add its outputs to `tensors` and return the score."""
        if self._head is None:
            return None
        outputs = self._session.run(self._head.name, feed(self._head, tensors))
        tensors.update(outputs)
        return float(score(real_values(self._head, outputs, GATE_LOGITS)))

    def _warm_up(self) -> None:
        """Run every resident program once on zeros, so that the first image does not pay for lazy initialisation."""
        programs = [self._head, *(self._route.body(width) for width in self._policy.widths)]
        for program in filter(None, programs):
            zeros: dict[str, Array] = {info.name: np.zeros(info.shape, info.dtype) for info in program.inputs}
            self._session.run(program.name, zeros)


def resident_programs(artifact: Artifact, policy: Policy) -> tuple[str, ...]:
    """Return the names of the programs that `policy` can ever run, the head left out where nothing reads it."""
    route = Route.of(artifact)
    head = [route.head] if route.head and route.needs_head(policy.widths) else []
    return tuple(program.name for program in (*head, *map(route.body, policy.widths)))


def open_dynamic(bundle: "Bundle", artifact: Artifact, policy: Policy, threads: int = 1) -> DynamicSession:
    """Open what `policy` needs of one of a bundle's artifacts; raises what `open_session` raises."""
    session = open_session(bundle, artifact, resident_programs(artifact, policy), threads)
    return DynamicSession(session, artifact, bundle.manifest.model.classes, policy)


def _top_class(body: Program, outputs: dict[str, Array]) -> tuple[int, float]:
    """Return the index of the largest logit and its softmax probability."""
    logits = real_values(body, outputs, LOGITS).astype(np.float64)
    weights = np.exp(logits - logits.max())
    index = int(logits.argmax())
    return index, float(weights[index] / weights.sum())
