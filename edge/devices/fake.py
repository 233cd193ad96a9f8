"""A device with scripted latencies and its own clock, logging what it is asked: for tests of the ORDER of actions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge.bundle.manifest import Artifact
from edge.devices.base import Workload

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle

CANARY_MS = 1.0


class FakeDevice:
    """Answers every run with a scripted time; its clock advances by exactly what it answers."""

    name = "fake"

    def __init__(self, latency_ms: Callable[[tuple[str, ...], int], float]) -> None:
        """`latency_ms(programs, number)` is the time of the run `number` (from 0) of these programs in this process."""
        self.log: list[tuple[str, ...]] = []
        """("open", *programs), ("run", count, *programs), ("canary",) and ("close",), in the order they happened."""
        self.canary = CANARY_MS
        self._latency_ms = latency_ms
        self._counts: dict[tuple[str, ...], int] = {}
        self._elapsed_ms = 0.0

    runtime_version = "fake 1.0"
    runner = "python"
    takes_turns = False

    def fingerprint(self) -> dict[str, Any]:
        """Return a fixed fingerprint."""
        return {"cpu": "fake"}

    def seconds(self) -> float:
        """Return the device's own time."""
        return self._elapsed_ms / 1e3

    @contextmanager
    def open(
        self,
        bundle: "Bundle",  # noqa: ARG002
        artifact: Artifact,  # noqa: ARG002
        programs: Sequence[str],
        threads: int,  # noqa: ARG002
    ) -> Iterator[Workload]:
        """Log the opening and the closing; nothing is loaded."""
        self.log.append(("open", *programs))
        self._counts.clear()
        try:
            yield self
        finally:
            self.log.append(("close",))

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Return the scripted times of the next `runs` runs of these programs."""
        unit = tuple(programs)
        self.log.append(("run", str(runs), *unit))
        first = self._counts.get(unit, 0)
        self._counts[unit] = first + runs
        samples = [self._latency_ms(unit, number) for number in range(first, first + runs)]
        self._elapsed_ms += sum(samples)
        return samples

    def canary_ms(self) -> float:
        """Return `canary`."""
        self.log.append(("canary",))
        self._elapsed_ms += self.canary
        return self.canary
