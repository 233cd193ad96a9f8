"""What a runner is: a program on the device that times programs of a bundle. A further one is one more file here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.bundle.manifest import Artifact
from edge.devices.adb.client import Adb
from edge.devices.adb.facts import Facts
from edge.devices.adb.store import Store
from edge.devices.base import Workload
from edge.profiling.latency_table import QualityWarning

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle


@dataclass(frozen=True)
class Place:
    """A device as runners see it."""

    adb: Adb
    store: Store
    facts: Facts
    mask: str | None = None
    """Affinity mask in hexadecimal, without 0x; None leaves the choice of cores to the device."""
    answer_s: float = 120.0
    """How long a runner may take for one answer before it counts as hung."""

    def pinned(self, command: Sequence[str]) -> list[str]:
        """Return a command line that runs on the cores that were asked for."""
        return [*(["taskset", self.mask] if self.mask else []), *command]


class OpenWorkload(Workload, Protocol):
    """A workload that its user closes."""

    def warnings(self) -> list[QualityWarning]:
        """Return what was noticed that makes its times less trustworthy."""

    def close(self) -> None:
        """End what runs on the device. Closing twice does nothing."""


class Runner(Protocol):
    """A way of timing programs on a device."""

    @property
    def name(self) -> str:
        """Return what `--runner` and latency tables call it."""

    @property
    def runtimes(self) -> Sequence[str]:
        """Return the runtimes whose artifacts it runs."""

    def missing(self, facts: Facts) -> str | None:
        """Return, in one line, what keeps it from running on a device and what to do; None when nothing does."""

    def open(
        self, place: Place, bundle: "Bundle", artifact: Artifact, programs: Sequence[str], threads: int
    ) -> OpenWorkload:
        """Bring to the device what it lacks and load programs of an artifact there.

        Raises RuntimeUnavailableError for an artifact or programs that it does not run, and what the device raises.
        """
