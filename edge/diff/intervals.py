"""95% confidence intervals of changes: of accuracies, on the same images or not, and of mean latencies.

Accuracies take closed forms that hold their level for few images and for accuracies near 1, where the normal
approximation does not. `difference` is the square-and-add rule (MOVER): it makes the interval of a difference of the
intervals of its parts (Zou & Donner, Statistics in Medicine 27, 2008, p. 1693).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Estimate
from edge.errors import MeasurementError
from edge.profiling.compare import FEWEST_BLOCKS
from edge.profiling.history import LONGEST_MS, SHORTEST_MS
from edge.profiling.latency_table import Entry
from edge.profiling.statistics import CONFIDENCE, Interval

FEWEST_RUNS = 3
"""Of each side, for an interval that holds what differs from one run to the next."""
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Hits = NDArray[np.bool_]


def wilson(hits: int, images: int) -> Estimate:
    """Return the share of `hits` with its score interval (Wilson, JASA 22, 1927, p. 209)."""
    share, spread = hits / images, Z * Z / images
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return Estimate(value=share, low=min(share, middle - half), high=max(share, middle + half))


def difference(a: Estimate, b: Estimate, correlation: float = 0.0) -> Interval:
    """Return the interval of `b.value - a.value`, for estimates that are correlated as given.

    For positively correlated estimates the interval at correlation 0 is wider than it need be, never too narrow.
    """
    down_a, up_a, down_b, up_b = a.value - a.low, a.high - a.value, b.value - b.low, b.high - b.value
    below = down_b**2 - 2 * correlation * down_b * up_a + up_a**2
    above = up_b**2 - 2 * correlation * up_b * down_a + down_a**2
    change = b.value - a.value
    return Interval(change - math.sqrt(max(0.0, below)), change + math.sqrt(max(0.0, above)))


def relative_latency_difference(a: Estimate, b: Estimate) -> Interval | None:
    """Return the interval of b/a − 1 for independent estimates in ms; None where one reaches what is no time any more.

    A ratio is a difference of logarithms, and logarithms keep the intervals' levels.
    """
    if min(a.low, b.low) < SHORTEST_MS or max(a.high, b.high) > LONGEST_MS:
        return None
    found = difference(_logarithm(a), _logarithm(b))
    return Interval(math.expm1(found.low), math.expm1(found.high))


def accuracy_change(a: Hits, b: Hits, paired: bool) -> Interval:
    """Return the interval of the accuracy of `b` [n_b] less that of `a` [n_a]; paired: on the same images in order.

    Wilson's intervals under the square-and-add rule: unpaired Newcombe's method 10 (Statistics in Medicine 17, 1998,
    p. 873), paired with the correlation of the outcomes, corrected for continuity (his method 10 for paired data, the
    same volume, p. 2635). Like McNemar's test, the paired interval lives on the images where the two disagree.
    """
    shares = wilson(int(a.sum()), len(a)), wilson(int(b.sum()), len(b))
    return difference(*shares, correlation=_correlation(a, b) if paired else 0.0)


def repeated_latency_change(a: Sequence[Entry], b: Sequence[Entry]) -> tuple[float, Interval]:
    """Return latency(b)/latency(a) − 1 with its interval, for one unit that was measured in several runs of each side.

    What a run says is one number, the median of its blocks' medians: what differs from one run to the next is then in
    the interval (Kalibera & Jones, Rigorous Benchmarking in Reasonable Time, 2013). Welch's t on the logarithms.
    Raises MeasurementError below FEWEST_RUNS of each side, or for a time of 0.
    """
    _check_runs(len(a), len(b))
    typical = [[float(np.median([np.median(block) for block in entry.blocks_ms])) for entry in side] for side in (a, b)]
    _check_not_zero(min(map(min, typical)))
    logarithms = [np.log(side) for side in typical]
    return _relative(float(logarithms[1].mean() - logarithms[0].mean()), list(map(_mean_part, logarithms)))


@dataclass(frozen=True)
class Mixture:
    """The times of images that are answered by several widths."""

    position: NDArray[np.intp]
    """[n] which width each image takes."""
    runs_ms: Sequence[Sequence[list[list[float]]]]
    """[run][width]: blocks of samples, in a run one block of every width in each round."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Return how often each width answers, [w]."""
        return np.bincount(self.position, minlength=len(self.runs_ms[0])) / len(self.position)

    @property
    def width_ms(self) -> NDArray[np.float64]:
        """Return the mean latency of every width in every run, [runs, w]."""
        return np.array([[np.concatenate(blocks).mean() for blocks in run] for run in self.runs_ms])

    @property
    def image_ms(self) -> NDArray[np.float64]:
        """Return the mean latency of each image's width, [n]."""
        return np.asarray(self.width_ms.mean(axis=0)[self.position])


@dataclass(frozen=True)
class _Part:
    """One independent source of uncertainty of a logarithm."""

    variance: float
    freedom: float
    """Degrees of freedom behind the variance."""


def mean_latency_change(a: Mixture, b: Mixture, paired: bool) -> tuple[float, Interval]:
    """Return mean(b)/mean(a) − 1 with its interval; paired: both were routed on the same images in order.

    The delta method on the logarithm of the ratio. Two things vary. The images: a ratio estimator, whose residuals
    c_b/mean(b) − c_a/mean(a) cancel where both give an image widths of the same relative cost (Cochran, Sampling
    Techniques, 3rd ed., §6.3). The times: of several runs of each side, their means at these shares; of one run, the
    means of its rounds, because a round's times vary together; what differs from one run to the next is then not in
    the interval. Student's t at the degrees of freedom of Welch and Satterthwaite (Biometrics Bulletin 2, 1946,
    p. 110) pays for few of them. Raises MeasurementError for too few blocks or runs, or for a mean of 0.
    """
    if max(len(a.runs_ms), len(b.runs_ms)) > 1:
        _check_runs(len(a.runs_ms), len(b.runs_ms))
    costs = a.image_ms, b.image_ms
    means = float(costs[0].mean()), float(costs[1].mean())
    _check_not_zero(min(means))
    relative = [cost / mean for cost, mean in zip(costs, means, strict=True)]
    images = [relative[1] - relative[0]] if paired else relative
    times = [_time_part(mixture, mean) for mixture, mean in zip((a, b), means, strict=True)]
    return _relative(math.log(means[1] / means[0]), [*map(_mean_part, images), *times])


def _relative(logarithm: float, parts: Sequence[_Part]) -> tuple[float, Interval]:
    """Return the relative change that a logarithm stands for, with the interval that its parts' variances make."""
    half = _student(parts) * math.sqrt(sum(part.variance for part in parts))
    return math.expm1(logarithm), Interval(math.expm1(logarithm - half), math.expm1(logarithm + half))


def _time_part(mixture: Mixture, mean_ms: float) -> _Part:
    """Return the variance of a mixture's mean, relative to it, that comes from its widths' measured times."""
    shares = mixture.shares / mean_ms
    if len(mixture.runs_ms) > 1:
        return _mean_part(mixture.width_ms @ shares)
    used = [(share, blocks) for share, blocks in zip(shares, mixture.runs_ms[0], strict=True) if share > 0]
    counts = {len(blocks) for _, blocks in used}
    if counts == {1}:
        samples = [share * np.array(blocks[0]) for share, blocks in used]
        _check_enough(min(map(len, samples)))
        parts = list(map(_mean_part, samples))
        return _Part(sum(part.variance for part in parts), min(part.freedom for part in parts))
    if len(counts) > 1:
        raise MeasurementError("the widths do not have a block in every round; run dsnet profile again")
    _check_enough(max(counts))
    return _mean_part(np.asarray(sum(share * np.array([np.mean(block) for block in blocks]) for share, blocks in used)))


def _check_runs(a: int, b: int) -> None:
    if min(a, b) < FEWEST_RUNS:
        raise MeasurementError(f"{a} runs of A and {b} of B; give one of each, or {FEWEST_RUNS} and more of each")


def _check_not_zero(ms: float) -> None:
    if ms < SHORTEST_MS:
        raise MeasurementError("a time of 0 ms; its clock is too coarse for a ratio")


def _check_enough(blocks: int) -> None:
    if blocks < FEWEST_BLOCKS:
        raise MeasurementError(f"{blocks} blocks; an interval needs {FEWEST_BLOCKS}: raise --min-runs of dsnet profile")


def _mean_part(values: NDArray[np.float64]) -> _Part:
    """Return the variance of the mean of independent values."""
    freedom = max(1, len(values) - 1)
    return _Part(float(values.var()) / freedom, freedom)


def _student(parts: Sequence[_Part]) -> float:
    """Return the two-sided quantile of Student's t at the parts' joint degrees of freedom.

    The expansion around the normal quantile (Abramowitz & Stegun 26.7.5), within 0.8% from 2 degrees of freedom on.
    """
    total = sum(part.variance for part in parts)
    weights = sum(part.variance**2 / part.freedom for part in parts)
    if weights == 0:
        return Z
    inverse = weights / total**2
    terms = (
        Z,
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
        (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
    )
    return sum(term * inverse**power for power, term in enumerate(terms))


def _correlation(a: Hits, b: Hits) -> float:
    """Return the correlation φ of paired outcomes, a positive one corrected for continuity."""
    images = len(a)
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum())
    neither = images - both - only_a - only_b
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    excess = both * neither - only_a * only_b
    corrected = max(0.0, excess - images / 2) if excess > 0 else float(excess)
    return corrected / math.sqrt(margins)


def _logarithm(estimate: Estimate) -> Estimate:
    return Estimate(value=math.log(estimate.value), low=math.log(estimate.low), high=math.log(estimate.high))
