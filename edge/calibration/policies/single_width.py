"""One width for every image: what every other policy must beat."""

import numpy as np

from edge.bundle.manifest import ThresholdPolicy
from edge.calibration.budget import Budget
from edge.calibration.case import Case
from edge.calibration.policies.base import Fitted, Needs, none_within


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the best single width within the budget; raises CalibrationError when there is none."""
    needs = Needs.of(budget, [case.option([width]) for width in case.widths], case.images)
    shares, hits = np.eye(len(case.widths)), case.hits.sum(axis=0)
    worth = np.where(needs.met(shares, hits), needs.worth(shares, hits), -np.inf)
    best = int(worth.argmax())
    if not np.isfinite(worth[best]):
        raise none_within("single width")
    return Fitted(ThresholdPolicy(widths=[case.widths[best]], thresholds=[]), 0.0)
