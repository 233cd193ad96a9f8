"""Branch and bound over threshold rules."""

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

STEPS = 40
BITS = 61


class Rules:
    def __init__(self, images: Integers, hits: Integers, costs: Integers) -> None:
        n = int(images[-1])
        self.images = images
        self.gain = hits[:-1] - hits[1:]
        self.savings = costs[:, 1:] - costs[:, :-1]
        self.most = np.array([n, *np.maximum(costs.max(axis=1), 1) * n], np.int64)
        self._widest = np.array([n - hits[-1, -1], *costs[:, -1] * n], np.int64)
        self._thresholds = np.arange(len(self.gain))

    @property
    def groups(self) -> int:
        return len(self.images) - 1

    def totals(self, positions: Integers) -> Integers:
        gained = self.gain[self._thresholds, positions].sum()
        return self._widest - np.array([gained, *self.savings @ self.images[positions]], np.int64)

    def singles(self) -> Iterator[Integers]:
        for column in range(len(self.gain) + 1):
            yield np.where(self._thresholds < column, 0, self.groups)


class _Rule(NamedTuple):
    positions: Integers
    totals: Integers


class _Region(NamedTuple):
    low: Integers
    high: Integers

    @property
    def cells(self) -> int:
        return int((self.high - self.low + 1).sum())

    def holds(self, rule: _Rule) -> bool:
        return bool(np.all((self.low <= rule.positions) & (rule.positions <= self.high)))

    def halves(self, threshold: int, last: int) -> tuple["_Region", "_Region"]:
        low, high = self.low.copy(), self.high.copy()
        high[: threshold + 1] = np.minimum(high[: threshold + 1], last)
        low[threshold:] = np.maximum(low[threshold:], last + 1)
        return _Region(self.low, high), _Region(low, self.high)


class _Chain:
    """Running maxima of weighted savings over a region."""

    def __init__(self, rules: Rules, region: _Region, weights: Integers) -> None:
        self.region = region
        slopes = weights[1:] @ rules.savings
        self.own: list[Integers] = []
        self.values: list[Integers] = []
        for i, (low, high) in enumerate(zip(region.low.tolist(), region.high.tolist(), strict=True)):
            own = rules.gain[i, low : high + 1] * weights[0]
            own += rules.images[low : high + 1] * slopes[i]
            self.own.append(own)
            value = own
            if i:
                before = np.maximum.accumulate(self.values[-1])[low - int(region.low[i - 1]) :][: high - low + 1]
                value = own.copy()
                value[: len(before)] += before
                if len(before) < len(value):
                    value[len(before) :] += self.values[-1].max()
            self.values.append(value)

    def best(self) -> Integers:
        low = self.region.low.tolist()
        positions = np.empty(len(self.values), np.int64)
        last = int(self.region.high[-1]) if len(low) else 0
        for i in reversed(range(len(low))):
            last = low[i] + int(self.values[i][: last - low[i] + 1].argmax())
            positions[i] = last
        return positions

    def tighten(self, least: int) -> _Region:
        """Return the region of positions through which some rule saves at least `least`."""
        low, high = self.region.low.copy(), self.region.high.copy()
        after: Integers | None = None
        for i in reversed(range(len(low))):
            first, last = int(self.region.low[i]), int(self.region.high[i])
            through = self.values[i]
            rest = self.own[i]
            if after is not None:
                # after[k]: the best of the later thresholds from position next_first + k on
                from_here = np.empty(last - first + 1, np.int64)
                shift = min(next_first - first, len(from_here))
                from_here[:shift] = after[0]
                from_here[shift:] = after[: len(from_here) - shift]
                through = through + from_here
                rest = rest + from_here
            kept = np.flatnonzero(through >= least)
            low[i], high[i] = first + kept[0], first + kept[-1]
            after = np.maximum.accumulate(rest[::-1])[::-1]
            next_first = first
        return _Region(low, high)


class _Mixture:
    """The best mixture of known rules (simplex)."""

    def __init__(self, goal: float, limits: int) -> None:
        self._columns = np.eye(limits + 1)
        self._goals = np.zeros(limits + 1)
        self._goals[0] = goal
        self._basis = np.arange(limits + 1)
        self._inverse = np.eye(limits + 1)
        self._right = np.array([1.0, *1e-10 * np.arange(1, limits + 1)])
        self._rules: list[_Rule] = []
        self._duals = self._goals.copy()

    def add(self, rule: _Rule, goal: float, excess: Reals) -> None:
        self._rules.append(rule)
        self._columns = np.column_stack([self._columns, [1.0, *excess]])
        self._goals = np.append(self._goals, goal)

    def solve(self) -> float:
        for _ in range(100):
            self._duals = self._goals[self._basis] @ self._inverse
            reduced = self._goals - self._duals @ self._columns
            entering = int(reduced.argmin())
            if reduced[entering] > -1e-13:
                break
            direction = self._inverse @ self._columns[:, entering]
            level = self._inverse @ self._right
            ratios = np.where(direction > 1e-12, level / np.where(direction > 1e-12, direction, 1), np.inf)
            leaving = int(ratios.argmin())
            if not np.isfinite(ratios[leaving]):
                break
            self._basis[leaving] = entering
            pivot = self._inverse[leaving] / direction[leaving]
            self._inverse -= np.outer(direction, pivot)
            self._inverse[leaving] = pivot
        return float(self._duals[0])

    @property
    def multipliers(self) -> Reals:
        return np.maximum(-self._duals[1:], 0)

    def members(self) -> list[_Rule]:
        first = len(self._inverse)
        return [self._rules[k - first] for k in self._basis if k >= first]


class _Node(NamedTuple):
    region: _Region
    bound: int
    known: list[_Rule]
    members: list[_Rule]
    multipliers: Reals


class Search:
    def __init__(self, rules: Rules, goal: int, limits: Integers, work_limit: int) -> None:
        self._rules, self._goal, self._limits, self._work_limit = rules, goal, limits, work_limit
        self._limited = np.delete(np.arange(len(limits)), goal)
        self._order = [goal, *self._limited]
        self.work = 0
        self.best: _Rule | None = None
        self.best_goal = int(rules.most[goal]) + 1
        self._serial = itertools.count()
        self._open: list[tuple[int, int, _Node]] = []
        self.bound = 0
        self.nodes = 0
        self.solves = 0
        self.log = []

    def run(self):
        for positions in self._rules.singles():
            self._offer(positions)
        t = len(self._rules.gain)
        root = _Region(np.zeros(t, np.int64), np.full(t, self._rules.groups))
        self._add(root, 0, [], np.zeros(len(self._limited)))
        while self._open and self._open[0][0] < self.best_goal and self.work < self._work_limit:
            _, _, node = heapq.heappop(self._open)
            for half in node.region.halves(*self._split(node)):
                self._add(half, node.bound, node.known, node.multipliers)
        self.bound = min([self.best_goal, *(bound for bound, *_ in self._open[:1])])

    def _split(self, node: _Node) -> tuple[int, int]:
        region = node.region
        if len(node.members) > 1:
            places = np.array([rule.positions for rule in node.members])
            low, high = places.min(axis=0), places.max(axis=0)
            low, high = np.maximum(low, region.low), np.minimum(high, region.high)
            costs = np.abs(self._rules.savings) if True else 0
            prices = np.zeros(len(self._limits))
            prices[self._limited] = node.multipliers / self._rules.most[self._limited]
            prices[self._goal] = 1 / self._rules.most[self._goal]
            moved = (self._rules.images[high] - self._rules.images[low]) * (prices[1:] @ costs) * (high > low)
            threshold = int(moved.argmax())
            if moved[threshold] > 0:
                return threshold, int(low[threshold] + high[threshold]) // 2
        threshold = int((region.high - region.low).argmax())
        return threshold, int(region.low[threshold] + region.high[threshold]) // 2

    def _add(self, region: _Region, bound: int, known: list[_Rule], multipliers: Reals) -> None:
        self.nodes += 1
        node = self._node(region, bound, [rule for rule in known if region.holds(rule)], multipliers)
        if node is not None and node.bound < self.best_goal:
            heapq.heappush(self._open, (node.bound, next(self._serial), node))

    def _node(self, region: _Region, bound: int, known: list[_Rule], multipliers: Reals) -> _Node | None:
        if np.array_equal(region.low, region.high):
            self._offer(region.low)
            return None
        scale = self._rules.most[self._goal]
        mixture = _Mixture(self.best_goal / scale, len(self._limited))
        for rule in known:
            self._mix(mixture, rule)
        found = list(known)
        tightest = -1
        for _ in range(STEPS):
            weights = self._weights(multipliers)
            chain = self._chain(region, weights)
            rule = self._offer(chain.best())
            allowed = sum(int(weights[row]) * int(self._limits[row]) for row in self._limited)
            least = int(weights @ rule.totals)
            value = -((allowed - least) // int(weights[self._goal]))
            if value >= self.best_goal:
                return None
            if value > tightest:
                tightest, kept = value, (chain, weights, rule, least, allowed, multipliers)
            found.append(rule)
            self._mix(mixture, rule)
            theta = mixture.solve()
            if np.ceil(theta * scale - 1e-6) <= tightest:
                break
            multipliers = mixture.multipliers
        chain, weights, rule, least, allowed, multipliers = kept
        for member in mixture.members():
            self._polish(member, region)
        # room: how much worse in weighted total than the best rule may another be, and still beat best_goal
        room = int(weights[self._goal]) * (self.best_goal - 1) + allowed - least
        if room < 0:
            return None
        self.work += region.cells + OVERHEAD * len(region.low)
        region = chain.tighten(int(chain.values[-1].max()) - room)
        if np.array_equal(region.low, region.high):
            self._offer(region.low)
            return None
        return _Node(region, max(bound, tightest), found, mixture.members(), multipliers)

    def _mix(self, mixture: _Mixture, rule: _Rule) -> None:
        scaled = (rule.totals - self._limits) / self._rules.most
        mixture.add(rule, float(rule.totals[self._goal] / self._rules.most[self._goal]), scaled[self._limited])

    def _weights(self, multipliers: Reals) -> Integers:
        most = self._rules.most
        scale = 2.0**BITS / max(1.0, float(multipliers.sum()))
        weights = np.empty(len(most), np.int64)
        weights[self._goal] = max(1, int(scale / most[self._goal]))
        weights[self._limited] = np.rint(scale * multipliers / most[self._limited])
        if self._goal == 0:
            weights[self._limited] = np.maximum(weights[self._limited], 1)
        return weights

    def _chain(self, region: _Region, weights: Integers) -> _Chain:
        self.work += region.cells + OVERHEAD * len(region.low)
        self.solves += 1
        return _Chain(self._rules, region, weights)

    def _polish(self, rule: _Rule, region: _Region) -> None:
        """Offer the rules that single moves lead to."""
        rules, limits = self._rules, self._limits
        positions, totals = rule
        for _ in range(5):
            best = None
            violated = np.maximum(totals - limits, 0)[self._limited] / rules.most[self._limited]
            score = (float(violated.sum()), int(totals[self._goal]))
            for i in range(len(positions)):
                first = int(max(region.low[i], positions[i - 1] if i else 0))
                last = int(min(region.high[i], positions[i + 1] if i + 1 < len(positions) else rules.groups))
                if first >= last:
                    continue
                self.work += (last - first + 1) * 2 + OVERHEAD
                moved = rules.images[first : last + 1] - rules.images[positions[i]]
                rows = [totals[0] - (rules.gain[i, first : last + 1] - rules.gain[i, positions[i]])]
                rows += [totals[1 + j] - saving * moved for j, saving in enumerate(rules.savings[:, i])]
                over = sum(np.maximum(rows[r] - limits[r], 0) / rules.most[r] for r in self._limited)
                least = over.min() if len(self._limited) else 0.0
                goals = np.where(over <= least, rows[self._goal], np.iinfo(np.int64).max)
                k = int(goals.argmin())
                this = (float(least), int(goals[k]))
                if this < score:
                    score, best = this, (i, first + k)
            if best is None:
                break
            positions = positions.copy()
            positions[best[0]] = best[1]
            totals = self._offer(positions).totals

    def _offer(self, positions: Integers) -> _Rule:
        rule = _Rule(positions, self._rules.totals(positions))
        if np.all(rule.totals[self._limited] <= self._limits[self._limited]):
            if self.best is None or tuple(rule.totals[self._order]) < tuple(self.best.totals[self._order]):
                self.best, self.best_goal = rule, int(rule.totals[self._goal])
        return rule

OVERHEAD = 1000
class Found(NamedTuple):
    positions: Integers | None
    excess: int
    complete: bool
def search(rules, goal, limits, work_limit):
    s = Search(rules, goal, limits, work_limit)
    s.run()
    return Found(None if s.best is None else s.best.positions, s.best_goal - s.bound, s.bound >= s.best_goal)
