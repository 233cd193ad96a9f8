"""Whether a budget can be met at all, and the nearest one that can."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from edge.bundle.manifest import AT_LEAST, Statistic
from edge.calibration.budget import ROUNDING, Budget, Condition, expected
from edge.calibration.case import Case, Option
from edge.errors import CalibrationError

NAMES: dict[Statistic, str] = {"images_per_s": "a rate", "mean_macs": "a mean", "mean_ms": "a mean"}
UNITS: dict[Statistic, tuple[float, str]] = {"mean_macs": (1e-6, "M multiply-adds"), "images_per_s": (1, "images/s")}


def check_feasible(budget: Budget, case: Case) -> None:
    """Raise CalibrationError, naming the nearest value that can be met, unless each limit alone can be met.

    No mixture is cheaper than the cheapest width: neither its mean, nor the share of its samples beyond the budget.
    """
    options = [case.single(width) for width in case.widths]
    for limit in budget.limits:
        _check_limit(limit, options)
    if budget.least_accuracy is not None:
        best = float(case.hits.any(axis=1).mean())
        if budget.least_accuracy > best + 1e-9:
            raise CalibrationError(
                f"accuracy {budget.least_accuracy:.4g} cannot be kept: even with the best width for each image it is "
                f"{best:.4f} here; lower it"
            )


def _check_limit(limit: Condition, options: Sequence[Option]) -> None:
    alone = [expected(limit.statistic, [option], [1.0]) for option in options]
    at_least = limit.statistic in AT_LEAST
    best = max(alone) if at_least else min(alone)
    if best < limit.value * (1 - ROUNDING) if at_least else best > limit.value * (1 + ROUNDING):
        scale, unit = UNITS.get(limit.statistic, (1, "ms"))
        rounding = ROUND_FLOOR if at_least else ROUND_CEILING
        nearest = Context(prec=4, rounding=rounding).create_decimal_from_float(best * scale)
        what = NAMES.get(limit.statistic, limit.statistic.removesuffix("_ms"))
        raise CalibrationError(
            f"{what} of {limit.value * scale:g} {unit} cannot be met: the {'most' if at_least else 'cheapest'} "
            f"feasible is {nearest:f} {unit} (always width {options[alone.index(best)].widths[0]}); "
            f"{'lower' if at_least else 'raise'} it to at {'most' if at_least else 'least'} {nearest:f}"
        )
