"""Reasons to trust a number less, as typed values, each with what to do about it."""

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from edge.profiling.latency_table import Entry, QualityWarning, Run
from edge.profiling.statistics import relative_half_width, samples_ms

NORMAL_MAD = 1.4826
"""1 / Φ⁻¹(¾): the factor that makes the median absolute deviation an estimate of a normal distribution's σ."""
OUTLIER_DEVIATIONS = 10.0
"""An outlier lies more than 10 σ from the median. Iglewicz & Hoaglin (How to Detect and Handle Outliers, 1993) call 3.5
modified deviations an outlier of normal data; latencies are skewed, and at 3.5 the warning would be on all the time."""
OUTLIER_SHARE = 0.01
SLOW_FIRST_RUN = 2.0
DRIFT = 0.05
THROTTLED = 1.05
THROTTLED_SHARE = 0.1
REMEASURED_SHARE = 0.25
"""Blocks that were measured again do no harm; so many say that the machine is not at rest."""


def quality_warnings(run: Run, ci: float) -> list[QualityWarning]:
    """Return what a run's samples say against it; `ci` is the confidence interval that was asked for."""
    entries = [entry for entry in run.entries if entry.blocks_ms]
    found = (
        _ci_not_reached(entries, ci),
        _throttled(run),
        _cool_down_given_up(run),
        _drift(entries),
        _outliers(entries),
        _slow_first_run(entries),
    )
    return [warning for warning in found if warning]


def not_steady(units: Sequence[Sequence[str]], runs: int) -> QualityWarning:
    """Return the warning for units whose warm-up did not settle."""
    return QualityWarning(
        code="warm_up_not_steady",
        message=f"times still changed by more than 5% after {runs} warm-up runs: {_names(units)}",
        remedy="close other programs and measure again with --restart",
    )


def _ci_not_reached(entries: Sequence[Entry], ci: float) -> QualityWarning | None:
    wide = [entry.programs for entry in entries if relative_half_width(samples_ms(entry)) > ci]
    if not wide:
        return None
    return QualityWarning(
        code="ci_not_reached",
        message=f"the median is not known to ±{ci:.1%}: {_names(wide)}",
        remedy="raise --max-runs or --budget-seconds, or close other programs",
    )


def _throttled(run: Run) -> QualityWarning | None:
    canary = run.environment.get("canary_ms", [])
    reference = run.environment.get("canary_reference_ms", math.inf)
    kept = sum(time > THROTTLED * reference for time in canary)
    again = run.environment.get("remeasured_blocks", 0)
    if kept <= THROTTLED_SHARE * len(canary) and again <= REMEASURED_SHARE * len(canary):
        return None
    return QualityWarning(
        code="throttled",
        message=f"fixed work took over 5% longer than at the start after {kept + again} of {len(canary) + again} blocks"
        f"; {again} of these blocks were measured again",
        remedy="let the device cool down, close other programs, and measure again with --restart",
    )


def _cool_down_given_up(run: Run) -> QualityWarning | None:
    if not run.environment.get("cool_down_given_up"):
        return None
    times = run.environment.get("remeasured_blocks", 0)
    return QualityWarning(
        code="cool_down_given_up",
        message=f"the device stayed slow: after {times} rests and repeated blocks the rest was measured as it was",
        remedy="take it out of its case and off the charger, let it cool, and measure again with --restart",
    )


def _drift(entries: Sequence[Entry]) -> QualityWarning | None:
    drifted = [entry.programs for entry in entries if abs(_last_over_first_third(entry) - 1) > DRIFT]
    if not drifted:
        return None
    return QualityWarning(
        code="drift",
        message=f"the last third of the blocks differs from the first by more than 5%: {_names(drifted)}",
        remedy="compare units by their paired ratio, or measure again with --restart on an idle device",
    )


def _last_over_first_third(entry: Entry) -> float:
    medians = [median(block) for block in entry.blocks_ms]
    third = len(medians) // 3
    return median(medians[-third:]) / median(medians[:third]) if third else 1.0


def _outliers(entries: Sequence[Entry]) -> QualityWarning | None:
    many = [entry.programs for entry in entries if _outlier_share(entry) > OUTLIER_SHARE]
    if not many:
        return None
    return QualityWarning(
        code="outliers",
        message=f"over 1% of the runs lie {OUTLIER_DEVIATIONS:.0f}·1.4826·MAD or more from the median: {_names(many)}",
        remedy="close other programs; use p50 and the interval, not the mean",
    )


def _outlier_share(entry: Entry) -> float:
    samples = np.asarray(samples_ms(entry))
    deviations = np.abs(samples - np.median(samples))
    return float((deviations > OUTLIER_DEVIATIONS * NORMAL_MAD * np.median(deviations)).mean())


def _slow_first_run(entries: Sequence[Entry]) -> QualityWarning | None:
    slow = [entry.programs for entry in entries if entry.first_run_ms > SLOW_FIRST_RUN * median(samples_ms(entry))]
    if not slow:
        return None
    return QualityWarning(
        code="slow_first_run",
        message=f"the first run took more than twice the median: {_names(slow)}",
        remedy="run every program once when the app starts, before the first image",
    )


def _names(units: Sequence[Sequence[str]]) -> str:
    return ", ".join(" + ".join(unit) for unit in units)
