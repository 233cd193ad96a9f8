"""The most accurate thresholds within a budget, with a proof of how good they are.

A threshold rule over n images and w widths is a non-decreasing assignment of widths along the sorted score: positions
b_1 ≤ … ≤ b_{w-1}, where width i takes the images between b_i and b_{i+1}; b_i = b_{i+1} skips it. With H_i[b] the hits
of width i on the first b images and c_i its cost, hits and cost are both sums over the positions:

    hits(b) = H_{w-1}[n] + Σ_i (H_{i-1} − H_i)[b_i]        cost(b) = n·c_{w-1} − Σ_i (c_i − c_{i-1})·b_i

For a price λ on cost, the best rule is therefore a chain of w−1 running maxima (`_best`), in O(n·w). Its value bounds
the hits of every rule within the budget (Lagrangian duality). The bound is lowest for the λ at which the line through a
rule within the budget and one beyond it meets no better rule (`_Search._bound`). Branch and bound closes what the bound
leaves open: it halves the range of the position in which those two rules differ most, until no range can hold a better
rule or the work limit is met.

Costs are integers (`_units`) and λ is a ratio of integers, all within 63 bits: no rounding can make a bound wrong.
"""

import heapq
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import CalibrationError

Positions = NDArray[np.int64]

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
    """What to optimise: n images, w widths, any unit of cost."""

    scores: NDArray[np.float64]
    """[n]; images with a higher score get the same or a later column."""
    hits: NDArray[np.bool_]
    """[n, w]; whether the width of each column is right on each image."""
    costs: NDArray[np.float64]
    """[w]; cost of each column for one image."""
    budget: float
    """Largest mean cost per image, in the unit of `costs`. It is met to within one of the cost steps of `_units`."""


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
    most_hits: int
    """No threshold rule within the budget answers more images rightly than this."""
    mean_cost: float
    """Mean cost per image, in the problem's unit."""

    @property
    def accuracy(self) -> float:
        """Return the share of images answered rightly, 0…1."""
        return self.hits / sum(self.counts)

    @property
    def gap(self) -> float:
        """Return the accuracy by which a better rule could at most exceed this one, 0…1."""
        return (self.most_hits - self.hits) / sum(self.counts)


def calibrate(problem: Problem, work_limit: int = WORK_LIMIT) -> Solution:
    """Return the most accurate threshold rule within the budget, never worse than the best single column within it.

    A search that reaches `work_limit` returns the best rule so far, with the gap that is left.
    Raises CalibrationError for arrays that do not fit together, fewer than 2 images, or a budget below every cost.
    """
    _check(problem)
    rules = _Rules(problem)
    positions, most_hits = _Search(rules, work_limit).run()
    ends = rules.ends(positions)
    counts = np.diff(rules.images[ends])
    used = np.flatnonzero(counts)
    return Solution(
        columns=tuple(int(column) for column in used),
        thresholds=tuple(rules.threshold(int(ends[column])) for column in used[1:]),
        counts=tuple(int(count) for count in counts[used]),
        hits=rules.hits(positions),
        most_hits=most_hits,
        mean_cost=float(counts @ problem.costs) / len(problem.scores),
    )


def _check(problem: Problem) -> None:
    n, w = problem.hits.shape
    if problem.scores.shape != (n,) or problem.costs.shape != (w,) or w == 0:
        raise CalibrationError(
            f"hits of shape [{n}, {w}] need {n} scores and {w} costs, "
            f"found {list(problem.scores.shape)} and {list(problem.costs.shape)}"
        )
    if not 2 <= n <= MAX_IMAGES:
        raise CalibrationError(f"calibration takes 2 to {MAX_IMAGES:,} images, found {n:,}")
    if not (np.isfinite(problem.scores).all() and np.isfinite(problem.costs).all() and np.isfinite(problem.budget)):
        raise CalibrationError("scores, costs and budget must be finite numbers")
    if problem.budget < problem.costs.min():
        raise CalibrationError(
            f"budget {problem.budget:g} cannot be met: the cheapest column, {problem.costs.argmin()}, "
            f"costs {problem.costs.min():g}; raise the budget"
        )


def _units(costs: NDArray[np.float64], budget: float, n: int) -> tuple[NDArray[np.int64], int]:
    """Return the costs above the cheapest as integers, and the largest total of n images.

    The range of costs has 1e9 steps, fewer beyond 48,000 images (two million at a million): the search multiplies a
    total cost (≤ n·steps) by a number of hits (≤ n) and adds two such products, so n²·steps ≤ 2⁶¹. Each cost rounds by
    at most half a step; the limit has as much slack, so that no rule within the true budget is lost.
    """
    above = costs - costs.min()
    unit = above.max() / min(10**9, 2**61 // n**2) or 1.0
    affordable = min((budget - costs.min()) / unit, above.max() / unit)
    return np.rint(above / unit).astype(np.int64), int(affordable * n + n / 2)


class _Rules:
    """The hits and costs of every threshold rule, as cumulative sums over groups of equal scores.

    A position b is a number of groups, 0…groups; positions come as arrays [w-1], one for each threshold.
    """

    def __init__(self, problem: Problem) -> None:
        order = np.argsort(problem.scores, kind="stable")
        self._scores = problem.scores[order]
        starts = np.flatnonzero(np.diff(self._scores) > SAME_SCORE) + 1
        self.images = np.concatenate([[0], starts, [len(order)]])
        """[groups + 1]: images in the first b groups."""
        hits = np.zeros((problem.hits.shape[1], len(self.images)), np.int64)
        hits[:, 1:] = np.cumsum(problem.hits[order], axis=0, dtype=np.int64)[self.images[1:] - 1].T
        costs, self.limit = _units(problem.costs, problem.budget, len(order))
        self.gain = hits[:-1] - hits[1:]
        """[w-1, groups + 1]: hits gained over position 0 by a threshold at position b."""
        self.saving = costs[1:] - costs[:-1]
        """[w-1]: cost that a threshold saves with each image below it."""
        self.most_cost = int(costs.max()) * len(order)
        self._widest_hits, self._widest_cost = int(hits[-1, -1]), int(costs[-1]) * len(order)

    @property
    def groups(self) -> int:
        return len(self.images) - 1

    def hits(self, positions: Positions) -> int:
        return self._widest_hits + int(self.gain[np.arange(len(positions)), positions].sum())

    def cost(self, positions: Positions) -> int:
        return self._widest_cost - int(self.saving @ self.images[positions])

    def ends(self, positions: Positions) -> Positions:
        """Return positions [w+1] such that column i takes the groups from ends[i] to ends[i+1]."""
        return np.concatenate([[0], positions, [self.groups]])

    def threshold(self, position: int) -> float:
        """Return a float that lies at or above the score before a position and below the score after it."""
        image = self.images[position]
        lower, upper = self._scores[image - 1], self._scores[image]
        return float(min(lower + (upper - lower) / 2, np.nextafter(upper, lower)))


class _Region(NamedTuple):
    """The rules whose position i lies in low[i]…high[i]; both ascend."""

    low: Positions
    high: Positions

    @property
    def cells(self) -> int:
        return int((self.high - self.low + 1).sum())

    def holds(self, positions: Positions) -> bool:
        return bool(np.all((self.low <= positions) & (positions <= self.high)))

    def halves(self, threshold: int, last: int) -> tuple["_Region", "_Region"]:
        """Return the rules with this threshold's position at most `last`, and the others."""
        low, high = self.low.copy(), self.high.copy()
        high[: threshold + 1] = np.minimum(high[: threshold + 1], last)
        low[threshold:] = np.maximum(low[threshold:], last + 1)
        return _Region(self.low, high), _Region(low, self.high)


class _Bound(NamedTuple):
    """What is known of a region: its most hits within the limit, and the two rules between which the limit falls."""

    most_hits: int
    within: Positions
    beyond: Positions


def _best(rules: _Rules, region: _Region, hit_value: int, price: int) -> Positions:
    """Return the rule in a region that maximises hit_value·hits − price·cost."""
    values: list[NDArray[np.int64]] = []
    for i, (low, high) in enumerate(zip(*region, strict=True)):
        value = rules.images[low : high + 1] * (price * int(rules.saving[i]))
        value += rules.gain[i, low : high + 1] * hit_value
        if i:
            before = np.maximum.accumulate(values[-1])[low - region.low[i - 1] :]
            value[: len(before)] += before
            value[len(before) :] += values[-1].max()
        values.append(value)
    positions = np.empty(len(values), np.int64)
    last = rules.groups
    for i in reversed(range(len(values))):
        last = region.low[i] + values[i][: last - region.low[i] + 1].argmax()
        positions[i] = last
    return positions


class _Search:
    """Branch and bound over regions, the most promising first."""

    def __init__(self, rules: _Rules, work_limit: int) -> None:
        self._rules, self._work_limit = rules, work_limit
        self._open: list[tuple[int, int, _Region, _Bound]] = []
        self._serial = itertools.count()
        self._cells = 0
        self._best, self._best_hits, self._best_cost = np.empty(0, np.int64), -1, 0
        thresholds = np.arange(len(rules.gain))
        for column in range(len(thresholds) + 1):
            self._offer(np.where(thresholds < column, 0, rules.groups))

    def run(self) -> tuple[Positions, int]:
        """Return the best rule found, and the most hits that any rule within the limit can have."""
        thresholds = len(self._rules.gain)
        self._add(_Region(np.zeros(thresholds, np.int64), np.full(thresholds, self._rules.groups)), ())
        while self._open and -self._open[0][0] > self._best_hits and self._cells < self._work_limit:
            _, _, region, (_, within, beyond) = heapq.heappop(self._open)
            moved = np.abs((self._rules.images[within] - self._rules.images[beyond]) * self._rules.saving)
            threshold = int(moved.argmax())
            for half in region.halves(threshold, int(within[threshold] + beyond[threshold]) // 2):
                self._add(half, (within, beyond))
        return self._best, max([self._best_hits, *(-most_hits for most_hits, *_ in self._open[:1])])

    def _add(self, region: _Region, known: tuple[Positions, ...]) -> None:
        bound = self._bound(region, [rule for rule in known if region.holds(rule)])
        if bound is not None and bound.most_hits > self._best_hits:
            heapq.heappush(self._open, (-bound.most_hits, next(self._serial), region, bound))

    def _bound(self, region: _Region, known: list[Positions]) -> _Bound | None:
        """Return the lowest bound that a price on cost can give, or None when the region has no rule within the limit.

        Of the rule within the limit and the one beyond it, the parent region's is used where it is known.
        """
        rules, limit = self._rules, self._rules.limit
        within = next((rule for rule in known if rules.cost(rule) <= limit), None)
        beyond = next((rule for rule in known if rules.cost(rule) > limit), None)
        if beyond is None:
            beyond = self._solve(region, hit_value=rules.most_cost + 1, price=1)
            if rules.cost(beyond) <= limit:
                return _Bound(rules.hits(beyond), beyond, beyond)
        if within is None:
            within = self._solve(region, hit_value=1, price=int(rules.images[-1]) + 1)
            if rules.cost(within) > limit:
                return None
        while True:
            hit_value = rules.cost(beyond) - rules.cost(within)
            price = rules.hits(beyond) - rules.hits(within)
            rule = self._solve(region, hit_value, price)
            value = hit_value * rules.hits(rule) - price * rules.cost(rule)
            bound = _Bound((value + price * limit) // hit_value, within, beyond)
            on_the_line = value == hit_value * rules.hits(within) - price * rules.cost(within)
            if on_the_line or bound.most_hits <= self._best_hits:
                return bound
            if rules.cost(rule) <= limit:
                within = rule
            else:
                beyond = rule

    def _solve(self, region: _Region, hit_value: int, price: int) -> Positions:
        self._cells += region.cells
        rule = _best(self._rules, region, hit_value, price)
        self._offer(rule)
        return rule

    def _offer(self, rule: Positions) -> None:
        hits, cost = self._rules.hits(rule), self._rules.cost(rule)
        if cost <= self._rules.limit and (hits, -cost) > (self._best_hits, -self._best_cost):
            self._best, self._best_hits, self._best_cost = rule, hits, cost
