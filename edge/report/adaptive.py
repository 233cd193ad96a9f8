"""What `AdaptivePolicy` would do with a section's operating points while the device slows down and recovers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from edge.bundle.manifest import OperatingPoint
from edge.report.lists import read_list
from edge.runtime.adaptive import AdaptivePolicy
from edge.runtime.simulate import SimulatedImage, simulate

CAMERA_S = 1 / 30
"""An image from a camera of 30 frames per second."""
PHASES_S = (15, 15, 20, 15, 25)
"""Seconds of the made-up trace: as calibrated, ever slower, slow, recovering, as calibrated."""
MAX_IMAGES = 100_000
Slowdown = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
SLOWDOWNS: TypeAdapter[list[float]] = TypeAdapter(
    Annotated[list[Slowdown], Field(min_length=100, max_length=MAX_IMAGES)]
)


@dataclass(frozen=True)
class Simulation:
    """A simulated stretch of images."""

    images: Sequence[SimulatedImage]
    dearest: OperatingPoint
    """The point whose mean latency is to be kept."""
    recorded: bool
    """Whether the slowdowns were recorded on a device, not made up."""


def load_slowdowns(path: Path) -> list[float]:
    """Return the slowdown of each image that a file lists; raises ReportError."""
    return read_list(path, SLOWDOWNS, "slowdowns, one number for each image: 1 is as fast as calibrated")


def simulation(points: Sequence[OperatingPoint], slowdowns: Sequence[float] | None = None) -> Simulation:
    """Return what happens to `points`, at least one, when the mean latency of the dearest of them is to be kept.

    Without recorded `slowdowns` the device becomes just so slow that the cheapest point still keeps it. Raises
    CalibrationError for points that cannot be switched between.
    """
    ordered = sorted(points, key=lambda point: point.expected_mean_ms)
    dearest = ordered[-1]
    policy = AdaptivePolicy(ordered, target_ms=dearest.expected_mean_ms)
    trace = slowdowns or made_up(dearest.expected_mean_ms / ordered[0].expected_mean_ms)
    return Simulation(simulate(policy, trace, CAMERA_S), dearest, recorded=slowdowns is not None)


def made_up(peak: float) -> list[float]:
    """Return the slowdown of each image of a device that slows down to `peak` and recovers."""
    corners_s = np.cumsum((0, *PHASES_S))
    times_s = np.arange(0, corners_s[-1], CAMERA_S)
    return [float(value) for value in np.interp(times_s, corners_s, (1, 1, peak, peak, 1, 1))]
