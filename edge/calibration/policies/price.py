"""One price for all that a budget limits: rules that weigh hits against it are tried at many prices.

The mean cost falls as the price grows, so the budget begins to be met somewhere, or ends.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge.calibration.budget import Floats
from edge.calibration.case import Case
from edge.calibration.policies.base import Needs

PRICES = 64
HALVINGS = 24
Choice = Callable[[float], NDArray[np.intp]]
"""Price of a unit of `combined_cost`, in hits → the column [n] that each image gets."""


def combined_cost(needs: Needs) -> Floats:
    """Return what is to be paid for each option, [options]: its part of every limit, and, with hits to keep, time."""
    time = needs.mean_ms / np.ptp(needs.mean_ms) if np.ptp(needs.mean_ms) else np.zeros(len(needs.mean_ms))
    if not len(needs.limits):
        return np.asarray(time)
    asked = (needs.costs / needs.limits[:, None]).sum(axis=0)
    return np.asarray(asked if needs.least_hits is None else asked + time)


def best_price(
    case: Case, needs: Needs, choice: Choice, prices: int = PRICES, halvings: int = HALVINGS
) -> float | None:
    """Return the price at which a rule is best within the budget, None when it is at none; the first of equal ones."""
    tried = _Tried(case, needs, choice)
    for price in _prices(tried, prices, halvings):
        tried.offer(price)
    return tried.best


class _Tried:
    """The best price so far."""

    def __init__(self, case: Case, needs: Needs, choice: Choice) -> None:
        """`needs` has an option for each column."""
        self._hits, self._needs, self._choice = case.hits, needs, choice
        self._worth = -np.inf
        self.best: float | None = None
        self.last_met = False
        """Whether the price tried last was within the budget."""

    def offer(self, price: float) -> None:
        """Keep a price if it is within the budget and better than those before."""
        choice = self._choice(price)
        shares = np.bincount(choice, minlength=self._hits.shape[1]) / len(choice)
        hits = self._hits[np.arange(len(choice)), choice].sum()
        self.last_met = bool(self._needs.met(shares, hits))
        worth = float(self._needs.worth(shares, hits))
        if self.last_met and worth > self._worth:
            self._worth, self.best = worth, price


def _prices(tried: _Tried, count: int, halvings: int) -> Iterator[float]:
    """Yield prices from 0 up, then halve the ranges in which the budget begins, or ends, to be met."""
    prices = [0.0, *np.geomspace(1e-4, 1e4, count)]
    met = []
    for price in prices:
        yield float(price)
        met.append(tried.last_met)
    changes = [at for at in range(1, len(met)) if met[at] != met[at - 1]]
    for at in changes[:2]:
        low, high, low_met = prices[at - 1], prices[at], met[at - 1]
        for _ in range(halvings):
            middle = (low + high) / 2
            yield float(middle)
            low, high = (middle, high) if tried.last_met == low_met else (low, middle)
