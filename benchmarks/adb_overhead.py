"""What profiling over adb adds to a program's time, and what it copies: `python -m benchmarks.adb_overhead BUNDLE`.

The same dsnet-runner with the same programs on this machine, once as `dsnet profile --runner native` starts it, and
once on an emulated phone through the real adb. A *session* is a fresh process of each; their blocks take turns in
random order. Before its block each side does what the profiler does between two blocks: it times the canary, and over
adb asks for temperature and clocks, which starts processes on both sides of adb.

A process keeps the luck it had with its memory, so one session is one observation of each unit: the ratio of the
medians of its two processes. Ratios are medians over sessions.

A bundle to try: `dsnet init --spec ds_mbv1 --out net.safetensors`, then
`dsnet convert net.safetensors --out bundle --runtime executorch --precision fp32 --noise --widths 0,13`.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.emulated_phones import emulated_phones
from benchmarks.side_by_side import Block, OnBlock, ratio, show, time_blocks, write_json
from common import parse_widths
from common.console import progress, stdout, table
from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.devices.adb.device import AdbDevice
from edge.devices.base import Device, RemoteWorkload, Workload
from edge.devices.local import LocalDevice
from edge.devices.native import find_runner
from edge.profiling import Entry, Settings, plan_units
from edge.profiling.measure import Unit
from edge.profiling.profile import resident_programs
from edge.profiling.statistics import samples_ms
from tests.emulator.state import DeviceState

SIDES = ("local", "adb")
TARGET = 1.02
"""Of the ratio over all units."""
Session = Mapping[Unit, Mapping[str, Entry]]


@dataclass(frozen=True)
class Job:
    """What is timed, on which phone."""

    bundle: Bundle
    artifact: Artifact
    units: Sequence[Unit]
    serial: str
    settings: Settings

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the programs to load."""
        return resident_programs(self.artifact, self.units)

    def phone(self) -> AdbDevice:
        """Return the phone as a run that begins sees it."""
        return AdbDevice(self.serial, "native")


def measure_push(job: Job, times: int) -> list[dict[str, float]]:
    """Open the artifact on a phone that has nothing of it, and once more; return the bytes and seconds of both."""
    found = []
    for _ in range(times):
        job.phone().store.clean()
        found.append({**_opened(job, "first"), **_opened(job, "second")})
    return found


def _opened(job: Job, name: str) -> dict[str, float]:
    phone, start = job.phone(), time.perf_counter()
    with phone.open(job.bundle, job.artifact, job.programs, 1):
        seconds = time.perf_counter() - start
    return {f"{name}_pushed_bytes": phone.store.pushed_bytes, f"{name}_seconds": seconds}


def measure_session(job: Job, number: int, on_block: OnBlock) -> tuple[Session, int]:
    """Time every unit in a fresh process of each side; return its samples, and the bytes that were pushed for them."""
    phone = job.phone()
    devices: dict[str, Device] = {"local": LocalDevice("native"), "adb": phone}
    with ExitStack() as stack:
        workloads = {
            side: stack.enter_context(devices[side].open(job.bundle, job.artifact, job.programs, 1))
            for side in SIDES[:: -1 if number % 2 else 1]
        }
        blocks = {_name(unit, side): block(workloads[side], unit) for unit in job.units for side in SIDES}
        entries = time_blocks(blocks, replace(job.settings, seed=number), on_block)
    return {unit: {side: entries[_name(unit, side)] for side in SIDES} for unit in job.units}, phone.store.pushed_bytes


def block(workload: Workload, unit: Unit) -> Block:
    """Return a block as the profiler comes to it: from the canary, and on a phone the conditions, of the one before."""

    def timed(runs: int) -> list[float]:
        workload.canary_ms()
        if isinstance(workload, RemoteWorkload):
            workload.conditions()
        return workload.run_block(unit, runs)

    return timed


def compare(sessions: Sequence[Session]) -> dict[str, Any]:
    """Return both sides' times and their ratio for every unit, and the ratio over all units."""
    by_unit = {unit: {side: _joined([one[unit][side] for one in sessions]) for side in SIDES} for unit in sessions[0]}
    every = {side: _joined([one[unit][side] for one in sessions for unit in one]) for side in SIDES}
    return {
        "rows": [
            {
                "unit": "+".join(unit),
                **{f"{side}_p50_ms": median(samples_ms(entry)) for side, entry in sides.items()},
                "adb_local": ratio(sides["adb"], sides["local"]),
            }
            for unit, sides in by_unit.items()
        ],
        "adb_local": ratio(every["adb"], every["local"]),
    }


def _joined(entries: Sequence[Entry]) -> Entry:
    """Return an entry whose blocks are whole sessions of a unit."""
    blocks = [samples_ms(entry) for entry in entries]
    return entries[0].model_copy(update={"blocks_ms": blocks, "block_order": list(range(len(blocks)))})


def _name(unit: Unit, side: str) -> str:
    return f"{'+'.join(unit)} {side}"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    bundle = open_bundle(options.bundle)
    artifact = bundle.artifact("executorch", options.precision)
    units = plan_units(artifact, parse_widths(options.widths))
    settings = Settings(min_runs=options.runs, max_runs=options.runs)
    # The same processor must be what both sides see: XNNPACK chooses its kernels by it.
    with emulated_phones(1, DeviceState(host_cpu=True), find_runner()) as phones, progress() as bar:
        blocks = bar.add_task("pushing", total=None)
        job = Job(bundle, artifact, units, phones.serials[0], settings)
        pushes = measure_push(job, options.pushes)
        bar.update(blocks, description="measuring")
        found = [measure_session(job, number, lambda _: bar.advance(blocks)) for number in range(options.sessions)]
    return {
        "model": bundle.manifest.model.name,
        "precision": artifact.precision,
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "sessions": options.sessions,
        "runs": options.runs,
        "target": TARGET,
        "push": {name: median(one[name] for one in pushes) for name in pushes[0]},
        "pushed_bytes_of_sessions": sum(pushed for _, pushed in found),
        **compare([session for session, _ in found]),
    }


COLUMNS = ("unit", "local p50 ms", "adb p50 ms", "adb / local")


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    title = (
        f"{result['model']} executorch {result['precision']}, {result['sessions']} sessions of {result['runs']} runs"
    )
    rows = [
        (row["unit"], *(f"{row[f'{side}_p50_ms']:.3f}" for side in SIDES), show(row["adb_local"]))
        for row in result["rows"]
    ]
    stdout().print(table(title, COLUMNS, rows))
    push = result["push"]
    seconds = push["first_seconds"] - push["second_seconds"]
    print(
        f"over all units: adb / local {show(result['adb_local'])}, target {TARGET}\n"
        f"first run: {push['first_pushed_bytes']:,.0f} bytes pushed, ready after {push['first_seconds']:.2f} s; "
        f"second run: {push['second_pushed_bytes']:,.0f} bytes, {push['second_seconds']:.2f} s\n"
        f"so pushing takes {seconds:.2f} s, {push['first_pushed_bytes'] / 1e6 / seconds:.0f} MB/s; "
        f"all later sessions together pushed {result['pushed_bytes_of_sessions']:,} bytes"
    )


def main() -> None:
    """Run the comparison, print its tables and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adb_overhead", description="Measure what profiling over adb adds and copies."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle with an ExecuTorch artifact")
    parser.add_argument("--precision", help="where the bundle holds several")
    parser.add_argument("--widths", default="all")
    parser.add_argument("--runs", type=int, default=100, help="timed runs per unit, side and session")
    parser.add_argument("--sessions", type=int, default=12, help="pairs of fresh processes")
    parser.add_argument("--pushes", type=int, default=3, help="times to push everything")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/adb_overhead.json"))
    options = parser.parse_args()
    if options.sessions < 2 or options.pushes < 1:
        parser.error("give 2 or more --sessions, as one has no interval, and 1 or more --pushes")
    result = run(options)
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
