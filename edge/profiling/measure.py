"""The measurement loop: warm up, then interleaved blocks in random order until every median is known well enough.

One *block* is a few runs of one unit in a row; one *round* is one block of every unit, in an order that the seed and
the number of the round determine. Drift and other load thus hit all units alike. After every block a
canary (fixed work) is timed and the run handed on to be saved, so that an interrupted one continues where it stopped.

On a device that can get hot or busy, a block with a slow canary is measured again after a rest; on one that can go
away, a block whose device was lost when the device is back, its programs loaded and warmed up anew.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

from edge.devices.base import RemoteWorkload, RestableWorkload, Workload
from edge.errors import DeviceLostError
from edge.profiling.latency_table import Entry, Run
from edge.profiling.quality import THROTTLED, not_steady
from edge.profiling.statistics import relative_half_width, samples_ms

Unit = tuple[str, ...]

LEAD_IN_RUNS = 1
"""Untimed runs at the start of a block: the caches hold the weights of the unit before."""
WARM_UP_BATCH = 5
WARM_UP_TOLERANCE = 0.05
WARM_UP_MAX_RUNS = 50
"""Warm-up ends when the median of a batch is within the tolerance of the batch before it, or at this many runs."""
CANARY_REFERENCE_TIMES = 5
COOL_DOWNS = 5
"""Rests that a block may cost. One that needs them all has a device that will not cool: the run goes on without, and
says so."""
LOSSES = 5
"""How often in a row a device may be lost before a block is finished."""


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    ci: float = 0.02
    """A unit is finished when half the 95% confidence interval of its median is at most this fraction of the median."""
    min_runs: int = 50
    """No unit is finished before it has this many timed runs."""
    max_runs: int = 1000
    """A unit is finished at this many timed runs, whatever its interval."""
    block_runs: int = 10
    """Timed runs per block."""
    seed: int = 0
    """Determines the order of the blocks."""
    budget_seconds: float | None = None
    """Start no further block once this much time has passed, warm-up included; None: no limit."""
    sustained_seconds: float | None = None
    """Keep the device at work for this long before anything is measured, and never let it rest: its sustained speed."""

    def record(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share."""
        return {name: value for name, value in asdict(self).items() if name != "budget_seconds"}


def measure(
    workload: Workload,
    run: Run,
    units: Sequence[Unit],
    settings: Settings,
    save: Callable[[Run], None],
    seconds: Callable[[], float] = time.monotonic,
    go_on: Callable[[], None] = lambda: None,
) -> Run:
    """Measure `units` on top of what `run` already holds, calling `save` after the warm-up and after every block.

    Returns the run when every unit is finished or the budget is spent; `seconds` is the budget's clock. `go_on` is
    called before every block, those that only keep the device at work among them, and raises to end the measurement.
    """
    deadline = math.inf if settings.budget_seconds is None else seconds() + settings.budget_seconds
    warm, losses = False, 0
    while True:
        go_on()
        try:
            if not warm:
                heat = partial(_heat, workload, units, settings, seconds, go_on)
                run, warm = _warm_up(workload, run, units, heat), True
            elif (unit := _next_unit(run, settings)) and seconds() < deadline:
                run, losses = _measure_block(workload, run, unit, settings), 0
            else:
                return run
        except DeviceLostError:
            losses += 1
            if not isinstance(workload, RemoteWorkload) or losses == LOSSES:
                raise
            workload.recover()
            warm = False
        else:
            save(run)


def finished(entry: Entry, settings: Settings) -> bool:
    """Return whether an entry's median is known well enough, or it has all the runs it may have."""
    samples = samples_ms(entry)
    if len(samples) < settings.min_runs:
        return False
    return len(samples) >= settings.max_runs or relative_half_width(samples) <= settings.ci


def _heat(
    workload: Workload,
    units: Sequence[Unit],
    settings: Settings,
    seconds: Callable[[], float],
    go_on: Callable[[], None],
) -> None:
    """Keep the device at work, one block of each unit after the other, for as long as was asked for."""
    until = seconds() + (settings.sustained_seconds or 0)
    while seconds() < until:
        for unit in units:
            go_on()
            workload.run_block(unit, settings.block_runs)


def _measure_block(workload: Workload, run: Run, unit: Unit, settings: Settings) -> Run:
    """Return the run with one more block of a unit, measured while the device was not slow if that can be had."""

    def timed() -> tuple[list[float], float]:
        return workload.run_block(unit, LEAD_IN_RUNS + settings.block_runs)[LEAD_IN_RUNS:], workload.canary_ms()

    block, canary_ms = timed()
    noted = dict(run.environment)
    rests = 0
    may_rest = settings.sustained_seconds is None and not noted.get("cool_down_given_up")
    while isinstance(workload, RestableWorkload) and may_rest and canary_ms > THROTTLED * noted["canary_reference_ms"]:
        workload.cool_down()
        block, canary_ms = timed()
        rests += 1
        noted["remeasured_blocks"] = noted.get("remeasured_blocks", 0) + 1
        may_rest = rests < COOL_DOWNS
        noted["cool_down_given_up"] = not may_rest
    if isinstance(workload, RemoteWorkload):
        noted["conditions"] = [*noted.get("conditions", []), workload.conditions()]
    return _with_block(run.model_copy(update={"environment": noted}), unit, block, canary_ms)


def _next_unit(run: Run, settings: Settings) -> Unit | None:
    """Return the unit of the next block, or None when a round has just ended and every unit is finished.

    Units that are finished go on until the last one is: every unit then has a block in every round, so that slow and
    fast times of the machine weigh on all of them alike. The entries alone tell where a resumed run stands.
    """
    blocks = {tuple(entry.programs): len(entry.blocks_ms) for entry in run.entries}
    current = min(blocks.values())
    if current == max(blocks.values()) and all(finished(entry, settings) for entry in run.entries):
        return None
    order = list(blocks)
    random.Random(f"{settings.seed} {current}").shuffle(order)
    return next(unit for unit in order if blocks[unit] == current)


def _with_block(run: Run, unit: Unit, block: list[float], canary_ms: float) -> Run:
    position = sum(len(entry.blocks_ms) for entry in run.entries)
    entries = [
        entry.model_copy(update={"blocks_ms": [*entry.blocks_ms, block], "block_order": [*entry.block_order, position]})
        if tuple(entry.programs) == unit
        else entry
        for entry in run.entries
    ]
    environment = {**run.environment, "canary_ms": [*run.environment.get("canary_ms", []), canary_ms]}
    return run.model_copy(update={"entries": entries, "environment": environment})


def _warm_up(workload: Workload, run: Run, units: Sequence[Unit], heat: Callable[[], None]) -> Run:
    """Warm every unit up; a new run gets its entries and the canary's reference, one that resumes keeps its own."""
    warmed = [_warm_up_unit(workload, unit) for unit in units]
    heat()
    if run.entries:
        return run
    reference = median(workload.canary_ms() for _ in range(CANARY_REFERENCE_TIMES))
    unsteady = [unit for unit, (_, steady) in zip(units, warmed, strict=True) if not steady]
    return run.model_copy(
        update={
            "entries": [
                Entry(
                    programs=list(unit),
                    first_run_ms=samples[0],
                    warm_up_runs=len(samples),
                    blocks_ms=[],
                    block_order=[],
                )
                for unit, (samples, _) in zip(units, warmed, strict=True)
            ],
            "environment": {**run.environment, "canary_reference_ms": reference, "canary_ms": []},
            "warnings": [not_steady(unsteady, WARM_UP_MAX_RUNS)] if unsteady else [],
        }
    )


def _warm_up_unit(workload: Workload, unit: Unit) -> tuple[list[float], bool]:
    """Return the warm-up's samples and whether they became steady."""
    samples = workload.run_block(unit, WARM_UP_BATCH)
    while len(samples) < WARM_UP_MAX_RUNS:
        before = median(samples[-WARM_UP_BATCH:])
        samples = [*samples, *workload.run_block(unit, WARM_UP_BATCH)]
        if abs(median(samples[-WARM_UP_BATCH:]) - before) <= WARM_UP_TOLERANCE * before:
            return samples, True
    return samples, False
