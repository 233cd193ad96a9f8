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
Group = tuple[Unit, ...]
"""Units that are measured together, in turns; mostly one."""

LEAD_IN_RUNS = 1
"""Untimed runs at the start of a block: the caches hold the weights of the unit before."""
WARM_UP_BATCH = 5
WARM_UP_TOLERANCE = 0.05
WARM_UP_MAX_RUNS = 50
"""Warm-up ends when the median of a batch is within the tolerance of the batch before it, or at this many runs."""
CANARY_REFERENCE_TIMES = 5
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
            elif (group := _next_group(workload, run, settings)) and seconds() < deadline:
                run, losses = _measure_block(workload, run, group, settings), 0
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


def _measure_block(workload: Workload, run: Run, group: Group, settings: Settings) -> Run:
    """Return the run with one more block of a unit, or of several in turns, measured while the device was not slow.

    A slow device rests, and the block is measured again, as often as the workload says that this is worth it.
    """

    def timed() -> tuple[list[list[float]], float]:
        return _time_group(workload, run, group, settings), workload.canary_ms()

    blocks, canary_ms = timed()
    noted = dict(run.environment)
    rests = 0
    may_rest = settings.sustained_seconds is None and not noted.get("cool_down_given_up")
    while isinstance(workload, RestableWorkload) and may_rest and canary_ms > THROTTLED * noted["canary_reference_ms"]:
        workload.cool_down()
        blocks, canary_ms = timed()
        rests += 1
        noted["remeasured_blocks"] = noted.get("remeasured_blocks", 0) + 1
        # One rest per block on average: a device that is slow half of the time is not waited for all day.
        may_rest = rests < workload.most_rests and noted["remeasured_blocks"] <= workload.most_rests + _blocks_done(run)
        noted["cool_down_given_up"] = not may_rest
    if isinstance(workload, RemoteWorkload):
        noted["conditions"] = [*noted.get("conditions", []), workload.conditions()]
    noted["canary_ms"] = [*noted.get("canary_ms", []), canary_ms]
    run = run.model_copy(update={"environment": noted})
    return _with_block(run, group[0], blocks[0]) if len(group) == 1 else _with_turns(run, group, blocks)


def _time_group(workload: Workload, run: Run, group: Group, settings: Settings) -> list[list[float]]:
    """Return a block of each unit of a group; several units take turns run by run, in random order."""
    runs = LEAD_IN_RUNS + settings.block_runs
    if len(group) == 1:
        return [workload.run_block(group[0], runs)[LEAD_IN_RUNS:]]
    shuffled = random.Random(f"{settings.seed} turns {_blocks_done(run)}")
    samples: dict[Unit, list[float]] = {unit: [] for unit in group}
    for _ in range(runs):
        for unit in shuffled.sample(group, len(group)):
            samples[unit] += workload.run_block(unit, 1)
    return [samples[unit][LEAD_IN_RUNS:] for unit in group]


def _next_group(workload: Workload, run: Run, settings: Settings) -> Group | None:
    """Return what is measured next, or None when a round has just ended and every unit is finished.

    Units that are finished go on until the last one is: every unit then has a block in every round, so that slow and
    fast times of the machine weigh on all of them alike. The entries alone tell where a resumed run stands. Where a
    workload can, the units of whole images have another block in every round, in which they take turns.
    """
    blocks: dict[Group, int] = {(tuple(entry.programs),): len(entry.blocks_ms) for entry in run.entries}
    whole = {tuple(entry.programs): len(entry.turns_ms) for entry in run.entries if len(entry.programs) > 1}
    if workload.takes_turns and len(whole) > 1:
        blocks[tuple(whole)] = min(whole.values())
    current = min(blocks.values())
    if current == max(blocks.values()) and all(finished(entry, settings) for entry in run.entries):
        return None
    order = list(blocks)
    random.Random(f"{settings.seed} {current}").shuffle(order)
    return next(group for group in order if blocks[group] == current)


def _with_block(run: Run, unit: Unit, block: list[float]) -> Run:
    position = _blocks_done(run)
    entries = [
        entry.model_copy(update={"blocks_ms": [*entry.blocks_ms, block], "block_order": [*entry.block_order, position]})
        if tuple(entry.programs) == unit
        else entry
        for entry in run.entries
    ]
    return run.model_copy(update={"entries": entries})


def _with_turns(run: Run, group: Group, blocks: Sequence[list[float]]) -> Run:
    turns = dict(zip(group, blocks, strict=True))
    entries = [
        entry.model_copy(update={"turns_ms": [*entry.turns_ms, turns[unit]]})
        if (unit := tuple(entry.programs)) in turns
        else entry
        for entry in run.entries
    ]
    return run.model_copy(update={"entries": entries})


def _blocks_done(run: Run) -> int:
    return sum(len(entry.blocks_ms) for entry in run.entries)


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
