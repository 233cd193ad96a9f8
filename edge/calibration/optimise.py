"""The best thresholds under upper limits, with a proof of how good they are.

Two questions, one search (edge.calibration.threshold_search): the most hits within the limits, or at least so many hits
within the limits as cheaply as possible. Everything asked about is a total over the images, linear in the shares of the
widths: misses, one cost for each limit and, in the second question, the price. One total is the goal, to be as small as
possible; each other has a limit.

The search works on integers: hits are exact, costs and prices become steps (`_steps`). Limits are rounded up by more
than costs can be rounded, so that no rule within the true limits is lost; in return a limit is met to within one step,
at most a billionth of the costs' range up to 48,000 images and two millionths at the most.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.calibration.threshold_search import Rules, search
from edge.errors import CalibrationError

MAX_IMAGES = 1_000_000
"""Beyond this, 63 bits leave fewer than two million cost steps."""

SAME_SCORE = 1e-9
"""Scores closer than this count as equal: softmax rounds differently from platform to platform (to about 1e-15), and
a threshold between such scores would route an image one way here and another way on the phone."""

WORK_LIMIT = 200_000_000
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
    starts = np.flatnonzero(np.diff(scores) > SAME_SCORE) + 1
    images = np.concatenate([[0], starts, [n]])
    steps = [_steps(costs, limit, n) for costs, limit in zip(problem.costs, problem.limits, strict=True)]
    if problem.price is not None:
        steps.append(_steps(problem.price, float(problem.price.max()), n))
    most_misses = n if problem.least_hits is None else n - problem.least_hits
    rules = Rules(images, _cumulative(problem.hits[order], images), np.array([row.costs for row in steps], np.int64).reshape(-1, problem.hits.shape[1]))
    goal = 0 if problem.price is None else len(steps)
    limits = np.array([most_misses, *(row.limit for row in steps)], np.int64)
    found = search(rules, goal, limits, work_limit)
    if found.positions is None:
        raise _no_rule(problem, found.complete)
    ends = np.concatenate([[0], found.positions, [len(images) - 1]])
    counts = np.diff(images[ends])
    used = np.flatnonzero(counts)
    step = steps[-1].size / n if problem.price is not None else 1 / n
    return Solution(
        columns=tuple(int(column) for column in used),
        thresholds=tuple(_between(scores, int(images[ends[column]])) for column in used[1:]),
        counts=tuple(int(count) for count in counts[used]),
        hits=n - int(rules.totals(found.positions)[0]),
        mean_costs=tuple(float(counts @ costs) / n for costs in problem.costs),
        mean_price=None if problem.price is None else float(counts @ problem.price) / n,
        gap=found.excess * step + (0 if problem.price is None else steps[-1].rounding),
    )


def _check(problem: Problem) -> None:
    n, w = problem.hits.shape
    rows = len(problem.limits)
    if problem.scores.shape != (n,) or problem.costs.shape != (rows, w) or w == 0:
        raise CalibrationError(
            f"hits of shape [{n}, {w}] and {rows} limits need {n} scores and costs of shape [{rows}, {w}], "
            f"found {list(problem.scores.shape)} and {list(problem.costs.shape)}"
        )
    if not 2 <= n <= MAX_IMAGES:
        raise CalibrationError(f"calibration takes 2 to {MAX_IMAGES:,} images, found {n:,}")


class _Steps(NamedTuple):
    costs: NDArray[np.int64]
    limit: int
    size: float
    rounding: float


def _steps(costs: NDArray[np.float64], limit: float, n: int) -> _Steps:
    above = costs - costs.min()
    size = float(above.max()) / min(10**9, 2**61 // n**2) or 1.0
    affordable = min((limit - costs.min()) / size, above.max() / size)
    whole = np.rint(above / size)
    return _Steps(whole.astype(np.int64), int(affordable * n + n / 2), size, 2 * float(np.abs(above - whole * size).max()))


def _cumulative(hits: NDArray[np.bool_], images: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros((hits.shape[1], len(images)), np.int64)
    total[:, 1:] = np.cumsum(hits, axis=0, dtype=np.int64)[images[1:] - 1].T
    return total


def _between(scores: NDArray[np.float64], image: int) -> float:
    """Return a float that lies at or above the score before an image and below the image's own."""
    lower, upper = scores[image - 1], scores[image]
    return float(min(lower + (upper - lower) / 2, np.nextafter(upper, lower)))


def _no_rule(problem: Problem, certain: bool) -> CalibrationError:
    return CalibrationError(f"infeasible {certain}")
