"""Thresholds on the gate's score: the default, found exactly (`edge.calibration.optimise`)."""

from edge.bundle.manifest import ThresholdPolicy
from edge.calibration.budget import Budget
from edge.calibration.case import Case
from edge.calibration.optimise import Problem, calibrate
from edge.calibration.policies import single_width
from edge.calibration.policies.base import Fitted, Needs
from edge.errors import CalibrationError
from edge.runtime.policy import score


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the most accurate thresholds within the budget; with an accuracy to keep, the cheapest ones.

    One width for all may be better than any rule: no gate is asked, and no other width's weights fill the caches.
    Raises CalibrationError when nothing is within the budget, or for fewer than 2 images.
    """
    try:
        single = single_width.fit(case, budget)
    except CalibrationError:
        return _search(case, budget)[0]
    try:
        asking, worth = _search(case, budget)
    except CalibrationError:
        return single
    lead = single_width.worth(case, budget) - worth
    unit = case.images if budget.least_accuracy is None else 1
    return Fitted(single.policy, max(0.0, (asking.gap or 0.0) - lead / unit)) if lead > 0 else asking


def _search(case: Case, budget: Budget) -> tuple[Fitted, float]:
    """Return the best rule that asks the gate, and its worth (`Needs.worth`)."""
    needs = Needs.of(budget, case.choices(), case.images)
    price = None if needs.least_hits is None else needs.mean_ms
    problem = Problem(score(case.gates.first), case.hits, needs.costs, needs.limits, needs.least_hits, price)
    solution = calibrate(problem)
    widths = [case.widths[column] for column in solution.columns]
    worth = float(solution.hits) if solution.mean_price is None else -solution.mean_price
    return Fitted(ThresholdPolicy(widths=widths, thresholds=list(solution.thresholds)), solution.gap), worth
