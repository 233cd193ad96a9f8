"""How well latency repeats, against the loop that one would write by hand: `python -m benchmarks.repeatability BUNDLE`.

Ten profile runs of one bundle, and ten plain loops: one untimed run and 50 timed ones per width, one width after
another. Both time every width end to end with the same clock in the same workload, each in a fresh process, and take
turns, so that slow minutes of the machine hit both. What counts is how far the ten medians of a width lie apart,
max / min.

The same again under load: on the core that measures, another process is idle for a while, busy for a while, and so on.
Each of the two is tied to that core, since the scheduler would move one of them away. Measuring starts anywhere in
this, at the same point for both methods. Load is there for less than half of the time, so that a median still is one of
the free machine, if only it is taken from all of the time; give phases that a plain loop of all widths outlasts.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.side_by_side import show, write_json
from common import parse_widths
from common.console import progress, stdout, table
from edge.bundle.reader import open_bundle
from edge.devices.local import LocalDevice
from edge.profiling import Settings, plan_units, profile_bundle, summarise
from edge.profiling.measure import Unit
from edge.profiling.profile import resident_programs
from edge.profiling.statistics import BOOTSTRAP_RESAMPLES

UNTIMED_RUNS = 1
LOAD_SHARE = 0.35
"""Of the time in which the load is busy."""
LOAD = """
import os, random, sys, time
seconds, share, seed = map(float, sys.argv[1:])
lengths, parent, busy = random.Random(seed), os.getppid(), False
while os.getppid() == parent:
    end = time.monotonic() + seconds * lengths.uniform(0.5, 1.5) * 2 * (share if busy else 1 - share)
    while busy and time.monotonic() < end:
        pass
    time.sleep(max(0.0, end - time.monotonic()))
    busy = not busy
"""
"""A process that is idle and busy by turns, of random length, until the one that started it is gone."""


@dataclass(frozen=True)
class Job:
    """What one fresh process measures."""

    bundle: Path
    runtime: str | None
    precision: str | None
    widths: tuple[int, ...] | None
    settings: Settings
    loop_runs: int
    """Timed runs per width of the plain loop."""
    load_core: int | None
    """The core to measure on beside the load; None: no load, and whatever core the scheduler chooses."""
    load_seconds: float
    """Mean length of a phase of the load."""


@dataclass(frozen=True)
class Measured:
    """What it found."""

    medians_ms: dict[str, float]
    """By unit: a width from image to answer."""
    warnings: list[str]
    seconds: float


def profiled(job: Job, number: int) -> Measured:
    """Measure as `dsnet profile` does."""
    bundle = open_bundle(job.bundle)
    artifact = bundle.artifact(job.runtime, job.precision)
    with tempfile.TemporaryDirectory() as folder, _conditions(job, number):
        start = time.monotonic()
        out = Path(folder) / "latency.json"
        run = profile_bundle(bundle, artifact, LocalDevice(), out, widths=job.widths, settings=job.settings)
        seconds = time.monotonic() - start
    answering = _answering([tuple(entry.programs) for entry in run.entries])
    return Measured(
        {_name(unit): summarise(entry).p50_ms for entry in run.entries if (unit := tuple(entry.programs)) in answering},
        [warning.code for warning in run.warnings],
        seconds,
    )


def looped(job: Job, number: int) -> Measured:
    """Measure as a plain loop does."""
    bundle = open_bundle(job.bundle)
    artifact = bundle.artifact(job.runtime, job.precision)
    units = _answering(plan_units(artifact, job.widths))
    with _conditions(job, number):
        start = time.monotonic()
        with LocalDevice().open(bundle, artifact, resident_programs(artifact, units), 1) as workload:
            samples = {unit: workload.run_block(unit, UNTIMED_RUNS + job.loop_runs)[UNTIMED_RUNS:] for unit in units}
        seconds = time.monotonic() - start
    return Measured({_name(unit): median(times) for unit, times in samples.items()}, [], seconds)


METHODS: dict[str, Callable[[Job, int], Measured]] = {"profile": profiled, "loop": looped}


def repeat_both(job: Job, repeats: int, on_run: Callable[[], None]) -> dict[str, list[Measured]]:
    """Measure with both methods in turn, each time in a fresh process; which one is first alternates."""
    found: dict[str, list[Measured]] = {name: [] for name in METHODS}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for number in range(repeats):
            for name in list(METHODS)[:: -1 if number % 2 else 1]:
                found[name].append(processes.submit(METHODS[name], job, number).result())
                on_run()
    return found


def compare(found: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    """Return the spread of every width by both methods, and how the two compare."""
    units = list(found["profile"][0].medians_ms)
    times = {
        name: np.array([[measured.medians_ms[unit] for unit in units] for measured in runs])
        for name, runs in found.items()
    }
    return {
        "rows": [
            {
                "unit": unit,
                **{f"{name}_p50_ms": float(np.median(times[name][:, column])) for name in METHODS},
                **{f"{name}_spread": float(_spreads(times[name])[column]) for name in METHODS},
            }
            for column, unit in enumerate(units)
        ],
        "median_spread": {name: float(np.median(_spreads(times[name]))) for name in METHODS},
        "excess_ratio": _excess_ratio(times["profile"], times["loop"]),
        "throttled": sum("throttled" in measured.warnings for measured in found["profile"]),
        "warnings": [measured.warnings for measured in found["profile"]],
        "mean_seconds": {name: fmean(measured.seconds for measured in runs) for name, runs in found.items()},
        "medians_ms": {name: [measured.medians_ms for measured in runs] for name, runs in found.items()},
    }


def _spreads(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spread of every unit's medians; shape [repeats, units] → [units]."""
    return np.asarray(times.max(axis=0) / times.min(axis=0))


def _excess_ratio(profile: NDArray[np.float64], loop: NDArray[np.float64]) -> dict[str, float] | None:
    """Return how large the profiler's median spread, less 1, is against the loop's; None where the loop has none.

    The interval is a percentile bootstrap over repetitions, both methods' together, as they took turns. Spreads of
    draws are smaller than those of all, for both methods alike, so it is a guide rather than a guarantee.
    """
    draws = np.random.default_rng(0).integers(0, len(profile), (BOOTSTRAP_RESAMPLES, len(profile)))
    every = [np.arange(len(profile)), *draws]
    excesses = [[float(np.median(_spreads(times[draw]))) - 1 for times in (profile, loop)] for draw in every]
    ratios = [ours / plain for ours, plain in excesses if plain > 0]
    if excesses[0][1] <= 0:
        return None
    low, high = np.quantile(ratios[1:], (0.025, 0.975)) if len(ratios) > 1 else (ratios[0], ratios[0])
    return {"value": ratios[0], "low": float(low), "high": float(high), "pairs": len(profile)}


@contextmanager
def _conditions(job: Job, number: int) -> Iterator[None]:
    """Tie this process to the load's core and let the load come and go meanwhile, where one is asked for."""
    if job.load_core is None:
        yield
        return
    os.sched_setaffinity(0, {job.load_core})  # the load's process inherits it
    lead = job.load_seconds * random.Random(f"lead {number}").uniform(1, 5)
    command = [sys.executable, "-c", LOAD, str(job.load_seconds), str(LOAD_SHARE), str(number)]
    load = subprocess.Popen(command)
    try:
        time.sleep(lead)
        yield
    finally:
        load.kill()
        load.wait()


def _answering(units: Sequence[Unit]) -> list[Unit]:
    """Return the units that go from an image to an answer: behind a gate, those of two programs."""
    longest = max(map(len, units))
    return [unit for unit in units if len(unit) == longest]


def _name(unit: Unit) -> str:
    return "+".join(unit)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    bundle = open_bundle(options.bundle)
    artifact = bundle.artifact(options.runtime, options.precision)
    settings = Settings(ci=options.ci, min_runs=options.min_runs, max_runs=options.max_runs)
    cores = {"quiet": None} | ({"load on the measuring core": options.core} if options.load else {})
    conditions = {}
    with progress() as bar:
        steps = bar.add_task("", total=options.repeats * len(METHODS) * len(cores))
        for name, core in cores.items():
            bar.update(steps, description=name)
            job = Job(
                options.bundle, options.runtime, options.precision, parse_widths(options.widths), settings,
                options.loop_runs, core, options.load_seconds,
            )  # fmt: skip
            conditions[name] = compare(repeat_both(job, options.repeats, lambda: bar.advance(steps)))
    return {
        "model": bundle.manifest.model.name,
        "runtime": artifact.runtime,
        "precision": artifact.precision,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "repeats": options.repeats,
        "loop_runs": options.loop_runs,
        "settings": settings.record(),
        "load": {"share": LOAD_SHARE, "phase_seconds": options.load_seconds, "core": options.core},
        "conditions": conditions,
    }


COLUMNS = ("unit", "profile ms", "loop ms", "profile max/min", "loop max/min")


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    for name, found in result["conditions"].items():
        title = f"{result['model']} {result['runtime']} {result['precision']}, {result['repeats']} times each: {name}"
        stdout().print(table(title, COLUMNS, map(_cells, found["rows"])))
        spread, seconds, ratio = found["median_spread"], found["mean_seconds"], found["excess_ratio"]
        against = f"; above 1: {show(ratio)} of the loop's" if ratio else ""
        print(
            f"median over widths: profile {spread['profile']:.4f}, loop {spread['loop']:.4f}{against}\n"
            f"throttling warned of in {found['throttled']} of {result['repeats']} profile runs; "
            f"one run takes {seconds['profile']:.1f} s, one loop {seconds['loop']:.1f} s"
        )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["unit"],
        *(f"{row[f'{name}_p50_ms']:.3f}" for name in METHODS),
        *(f"{row[f'{name}_spread']:.4f}" for name in METHODS),
    )


def main() -> None:
    """Run the comparison, print its tables and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.repeatability", description="Measure how well latency repeats."
    )
    defaults, can_tie = Settings(), hasattr(os, "sched_setaffinity")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--runtime")
    parser.add_argument("--precision")
    parser.add_argument("--widths", default="all")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--loop-runs", type=int, default=50, help="timed runs per width of the plain loop")
    parser.add_argument("--ci", type=float, default=defaults.ci, help="of the profile runs, as the next two")
    parser.add_argument("--min-runs", type=int, default=defaults.min_runs)
    parser.add_argument("--max-runs", type=int, default=defaults.max_runs)
    parser.add_argument("--load", action=argparse.BooleanOptionalAction, default=can_tie, help="also under load")
    parser.add_argument("--load-seconds", type=float, default=1.0, help="mean length of a phase of the load")
    parser.add_argument(
        "--core", type=int, default=max(os.sched_getaffinity(0)) if can_tie else None, help="for the load"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/repeatability.json"))
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error("--repeats: one median has no spread; give 2 or more")
    if options.load and not can_tie:
        parser.error("--load: this system ties no process to a core; give --no-load")
    result = run(options)
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
