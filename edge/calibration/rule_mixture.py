"""The best mixture of known rules under limits: a linear program in as many weights as rules, by the simplex method.

A mixture draws a rule with a probability for each; its totals are the means. It may keep limits that none of its rules
keeps, and among all rules the best mixture's goal equals the best Lagrangian bound, with the duals as multipliers. So a
search for good multipliers alternates (Dantzig & Wolfe 1960): find the best mixture of the rules known so far, take its
multipliers, add the rule that is best under them. With one limit, a mixture is a line between a rule within the limit
and one beyond it.

Floats are good enough here: any multipliers give a valid bound. Sums run over short first axes, term by term, so that
they round alike on every machine, unlike those of a linear algebra library.
"""

import numpy as np
from numpy.typing import NDArray

from edge.calibration.threshold_rules import Integers, Rule

Reals = NDArray[np.float64]

PIVOTS = 100
"""Far beyond what a handful of limits needs; it stops a cycle that rounding might cause."""
SMALLEST_GAIN, SMALLEST_PIVOT = 1e-13, 1e-12
"""In shares of the largest totals: below these, a difference is rounding."""
SLACK = 1e-10
"""Limits are widened by different multiples of this, so that no two vertices coincide and no pivot stands still."""


class Mixture:
    """The best mixture of the rules added so far, and of a stand-in that just keeps every limit.

    Columns of the linear program: the stand-in, the slack of each limit, the rules. Totals count in shares of `most`.
    """

    def __init__(self, goal: int, stand_in: int, limits: Integers, most: Integers) -> None:
        """Take the row of the totals that is the goal, the stand-in's goal, and limits and largest totals [r+1]."""
        self._goal, self._limits, self._most = goal, limits, most
        size = len(limits)
        self._columns = np.eye(size)
        self._goals = np.zeros(size)
        self._goals[0] = stand_in / most[goal]
        self._basis = np.arange(size)
        self._inverse = np.eye(size)
        self._right = np.array([1.0, *(SLACK * row for row in range(1, size))])
        self._duals = self._goals.copy()
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Let the mixture use a rule."""
        excess = np.delete((rule.totals - self._limits) / self._most, self._goal)
        self._rules.append(rule)
        self._columns = np.column_stack([self._columns, [1.0, *excess]])
        self._goals = np.append(self._goals, rule.totals[self._goal] / self._most[self._goal])

    def solve(self) -> float:
        """Find the best mixture and return its goal, which is the stand-in's when no mixture of rules is better."""
        for _ in range(PIVOTS):
            self._duals = (self._goals[self._basis, None] * self._inverse).sum(axis=0)
            reduced = self._goals - (self._duals[:, None] * self._columns).sum(axis=0)
            entering = int(reduced.argmin())
            direction = (self._inverse.T * self._columns[:, entering, None]).sum(axis=0)
            rising = direction > SMALLEST_PIVOT
            if reduced[entering] > -SMALLEST_GAIN or not rising.any():
                break
            ratios = np.full(len(direction), np.inf)
            ratios[rising] = self._levels[rising] / direction[rising]
            leaving = int(ratios.argmin())
            pivot = self._inverse[leaving] / direction[leaving]
            self._inverse -= direction[:, None] * pivot
            self._inverse[leaving] = pivot
            self._basis[leaving] = entering
        return float(self._duals[0] * self._most[self._goal])

    @property
    def multipliers(self) -> Reals:
        """Return what each limit is worth, in the order of the rows: a share of the goal for a share of the total."""
        return np.maximum(-self._duals[1:], 0)

    @property
    def rules(self) -> list[Rule]:
        """Return the rules in the mixture."""
        return [self._rules[column] for column in self._basis - len(self._basis) if column >= 0]

    @property
    def mean(self) -> Integers:
        """Return the mixture's mean positions, rounded; the stand-in alone has the last rule's.

        Costs are linear in positions that count images, so among images with different scores the mean keeps the limits
        on costs (to within rounding).
        """
        used = self._basis >= len(self._basis)
        if not used.any():
            return self._rules[-1].positions
        positions = np.array([rule.positions for rule in self.rules])
        levels = np.maximum(self._levels[used], SMALLEST_PIVOT)[:, None]
        mean: Reals = (positions * levels).sum(axis=0) / levels.sum()
        return np.rint(mean).astype(np.int64)

    @property
    def _levels(self) -> Reals:
        """Return each basic column's part."""
        levels: Reals = (self._inverse.T * self._right[:, None]).sum(axis=0)
        return levels
