"""Per-width utility: each width's calibrated chance of being right, less λ times its cost.

The chance is a logistic regression of the hits on the gate's logits, one per width (the idea: Chow, On optimum
recognition error and reject tradeoff, IEEE Trans. Information Theory 1970, with a cost for each choice). λ is searched:
the mean cost falls as it grows.
"""

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import UtilityPolicy
from edge.calibration.budget import Budget, Floats
from edge.calibration.case import Case
from edge.calibration.policies.base import Fitted, Needs, none_within
from edge.calibration.policies.price import best_price, combined_cost
from edge.runtime.policy import right_chance

RIDGE = 1e-3
"""Weight of the penalty on the regression's weights, per image: keeps them finite where hits are all equal."""
NEWTON_STEPS = 25
CONVERGED = 1e-8


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the best utility policy of all prices tried; raises CalibrationError when none is within the budget."""
    needs = Needs.of(budget, case.choices(), case.images)
    weights, biases = regressions(case.gates.first, case.hits)
    chances, cost = right_chance(case.gates.first, weights, biases), combined_cost(needs)

    def choice(price: float) -> NDArray[np.intp]:
        return np.asarray((chances - price * cost).argmax(axis=1))

    price = best_price(case, needs, choice)
    if price is None:
        raise none_within("utility", budget)
    used = sorted(set(choice(price).tolist()))  # the other widths' programs need not be loaded
    return Fitted(
        UtilityPolicy(
            widths=[case.widths[column] for column in used],
            weights=weights[used].tolist(),
            biases=biases[used].tolist(),
            penalties=(price * cost)[used].tolist(),
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
