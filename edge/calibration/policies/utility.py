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
from edge.calibration.case import Case, Routing, route
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
    needs = Needs.of(budget, [case.option([width]) for width in case.widths], case.images)
    weights, biases = regressions(case.gate_logits, case.hits)
    cost = needs.mean_ms / np.ptp(needs.mean_ms) if np.ptp(needs.mean_ms) else np.zeros(len(case.widths))
    if len(needs.limits):
        cost = (needs.costs / needs.limits[:, None]).sum(axis=0)
    candidates = _Candidates(case, needs)
    for price in _prices(candidates):
        policy = UtilityPolicy(
            widths=list(case.widths),
            weights=weights.tolist(),
            biases=biases.tolist(),
            penalties=(price * cost).tolist(),
        )
        candidates.offer(policy, route(policy, case))
    return Fitted(_used(candidates.best(), case), None)


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


def _used(policy: UtilityPolicy, case: Case) -> UtilityPolicy:
    """Return the policy without the widths that no image gets: their programs need not be loaded."""
    used = [at for at, share in enumerate(route(policy, case).shares) if share]
    return UtilityPolicy(
        widths=[policy.widths[at] for at in used],
        weights=[policy.weights[at] for at in used],
        biases=[policy.biases[at] for at in used],
        penalties=[policy.penalties[at] for at in used],
    )


def _regression(inputs: Floats, right: Floats) -> Floats:
    ridge = RIDGE * len(inputs) * np.eye(inputs.shape[1])
    found = np.zeros(inputs.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = right_chance(inputs, found[None], np.zeros(1))[:, 0]
        slope = inputs.T @ (chance - right) + ridge @ found
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, slope)
        found = found - step
        if np.abs(step).max() < CONVERGED:
            break
    return found


def _prices(candidates: "_Candidates") -> Iterator[float]:
    """Yield prices from 0 up, then halve the range in which the budget begins, or ends, to be met."""
    tried = [0.0, *np.geomspace(1e-4, 1e4, PRICES)]
    met = []
    for price in tried:
        yield float(price)
        met.append(candidates.last_met)
    changes = [at for at in range(1, len(met)) if met[at] != met[at - 1]]
    for at in changes[:2]:
        low, high, low_met = tried[at - 1], tried[at], met[at - 1]
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            yield float(middle)
            low, high = (middle, high) if candidates.last_met == low_met else (low, middle)


class _Candidates:
    """The best of the policies offered: for kinds that are searched, without a proof."""

    def __init__(self, case: Case, needs: Needs) -> None:
        """`needs` has an option for each width of the case."""
        self._case, self._needs = case, needs
        self._best: tuple[float, UtilityPolicy] | None = None
        self.last_met = False
        """Whether the policy offered last was within the budget."""

    def offer(self, policy: UtilityPolicy, routing: Routing) -> None:
        """Keep a policy if it is within the budget and better than those before."""
        shares = np.zeros(len(self._case.widths))
        shares[self._case.columns(policy.widths)] = routing.shares
        hits = routing.hit.sum()
        self.last_met = bool(self._needs.met(shares, hits))
        worth = float(self._needs.worth(shares, hits))
        if self.last_met and (self._best is None or worth > self._best[0]):
            self._best = worth, policy

    def best(self) -> UtilityPolicy:
        """Return the best one; raises CalibrationError when none was within the budget."""
        if self._best is None:
            raise none_within("utility")
        return self._best[1]
