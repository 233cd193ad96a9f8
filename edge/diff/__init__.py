"""How two releases of a bundle differ: size, latency, accuracy, with uncertainty, and whether that is acceptable."""

from edge.diff.change import Change, NotCompared, Subject
from edge.diff.compare import Difference, diff_bundles
from edge.diff.conditions import Condition, Verdict, judge, parse_condition
from edge.diff.evidence import Evidence, gather

__all__ = [
    "Change",
    "Condition",
    "Difference",
    "Evidence",
    "NotCompared",
    "Subject",
    "Verdict",
    "diff_bundles",
    "gather",
    "judge",
    "parse_condition",
]
