"""What a comparison of two bundles consists of: one record for each figure that both have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, Literal, ParamSpec

from edge.errors import EdgeError
from edge.profiling.statistics import Interval

P = ParamSpec("P")
Metric = Literal["size", "macs", "latency", "accuracy"]
Basis = Literal["exact", "measured", "held out", "calibration"]
"""Where figures come from: the manifests' own facts; latency tables and predictions that were given; the estimates on
held-out images, or the expectations on the calibration images, that the operating points carry."""


@dataclass(frozen=True)
class Subject:
    """What a figure is about; a field that does not apply is None."""

    artifact: str | None = None
    """Runtime and precision, such as `litert int8`."""
    part: str | None = None
    """One kind of the artifact's files (`programs`, `store`, …); None: all of it."""
    width: int | None = None
    point: str | None = None
    device: str | None = None
    """Device, threads and runner of the measurement."""

    def __str__(self) -> str:
        width = None if self.width is None else f"width {self.width}"
        named = ", ".join(filter(None, (self.point, width, self.artifact)))
        return " ".join(filter(None, (named, self.part, self.device and f"on {self.device}")))


@dataclass(frozen=True)
class Change:
    """One figure of B against the same figure of A."""

    metric: Metric
    subject: Subject
    basis: Basis
    a: float
    """Bytes, multiply-accumulates, ms (of a width the p50, of an operating point the mean) or accuracy (0…1)."""
    b: float
    change: float
    """B/A − 1; for accuracy B − A. Of a width's latency: of the medians of blocks' medians, not of the p50s."""
    interval: Interval | None
    """95%, of each change by itself; None: not known. An exact change is its own interval."""


@dataclass(frozen=True)
class NotCompared:
    """A figure that was asked for on both sides and cannot be compared."""

    metric: Metric
    subject: Subject
    reason: str


def attempted(
    metric: Metric,
    subject: Subject,
    compare: Callable[Concatenate[Subject, P], Change],
    *arguments: P.args,
    **options: P.kwargs,
) -> Change | NotCompared:
    """Return the change that `compare` finds, or the reason for which it finds none."""
    try:
        return compare(subject, *arguments, **options)
    except EdgeError as error:
        return NotCompared(metric, subject, str(error))
