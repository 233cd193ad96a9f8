"""The best thresholds under upper limits, with a proof of how good they are.

Two questions, one search (edge.calibration.threshold_search): the most hits within the limits, or at least so many hits
within the limits as cheaply as possible. Everything asked about is a total over the images, linear in the shares of the
widths: misses, one cost for each limit and, in the second question, the price. One total is the goal, to be as small as
possible; each other has a limit.

The search works on integers: hits are exact, costs and prices become steps (`_steps`). Limits are widened by as much
as costs can round, so that no rule within the true limits is lost; in return a limit is met to within one cost step: a
billionth of the costs' range up to 48,000 images, and less than half a millionth at a million.
"""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.calibration.threshold_rules import Rules
from edge.calibration.threshold_search import Search
from edge.errors import CalibrationError

MAX_IMAGES = 1_000_000
"""Beyond this, 63 bits leave fewer than two million cost steps."""

SAME_SCORE = 1e-9
"""Scores closer than this count as equal: softmax rounds differently from platform to platform (to about 1e-15), and
a threshold between such scores would route an image one way here and another way on the phone."""

WORK_LIMIT = 150_000_000
"""Cells (position × threshold) the search may visit: about one second on a server core of the 2020s. It counts work and
not time, so that results are the same on every machine."""


@dataclass(frozen=True)
class Problem:
    """What to optimise: n images, w widths, l upper limits, any unit of cost and price."""

    scores: NDArray[np.float64]
    """[n]; images with a higher score get the same or a later column."""
    hits: NDArray[np.bool_]
    """[n, w]; whether the width of each column is right on each image."""
    costs: NDArray[np.float64]
    """[l, w]; one row for each upper limit: cost of each column for one image. l may be 0."""
    limits: NDArray[np.float64]
    """[l]; largest mean cost per image of each row, met to within one of the cost steps of `_steps`."""
    least_hits: int | None = None
    """None: most hits within the limits. Otherwise: lowest mean price within the limits with at least so many hits."""
    price: NDArray[np.float64] | None = None
    """[w]; price of each column for one image, given exactly when `least_hits` is."""


@dataclass(frozen=True)
class Solution:
    """A threshold rule and how close to the best it is."""

    columns: tuple[int, ...]
    """Columns in use, ascending."""
    thresholds: tuple[float, ...]
    """One fewer than columns: an image's column is columns[number of thresholds below its score]."""
    counts: tuple[int, ...]
    """Images of each column in use."""
    hits: int
    """Images answered rightly."""
    mean_costs: tuple[float, ...]
    """Mean cost per image, one for each limit, in the problem's units."""
    mean_price: float | None
    """Mean price per image, in the problem's unit; None when the problem has no price."""
    gap: float
    """No rule within the limits is better by more than this: in accuracy (0…1), or in mean price where there is one."""

    @property
    def accuracy(self) -> float:
        """Return the share of images answered rightly, 0…1."""
        return self.hits / sum(self.counts)


def calibrate(problem: Problem, work_limit: int = WORK_LIMIT) -> Solution:
    """Return the best threshold rule within the limits, never worse than the best single column within them.

    A search that reaches `work_limit` returns the best rule so far, with the gap that is left.
    Raises CalibrationError for arrays that do not fit together, fewer than 2 images, limits that no rule keeps, or a
    search that reached `work_limit` before it found a rule within the limits; the message says which.
    """
    _check(problem)
    n = len(problem.scores)
    order = np.argsort(problem.scores, kind="stable")
    scores = problem.scores[order]
    images = np.concatenate([[0], np.flatnonzero(np.diff(scores) > SAME_SCORE) + 1, [n]])
    rows = [_steps(costs, limit, n) for costs, limit in zip(problem.costs, problem.limits, strict=True)]
    step, rounding = 1.0, 0.0
    if problem.price is not None:
        rows.append(_steps(problem.price, problem.price.max(), n))
        step, rounding = rows[-1].step, rows[-1].rounding
    costs = np.array([row.costs for row in rows], np.int64).reshape(len(rows), problem.hits.shape[1])
    limits = np.array([n - (problem.least_hits or 0), *(row.limit for row in rows)], np.int64)
    rules = Rules(images, _cumulative(problem.hits[order], images), costs)
    found = Search(rules, 0 if problem.price is None else len(rows), limits).run(work_limit)
    if found.rule is None:
        raise _without_a_rule(problem, work_limit, certain=found.complete)
    ends = images[np.concatenate([[0], found.rule.positions, [len(images) - 1]])]
    counts = np.diff(ends)
    used = np.flatnonzero(counts)
    return Solution(
        columns=tuple(int(column) for column in used),
        thresholds=tuple(_threshold(scores, int(ends[column])) for column in used[1:]),
        counts=tuple(int(count) for count in counts[used]),
        hits=n - int(found.rule.totals[0]),
        mean_costs=tuple(float(counts @ costs) / n for costs in problem.costs),
        mean_price=None if problem.price is None else float(counts @ problem.price) / n,
        gap=found.excess * step / n + rounding,
    )


def _check(problem: Problem) -> None:
    n, w = problem.hits.shape
    rows = len(problem.limits)
    if problem.scores.shape != (n,) or problem.costs.shape != (rows, w) or problem.limits.shape != (rows,) or w == 0:
        raise CalibrationError(
            f"hits of shape [{n}, {w}] and {rows} limits need {n} scores and costs of shape [{rows}, {w}], "
            f"found {list(problem.scores.shape)} and {list(problem.costs.shape)}"
        )
    if not 2 <= n <= MAX_IMAGES:
        raise CalibrationError(f"calibration takes 2 to {MAX_IMAGES:,} images, found {n:,}")
    if (problem.least_hits is None) != (problem.price is None):
        raise CalibrationError("least_hits and price go together; give both or neither")
    if problem.price is not None and problem.price.shape != (w,):
        raise CalibrationError(f"hits of shape [{n}, {w}] need {w} prices, found {list(problem.price.shape)}")
    numbers = [problem.scores, problem.costs, problem.limits, *([] if problem.price is None else [problem.price])]
    if not all(np.isfinite(values).all() for values in numbers):
        raise CalibrationError("scores, costs, limits and prices must be finite numbers")
    if problem.least_hits is not None and not 0 <= problem.least_hits <= n:
        raise CalibrationError(f"least_hits must be 0 to {n} (the images), found {problem.least_hits}")
    for row, (costs, limit) in enumerate(zip(problem.costs, problem.limits, strict=True)):
        if limit < costs.min():
            raise CalibrationError(
                f"limit {row} of {limit:g} cannot be met: the cheapest column, {costs.argmin()}, "
                f"costs {costs.min():g}; raise the limit"
            )


def _without_a_rule(problem: Problem, work_limit: int, certain: bool) -> CalibrationError:
    """Return why there is no solution; raises that of the limits alone when already they cannot be met."""
    if not certain:
        return CalibrationError(
            f"no threshold rule within all limits was found in {work_limit:,} cells, nor is it proven that there is "
            "none; loosen a limit or raise the work limit"
        )
    if problem.least_hits is None:
        return CalibrationError(
            "no threshold rule keeps all limits at once, although each alone can be met; loosen one"
        )
    most = calibrate(dataclasses.replace(problem, least_hits=None, price=None), work_limit)
    return CalibrationError(
        f"an accuracy of {problem.least_hits / len(problem.scores):.2%} cannot be reached within the limits: at most "
        f"{most.accuracy:.2%} ({most.hits} of {len(problem.scores)} images); lower it or loosen a limit"
    )


class _Row(NamedTuple):
    """A cost or price in whole steps."""

    costs: NDArray[np.int64]
    """[w]; steps of each column above the cheapest."""
    limit: int
    """Largest total of all images, in steps."""
    step: float
    """Size of a step."""
    rounding: float
    """The means of two rules differ by at most this more than in steps."""


def _steps(costs: NDArray[np.float64], limit: float, n: int) -> _Row:
    """Return costs and a limit on their mean over n images in steps.

    The range of costs has 1e9 steps, fewer beyond 48,000 images (two million at a million): the search weighs totals
    (≤ n·steps) against misses (≤ n) so finely that one step more or less matters, which takes n²·steps ≤ 2⁶¹. Each cost
    rounds by at most half a step; the limit has as much slack, so that no rule within the true limit is lost.
    """
    above = costs - costs.min()
    step = float(above.max()) / min(10**9, 2**61 // n**2) or 1.0
    whole = np.rint(above / step)
    affordable = min((limit - costs.min()) / step * n + n / 2, whole.max() * n)
    return _Row(whole.astype(np.int64), int(affordable), step, 2 * float(np.abs(above - whole * step).max()))


def _cumulative(hits: NDArray[np.bool_], images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the hits [w, g+1] of each column on the first b groups, which end after images[b] rows of hits [n, w]."""
    sums = np.zeros((hits.shape[1], len(images)), np.int64)
    sums[:, 1:] = np.cumsum(hits, axis=0, dtype=np.int64)[images[1:] - 1].T
    return sums


def _threshold(scores: NDArray[np.float64], image: int) -> float:
    """Return a float that lies at or above the score before an image and below the image's own."""
    lower, upper = scores[image - 1], scores[image]
    return float(min(lower + (upper - lower) / 2, np.nextafter(upper, lower)))
