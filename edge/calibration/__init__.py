"""Turn latencies and predictions into thresholds: the most accurate ones within a budget, with a proof of the gap."""

from edge.calibration.budget import Budget, Statistic, parse_budget
from edge.calibration.inputs import Inputs, Selection, find_run, load_inputs
from edge.calibration.operating_point import Evaluation, calibration_warnings, evaluate_point, operating_point
from edge.calibration.optimise import Problem, Solution, calibrate
from edge.runtime.policy import choose, score

__all__ = [
    "Budget",
    "Evaluation",
    "Inputs",
    "Problem",
    "Selection",
    "Solution",
    "Statistic",
    "calibrate",
    "calibration_warnings",
    "choose",
    "evaluate_point",
    "find_run",
    "load_inputs",
    "operating_point",
    "parse_budget",
    "score",
]
