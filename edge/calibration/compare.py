"""Every kind of policy for the same budget on the same held-out images, and the best single width beside them."""

from dataclasses import dataclass
from typing import Any

from edge.bundle.manifest import HeldOut
from edge.calibration.budget import Budget
from edge.calibration.case import Case
from edge.calibration.held_out import cross_fit
from edge.calibration.inputs import Inputs
from edge.calibration.policies import KINDS, Fit, kinds_for, single_width
from edge.errors import CalibrationError


@dataclass(frozen=True)
class Row:
    """What one kind of policy does."""

    kind: str
    held_out: HeldOut | None
    problem: str = ""
    """Why there is no figure."""


@dataclass(frozen=True)
class Comparison:
    """All kinds for one budget."""

    budget: str
    rows: list[Row]

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "budget": self.budget,
            "policies": {
                row.kind: row.held_out.model_dump(mode="json") if row.held_out else row.problem for row in self.rows
            },
        }


def compare_policies(inputs: Inputs, budget: Budget) -> Comparison:
    """Return what every kind of policy does within the budget, judged on the same folds."""
    case = Case.of(inputs.run, inputs.predictions, inputs.route, inputs.macs)
    kinds: dict[str, Fit] = {
        "single width": single_width.fit,
        **{kind: KINDS[kind] for kind in kinds_for(case.gates.gates)},
    }
    return Comparison(budget.name, [_row(kind, fit, case, budget) for kind, fit in kinds.items()])


def _row(kind: str, fit: Fit, case: Case, budget: Budget) -> Row:
    try:
        return Row(kind, cross_fit(case, budget, fit))
    except CalibrationError as error:
        return Row(kind, None, str(error))
