"""How long profiling takes on 1, 4 and 16 phones at once: `python -m benchmarks.adb_fleet`.

The phones are emulated, each in a process of its own, behind the real adb with one server for all. Their runner speaks
the native runner's protocol and sleeps for the times it answers: a phone computes on its own processor, so what this
machine has to do meanwhile is all that one phone can take from another. Sizes take turns, each measured in a fresh
process, files already on the phones. What the emulated phones do between blocks costs this machine as well; its share
is among the processor seconds.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import fmean, median
from typing import Any

from benchmarks.emulated_phones import Phones, emulated_phones
from benchmarks.side_by_side import ratio, show, write_json
from common.console import stdout, table
from edge.bundle.manifest import Artifact
from edge.bundle.reader import Bundle, open_bundle
from edge.devices.adb.device import AdbDevice
from edge.devices.base import RemoteWorkload
from edge.devices.local import LocalDevice
from edge.profiling import Entry, Settings
from edge.profiling.fleet import Job, profile_devices
from tests.emulator.state import DeviceState

BUNDLE = Path(__file__).parents[1] / "tests" / "native" / "files" / "networks" / "first"
TARGET = 1.3
"""Of the wall time with the most phones over that with the fewest."""
RUNNER = """
import json, sys, time
if "--version" in sys.argv:
    print("dsnet-runner 1.0.0, executorch 1.5.1")
    sys.exit()
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "load":
        answer = {"loaded": command["unit"], **PROGRAMS[command["unit"]]}
    elif command["do"] == "block":
        run_ms = RUN_MS * len(command["units"])
        time.sleep(run_ms * command["runs"] / 1e3)
        answer = {"samples_ms": [run_ms] * command["runs"]}
    else:
        answer = {"canary_ms": 1.0}
    print(json.dumps(answer), flush=True)
"""
"""The phones' runner, below PROGRAMS, what each program takes and gives, and RUN_MS, how long it sleeps for a run."""

PHASES = ("opening", "asleep", "answering", "canaries", "conditions", "saving", "closing")
"""Of a phone's time: `answering` is what a block takes beyond its sleep, `saving` all that happens between calls."""
WAITING = "waiting"
"""For the last phone."""


@dataclass(frozen=True)
class Measured:
    """What it took to profile some phones at once."""

    wall_s: float
    phases_s: dict[str, float]
    """Where a phone's wall time went, on average over the phones."""
    cpu_s: dict[str, float]
    """Processor time, of this machine's two sides of adb."""


class ClockedDevice(AdbDevice):
    """A phone that notes where its time goes."""

    def __init__(self, serial: str) -> None:
        """Take the phone's serial."""
        super().__init__(serial, "native")
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def open(  # type: ignore[override]
        self, bundle: Bundle, artifact: Artifact, programs: Sequence[str], threads: int
    ) -> "Iterator[ClockedWorkload]":
        """Load programs."""
        start = time.monotonic()
        with super().open(bundle, artifact, programs, threads) as workload:
            opened = time.monotonic()
            yield ClockedWorkload(workload, self.seconds)
            measured = time.monotonic()
        in_calls = sum(self.seconds.values())
        self.seconds["opening"] = opened - start
        self.seconds["saving"] = measured - opened - in_calls
        self.seconds["closing"] = time.monotonic() - measured


class ClockedWorkload:
    """A phone's workload, whose calls are clocked."""

    def __init__(self, workload: RemoteWorkload, seconds: dict[str, float]) -> None:
        """`seconds` is added to."""
        self._workload, self._seconds = workload, seconds
        self.runtime_version, self.takes_turns = workload.runtime_version, workload.takes_turns
        self.most_rests = workload.most_rests
        self.cool_down, self.recover, self.warnings = workload.cool_down, workload.recover, workload.warnings

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Run a block."""
        with self._noted("answering"):
            samples = self._workload.run_block(programs, runs)
        self._seconds["asleep"] += sum(samples) / 1e3
        self._seconds["answering"] -= sum(samples) / 1e3
        return samples

    def canary_ms(self) -> float:
        """Ask for the canary."""
        with self._noted("canaries"):
            return self._workload.canary_ms()

    def conditions(self) -> dict[str, Any]:
        """Ask for the conditions."""
        with self._noted("conditions"):
            return self._workload.conditions()

    @contextmanager
    def _noted(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._seconds[phase] += time.monotonic() - start


def profile_phones(serials: Sequence[str], settings: Settings) -> Measured:
    """Profile phones as `dsnet profile` does, and say what it took in this process and its adb clients."""
    bundle = open_bundle(BUNDLE)
    job = Job(bundle, bundle.artifact("executorch", "fp32"), None, (1,), settings, resume=False)
    devices = [ClockedDevice(serial) for serial in serials]
    with tempfile.TemporaryDirectory() as folder:
        before, start = _own_cpu(), time.monotonic()
        runs, problems = profile_devices(job, devices, Path(folder) / "latency.json")
        wall_s, cpu_s = time.monotonic() - start, _own_cpu()
    if problems or not all(run.complete for _, run in runs):
        raise RuntimeError("; ".join(problems) or "a phone is not finished")
    phases = {name: fmean(device.seconds[name] for device in devices) for name in devices[0].seconds}
    phases[WAITING] = wall_s - sum(phases.values())
    return Measured(wall_s, phases, {name: cpu_s[name] - before[name] for name in cpu_s})


def _own_cpu() -> dict[str, float]:
    """Return the processor time of this process and of the adb programs that it started and that have ended."""
    kinds = {"profiler": RUSAGE_SELF, "adb clients": RUSAGE_CHILDREN}
    used = {name: getrusage(kind) for name, kind in kinds.items()}
    return {name: found.ru_utime + found.ru_stime for name, found in used.items()}


def measure(phones: Phones, size: int, settings: Settings) -> Measured:
    """Profile the first phones in a fresh process, which was started before the clock."""
    before = phones.cpu_s()
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        found = processes.submit(profile_phones, phones.serials[:size], settings).result()
    after = phones.cpu_s()
    return replace(found, cpu_s=found.cpu_s | {name: after[name] - before[name] for name in after})


def write_runner(path: Path, run_ms: float) -> Path:
    """Write the phones' runner and return its path."""
    described = {
        program.name: {
            kind: [{"dtype": tensor.dtype, "shape": tensor.shape} for tensor in getattr(program, kind)]
            for kind in ("inputs", "outputs")
        }
        for program in open_bundle(BUNDLE).artifact("executorch", "fp32").programs
    }
    path.write_text(f"#!{sys.executable} -IS\nPROGRAMS = {json.dumps(described)}\nRUN_MS = {run_ms}\n{RUNNER}")
    path.chmod(0o755)
    return path


def repeat_sizes(phones: Phones, sizes: Sequence[int], repeats: int, settings: Settings) -> dict[int, list[Measured]]:
    """Measure every size so many times, in turn; which one is first rotates. The files are pushed before."""
    measure(phones, max(sizes), settings)
    found: dict[int, list[Measured]] = {size: [] for size in sizes}
    for number in range(repeats):
        turn = number % len(sizes)
        for size in (*sizes[turn:], *sizes[:turn]):
            found[size].append(measure(phones, size, settings))
    return found


def compare(found: Mapping[int, Sequence[Measured]]) -> dict[str, Any]:
    """Return medians by size, and the growth of the wall time from the first size to the others."""
    walls = {size: _entry(size, [measured.wall_s for measured in runs]) for size, runs in found.items()}
    first = next(iter(found))
    return {
        "rows": [
            {
                "devices": size,
                "wall_s": median(measured.wall_s for measured in runs),
                "growth": ratio(walls[size], walls[first]) if size != first else None,
                "phases_s": _medians([measured.phases_s for measured in runs]),
                "cpu_s": _medians([measured.cpu_s for measured in runs]),
            }
            for size, runs in found.items()
        ],
        "walls_s": {str(size): [measured.wall_s for measured in runs] for size, runs in found.items()},
    }


def _entry(size: int, walls_s: Sequence[float]) -> Entry:
    """Return wall times as blocks of one run, which pair with those of the same repetition of other sizes."""
    blocks = [[1e3 * wall_s] for wall_s in walls_s]
    order = list(range(len(blocks)))
    return Entry(programs=[str(size)], first_run_ms=0, warm_up_runs=0, blocks_ms=blocks, block_order=order)


def _medians(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in found) for name in found[0]}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    settings = Settings(min_runs=options.runs, max_runs=options.runs)
    with tempfile.TemporaryDirectory() as folder:
        runner = write_runner(Path(folder) / "dsnet-runner", options.run_ms)
        with emulated_phones(max(options.sizes), DeviceState(), runner) as phones:
            found = repeat_sizes(phones, options.sizes, options.repeats, settings)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": LocalDevice().fingerprint(),
        "run_ms": options.run_ms,
        "runs": options.runs,
        "repeats": options.repeats,
        "target": TARGET,
        **compare(found),
    }


def report(result: Mapping[str, Any]) -> None:
    """Print the figures."""
    rows, console = result["rows"], stdout()
    sizes = [f"{row['devices']} at once" for row in rows]
    print(f"{result['runs']} runs of every unit, {result['run_ms']:g} ms per program; medians of {result['repeats']}")
    total = [
        ("all", *(f"{row['wall_s']:.2f}" for row in rows)),
        (f"growth (target {TARGET})", *(show(row["growth"]) if row["growth"] else "–" for row in rows)),
    ]
    phases = _seconds([row["phases_s"] for row in rows])
    console.print(table("Wall time in seconds, and where a phone's went", ("", *sizes), [*total, *phases]))
    cpu = _seconds([row["cpu_s"] for row in rows])
    console.print(table("Processor time on this machine in seconds", ("", *sizes), cpu))


def _seconds(found: Sequence[Mapping[str, float]]) -> list[tuple[str, ...]]:
    return [(name, *(f"{one[name]:.2f}" for one in found)) for name in found[0]]


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(map(int, text.split(",")))
    if min(sizes) < 1:
        raise ValueError
    return sizes


def main() -> None:
    """Run the comparison, print its tables and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adb_fleet", description="Measure how profiling time grows with the phones."
    )
    parser.add_argument("--sizes", type=_sizes, default=(1, 4, 16), help="phones at once; the first is compared with")
    parser.add_argument("--run-ms", type=float, default=50.0, help="how long a program sleeps for a run")
    parser.add_argument("--runs", type=int, default=50, help="timed runs per unit")
    parser.add_argument("--repeats", type=int, default=5, help="of each size")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/adb_fleet.json"))
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error("--repeats: one pair has no interval; give 2 or more")
    result = run(options)
    report(result)
    write_json(options.out, result)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
