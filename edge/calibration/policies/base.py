"""What fitting gives, and what a budget asks of every kind of policy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Policy
from edge.calibration.budget import ROUNDING, Budget, Floats, costs
from edge.calibration.case import Option
from edge.errors import CalibrationError


@dataclass(frozen=True)
class Fitted:
    """A policy, and how far it is from the best of its kind."""

    policy: Policy
    gap: float | None
    """No policy of this kind is better by more than this on the same images (accuracy 0…1, or ms where an accuracy was
    to be kept); None: no bound is known."""


@dataclass(frozen=True)
class Needs:
    """A budget in numbers: rows of costs that every option has, the limit of each row, and hits to keep."""

    costs: Floats
    """[l, options]"""
    limits: Floats
    """[l]"""
    mean_ms: Floats
    """[options]"""
    least_hits: int | None

    @classmethod
    def of(cls, budget: Budget, options: Sequence[Option], images: int) -> "Needs":
        """Return what a budget asks of `images` images."""
        rows = [costs(limit, options) for limit in budget.limits]
        least = budget.least_accuracy
        return cls(
            costs=np.array([row for row, _ in rows], np.float64).reshape(len(rows), len(options)),
            limits=np.array([limit for _, limit in rows], np.float64),
            mean_ms=np.array([option.samples.mean() for option in options], np.float64),
            least_hits=None if least is None else int(np.ceil(least * images - 1e-9)),
        )

    def met(self, shares: Floats, hits: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether rules with shares [..., options] and hits [...] keep every limit and the hits asked for."""
        slack = ROUNDING * np.ptp(self.costs, axis=1) if self.costs.size else np.zeros(0)
        within = (shares @ self.costs.T <= self.limits + slack).all(axis=-1)
        return np.asarray(within & (hits >= (self.least_hits or 0)))

    def worth(self, shares: Floats, hits: NDArray[np.int64]) -> Floats:
        """Return what is to be as large as possible: the hits, or, where hits are to be kept, −(mean ms)."""
        return hits.astype(np.float64) if self.least_hits is None else -(shares @ self.mean_ms)


def none_within(kind: str, budget: Budget) -> CalibrationError:
    """Return the error of a kind that found nothing within the budget."""
    remedy = "lower the accuracy" if budget.least_accuracy is not None else "loosen the budget"
    return CalibrationError(f"no {kind} policy within the budget was found; {remedy}, or use --policy thresholds")
