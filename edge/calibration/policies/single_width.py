"""One width for every image: what every other policy must beat."""

import numpy as np

from edge.bundle.manifest import ThresholdPolicy
from edge.calibration.budget import Budget, Floats
from edge.calibration.case import Case
from edge.calibration.policies.base import Fitted, Needs, none_within


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the best single width within the budget; raises CalibrationError when there is none."""
    found = _worths(case, budget)
    best = int(found.argmax())
    if not np.isfinite(found[best]):
        raise none_within("single width", budget)
    return Fitted(ThresholdPolicy(widths=[case.widths[best]], thresholds=[]), 0.0)


def worth(case: Case, budget: Budget) -> float:
    """Return the worth (`Needs.worth`) of the best single width; −∞ when none is within the budget."""
    return float(_worths(case, budget).max())


def _worths(case: Case, budget: Budget) -> Floats:
    needs = Needs.of(budget, [case.single(width) for width in case.widths], case.images)
    shares, hits = np.eye(len(case.widths)), case.hits.sum(axis=0)
    return np.where(needs.met(shares, hits), needs.worth(shares, hits), -np.inf)
