"""Thresholds on the gate's score: the default, found exactly (`edge.calibration.optimise`)."""

from edge.bundle.manifest import ThresholdPolicy
from edge.calibration.budget import Budget
from edge.calibration.case import Case
from edge.calibration.optimise import Problem, calibrate
from edge.calibration.policies.base import Fitted, Needs
from edge.runtime.policy import score


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the most accurate thresholds within the budget; with an accuracy to keep, the cheapest ones.

    Raises CalibrationError when nothing is within the budget, or for fewer than 2 images.
    """
    needs = Needs.of(budget, [case.option([width]) for width in case.widths], case.images)
    price = None if needs.least_hits is None else needs.mean_ms
    solution = calibrate(
        Problem(score(case.gate_logits), case.hits, needs.costs, needs.limits, needs.least_hits, price)
    )
    widths = [case.widths[column] for column in solution.columns]
    return Fitted(ThresholdPolicy(widths=widths, thresholds=list(solution.thresholds)), solution.gap)
