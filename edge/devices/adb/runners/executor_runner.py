"""ExecuTorch's own executor_runner on a device: each program a plain .pte, each block a process.

It cannot pass features from one program to the next: end to end, their times are added, and no gate's decision is in
them. Its inputs are ones.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.bundle.manifest import Artifact
from edge.bundle.nested.weights import NestedWeights, open_nested_weights
from edge.devices.adb.facts import Facts
from edge.devices.adb.runners import tools
from edge.devices.adb.runners.base import OpenWorkload, Place
from edge.devices.adb.runners.tools import ToolWorkload, Unit, unparsed
from edge.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

TOOL = "executor_runner"
WARM_UP_RUNS = 5
"""Runs at the start of each process that are not counted: every block is a fresh process."""
ITERATION = re.compile(r"^.*?\bIteration ([0-9]+) of ([0-9]+): ([0-9]+(?:\.[0-9]+)?) ms\s*$", re.MULTILINE)


class ExecutorRunner:
    """The tool."""

    name = TOOL
    runtimes = ("executorch",)

    def missing(self, facts: Facts) -> str | None:
        """Return what is missing: the tool, there or here."""
        return tools.missing(TOOL, facts)

    def open(
        self, place: Place, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> OpenWorkload:
        """Push the tool where it is here, and the plain files of the programs."""
        if artifact.runtime not in self.runtimes:
            raise RuntimeUnavailableError(f"executor_runner runs executorch artifacts, not {artifact.runtime} ones")
        tool = tools.bring(TOOL, place)
        command = place.pinned([tool, f"--cpu_threads={threads}"])
        version = f"executorch {tools.version(TOOL, tool, place)}"
        return ExecutorWorkload(place, command, version, open_nested_weights(bundle, artifact), programs)


class ExecutorWorkload(ToolWorkload):
    """Programs of one ExecuTorch artifact, each run in processes of its own."""

    def __init__(
        self, place: Place, command: Sequence[str], version: str, weights: NestedWeights, programs: Sequence[str]
    ) -> None:
        """`command` starts the tool."""
        self._command, self._weights = command, weights
        super().__init__(place, version, programs)

    def parts(self, unit: Unit) -> list[Unit]:
        """Return the programs one by one."""
        return [(name,) for name in unit]

    def content(self, part: Unit) -> bytes:
        """Return a program's plain file."""
        return self._weights.file(f"{part[0]}.pte")

    def timed(self, part: Unit, path: str, runs: int) -> tuple[float, list[float]]:
        """Run one process, and leave its first runs out."""
        count = WARM_UP_RUNS + runs
        what = [f"--model_path={path}", f"--method_name={part[0]}", f"--num_executions={count}"]
        times = parse_iterations(self._place.adb.shell([*self._command, *what], self._place.answer_s), count)
        return times[0], times[WARM_UP_RUNS:]


def parse_iterations(text: str, count: int) -> list[float]:
    """Return the milliseconds of every iteration; a MeasurementError showing the text unless all of them are there."""
    found = ITERATION.findall(text)
    if [(number, of) for number, of, _ in found] != [(str(number), str(count)) for number in range(1, count + 1)]:
        raise unparsed(TOOL, text)
    return [float(ms) for _, _, ms in found]
