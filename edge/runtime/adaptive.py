"""Which operating point answers while the device slows down and recovers: docs/adaptive.md, in one place.

A device that runs hot takes longer for every width. Each image's time, divided by what its width took when the bundle
was profiled, tells by how much; harder images do not, since they are answered by wider widths. The best operating point
that keeps the target at this slowdown answers next: a cheaper one at once, a better one only when it would have
kept the target for a while.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edge.bundle.manifest import OperatingPoint, Policy, Statistic
from edge.errors import CalibrationError, MeasurementError

LATENCIES: tuple[Statistic, ...] = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "images_per_s")
"""Statistics that a slower device makes worse, by the factor that it is slower."""
Target = dict[Statistic, float]
"""Limits to keep."""


@dataclass(frozen=True)
class AdaptiveSettings:
    """How quickly to switch; docs/adaptive.md derives the defaults."""

    window: int = 16
    """Images that the slowdown is estimated from."""
    trimmed: int = 3
    """The fastest and the slowest images of the window that are left out, as many of each."""
    tolerance: float = 0.05
    """A point is left when it misses the target by more than this fraction."""
    dwell_s: float = 5.0
    """A better point must have kept the target in the mean of this long, in seconds, and of `window` images."""
    max_dwell_s: float = 320.0
    """Where a better point had to be left within `dwell_s`, the next wait is twice as long, up to this."""

    def __post_init__(self) -> None:
        """Raise CalibrationError for settings without a meaning."""
        if not 0 <= 2 * self.trimmed < self.window <= 1024:
            raise CalibrationError(f"window {self.window} must be above 2 x trimmed {self.trimmed}, and at most 1024")
        if not (0 <= self.tolerance < math.inf and 0 < self.dwell_s <= self.max_dwell_s < math.inf):
            raise CalibrationError(
                f"tolerance {self.tolerance} must be at least 0, dwell_s {self.dwell_s} above 0 and at most "
                f"max_dwell_s {self.max_dwell_s}"
            )


@dataclass(frozen=True)
class _Rung:
    """An operating point and what it means for one target."""

    point: OperatingPoint
    expected_ms: dict[int, float]
    """Mean latency of an image, by the width that answers it."""
    allowed_slowdown: float
    """The slowdown at which the point just keeps the target."""


@dataclass
class _Period:
    """The images since the last switch, or since a better point was last considered."""

    start_s: float = 0.0
    images: int = 0
    mean: float = 0.0
    """Of the slowdown."""

    def add(self, slowdown: float, at_s: float) -> None:
        if not self.images:
            self.start_s = at_s
        self.images += 1
        self.mean += (slowdown - self.mean) / self.images


class AdaptivePolicy:
    """The operating point for the next image, from what the last ones took. Time is an argument: nothing is random.

    In any `seconds`, it switches at most p + 1 + 2·⌊seconds / dwell_s⌋ times, for p points and any latencies: a bound
    on the average dwell time (Hespanha and Morse, CDC 1999), proven in docs/adaptive.md.
    """

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        target_ms: float | None = None,
        settings: AdaptiveSettings | None = None,
    ) -> None:
        """Take points of one artifact, device, runner and thread count; those that are worse and dearer are not used.

        The target is a mean latency of `target_ms`, else what the first point was asked for. Raises CalibrationError
        when there is none, no point keeps it on the calibrated device, or a point does not say what it expects.
        """
        _check_one_device(points)
        self._settings = settings or AdaptiveSettings()
        self._rungs = _ladder(points, _target(points[0], target_ms))
        self._ratios = deque([1.0] * self._settings.window, self._settings.window)
        self._slowdown = 1.0
        self._current = self._best(self._slowdown)
        self._wait_s = self._settings.dwell_s
        self._raised_at_s: float | None = None
        self._period = _Period()

    @property
    def point(self) -> OperatingPoint:
        """Return the operating point for the next image."""
        return self._rungs[self._current].point

    @property
    def policy(self) -> Policy:
        """Return that point's policy."""
        return self.point.policy

    @property
    def policies(self) -> list[Policy]:
        """Return the policies of all points that may answer, from the cheapest to the most accurate."""
        return [rung.point.policy for rung in self._rungs]

    @property
    def name(self) -> str:
        """Return the point's name."""
        return self.point.name

    @property
    def slowdown(self) -> float:
        """Return how many times as long as on the calibrated device an image takes: a trimmed mean."""
        return self._slowdown

    def observe(self, width: int, ms: float, at_s: float) -> OperatingPoint:
        """Take in that `width` answered an image in `ms` at time `at_s`, and return the point for the next image.

        `at_s` is in seconds of any clock that does not go back. Raises MeasurementError for a time that is none, or a
        width that the point does not use.
        """
        expected_ms = self._rungs[self._current].expected_ms
        if width not in expected_ms:
            raise MeasurementError(f"operating point {self.name} uses widths {[*expected_ms]}, not {width}")
        if not (0 < ms < math.inf and math.isfinite(at_s)):
            raise MeasurementError(f"an image took {ms} ms at {at_s} s; both must be finite, and the first above 0")
        self._ratios.append(ms / expected_ms[width])
        self._slowdown = _trimmed_mean(self._ratios, self._settings.trimmed)
        best = self._best(self._slowdown)
        if best < self._current:
            self._fall(best, at_s)
        else:
            self._rise_if_it_lasts(at_s)
        return self.point

    def _best(self, slowdown: float) -> int:
        """Return the position of the most accurate point that keeps the target at this slowdown, else 0."""
        bearable = slowdown / (1 + self._settings.tolerance)
        fitting = [position for position, rung in enumerate(self._rungs) if bearable <= rung.allowed_slowdown]
        return max(fitting, default=0)

    def _fall(self, best: int, at_s: float) -> None:
        self._current, self._period = best, _Period()
        if self._raised_at_s is not None:
            shortest_s, longest_s = self._settings.dwell_s, self._settings.max_dwell_s
            factor = 2 if at_s - self._raised_at_s < shortest_s else 0.5
            self._wait_s = min(max(factor * self._wait_s, shortest_s), longest_s)
        self._raised_at_s = None

    def _rise_if_it_lasts(self, at_s: float) -> None:
        """At the end of a period, go one point up if a better one fits its mean slowdown, and the last one too."""
        self._period.add(self._slowdown, at_s)
        if self._period.images < self._settings.window or at_s - self._period.start_s < self._wait_s:
            return
        if self._best(max(self._period.mean, self._slowdown)) > self._current:
            self._current += 1
            self._raised_at_s = at_s
        self._period = _Period()


def _check_one_device(points: Sequence[OperatingPoint]) -> None:
    """Raise CalibrationError unless the points' latencies can be compared."""
    if not points:
        raise CalibrationError("no operating points to switch between; dsnet calibrate makes them")
    for what in ("artifact_sha256", "runtime", "precision", "device", "runner", "threads", "sustained"):
        found = {point.name: getattr(point, what) for point in points}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{name}: {str(value)[:24]}" for name, value in found.items())
            raise CalibrationError(
                f"operating points to switch between differ in {what} ({listed}); name ones that agree"
            )


def _target(asked: OperatingPoint, target_ms: float | None) -> Target:
    """Return the latency limits to keep, by statistic."""
    if target_ms is not None:
        if not 0 < target_ms < math.inf:
            raise CalibrationError(f"a target of {target_ms} ms; give a number above 0")
        return {"mean_ms": target_ms}
    target = {limit.statistic: limit.value for limit in asked.limits if limit.statistic in LATENCIES}
    if not target:
        asked_for = ", ".join(limit.statistic for limit in asked.limits)
        raise CalibrationError(f"operating point {asked.name} was asked for {asked_for}, no latency; give --target-ms")
    return target


def _ladder(points: Sequence[OperatingPoint], target: Target) -> list[_Rung]:
    """Return the points from cheap to dear, each more accurate than those before it."""
    rungs = [_Rung(point, _expected_ms(point), _allowed_slowdown(point, target)) for point in points]
    rungs.sort(key=lambda rung: (-rung.allowed_slowdown, -rung.point.calibration_accuracy))
    if rungs[0].allowed_slowdown < 1:
        raise CalibrationError(
            f"even operating point {rungs[0].point.name} misses the target by "
            f"{1 / rungs[0].allowed_slowdown - 1:.0%} on the calibrated device; raise --target-ms or name a cheaper one"
        )
    kept: list[_Rung] = []
    for rung in rungs:
        if not kept or rung.point.calibration_accuracy > kept[-1].point.calibration_accuracy:
            kept.append(rung)
    return kept


def _expected_ms(point: OperatingPoint) -> dict[int, float]:
    found = {share.width: share.mean_ms for share in point.shares}
    expected = {width: ms for width in point.widths if (ms := found.get(width)) is not None}
    absent = [width for width in point.widths if width not in expected]
    if absent:
        raise CalibrationError(
            f"operating point {point.name} does not say what an image of widths {absent} takes (mean_ms), as those "
            "of older versions; run dsnet calibrate again"
        )
    return expected


def _allowed_slowdown(point: OperatingPoint, target: Target) -> float:
    """Return the factor by which all latencies may grow until the first limit of the target is met exactly."""
    expected: Target = {limit.statistic: limit.expected for limit in point.limits}
    expected["mean_ms"] = point.expected_mean_ms
    if point.expected_mean_ms > 0:
        expected["images_per_s"] = 1000 / point.expected_mean_ms
    absent = [statistic for statistic in target if not expected.get(statistic)]
    if absent:
        raise CalibrationError(
            f"operating point {point.name} does not say its {', '.join(absent)}, which the target limits; give "
            "--target-ms, or name points with the same limits"
        )
    return min(
        expected[statistic] / limit if statistic == "images_per_s" else limit / expected[statistic]
        for statistic, limit in target.items()
    )


def _trimmed_mean(ratios: Sequence[float], trimmed: int) -> float:
    """Return the mean without the `trimmed` smallest and largest values (Tukey and McLaughlin, Sankhya A 25, 1963)."""
    kept = sorted(ratios)[trimmed : len(ratios) - trimmed]
    return sum(kept) / len(kept)
