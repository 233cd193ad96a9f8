"""What is known of every calibration image and of every width: what policies are fitted to and judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import CascadePolicy, Policy
from edge.calibration.budget import Samples
from edge.calibration.inputs import alone_samples, end_to_end_samples
from edge.profiling.latency_table import Run
from edge.runtime.policy import gate_choice
from edge.runtime.predictions import Predictions

SUM_SAMPLES = 4096
"""Draws from the sum of several widths' latencies."""


@dataclass(frozen=True)
class Option:
    """What an image can go through: one width, or, in a cascade, several one after the other."""

    widths: tuple[int, ...]
    """In the order they run; the last one answers."""
    samples: Samples
    """Measured milliseconds from end to end; of several widths, draws from the sum of independent runs."""
    macs: float
    """Multiply-accumulates. Of several widths the sum, which counts a shared prefix once for each: an upper bound."""


@dataclass(frozen=True)
class Case:
    """n images with m gate logits, answered at each of w widths, on one device."""

    widths: tuple[int, ...]
    gate_logits: NDArray[np.float32]
    """[n, m]"""
    hits: NDArray[np.bool_]
    """[n, w]"""
    confidences: NDArray[np.float32]
    """[n, w]; each width's top-1 softmax probability."""
    end_to_end: tuple[Samples, ...]
    """[w]; milliseconds of an image that goes to this width at once."""
    further: tuple[Samples, ...]
    """[w]; milliseconds that running this width adds after another one; empty arrays where that was not measured."""
    macs: tuple[int, ...]
    """[w]"""

    @classmethod
    def of(cls, run: Run, predictions: Predictions, macs: Mapping[int, int]) -> "Case":
        """Return the case that a latency run and predictions make; `macs` by width."""
        widths = predictions.metadata.widths
        return cls(
            widths=tuple(widths),
            gate_logits=predictions.gate_logits,
            hits=predictions.hit,
            confidences=predictions.confidence,
            end_to_end=tuple(end_to_end_samples(run, widths)),
            further=tuple(alone_samples(run, widths)),
            macs=tuple(macs[width] for width in widths),
        )

    @property
    def images(self) -> int:
        """Return n."""
        return len(self.hits)

    def take(self, images: NDArray[np.intp]) -> "Case":
        """Return the case of some of the images."""
        return replace(
            self, gate_logits=self.gate_logits[images], hits=self.hits[images], confidences=self.confidences[images]
        )

    def columns(self, widths: Sequence[int]) -> list[int]:
        """Return the columns of `hits` that these widths have."""
        return [self.widths.index(width) for width in widths]

    def option(self, widths: Sequence[int]) -> Option:
        """Return what running these widths one after the other takes."""
        first, *others = self.columns(widths)
        parts = [self.end_to_end[first], *(self.further[column] for column in others)]
        return Option(tuple(widths), _sum(parts), float(sum(self.macs[column] for column in (first, *others))))


@dataclass(frozen=True)
class Routing:
    """What a policy does with the images of a case."""

    options: tuple[Option, ...]
    choice: NDArray[np.intp]
    """[n]; which option each image takes."""
    hit: NDArray[np.bool_]
    """[n]; whether its answer is right."""

    @property
    def shares(self) -> list[float]:
        """Return how often each option is taken."""
        counts = np.bincount(self.choice, minlength=len(self.options))
        return [float(share) for share in counts / len(self.choice)]


def route(policy: Policy, case: Case) -> Routing:
    """Return what a policy does with every image; option i answers with the policy's width i."""
    widths = policy.widths
    columns = case.columns(widths)
    if isinstance(policy, CascadePolicy):
        options = tuple(case.option(widths[: end + 1]) for end in range(len(widths)))
        stands = np.ones((case.images, len(widths)), bool)
        stands[:, :-1] = case.confidences[:, columns[:-1]] >= np.array(policy.confidences)
        choice = stands.argmax(axis=1)
    else:
        options = tuple(case.option([width]) for width in widths)
        choice = gate_choice(policy, case.gate_logits) if len(widths) > 1 else np.zeros(case.images, np.intp)
    return Routing(options, choice, case.hits[np.arange(case.images), np.array(columns)[choice]])


def _sum(parts: Sequence[Samples]) -> Samples:
    """Return samples of the sum of independent times; one part is itself."""
    if len(parts) == 1:
        return parts[0]
    random = np.random.default_rng(0)
    total: Samples = np.sum([random.permutation(np.resize(values, SUM_SAMPLES)) for values in parts], axis=0)
    return total
