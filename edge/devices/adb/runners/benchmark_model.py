"""Google's benchmark_model on a device: LiteRT artifacts, each unit a plain file of its own.

The tool prints statistics, not samples, but of two runs it prints both. So a block is as many processes of two runs as
it takes, each warmed up anew; what is timed alone has random input, as the tool makes it.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edge.bundle.litert.hydrate import hydrate, hydrate_monolithic
from edge.bundle.manifest import Artifact
from edge.devices.adb.facts import BENCHMARK_MODEL, Facts
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.errors import MeasurementError, RuntimeUnavailableError
from edge.profiling.latency_table import QualityWarning
from edge.runtime.route import Route

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

TOOL_VARIABLE = "DSNET_BENCHMARK_MODEL"
RUNS_PER_PROCESS = 2
CANARY_PROCESSES = 2
WARM_UP = ("--warmup_runs=1", "--warmup_min_secs=0.1")
"""A process must bring the clocks up again: a tenth of a second of untimed runs."""
SHOWN_CHARACTERS = 500
NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
"""Six significant digits, with an exponent from a million on."""
STATISTICS = re.compile(
    rf"(?:INFO: )?count=([0-9]+) (?:first={NUMBER} )?curr={NUMBER}( ?\(all same\)|(?: [a-z0-9]+=\S+)*)"
)
FIRST = re.compile(rf"(?:INFO: )?Inference timings in us: .*\bFirst inference: {NUMBER}(?:,|$)")
NOT_DELEGATED = "the model graph will not be executed by the delegate"
SEPARATOR = "@process"
REPEATED = """count="$1"; shift
while [ "$count" -gt 0 ]; do echo "@process"; "$@" 2>&1 || exit; count=$((count - 1)); done"""


class BenchmarkModel:
    """The tool, with one way of running graphs."""

    runtimes = ("litert",)

    def __init__(self, name: str, *flags: str) -> None:
        """`flags` choose what runs the graph."""
        self.name = name
        self._flags = flags

    def missing(self, facts: Facts) -> str | None:
        """Return what is missing: the tool, there or here."""
        if facts.benchmark_model or os.environ.get(TOOL_VARIABLE):
            return None
        return (
            f"no benchmark_model on the device; push Google's build for its ABI to {BENCHMARK_MODEL} and make it "
            f"executable, or let ${TOOL_VARIABLE} name it here"
        )

    def open(
        self, place: Place, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> OpenWorkload:
        """Push the tool where it is here, and the plain files of the programs."""
        if artifact.runtime not in self.runtimes:
            raise RuntimeUnavailableError(f"benchmark_model runs litert artifacts, not {artifact.runtime} ones")
        if missing := self.missing(place.facts):
            raise RuntimeUnavailableError(f"{place.adb.serial}: {missing}")
        named = os.environ.get(TOOL_VARIABLE)
        if named and not Path(named).is_file():
            raise RuntimeUnavailableError(f"${TOOL_VARIABLE} names {named}, which is no file; correct or unset it")
        tool = place.store.ensure(Path(named)) if named else str(place.facts.benchmark_model)
        command = place.pinned([tool, *self._flags, f"--num_threads={threads}"])
        return BenchmarkWorkload(place, command, tool, bundle.verified_bytes(artifact), artifact, programs)


class BenchmarkWorkload:
    """Programs of one LiteRT artifact, each run in processes of its own."""

    def __init__(
        self,
        place: Place,
        command: Sequence[str],
        tool: str,
        nested: bytes,
        artifact: Artifact,
        programs: Sequence[str],
    ) -> None:
        """`command` starts the tool, which is at `tool` on the device."""
        self._place, self._command, self._nested = place, command, nested
        self._head = Route.of(artifact).head
        self._files: dict[tuple[str, ...], str] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._fell_back: set[str] = set()
        size = int(place.adb.script('wc -c < "$1"', tool))
        self.runtime_version = f"litert benchmark_model {place.adb.sha256(tool, size)[:12]}"
        """The tool does not tell its version: the beginning of its SHA-256."""
        for name in programs:
            self._file((name,))
        self._canary = programs[0]

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Return `runs` times, in milliseconds; the first one of all is a unit's very first run in a fresh process.

        A prefix and a tail are one graph. A gate and a net are two, whose times are added.
        """
        parts = [self._timed(part, runs) for part in self._parts(tuple(programs))]
        return [sum(times) for times in zip(*parts, strict=True)]

    def canary_ms(self) -> float:
        """Return the time of a fixed program, the first one: the tool has no fixed work of its own."""
        return median(self._timed((self._canary,), RUNS_PER_PROCESS * CANARY_PROCESSES))

    def warnings(self) -> list[QualityWarning]:
        """Return whether a delegate that was asked for did not run the graphs."""
        if not self._fell_back:
            return []
        return [
            QualityWarning(
                code="cpu_fallback",
                message=f"the delegate ran nothing and the CPU everything: {', '.join(sorted(self._fell_back))}",
                remedy="take these for CPU times, or choose a runner whose delegate supports the graph",
            )
        ]

    def close(self) -> None:
        """Do nothing: no process outlives its block."""

    def _parts(self, unit: tuple[str, ...]) -> list[tuple[str, ...]]:
        joined = len(unit) == 1 or (self._head is not None and self._head.role == "prefix")
        return [unit] if joined else [(name,) for name in unit]

    def _file(self, unit: tuple[str, ...]) -> str:
        """Return the path on the device of the plain file that runs a unit as one graph."""
        if unit not in self._files:
            data = hydrate(self._nested, unit) if len(unit) == 1 else self._joined(*unit)
            with TemporaryDirectory() as folder:
                path = Path(folder) / f"{'_'.join(unit)}.tflite"
                path.write_bytes(data)
                self._files[unit] = self._place.store.ensure(path)
        return self._files[unit]

    def _joined(self, prefix: str, tail: str) -> bytes:
        return hydrate_monolithic(self._nested, (prefix, tail), f"net_{tail.removeprefix('tail_')}")

    def _timed(self, unit: tuple[str, ...], runs: int) -> list[float]:
        processes = -(-runs // RUNS_PER_PROCESS)
        timed = (f"--num_runs={RUNS_PER_PROCESS}", "--min_secs=0", *WARM_UP)
        command = [*self._command, f"--graph={self._file(unit)}", *timed]
        said = self._place.adb.script(REPEATED, str(processes), *command, timeout_s=self._place.answer_s)
        texts = said.split(SEPARATOR)[1:]
        if len(texts) != processes:
            raise unparsed(said)
        measured = [parse_run(text) for text in texts]
        if NOT_DELEGATED in said:
            self._fell_back.add("+".join(unit))
        samples = [ms for pair in measured for ms in pair][:runs]
        if unit not in self._seen:
            self._seen.add(unit)
            samples[0] = parse_first(texts[0])
        return samples


def parse_run(text: str) -> tuple[float, float]:
    """Return the two timed runs of one process, in milliseconds; a MeasurementError showing the text if it has none.

    The first line of statistics is the warm-up's, the second the run's.
    """
    lines = [match for line in text.splitlines() if (match := STATISTICS.fullmatch(line.strip()))]
    if len(lines) != 2 or int(lines[1][1]) != RUNS_PER_PROCESS:
        raise unparsed(text)
    _, first, current, rest = lines[1].groups()
    if (first is None) != ("all same" in rest):
        raise unparsed(text)
    return float(first or current) / 1e3, float(current) / 1e3


def parse_first(text: str) -> float:
    """Return the very first inference of one process, in milliseconds."""
    found = [match for line in text.splitlines() if (match := FIRST.match(line.strip()))]
    if len(found) != 1:
        raise unparsed(text)
    return float(found[0][1]) / 1e3


def unparsed(text: str) -> MeasurementError:
    """Return the error for output that is not understood."""
    return MeasurementError(
        f"benchmark_model says what is not understood: {' '.join(text.split())[-SHOWN_CHARACTERS:]!r}"
    )
