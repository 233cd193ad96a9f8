"""Threshold rules as positions: their totals, and the best of them under a price on each total, by dynamic programming.

A threshold rule over n images and w widths is a non-decreasing assignment of widths along the sorted score: positions
b_1 ≤ … ≤ b_{w-1}, where width i takes the images between b_i and b_{i+1}; b_i = b_{i+1} skips it. With H_i[b] the hits
of width i on the first b images and c_i its cost in steps, misses and costs are sums over the positions:

    misses(b) = n − H_{w-1}[n] − Σ_i (H_{i-1} − H_i)[b_i]        cost(b) = n·c_{w-1} − Σ_i (c_i − c_{i-1})·b_i

Weighted with integers ≥ 0, misses and costs add up to such a sum again. The rule with the smallest weighted total is a
chain of w−1 running maxima of what each threshold saves (`Chain`), found in O(n·w).

Row 0 of the totals is the misses, each further row is a cost. Shapes: r costs, g groups of equal scores, t = w−1.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class Rule(NamedTuple):
    """A threshold rule and what it amounts to."""

    positions: Integers
    """[t]; position b is the number of groups below a threshold, 0…g, ascending."""
    totals: Integers
    """[r+1]; misses and costs of all images together."""


class Rules:
    """The totals of every threshold rule, as cumulative sums over groups of images with equal scores."""

    def __init__(self, images: Integers, hits: Integers, costs: Integers) -> None:
        """Take images [g+1] and hits [w, g+1] of the first b groups, and costs [r, w] ≥ 0 of one image in steps."""
        n = int(images[-1])
        self.images = images
        self.gain = hits[:-1] - hits[1:]
        """[t, g+1]: hits gained over position 0 by a threshold at position b."""
        self.savings = costs[:, 1:] - costs[:, :-1]
        """[r, t]: cost that a threshold saves with each image below it."""
        self.most = np.array([n, *np.maximum(costs.max(axis=1), 1) * n], np.int64)
        """[r+1]: no rule has a larger total; at least n."""
        self.widest = np.array([n - hits[-1, -1], *costs[:, -1] * n], np.int64)
        """[r+1]: totals of the widest column alone."""
        self._thresholds = np.arange(len(self.gain))

    @property
    def everything(self) -> "Region":
        """Return the region of all rules."""
        return Region(np.zeros_like(self._thresholds), np.full_like(self._thresholds, len(self.images) - 1))

    def rule(self, positions: Integers) -> Rule:
        """Return the rule with these positions."""
        gained = self.gain[self._thresholds, positions].sum()
        return Rule(positions, self.widest - np.array([gained, *self.savings @ self.images[positions]], np.int64))

    def singles(self) -> Iterator[Rule]:
        """Yield the rules that give all images to one column."""
        for column in range(len(self._thresholds) + 1):
            yield self.rule(np.where(self._thresholds < column, 0, len(self.images) - 1))


class Region(NamedTuple):
    """The rules whose position i lies in low[i]…high[i]; both ascend."""

    low: Integers
    high: Integers

    @property
    def cells(self) -> int:
        """Return the number of positions over all thresholds."""
        return int((self.high - self.low + 1).sum())

    @property
    def single(self) -> bool:
        """Return whether just one rule is left."""
        return bool(np.all(self.low == self.high))

    def holds(self, rule: Rule) -> bool:
        """Return whether a rule is in the region."""
        return bool(np.all((self.low <= rule.positions) & (rule.positions <= self.high)))

    def halves(self, threshold: int, last: int) -> tuple["Region", "Region"]:
        """Return the rules with this threshold's position at most `last` (of low…high−1), and the others."""
        low, high = self.low.copy(), self.high.copy()
        high[: threshold + 1] = np.minimum(high[: threshold + 1], last)
        low[threshold:] = np.maximum(low[threshold:], last + 1)
        return Region(self.low, high), Region(low, self.high)


class Chain:
    """The smallest weighted total in a region, and the positions that come close to it.

    A weighted total is at most W = weights·most, and so are, in size, the sums of savings along any part of a chain:
    they are differences of totals over some of the images. W < 2⁶² keeps all sums within 63 bits.
    """

    def __init__(self, rules: Rules, region: Region, weights: Integers) -> None:
        """Take weights [r+1] ≥ 0."""
        self._region = region
        self._widest = int(weights @ rules.widest)
        self._saved: list[Integers] = []
        """[t][positions of the region]: what each threshold saves at each position."""
        self._until: list[Integers] = []
        """Likewise: the most that it and the thresholds before it save together."""
        slopes = weights[1:] @ rules.savings
        for i, (low, high) in enumerate(zip(*region, strict=True)):
            saved = rules.gain[i, low : high + 1] * weights[0]
            saved += rules.images[low : high + 1] * slopes[i]
            self._saved.append(saved)
            self._until.append(saved + self._before(i) if i else saved)

    def _before(self, i: int) -> Integers:
        """Return the most that the thresholds before i save, for each position of i."""
        reached = np.maximum.accumulate(self._until[i - 1])
        before = np.full_like(self._saved[i], reached[-1])
        shared = reached[self._region.low[i] - self._region.low[i - 1] :][: len(before)]
        before[: len(shared)] = shared
        return before

    def _later(self, i: int, after: Integers) -> Integers:
        """Return the most that the thresholds behind i save, for each position of i; `after`: of those of i + 1."""
        later = np.full_like(self._saved[i], after[0])
        shared = later[self._region.low[i + 1] - self._region.low[i] :]
        shared[:] = after[: len(shared)]
        return later

    def best(self) -> Integers:
        """Return the positions of the rule with the smallest weighted total."""
        positions = np.empty_like(self._region.low)
        last = self._region.high.max(initial=0)
        for i in reversed(range(len(positions))):
            low = self._region.low[i]
            last = positions[i] = low + self._until[i][: last - low + 1].argmax()
        return positions

    def tightened(self, total: int) -> Region:
        """Return the smallest region that holds every rule whose weighted total is at most `total`; one must exist."""
        low, high = self._region.low.copy(), self._region.high.copy()
        last = len(low) - 1
        after = np.zeros(1, np.int64)
        for i in reversed(range(len(low))):
            later = self._later(i, after) if i < last else np.zeros_like(self._saved[i])
            kept = np.flatnonzero(self._until[i] + later >= self._widest - total)
            low[i], high[i] = self._region.low[i] + kept[[0, -1]]
            after = np.maximum.accumulate((self._saved[i] + later)[::-1])[::-1]
        return Region(low, high)
