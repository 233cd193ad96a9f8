"""Per-width utility: each width's calibrated chance of being right, less λ times its cost.

The chance is a logistic regression of the hits on the gate's logits, one per width (the idea: Chow, On optimum
recognition error and reject tradeoff, IEEE Trans. Information Theory 1970, with a cost for each choice). λ is searched:
the mean cost falls as it grows.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import UtilityPolicy
from edge.calibration.budget import Budget, Floats
from edge.calibration.case import Case
from edge.calibration.policies.base import Fitted, Needs, none_within
from edge.runtime.policy import right_chance

RIDGE = 1e-3
"""Weight of the penalty on the regression's weights, per image: keeps them finite where hits are all equal."""
NEWTON_STEPS = 25
CONVERGED = 1e-8
PRICES = 64
HALVINGS = 24


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the best utility policy of all prices tried; raises CalibrationError when none is within the budget."""
    needs = Needs.of(budget, case.choices(), case.images)
    weights, biases = regressions(case.gates.first, case.hits)
    cost = needs.mean_ms / np.ptp(needs.mean_ms) if np.ptp(needs.mean_ms) else np.zeros(len(case.widths))
    if len(needs.limits):
        asked = (needs.costs / needs.limits[:, None]).sum(axis=0)
        cost = asked if needs.least_hits is None else asked + cost
    tried = _Tried(case, budget, needs, right_chance(case.gates.first, weights, biases), cost)
    for price in _prices(tried):
        tried.offer(price)
    used = tried.used()
    return Fitted(
        UtilityPolicy(
            widths=[case.widths[column] for column in used],
            weights=weights[used].tolist(),
            biases=biases[used].tolist(),
            penalties=(tried.price * cost)[used].tolist(),
        ),
        gap=None,
    )


def regressions(gate_logits: NDArray[np.float32], hits: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return weights [w, m] and biases [w] of a logistic regression of each width's hits on the gate's logits.

    Newton's method on the standardised logits with a ridge (Hastie, Tibshirani & Friedman, The Elements of Statistical
    Learning, 2nd ed., §4.4.1).
    """
    logits = gate_logits.astype(np.float64)
    centre, spread = logits.mean(axis=0), logits.std(axis=0)
    spread[spread == 0] = 1
    inputs = np.column_stack([(logits - centre) / spread, np.ones(len(logits))])
    found = np.array([_regression(inputs, column) for column in hits.T.astype(np.float64)])
    weights = found[:, :-1] / spread
    return weights, found[:, -1] - weights @ centre


def _regression(inputs: Floats, right: Floats) -> Floats:
    ridge = RIDGE * len(inputs) * np.eye(inputs.shape[1])
    found = np.zeros(inputs.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-(inputs @ found)))
        slope = inputs.T @ (chance - right) + ridge @ found
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, slope)
        found = found - step
        if np.abs(step).max() < CONVERGED:
            break
    return found


class _Tried:
    """The best price so far: each gives every image the width of the highest utility."""

    def __init__(self, case: Case, budget: Budget, needs: Needs, chances: Floats, cost: Floats) -> None:
        """`chances` is [n, w], `cost` [w]; `needs` has an option for each width."""
        self._hits, self._budget, self._needs = case.hits, budget, needs
        self._chances, self._cost = chances, cost
        self._best = -np.inf
        self.price = 0.0
        self.last_met = False
        """Whether the price tried last was within the budget."""

    def offer(self, price: float) -> None:
        """Keep a price if it is within the budget and better than those before."""
        choice = self._choice(price)
        shares = np.bincount(choice, minlength=len(self._cost)) / len(choice)
        hits = self._hits[np.arange(len(choice)), choice].sum()
        self.last_met = bool(self._needs.met(shares, hits))
        worth = float(self._needs.worth(shares, hits))
        if self.last_met and worth > self._best:
            self._best, self.price = worth, price

    def used(self) -> list[int]:
        """Return the columns that images get at the best price; raises CalibrationError when none met the budget.

        The other widths' programs need not be loaded.
        """
        if not np.isfinite(self._best):
            raise none_within("utility", self._budget)
        return sorted(set(self._choice(self.price).tolist()))

    def _choice(self, price: float) -> NDArray[np.intp]:
        return np.asarray((self._chances - price * self._cost).argmax(axis=1))


def _prices(tried: _Tried) -> Iterator[float]:
    """Yield prices from 0 up, then halve the ranges in which the budget begins, or ends, to be met."""
    prices = [0.0, *np.geomspace(1e-4, 1e4, PRICES)]
    met = []
    for price in prices:
        yield float(price)
        met.append(tried.last_met)
    changes = [at for at in range(1, len(met)) if met[at] != met[at - 1]]
    for at in changes[:2]:
        low, high, low_met = prices[at - 1], prices[at], met[at - 1]
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            yield float(middle)
            low, high = (middle, high) if tried.last_met == low_met else (low, middle)
