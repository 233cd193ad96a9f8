"""Turn latencies and predictions into operating points: the best policy within a budget, and how sure that is."""

from edge.calibration.budget import Budget, Condition, parse_budget
from edge.calibration.case import Case, Option, Routing, route
from edge.calibration.compare import Comparison, compare_policies
from edge.calibration.inputs import Inputs, Selection, find_run, load_inputs
from edge.calibration.operating_point import Evaluation, evaluate_point, operating_point
from edge.calibration.optimise import Problem, Solution, calibrate
from edge.calibration.policies import KINDS, Fitted
from edge.calibration.warnings import calibration_warnings
from edge.runtime.policy import choose, score

__all__ = [
    "KINDS",
    "Budget",
    "Case",
    "Comparison",
    "Condition",
    "Evaluation",
    "Fitted",
    "Inputs",
    "Option",
    "Problem",
    "Routing",
    "Selection",
    "Solution",
    "calibrate",
    "calibration_warnings",
    "choose",
    "compare_policies",
    "evaluate_point",
    "find_run",
    "load_inputs",
    "operating_point",
    "parse_budget",
    "route",
    "score",
]
