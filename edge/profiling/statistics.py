"""Statistics derived from raw samples. Medians throughout: latency has a floor and a long tail, which means follow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge.errors import MeasurementError
from edge.profiling.latency_table import Entry

CONFIDENCE = 0.95
BOOTSTRAP_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """What one timed unit's samples say, in milliseconds."""

    runs: int
    first_run_ms: float
    """The unit's first run, not part of any other figure. End to end, its programs have already run alone."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    mad_ms: float
    """Median absolute deviation from the median, unscaled."""
    median_interval_ms: Interval | None
    """95% confidence interval of p50; None below 6 runs."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long one unit takes as another."""

    value: float
    interval: Interval
    pairs: int


def samples_ms(entry: Entry) -> list[float]:
    """Return every timed sample of an entry, in the order of measurement."""
    return [sample for block in entry.blocks_ms for sample in block]


def summarise(entry: Entry) -> Summary:
    """Return an entry's statistics; raises MeasurementError when it holds no sample."""
    samples = np.asarray(samples_ms(entry))
    if not samples.size:
        raise MeasurementError(f"{' + '.join(entry.programs)} has no samples yet; run dsnet profile again to continue")
    p50, p90, p99 = np.percentile(samples, (50, 90, 99))
    return Summary(
        runs=samples.size,
        first_run_ms=entry.first_run_ms,
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        mean_ms=float(samples.mean()),
        mad_ms=float(np.median(np.abs(samples - p50))),
        median_interval_ms=median_interval(samples.tolist()),
    )


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the order-statistic confidence interval of the median, or None when there are too few samples for one.

    Free of any assumption on the distribution. Of n independent samples the number B below the true median is
    Binomial(n, ½). The k-th smallest sample lies above the median exactly when B < k, and by symmetry the k-th largest
    lies below it with the same probability, so [x_(k), x_(n+1−k)] covers the median with probability 1 − 2·P(B < k).
    The largest k that keeps this at or above `confidence` gives the narrowest such interval (David & Nagaraja, Order
    Statistics, 3rd ed., §7.1). Samples of one block are not quite independent; interleaved blocks and the drift
    warning (`edge.profiling.quality`) guard against what that hides.
    """
    rank = _median_rank(len(samples), confidence)
    if rank == 0:
        return None
    ordered = sorted(samples)
    return Interval(ordered[rank - 1], ordered[-rank])


def relative_half_width(samples: Sequence[float]) -> float:
    """Return half the width of the median's interval over the median; infinity while there are too few samples."""
    interval = median_interval(samples)
    middle = float(np.median(samples)) if samples else 0.0
    return (interval.high - interval.low) / 2 / middle if interval and middle > 0 else math.inf


def paired_ratio(numerator: Entry, denominator: Entry, seed: int = 0) -> Ratio:
    """Return how many times as long `numerator` takes as `denominator`, with a 95% bootstrap interval.

    Every round measures one block of each unit, so the i-th blocks were measured close in time and drift cancels in the
    ratio of their medians. The value is the median of these ratios; the interval is the percentile bootstrap over pairs
    (Efron & Tibshirani, An Introduction to the Bootstrap, §13.3). Raises MeasurementError below two pairs.
    """
    pairs = list(zip(numerator.blocks_ms, denominator.blocks_ms, strict=False))
    if len(pairs) < 2:
        units = " and ".join(" + ".join(entry.programs) for entry in (numerator, denominator))
        raise MeasurementError(f"{units} have {len(pairs)} blocks in common; a ratio needs 2: raise --min-runs")
    ratios = np.array([np.median(above) / np.median(below) for above, below in pairs])
    draws = np.random.default_rng(seed).integers(0, len(ratios), (BOOTSTRAP_RESAMPLES, len(ratios)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(ratios[draws], axis=1), (tail, 1 - tail))
    return Ratio(float(np.median(ratios)), Interval(float(low), float(high)), len(pairs))


@lru_cache(maxsize=4096)
def _median_rank(count: int, confidence: float) -> int:
    """Return the largest k with P(Binomial(count, ½) < k) ≤ (1 − confidence) / 2, computed exactly in integers."""
    allowed = math.floor((1 - confidence) / 2 * 2**53) * 2**count // 2**53
    below, term = 0, 1
    for rank in range(count + 1):
        below += term
        if below > allowed:
            return rank
        term = term * (count - rank) // (rank + 1)
    return 0
