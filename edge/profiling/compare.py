"""How two runs differ: the times of every unit that both have, with their uncertainty, and the circumstances."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

from edge.errors import MeasurementError
from edge.profiling.history import SHORTEST_MS, unit_name
from edge.profiling.latency_table import Entry, Run
from edge.profiling.quality import THROTTLED
from edge.profiling.show import speed
from edge.profiling.statistics import BOOTSTRAP_RESAMPLES, CONFIDENCE, Interval, paired_ratio, samples_ms

FEWEST_BLOCKS = 5
"""Below this, a bootstrap over blocks is too narrow. Of simulated pairs of equal runs, with blocks that differ among
themselves or not, a 95% interval of `two_sample_ratio` held 1 in 96% with 5 blocks, 89 … 92% with 3, 65 … 68% with 2;
had it drawn blocks and then pooled their samples, 88 … 93% with 5."""
DRAWN_AT_ONCE = 1 << 22
"""Blocks drawn at once: 32 MB, however many a run has."""

CANARY = "canary_reference_ms"
"""The fact that is measured, and different every time."""

Verdict = Literal["slower", "faster", "no difference beyond uncertainty", "too few blocks", "a time of 0 ms"]
Resampled = Literal["pairs", "blocks", "runs"]


@dataclass(frozen=True)
class TwoSampleRatio:
    """How many times as long a unit takes in one run as in another one."""

    value: float
    interval: Interval
    resampled: Resampled
    """What was drawn: blocks, or runs where an entry is one single block, as imported times are."""


@dataclass(frozen=True)
class UnitDifference:
    """One unit that both runs have: B against A."""

    programs: list[str]
    a_p50_ms: float
    b_p50_ms: float
    b_over_a: float | None
    """A ratio of medians of blocks' medians, which drift and outliers move less than the p50s; None: no interval."""
    interval: Interval | None
    """95%, of each unit by itself: of twenty equal units one is expected to look different."""
    resampled: Resampled | None
    """`pairs`: blocks measured in turn with the other run's; else what was drawn from each run by itself."""
    verdict: Verdict


@dataclass(frozen=True)
class Changed:
    """Something besides the times that is not the same in both runs; None: not recorded."""

    name: str
    a: object
    b: object


@dataclass(frozen=True)
class Comparison:
    """Run B against run A."""

    units: list[UnitDifference]
    only_in_a: list[list[str]]
    only_in_b: list[list[str]]
    changed: list[Changed]


def compare_runs(a: Run, b: Run) -> Comparison:
    """Return how run `b` differs from run `a`: the times of every unit that both have, and the circumstances.

    Runs whose blocks were measured in turn are compared pair by pair (`paired_ratio`), all others by
    `two_sample_ratio`.
    """
    units_a, units_b = ({tuple(entry.programs): entry for entry in run.entries if samples_ms(entry)} for run in (a, b))
    in_turn = interleaved(a, b)
    return Comparison(
        units=[_difference(units_a[unit], units_b[unit], in_turn) for unit in units_a if unit in units_b],
        only_in_a=[list(unit) for unit in units_a if unit not in units_b],
        only_in_b=[list(unit) for unit in units_b if unit not in units_a],
        changed=_changed(a, b),
    )


def interleaved(a: Run, b: Run) -> bool:
    """Return whether two runs were measured in turn: one sequence of blocks, a block of every unit in every round.

    The positions of the blocks tell. Each run that is measured by itself counts its own from 0.
    """
    entries = [*a.entries, *b.entries]
    positions = [position for entry in entries for position in entry.block_order]
    rounds = all(
        position // len(entries) == number for entry in entries for number, position in enumerate(entry.block_order)
    )
    return a.device == b.device and rounds and len(set(positions)) == len(positions) > 0


def two_sample_ratio(numerator: Entry, denominator: Entry, seed: int = 0) -> TwoSampleRatio:
    """Return how many times as long `numerator` takes as `denominator`, measured in another run.

    What an entry says is the median of its blocks' medians; the value is the ratio of the two. The interval is the
    two-sample percentile bootstrap: blocks are drawn with replacement from each run by itself, as many as it has, and
    the ratio is taken of every such draw (Efron & Tibshirani, An Introduction to the Bootstrap, §8.3 and §13.3). A
    block is drawn as a whole, because runs within one resemble each other (Davison & Hinkley, Bootstrap Methods and
    their Application, §3.8). What differs from one process to the next — where memory lies, what else runs on that
    day — is in neither run's blocks, and so not in the interval: measure twice what must be certain (Kalibera & Jones,
    Rigorous Benchmarking in Reasonable Time, 2013).

    An entry of one single block, as imported times are, is drawn from run by run, which takes them for independent.
    Raises MeasurementError below FEWEST_BLOCKS, or for a time of 0.
    """
    drawn_a, drawn_b = _draws(denominator), _draws(numerator)
    if min(len(drawn_a), len(drawn_b)) < FEWEST_BLOCKS:
        found = f"{len(drawn_b)} and {len(drawn_a)} blocks"
        name = unit_name(numerator)
        raise MeasurementError(f"{name}: {found}; a ratio needs {FEWEST_BLOCKS} of each: raise --min-runs")
    if min(*drawn_a, *drawn_b) < SHORTEST_MS:
        raise MeasurementError(f"{unit_name(numerator)}: a block takes 0 ms; its clock is too coarse for a ratio")
    random = np.random.default_rng(seed)
    ratios = _drawn_medians(drawn_b, random) / _drawn_medians(drawn_a, random)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    single = min(len(entry.blocks_ms) for entry in (numerator, denominator)) == 1
    value = median(drawn_b) / median(drawn_a)
    return TwoSampleRatio(value, Interval(float(low), float(high)), "runs" if single else "blocks")


def _draws(entry: Entry) -> list[float]:
    """Return the medians of an entry's blocks; the samples of an entry that is one block."""
    return [median(block) for block in entry.blocks_ms] if len(entry.blocks_ms) > 1 else samples_ms(entry)


def _drawn_medians(values: Sequence[float], random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the median of each of BOOTSTRAP_RESAMPLES draws with replacement."""
    array = np.asarray(values)
    at_once = max(1, DRAWN_AT_ONCE // len(array))
    sizes = [min(at_once, BOOTSTRAP_RESAMPLES - start) for start in range(0, BOOTSTRAP_RESAMPLES, at_once)]
    drawn = (array[random.integers(0, len(array), (size, len(array)))] for size in sizes)
    return np.concatenate([np.median(draw, axis=1) for draw in drawn])


def _difference(a: Entry, b: Entry, in_turn: bool) -> UnitDifference:
    medians = median(samples_ms(a)), median(samples_ms(b))
    if min(*samples_ms(a), *samples_ms(b)) < SHORTEST_MS:
        return UnitDifference(a.programs, *medians, None, None, None, "a time of 0 ms")
    if min(len(_draws(a)), len(_draws(b))) < FEWEST_BLOCKS:
        return UnitDifference(a.programs, *medians, None, None, None, "too few blocks")
    if in_turn and min(len(a.blocks_ms), len(b.blocks_ms)) >= FEWEST_BLOCKS:
        pairs = paired_ratio(b, a)
        return UnitDifference(a.programs, *medians, pairs.value, pairs.interval, "pairs", _verdict(pairs.interval))
    found = two_sample_ratio(b, a)
    return UnitDifference(a.programs, *medians, found.value, found.interval, found.resampled, _verdict(found.interval))


def _verdict(interval: Interval) -> Verdict:
    if interval.low <= 1 <= interval.high:
        return "no difference beyond uncertainty"
    return "slower" if interval.low > 1 else "faster"


def _changed(a: Run, b: Run) -> list[Changed]:
    """Return the circumstances that differ, those first that no measurement is without."""
    names = ("device", "runtime", "precision", "runner", "threads", "artifact_sha256")
    always = [Changed(name, getattr(a, name), getattr(b, name)) for name in names]
    always.append(Changed("speed", *(speed(run.sustained_seconds) for run in (a, b))))
    facts_a, facts_b = _facts(a), _facts(b)
    found = [Changed(name, facts_a.get(name), facts_b.get(name)) for name in {**facts_a, **facts_b}]
    differing = [item for item in (*always, *found) if item.a != item.b]
    same_work = (a.device, a.runner) == (b.device, b.runner)
    return [item for item in differing if item.name != CANARY or (same_work and not _is_noise(item))]


def _facts(run: Run) -> dict[str, object]:
    """Return a run's environment without lists and tables: those are settings and logs of the measurement."""
    return {name: value for name, value in run.environment.items() if not isinstance(value, list | dict)}


def _is_noise(canary: Changed) -> bool:
    """Return whether fixed work took as long before both runs, up to what passes for throttling."""
    known = [time for time in (canary.a, canary.b) if isinstance(time, int | float) and time > 0]
    return len(known) == 2 and max(known) <= THROTTLED * min(known)
