"""What a release must not do, as `--fail-if` says it: METRIC>VALUE%, of all that is compared or of one width or point.

size>2%                        an artifact with its weights grew by more than 2%
macs>0%                        a width needs more multiply-accumulates
latency>3%                     a width's or an operating point's latency grew by more than 3%
accuracy-drop>0.5%             a width or an operating point lost more than half a point of accuracy
latency>3%:width=3             of one width; `:width` alone: of every width
accuracy-drop>0.5%:point=fast  of one operating point; `:point` alone: of every one

A condition fails where the near end of the change's 95% interval is beyond the value, so that noise does not fail a
release: for a change that is exactly as large as allowed, that happens in about 1 of 40 comparisons.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from edge.diff.change import Change, Metric, NotCompared, Subject
from edge.diff.compare import Difference
from edge.errors import ConditionError
from edge.profiling.statistics import Interval

Outcome = Literal["within", "within, not certain", "exceeds, not certain", "exceeds, certain"]
"""Where the estimate lies, and whether the whole interval lies on that side of the value."""
Kind = Literal["width", "point"]

METRICS: dict[str, Metric] = {"size": "size", "macs": "macs", "latency": "latency", "accuracy-drop": "accuracy"}
"""What a condition may name → the metric that it is about."""
SCOPES: dict[Metric, tuple[Kind, ...]] = {
    "size": (),
    "macs": ("width",),
    "latency": ("width", "point"),
    "accuracy": ("width", "point"),
}
FORM = re.compile(r"(?P<metric>[^<>=:%]*)>(?P<value>\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})%(?::(?P<scope>.*))?", re.ASCII)
EXAMPLES = "latency>3%, size>2%, accuracy-drop>0.5%:point=fast"
NAMED: dict[Kind, str] = {"width": ":width=3", "point": ":point=NAME"}
NEEDED: dict[tuple[Metric, Kind], str] = {
    ("latency", "width"): "--latency-a and --latency-b",
    ("latency", "point"): "--latency-a, --latency-b, --predictions-a and --predictions-b",
    ("accuracy", "width"): "--predictions-a and --predictions-b",
    ("accuracy", "point"): "--predictions-a and --predictions-b",
}
"""What measures a metric. What bundles record of their points is shown, never judged: B may record what suits it."""


@dataclass(frozen=True)
class Condition:
    """A change that a release must not have."""

    text: str
    metric: Metric
    limit: float
    """The largest change for the worse, 0.03 for 3%; of accuracy in 0…1."""
    kind: Kind | None = None
    """What it is about: widths or operating points; None: all that the metric is measured of."""
    name: str | None = None
    """Which one; None: every one."""

    def covers(self, item: Change | NotCompared) -> bool:
        """Return whether a figure is what this condition is about."""
        subject = item.subject
        if item.metric != self.metric or subject.part is not None:
            return False
        if self.kind is None:
            return True
        is_kind = (subject.point if self.kind == "point" else subject.width) is not None
        return is_kind and self.name in (None, _name(subject, self.kind))


@dataclass(frozen=True)
class Judged:
    """One change under a condition."""

    change: Change
    worse: float
    """The change for the worse: relative, or points of accuracy lost (0…1)."""
    interval: Interval
    outcome: Outcome


@dataclass(frozen=True)
class Verdict:
    """What became of a condition."""

    condition: Condition
    judged: list[Judged]

    @property
    def failed(self) -> bool:
        """Return whether any change is certainly beyond the limit."""
        return any(item.outcome == "exceeds, certain" for item in self.judged)


def parse_condition(text: str) -> Condition:
    """Return the condition that `text` stands for; raises ConditionError that lists what would be right."""
    match = FORM.fullmatch(re.sub(r"\s", "", text))
    if match is None:
        raise ConditionError(f"--fail-if {text[:60]!r} is not METRIC>VALUE%; examples: {EXAMPLES}")
    metric = METRICS.get(match["metric"])
    if metric is None:
        raise ConditionError(f"--fail-if {text[:60]!r}: no metric {match['metric']!r}; valid: {', '.join(METRICS)}")
    kind, name = _scope(text, metric, match["scope"])
    return Condition(text, metric, float(match["value"]) / 100, kind, name)


def judge(condition: Condition, found: Difference) -> Verdict:
    """Return what becomes of a condition; raises ConditionError where anything that it is about cannot be judged."""
    changes = [item for item in found.changes if _counts(condition, item)]
    _check_judgeable(condition, found, changes)
    return Verdict(condition, [_judged(item, condition.limit) for item in changes])


def _scope(text: str, metric: Metric, scope: str | None) -> tuple[Kind | None, str | None]:
    """Return the kind and the name that `:width=3` or `:point` narrow a condition to."""
    if scope is None:
        return None, None
    match = re.fullmatch(r"(?P<kind>width|point)(?:=(?P<name>[\w.-]{1,64}))?", scope, re.ASCII)
    kind = next((kind for kind in SCOPES[metric] if match and match["kind"] == kind), None)
    name = match["name"] if match else None
    if kind is None or (kind == "width" and name and not name.isdecimal()):
        valid = [form for kind in SCOPES[metric] for form in (f":{kind}", NAMED[kind])]
        forms = f"valid: {', '.join(valid)}" if valid else "it is of whole artifacts"
        raise ConditionError(f"--fail-if {text[:60]!r} cannot be narrowed to {scope[:40]!r}; {forms}")
    return kind, str(int(name)) if name and kind == "width" else name


def _check_judgeable(condition: Condition, found: Difference, changes: list[Change]) -> None:
    """Raise ConditionError where a pass would only mean that nobody looked."""
    start = f"--fail-if {condition.text[:60]!r} cannot be judged"
    missing = next((item for item in found.not_compared if condition.covers(item)), None)
    if missing:
        raise ConditionError(f"{start}: {missing.subject}: {missing.reason}")
    if changes:
        return
    every = replace(condition, name=None)
    names = {_name(item.subject, condition.kind) for item in found.changes if condition.kind and _counts(every, item)}
    if names:
        raise ConditionError(
            f"{start}: no {condition.kind} {condition.name} to compare; valid: {', '.join(sorted(names))}"
        )
    if condition.metric in ("latency", "accuracy"):
        needed = NEEDED[condition.metric, condition.kind or "width"]
        raise ConditionError(f"{start} without measurements; give {needed}, of the same artifact on the same device")
    raise ConditionError(f"{start}: the bundles have nothing of the kind in common")


def _counts(condition: Condition, change: Change) -> bool:
    return condition.covers(change) and change.basis in ("exact", "measured")


def _name(subject: Subject, kind: Kind) -> str:
    return str(subject.width) if kind == "width" else str(subject.point)


def _judged(change: Change, limit: float) -> Judged:
    assert change.interval is not None, "what is exact or measured has an interval"
    worse, interval = change.change, change.interval
    if change.metric == "accuracy":
        worse, interval = -worse, Interval(-interval.high, -interval.low)
    return Judged(change, worse, interval, _outcome(worse, interval, limit))


def _outcome(worse: float, interval: Interval, limit: float) -> Outcome:
    if worse > limit:
        return "exceeds, certain" if interval.low > limit else "exceeds, not certain"
    return "within" if interval.high <= limit else "within, not certain"
