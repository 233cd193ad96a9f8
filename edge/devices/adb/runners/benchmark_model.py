"""Google's benchmark_model on a device: LiteRT artifacts, each unit a plain file of its own.

The tool prints statistics, not samples, but of two runs it prints both. So a block is as many processes of two runs as
it takes, each warmed up anew; what is timed alone has random input, as the tool makes it.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.program_names import GATE
from edge.bundle.litert.hydrate import hydrate, hydrate_monolithic
from edge.bundle.manifest import Artifact
from edge.devices.adb.facts import Facts
from edge.devices.adb.runners import tools
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.devices.adb.runners.tools import ToolWorkload, Unit, unparsed
from edge.errors import RuntimeUnavailableError
from edge.profiling.latency_table import QualityWarning

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

TOOL = "benchmark_model"
RUNS_PER_PROCESS = 2
WARM_UP = ("--warmup_runs=1", "--warmup_min_secs=0.1")
"""A process must bring the clocks up again: a tenth of a second of untimed runs."""
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
        return tools.missing(TOOL, facts)

    def open(
        self, place: Place, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> OpenWorkload:
        """Push the tool where it is here, and the plain files of the programs."""
        if artifact.runtime not in self.runtimes:
            raise RuntimeUnavailableError(f"benchmark_model runs litert artifacts, not {artifact.runtime} ones")
        tool = tools.bring(TOOL, place)
        command = place.pinned([tool, *self._flags, f"--num_threads={threads}"])
        version = f"litert {tools.version(TOOL, tool, place)}"
        return BenchmarkWorkload(place, command, version, bundle.verified_bytes(artifact), programs)


class BenchmarkWorkload(ToolWorkload):
    """Programs of one LiteRT artifact, each run in processes of its own; what passes features on is one graph."""

    def __init__(
        self,
        place: Place,
        command: Sequence[str],
        version: str,
        nested: bytes,
        names: Sequence[str],
    ) -> None:
        """`command` starts the tool."""
        self._command, self._nested = command, nested
        self._fell_back: set[str] = set()
        super().__init__(place, version, names)

    def parts(self, unit: Unit) -> list[Unit]:
        """Return one graph, but for a gate at the side and a net, which are two."""
        return [unit] if unit[0] != GATE else [(name,) for name in unit]

    def content(self, part: Unit) -> bytes:
        """Return the plain file of a program, or of several that follow one another as one."""
        return hydrate_monolithic(self._nested, part, "+".join(part)) if len(part) > 1 else hydrate(self._nested, part)

    def timed(self, part: Unit, path: str, runs: int) -> tuple[float, list[float]]:
        """Run as many processes as it takes."""
        processes = -(-runs // RUNS_PER_PROCESS)
        command = [*self._command, f"--graph={path}", f"--num_runs={RUNS_PER_PROCESS}", "--min_secs=0", *WARM_UP]
        said = self._place.adb.script(REPEATED, str(processes), *command, timeout_s=self._place.answer_s)
        texts = said.split(SEPARATOR)[1:]
        if len(texts) != processes:
            raise unparsed(TOOL, said)
        if NOT_DELEGATED in said:
            self._fell_back.add("+".join(part))
        return parse_first(texts[0]), [ms for text in texts for ms in parse_run(text)][:runs]

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


def parse_run(text: str) -> tuple[float, float]:
    """Return the two timed runs of one process, in milliseconds; a MeasurementError showing the text if it has none.

    The first line of statistics is the warm-up's, the second the run's.
    """
    lines = [match for line in text.splitlines() if (match := STATISTICS.fullmatch(line.strip()))]
    if len(lines) != 2 or int(lines[1][1]) != RUNS_PER_PROCESS:
        raise unparsed(TOOL, text)
    _, first, current, rest = lines[1].groups()
    if (first is None) != ("all same" in rest):
        raise unparsed(TOOL, text)
    return float(first or current) / 1e3, float(current) / 1e3


def parse_first(text: str) -> float:
    """Return the very first inference of one process, in milliseconds."""
    found = [match for line in text.splitlines() if (match := FIRST.match(line.strip()))]
    if len(found) != 1:
        raise unparsed(TOOL, text)
    return float(found[0][1]) / 1e3
