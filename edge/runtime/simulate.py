"""What adaptive switching does on a device that slows down and recovers: for tests, reports and choosing settings."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge.bundle.manifest import OperatingPoint
from edge.runtime.adaptive import AdaptivePolicy

GOLDEN_RATIO = 0.6180339887498949
"""The fractions of its multiples fill 0…1 evenly, and so do those of any stretch (a Kronecker sequence)."""


@dataclass(frozen=True)
class SimulatedImage:
    """One image of a simulation."""

    at_s: float
    """When it was answered, from the start."""
    point: OperatingPoint
    """The operating point that answered it."""
    width: int
    ms: float
    slowdown: float
    """The device's, by the trace."""
    estimated_slowdown: float
    """The policy's, after this image."""


def simulate(policy: AdaptivePolicy, slowdowns: Iterable[float], period_s: float = 0.0) -> list[SimulatedImage]:
    """Return what `policy` does when image i takes `slowdowns[i]` times its width's expected latency.

    Images start every `period_s` seconds, or when the one before is answered where that is later; 0: one at once
    after another. Image i is as hard for every operating point: it is answered by the width at the quantile
    (i·0.618…) mod 1 of the point's shares, narrow → wide.
    """
    found: list[SimulatedImage] = []
    start_s = 0.0
    for number, slowdown in enumerate(slowdowns):
        point = policy.point
        width, expected_ms = _answering(point, number * GOLDEN_RATIO % 1)
        ms = slowdown * expected_ms
        end_s = start_s + ms / 1000
        policy.observe(width, ms, end_s)
        found.append(SimulatedImage(end_s, point, width, ms, slowdown, policy.slowdown))
        start_s = max(start_s + period_s, end_s)
    return found


def _answering(point: OperatingPoint, quantile: float) -> tuple[int, float]:
    """Return the width that answers the image at `quantile` of the images by hardness, and its mean latency."""
    below = 0.0
    used = [share for share in point.shares if share.share > 0]
    for share in used:
        below += share.share
        if quantile < below:
            break
    assert share.mean_ms is not None, "AdaptivePolicy has checked it"
    return share.width, share.mean_ms
