"""One image in, one answer out: the gates say how hard the image is, the policy picks the width, only that one runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge.bundle.manifest import Artifact, Policy, Program, WidthPolicy
from edge.runtime.decisions import Way
from edge.runtime.one_image import OneImage
from edge.runtime.open_session import open_session
from edge.runtime.policy import Place, a_width, confidence, decided, next_width, score, start
from edge.runtime.route import GATE_LOGITS, LOGITS, Route, real_values
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
    """The first gate's score, from 0 (easy) up; None when no gate ran."""
    prefix_ms: float
    """Time until the first gate's decision, which is included: of the prefix or a side gate; 0 when nothing ran."""
    tail_ms: float
    """Time of all that ran after it: stages and tail, or the whole net; of a cascade, of every width that ran."""
    total_ms: float
    operating_point: str | None
    """The operating point whose policy chose the width; None for a policy of none."""
    slowdown: float | None
    """How many times as long as when calibrated the device takes, by the images before; None where nobody keeps it."""


class PolicySource(Protocol):
    """Says which policy answers the next image, and is told what each image took: `Always`, `AdaptivePolicy`."""

    @property
    def policies(self) -> Sequence[Policy]:
        """Return every policy that may ever answer, so that their programs can be loaded."""

    @property
    def policy(self) -> Policy:
        """Return the policy for the next image."""

    @property
    def name(self) -> str | None:
        """Return the name of its operating point, if it is of one."""

    @property
    def slowdown(self) -> float | None:
        """Return how many times as long as when calibrated the device takes; None: unknown."""

    def observe(self, width: int, ms: float, at_s: float) -> object:
        """Take in that `width` answered an image in `ms` at time `at_s`, by a clock that does not go back."""


@dataclass(frozen=True)
class Always:
    """One policy for every image."""

    policy: Policy
    name: str | None = None
    slowdown: None = None

    @property
    def policies(self) -> tuple[Policy]:
        """Return the one policy."""
        return (self.policy,)

    def observe(self, width: int, ms: float, at_s: float) -> None:
        """Learn nothing from it."""


class DynamicSession:
    """A session with policies: program → gate logits → policy → the next program, until one answers.

    A cascade asks no gate and may run several widths, one after the other. Which policy answers may change from image
    to image; the programs of all of them stay loaded.
    """

    def __init__(self, session: Session, artifact: Artifact, classes: list[str], source: PolicySource) -> None:
        """Take a session of `resident_programs(artifact, source.policies)`, and run each of them once to warm up."""
        self._session = session
        self._classes = classes
        self._source = source
        self._route = Route.of(artifact)
        self._warm_up()

    def answer(self, image: Array) -> Answer:
        """Classify one preprocessed image (float32, batch 1, the layout of the runtime)."""
        policy, name, slowdown = self._source.policy, self._source.name, self._source.slowdown
        head = _needed_head(self._route, policy)
        programs = OneImage(self._session, image)
        begin = perf_counter_ns()
        gate_logits, place = None, start(policy)
        if head:
            gate_logits = real_values(head[0], programs.after(*head), GATE_LOGITS)
            place = decided(place, gate_logits)
        first_decided = perf_counter_ns()
        width = self._come_to_a_width(place, head, programs)
        logits = self._logits(width, head, programs)
        while (following := next_width(policy, width, logits)) is not None:
            width = following
            logits = self._logits(width, head, programs)
        done = perf_counter_ns()
        self._source.observe(width, (done - begin) / 1e6, done / 1e9)
        index = int(logits.argmax())
        return Answer(
            class_index=index,
            class_name=self._classes[index],
            probability=float(confidence(logits)),
            width=width,
            score=None if gate_logits is None else float(score(gate_logits)),
            prefix_ms=(first_decided - begin) / 1e6 if head else 0.0,
            tail_ms=(done - first_decided) / 1e6,
            total_ms=(done - begin) / 1e6,
            operating_point=name,
            slowdown=slowdown,
        )

    def _come_to_a_width(self, place: Place, head: Way, programs: OneImage) -> int:
        """Run what lies between decisions until the width is known, from the first decision on; return the width."""
        ran = 0
        while not isinstance(place, int):
            ran += 1
            stages = self._route.path(a_width(place))[:ran]
            place = decided(place, real_values(stages[-1], programs.after(*head, *stages), GATE_LOGITS))
        return place

    def _logits(self, width: int, head: Way, programs: OneImage) -> "NDArray[np.float32]":
        """Return one width's logits [classes], for which what has not run yet is run."""
        path = self._route.path(width)
        return real_values(path[-1], programs.after(*head, *path), LOGITS)

    def _warm_up(self) -> None:
        """Run every resident program once on zeros, so that the first image does not pay for lazy initialisation."""
        for program in _resident(self._route, self._source.policies):
            zeros: dict[str, Array] = {info.name: np.zeros(info.shape, info.dtype) for info in program.inputs}
            self._session.run(program.name, zeros)


def resident_programs(artifact: Artifact, policies: Iterable[Policy]) -> tuple[str, ...]:
    """Return the names of the programs that `policies` can ever run, the head left out where nothing reads it."""
    return tuple(program.name for program in _resident(Route.of(artifact), policies))


def open_dynamic(
    bundle: "Bundle", artifact: Artifact, policy: Policy | PolicySource, threads: int = 1
) -> DynamicSession:
    """Open what a policy, or all of an `AdaptivePolicy`, need of one of a bundle's artifacts.

    Raises what `open_session` raises.
    """
    source = Always(policy) if isinstance(policy, WidthPolicy) else policy
    session = open_session(bundle, artifact, resident_programs(artifact, source.policies), threads)
    return DynamicSession(session, artifact, bundle.manifest.model.classes, source)


def _resident(route: Route, policies: Iterable[Policy]) -> list[Program]:
    """Return the programs that `policies` can ever run: the head first, then those of each width, narrow → wide."""
    policies = list(policies)
    heads = [program for policy in policies for program in _needed_head(route, policy)]
    widths = sorted({width for policy in policies for width in policy.widths})
    programs = [*heads, *(program for width in widths for program in route.path(width))]
    return list({program.name: program for program in programs}.values())


def _needed_head(route: Route, policy: Policy) -> Way:
    """Return the head where the policy asks its gate, or a width reads its features; else nothing."""
    needed = policy.asks_gate or route.reads_features(policy.widths)
    return (route.head,) if route.head and needed else ()
