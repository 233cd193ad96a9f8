"""Rules whose budget holds on new images with a chosen probability.

Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei, Annals of Applied Statistics 2025): half of the images fit
rules for ever looser margins to the budget, the other half tests them, safest first, and the last rule before the first
failure is taken (fixed-sequence testing: no correction for the number of tests). A test rejects "the mean cost is
beyond the limit" at level 1 − confidence; each limit has one, and all must reject.

The bound is on images, drawn independently of one another from where new ones come from; the latency of each width is
taken to be what the table says.
"""

from dataclasses import replace

import numpy as np

from edge.bundle.manifest import HeldOut
from edge.calibration.budget import Budget, Floats
from edge.calibration.case import Case, Routing, route
from edge.calibration.held_out import judged
from edge.calibration.policies import Fit, Fitted
from edge.calibration.policies.base import Needs
from edge.errors import CalibrationError

MARGINS = np.linspace(1.0, 0.0, 41)
"""Shares of what lies between the cheapest width and the limit that are given away, safest first."""
LARGEST_BET = 0.75
"""The largest bet is this share of what could lose everything."""


def fit_with_confidence(
    case: Case, budget: Budget, fit: Fit, confidence: float, seed: int = 0
) -> tuple[Fitted, HeldOut]:
    """Return a rule that keeps every limit on new images with probability `confidence`, and what it did in the test.

    Raises CalibrationError when the images at hand cannot show that for any rule.
    """
    shuffled = np.random.default_rng(seed).permutation(case.images)
    fitting, testing = case.take(shuffled[: case.images // 2]), case.take(shuffled[case.images // 2 :])
    found: tuple[Fitted, Routing] | None = None
    for margin in MARGINS:
        try:
            fitted = fit(fitting, _tightened(budget, float(margin)))
        except CalibrationError:
            continue  # depends on the fitting half alone, so that the sequence stays fixed before the test
        routing = route(fitted.policy, testing)
        if not shows(routing, budget, confidence):
            break
        found = fitted, routing
    if found is None:
        raise CalibrationError(
            f"{testing.images} test images cannot show with {confidence * 100:g}% confidence that any rule keeps this "
            "budget; predict more images, lower --confidence, or loosen the budget"
        )
    fitted, routing = found
    return replace(fitted, gap=None), judged([routing], budget, folds=1)


def shows(routing: Routing, budget: Budget, confidence: float) -> bool:
    """Return whether these images show, at the confidence, that every condition holds on average."""
    needs, level = Needs.of(budget, routing.options, len(routing.choice)), 1 - confidence
    tests = [
        (row[routing.choice], limit, float(row.min()), float(row.max()))
        for row, limit in zip(needs.costs, needs.limits, strict=True)
    ]
    if budget.least_accuracy is not None:
        tests.append((1.0 - routing.hit, 1 - budget.least_accuracy, 0.0, 1.0))
    return all(p_value(values, limit, low, high, level) <= level for values, limit, low, high in tests)


def p_value(values: Floats, limit: float, low: float, high: float, level: float) -> float:
    """Return a p-value of "the mean is at least `limit`", valid for any number of values in [low, high].

    The wealth of a bettor who stakes on smaller values, Π(1 − λ_t·(x_t − μ)), has mean at most 1 if the mean is at
    least μ, so that its largest value exceeds 1/p with probability at most p (Ville). Each λ_t is chosen from the
    values before it: Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024, §4.
    """
    if high <= limit:
        return 0.0
    if limit <= low or not len(values):
        return 1.0
    scaled, mean = (values - low) / (high - low), (limit - low) / (high - low)
    count = np.arange(1, len(scaled) + 1)
    means = (0.5 + np.cumsum(scaled)) / (count + 1)
    spreads = (0.25 + np.cumsum((scaled - means) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], spreads[:-1]])
    bets = np.minimum(np.sqrt(2 * np.log(1 / level) / (len(scaled) * before)), LARGEST_BET / (1 - mean))
    wealth = np.cumsum(np.log1p(-bets * (scaled - mean)))
    return float(min(1.0, np.exp(-wealth.max())))


def _tightened(budget: Budget, margin: float) -> Budget:
    return Budget(tuple(replace(condition, margin=margin) for condition in budget.conditions))
