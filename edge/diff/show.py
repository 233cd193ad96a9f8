"""A comparison of two bundles as tables and lines for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.console import table
from edge.diff.change import Change, Metric
from edge.diff.compare import Difference
from edge.diff.conditions import Judged, Verdict
from edge.profiling.statistics import Interval

if TYPE_CHECKING:
    from rich.table import Table

TITLES: dict[Metric, str] = {
    "size": "Bytes",
    "macs": "Multiply-accumulates",
    "latency": "Milliseconds (widths: p50, operating points: mean)",
    "accuracy": "Top-1 accuracy",
}
BASES = {
    "exact": "manifest",
    "measured": "measured",
    "held out": "recorded, held out",
    "calibration": "recorded",
}


def tables(found: Difference) -> Iterator["Table"]:
    """Yield a table for each metric that was compared."""
    for metric, title in TITLES.items():
        rows = [_row(change) for change in found.changes if change.metric == metric]
        if rows:
            yield table(title, ("", "A", "B", "change", "95% interval", "from"), rows)


def lines(found: Difference) -> Iterator[str]:
    """Yield what the tables do not say."""
    yield from (f"only in A: {name}" for name in found.removed)
    yield from (f"only in B: {name}" for name in found.added)
    yield from (f"not compared: {item.metric} of {item.subject}: {item.reason}" for item in found.not_compared)
    yield from (f"note: {text}" for text in found.circumstances)


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield how a condition ended, and every change beyond it or, where there is none, the one that came closest."""
    beyond = [item for item in verdict.judged if item.outcome.startswith("exceeds")]
    shown = beyond or [max(verdict.judged, key=lambda item: item.worse)]
    counts = f"{len(beyond)} of {len(verdict.judged)} beyond it"
    yield f"{'FAILED' if verdict.failed else 'passed'} {verdict.condition.text}: {counts}"
    yield from (f"- {_judged(item)}: {item.outcome}" for item in shown)


def _row(change: Change) -> tuple[str, ...]:
    interval = "unknown" if change.interval is None else _interval(change.interval, change.metric)
    shown = "exact" if change.basis == "exact" else interval
    values = _value(change.a, change.metric), _value(change.b, change.metric)
    return str(change.subject), *values, _signed(change.change, change.metric), shown, BASES[change.basis]


def _judged(item: Judged) -> str:
    metric = item.change.metric
    lost = " lost" if metric == "accuracy" else ""
    interval = "" if item.change.basis == "exact" else f" ({_interval(item.interval, metric)})"
    return f"{item.change.subject}: {_signed(item.worse, metric)}{lost}{interval}"


def _value(value: float, metric: Metric) -> str:
    if metric == "accuracy":
        return f"{value:.2%}"
    return f"{value:.3f}" if metric == "latency" else f"{value:,.0f}"


def _interval(interval: Interval, metric: Metric) -> str:
    return f"{_signed(interval.low, metric)} … {_signed(interval.high, metric)}"


def _signed(change: float, metric: Metric) -> str:
    """Return a change with its sign; of accuracy in points, so that it cannot be taken for a relative one."""
    return f"{change * 100:+.2f} points" if metric == "accuracy" else f"{change:+.2%}"
