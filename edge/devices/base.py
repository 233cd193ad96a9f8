"""What profiling needs of a device, and nothing more: a name, a fingerprint, and blocks of timed runs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edge.bundle.manifest import Artifact
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle
    from edge.profiling.latency_table import QualityWarning


class Workload(Protocol):
    """Programs of one artifact, loaded on a device in ONE process: what is warmed up stays warm until it is timed."""

    @property
    def runtime_version(self) -> str:
        """Return the runtime's name and version."""

    @property
    def takes_turns(self) -> bool:
        """Return whether a block of one run costs little more than the run: then units can take turns run by run."""

    def run_block(self, programs: Sequence[str], runs: int) -> list[float]:
        """Run the programs one after the other, each fed with what those before it produced, `runs` times in a row.

        Between two of them the decision of a gate is part of the time, as it is when images are classified.
        Returns milliseconds per run, from the first program's input to the last one's output, in order.
        """

    def canary_ms(self) -> float:
        """Return the time of a fixed amount of work that no artifact changes: it slows only when the device does."""


@runtime_checkable
class RestableWorkload(Workload, Protocol):
    """A workload on a device that gets hot or busy, so that a block measured then is better measured again."""

    @property
    def most_rests(self) -> int:
        """Return how many rests a block may cost. One that needs them all has a device that stays slow: the run goes
        on without, and says so."""

    def cool_down(self) -> None:
        """Let the device rest, or other programs finish, for a while."""


@runtime_checkable
class RemoteWorkload(RestableWorkload, Protocol):
    """A workload on a device that may go away and come back."""

    def conditions(self) -> dict[str, Any]:
        """Return what may explain the last block's times: temperature, thermal status, clocks."""

    def recover(self) -> None:
        """Wait for a device that was lost and load the programs again; raises DeviceLostError if it stays away."""

    def warnings(self) -> "list[QualityWarning]":
        """Return what was noticed on the device that makes its times less trustworthy."""


class Device(Protocol):
    """A machine that runs bundles."""

    @property
    def name(self) -> str:
        """Return the short name, the key of latency tables and operating points: a serial, or `local`."""

    @property
    def runner(self) -> str:
        """Return what runs the programs there: `python`, `native`."""

    def fingerprint(self) -> dict[str, Any]:
        """Return the facts that a latency depends on and that do not change from one run to the next."""

    def open(
        self, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> AbstractContextManager[Workload]:
        """Load programs of an artifact; on leaving, whatever was changed on the device is undone."""


def problem_of(device: str, error: EdgeError) -> str:
    """Return what went wrong on a device, in a line that begins with its name."""
    text = str(error)
    return text if text.startswith(device) else f"{device}: {text}"
