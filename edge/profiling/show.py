"""A run as people read it: how it was measured, and a line of figures for each unit."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.console import table
from edge.profiling.latency_table import Entry, Run
from edge.profiling.statistics import relative_half_width, samples_ms, summarise

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("unit", "runs", "first", "p50", "p90", "p99", "mean", "MAD", "±CI")


def how(run: Run) -> str:
    """Return what was measured and in which way: `litert int8, python runner, 1 thread(s)`."""
    text = f"{run.runtime} {run.precision}, {run.runner} runner, {run.threads} thread(s)"
    return text if run.sustained_seconds is None else f"{text}, {speed(run.sustained_seconds)}"


def speed(sustained_seconds: float | None) -> str:
    """Return which speed of a device is meant."""
    return "burst" if sustained_seconds is None else f"sustained {sustained_seconds:g} s"


def measured(run: Run) -> list[Entry]:
    """Return the units that have samples."""
    return [entry for entry in run.entries if entry.blocks_ms]


def times(title: str, entries: Iterable[Entry]) -> "Table":
    """Return the table of the units' times, in milliseconds."""
    return table(title, COLUMNS, map(_row, entries))


def _row(entry: Entry) -> tuple[str, ...]:
    summary = summarise(entry)
    figures = (summary.first_run_ms, summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.mean_ms, summary.mad_ms)
    half_width = f"{relative_half_width(samples_ms(entry)):.1%}"
    return ("+".join(entry.programs), str(summary.runs), *(f"{ms:.3f}" for ms in figures), half_width)
