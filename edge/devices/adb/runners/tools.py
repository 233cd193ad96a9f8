"""Programs of others that users bring: on the device already, or here and pushed.

They load one plain file and time it, in a process that ends; so every block of a unit is one or more processes.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from edge.devices.adb.facts import Facts, tool_path
from edge.devices.adb.runners.base import Place
from edge.errors import MeasurementError, RuntimeUnavailableError
from edge.profiling.latency_table import QualityWarning

Unit = tuple[str, ...]

CANARY_RUNS = 4
SHOWN_CHARACTERS = 500


def variable(tool: str) -> str:
    """Return the environment variable that names a tool on this machine: DSNET_BENCHMARK_MODEL."""
    return f"DSNET_{tool.upper()}"


def missing(tool: str, facts: Facts) -> str | None:
    """Return what is missing for a tool to run on a device, in one line; None when it is there or here."""
    if tool in facts.tools or os.environ.get(variable(tool)):
        return None
    return (
        f"no {tool} on the device; push a build for its ABI to {tool_path(tool)} and make it executable, "
        f"or let ${variable(tool)} name it here"
    )


def bring(tool: str, place: Place) -> str:
    """Return a tool's path on the device: of the one named here, pushed if need be, else of the one that is there."""
    named = os.environ.get(variable(tool))
    if named:
        if not Path(named).is_file():
            raise RuntimeUnavailableError(f"${variable(tool)} names {named}, which is no file; correct or unset it")
        return place.store.ensure(Path(named))
    if lacking := missing(tool, place.facts):
        raise RuntimeUnavailableError(f"{place.adb.serial}: {lacking}")
    return place.facts.tools[tool]


def version(tool: str, path: str, place: Place) -> str:
    """Return a name for a tool that does not tell its version: the beginning of its SHA-256."""
    return f"{tool} {place.adb.sha256(path, place.adb.size(path))[:12]}"


def unparsed(tool: str, text: str) -> MeasurementError:
    """Return the error for output that is not understood."""
    return MeasurementError(f"{tool} says what is not understood: {' '.join(text.split())[-SHOWN_CHARACTERS:]!r}")


class ToolWorkload(ABC):
    """Programs of one artifact, each unit a plain file that a tool runs in processes of its own."""

    takes_turns = False
    """Every block is a process of its own."""

    def __init__(self, place: Place, runtime_version: str, programs: Sequence[str]) -> None:
        """Push the plain files of `programs`; the first of them is the canary, for want of fixed work in the tool."""
        self.runtime_version = runtime_version
        """The runtime, and which tool it is in."""
        self._place = place
        self._files: dict[Unit, str] = {}
        self._seen: set[Unit] = set()
        self._canary = (programs[0],)
        for name in programs:
            self._file((name,))

    @abstractmethod
    def parts(self, unit: Unit) -> list[Unit]:
        """Return the plain files that a unit is run as; their times are added."""

    @abstractmethod
    def content(self, part: Unit) -> bytes:
        """Return a plain file."""

    @abstractmethod
    def timed(self, part: Unit, path: str, runs: int) -> tuple[float, list[float]]:
        """Run the plain file at `path`: milliseconds of the very first run in a process, and of `runs` warm ones."""

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Return `runs` times, in milliseconds; the first of all times of a unit is its very first run in a process."""
        parts = [self._samples(part, runs) for part in self.parts(tuple(programs))]
        return [sum(times) for times in zip(*parts, strict=True)]

    def canary_ms(self) -> float:
        """Return the time of a fixed program."""
        return median(self.timed(self._canary, self._file(self._canary), CANARY_RUNS)[1])

    def warnings(self) -> list[QualityWarning]:
        """Return nothing, unless a tool knows better."""
        return []

    def close(self) -> None:  # noqa: B027 - for every tool
        """Do nothing: no process outlives its block."""

    def _samples(self, part: Unit, runs: int) -> list[float]:
        first, warm = self.timed(part, self._file(part), runs)
        if part in self._seen:
            return warm
        self._seen.add(part)
        return [first, *warm[1:]]

    def _file(self, part: Unit) -> str:
        if part not in self._files:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "+".join(part)
                path.write_bytes(self.content(part))
                self._files[part] = self._place.store.ensure(path)
        return self._files[part]
