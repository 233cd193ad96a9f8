"""What is known of every calibration image and of every width: what policies are fitted to and judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import CascadePolicy, Policy
from edge.calibration.budget import Blocks, Floats
from edge.calibration.inputs import end_to_end_blocks, unit_blocks
from edge.errors import CalibrationError
from edge.profiling.latency_table import Run
from edge.runtime.decisions import GateLogits
from edge.runtime.policy import positions
from edge.runtime.predictions import Predictions
from edge.runtime.route import Route, added

SUM_SAMPLES = 4096
"""Draws from the sum of several latencies."""


@dataclass(frozen=True)
class Option:
    """What an image can go through: one width, or, in a cascade, several one after the other."""

    widths: tuple[int, ...]
    """In the order they run; the last one answers."""
    parts: tuple[Blocks, ...]
    """What was measured of all that runs: of the first width, and of every program that a further one adds."""
    macs: float
    """Multiply-accumulates. Of several widths the sum, which counts a shared prefix once for each: an upper bound."""

    @cached_property
    def samples(self) -> Floats:
        """Return milliseconds from end to end; of several parts, draws from the sum of independent runs."""
        return _sum([np.concatenate(part) for part in self.parts])

    def drawn(self, random: np.random.Generator) -> "Option":
        """Return the option with its measurements drawn anew: whole blocks, as runs within one resemble each other.

        (Davison & Hinkley, Bootstrap Methods and their Application, §3.8.) A part of one block is drawn run by run.
        """
        return replace(self, parts=tuple(_drawn(part, random) for part in self.parts))


@dataclass(frozen=True)
class Case:
    """n images with what every gate said, answered at each of w widths, on one device."""

    widths: tuple[int, ...]
    gates: GateLogits
    hits: NDArray[np.bool_]
    """[n, w]"""
    confidences: NDArray[np.float32]
    """[n, w]; each width's top-1 softmax probability."""
    steady: tuple[Blocks, ...]
    """[w]; milliseconds of an image where all images go to this width: no gate is asked, no other width's weights fill
    the caches."""
    chosen: tuple[Blocks, ...]
    """[w]; milliseconds of an image for which the gate chooses this width among others."""
    unasked: tuple[Blocks, ...]
    """[w]; milliseconds of an image that starts at this width of a cascade: less than `chosen` where there is a side
    gate."""
    paths: tuple[tuple[str, ...], ...]
    """[w]; the programs that run after the head, where there is one."""
    alone: Mapping[str, Blocks]
    """Milliseconds of each of these programs by itself; without those that were not measured."""
    macs: tuple[int, ...]
    """[w]"""

    @classmethod
    def of(cls, run: Run, predictions: Predictions, route: Route, macs: Mapping[int, int]) -> "Case":
        """Return the case that a latency run and predictions make; `macs` by width."""
        widths = predictions.metadata.widths
        chosen = end_to_end_blocks(run, route, widths)
        paths = tuple(route.names[width] for width in widths)
        alone = {name: unit_blocks(run, (name,)) for path in paths for name in path}
        return cls(
            widths=tuple(widths),
            gates=predictions.gates,
            hits=predictions.hit,
            confidences=predictions.confidence,
            steady=_ungated(run, route, widths, end_to_end_blocks(run, route, widths, turns=False), turns=False),
            chosen=tuple(chosen),
            unasked=_ungated(run, route, widths, chosen, turns=True),
            paths=paths,
            alone={name: blocks for name, blocks in alone.items() if blocks},
            macs=tuple(macs[width] for width in widths),
        )

    @property
    def images(self) -> int:
        """Return n."""
        return len(self.hits)

    def take(self, images: NDArray[np.intp]) -> "Case":
        """Return the case of some of the images."""
        return replace(
            self, gates=self.gates.take(images), hits=self.hits[images], confidences=self.confidences[images]
        )

    def columns(self, widths: Sequence[int]) -> list[int]:
        """Return the columns of `hits` that these widths have."""
        return [self.widths.index(width) for width in widths]

    def choices(self) -> list[Option]:
        """Return an option for each width, chosen by the gate among others."""
        return [self._option([column], [self.chosen[column]]) for column in range(len(self.widths))]

    def single(self, width: int) -> Option:
        """Return what an image takes where all go to this width."""
        (column,) = self.columns([width])
        return self._option([column], [self.steady[column]])

    def chains(self, widths: Sequence[int]) -> list[Option]:
        """Return an option for each width of a cascade: this one and, before it, all narrower ones; no gate is asked.

        Programs that a narrower width has run are not run again. Raises CalibrationError where a width after the first
        was not measured by itself.
        """
        if len(widths) == 1:
            return [self.single(widths[0])]
        first, *others = columns = self.columns(widths)
        unknown = [self.widths[column] for column in others if not self.is_measured_alone(column)]
        if unknown:
            raise CalibrationError(
                f"the latency run has no samples of widths {', '.join(map(str, unknown))} alone, which a cascade adds; "
                "run dsnet profile again for all widths"
            )
        _, *further = added([self.paths[column] for column in columns])
        parts = [[self.unasked[first]], *([self.alone[name] for name in names] for names in further)]
        return [self._option(columns[:end], list(chain(*parts[:end]))) for end in range(1, len(columns) + 1)]

    def is_measured_alone(self, column: int) -> bool:
        """Return whether it is known what a width adds after another one."""
        return all(name in self.alone for name in self.paths[column])

    def _option(self, columns: Sequence[int], parts: Sequence[Blocks]) -> Option:
        macs = float(sum(self.macs[column] for column in columns))
        return Option(tuple(self.widths[column] for column in columns), tuple(parts), macs)


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
    widths, columns = policy.widths, case.columns(policy.widths)
    if isinstance(policy, CascadePolicy):
        options = tuple(case.chains(widths))
    elif policy.asks_gate:
        choices = case.choices()
        options = tuple(choices[column] for column in columns)
    else:
        options = (case.single(widths[0]),)
    choice = positions(policy, case.gates, case.confidences[:, columns])
    return Routing(options, choice, case.hits[np.arange(case.images), np.array(columns)[choice]])


def _ungated(run: Run, route: Route, widths: Sequence[int], gated: Sequence[Blocks], turns: bool) -> tuple[Blocks, ...]:
    """Return what widths take where no gate is asked, given what they take with it.

    Where a gate is on the trunk that is the same: it costs hardly anything, and its features are needed anyway.
    """
    own = [() if route.reads_features([width]) else unit_blocks(run, route.names[width], turns) for width in widths]
    return tuple(without or with_gate for without, with_gate in zip(own, gated, strict=True))


def _sum(parts: Sequence[Floats]) -> Floats:
    """Return samples of the sum of independent times; one part is itself.

    Each part gives samples evenly over the time it was measured in, in an order of their own; their mean is made exact.
    """
    if len(parts) == 1:
        return parts[0]
    random = np.random.default_rng(0)
    even = [values[np.linspace(0, len(values) - 1, SUM_SAMPLES).round().astype(int)] for values in parts]
    total = np.sum([random.permutation(values) for values in even], axis=0)
    exact = sum(float(values.mean()) for values in parts)
    return np.asarray(total + (exact - total.mean()))


def _drawn(blocks: Blocks, random: np.random.Generator) -> Blocks:
    if len(blocks) == 1:
        return (random.choice(blocks[0], len(blocks[0])),)
    return tuple(blocks[at] for at in random.integers(0, len(blocks), len(blocks)))
