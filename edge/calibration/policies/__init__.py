"""The kinds of policy that can be fitted, one interface for all: a further kind is a file here and a line below.

What a fitted policy does with an image is in `edge.runtime.policy`, for every side that routes.
"""

from collections.abc import Callable

from edge.calibration.budget import Budget
from edge.calibration.case import Case
from edge.calibration.policies import cascade, single_width, thresholds, tree, utility
from edge.calibration.policies.base import Fitted

Fit = Callable[[Case, Budget], Fitted]
"""Returns the best policy within the budget; raises CalibrationError where there is none."""

KINDS: dict[str, Fit] = {
    "thresholds": thresholds.fit,
    "tree": tree.fit,
    "utility": utility.fit,
    "cascade": cascade.fit,
}


def kinds_for(gates: int) -> list[str]:
    """Return the kinds that make sense with so many gates: a tree of one gate is nothing but thresholds."""
    needed = {"tree": 2, "cascade": 0}
    return [kind for kind in KINDS if gates >= needed.get(kind, 1)]


__all__ = ["KINDS", "Fit", "Fitted", "kinds_for", "single_width"]
