"""Operating points of two bundles: measured by predictions and latency tables, else as the bundles record them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate

import numpy as np

from edge.bundle.manifest import CascadePolicy, OperatingPoint
from edge.diff.change import Change, NotCompared, Subject, attempted
from edge.diff.evidence import Evidence, Item, Routed, RunKey, same_images
from edge.diff.intervals import Mixture, accuracy_change, difference, mean_latency_change, relative_latency_difference
from edge.diff.matching import common, operating_points
from edge.errors import MeasurementError
from edge.profiling.history import LONGEST_MS, SHORTEST_MS
from edge.profiling.latency_table import Entry
from edge.runtime.predictions import Predictions
from edge.runtime.route import added

Blocks = list[list[float]]


def point_changes(a: Evidence, b: Evidence) -> Iterator[Change | NotCompared]:
    """Yield the change of accuracy and of mean latency of every operating point that both bundles have.

    Accuracy is measured where both sides have predictions, mean latency where they have latency tables as well.
    """
    for one, other in common(operating_points(a), operating_points(b)).values():
        subject = Subject(artifact=f"{one.runtime} {one.precision}", point=one.name)
        timed = replace(subject, device=RunKey.of_point(one).place)
        seen_a, seen_b = a.of_point(one), b.of_point(other)
        if seen_a is None or seen_b is None:
            yield _recorded_accuracy(subject, one, other)
            yield attempted("latency", timed, _recorded_latency, one, other)
            continue
        sides = _Side(a, one, seen_a), _Side(b, other, seen_b)
        yield attempted("accuracy", subject, _accuracy, *sides)
        if a.runs and b.runs:
            yield attempted("latency", timed, _latency, *sides)
        else:
            yield attempted("latency", timed, _recorded_latency, one, other)


@dataclass(frozen=True)
class _Side:
    """An operating point with what is known of it on one side."""

    evidence: Evidence
    point: OperatingPoint
    predictions: Predictions

    def routed(self) -> Routed:
        """Return what the point does with every image."""
        return Routed.of(self.point, self.predictions)

    def mixture(self) -> Mixture:
        """Return how long every image takes; raises MeasurementError where that was not measured."""
        key, place = RunKey.of_point(self.point), self.evidence.bundle.place
        if key not in self.evidence.runs:
            raise MeasurementError(f"no latency run of {place} on {key.place} was given")
        widths, times = self.point.widths, self.evidence.times(key)
        options = [_measured(times, width, f"{place} on {key.place}") for width in widths]
        if isinstance(self.point.policy, CascadePolicy):
            paths, alone = self.evidence.route(key).names, self.evidence.alone_times(key)
            parts = [
                [_measured(alone, name, f"{place} alone on {key.place}") for name in names]
                for names in added([paths[width] for width in widths])[1:]
            ]
            options = list(
                accumulate(parts, lambda before, part: reduce(_one_after_the_other, part, before), initial=options[0])
            )
        return Mixture(self.routed().position, list(zip(*options, strict=True)))


def _measured(times: dict[Item, list[Entry]], item: Item, where: str) -> list[Blocks]:
    """Return the blocks of a width or a program in every run."""
    if item not in times:
        what = f"width {item}" if isinstance(item, int) else item
        raise MeasurementError(f"no times of {what} of {where}; run dsnet profile for all widths")
    return [entry.blocks_ms for entry in times[item]]


def _one_after_the_other(first: list[Blocks], second: list[Blocks]) -> list[Blocks]:
    """Return, of every run and round, what the means of two units add up to."""
    return [
        [[float(np.mean(one) + np.mean(other))] for one, other in zip(*run, strict=False)]
        for run in zip(first, second, strict=True)
    ]


def _accuracy(subject: Subject, a: _Side, b: _Side) -> Change:
    hits = a.routed().hit, b.routed().hit
    top1 = float(hits[0].mean()), float(hits[1].mean())
    interval = accuracy_change(*hits, paired=same_images(a.predictions, b.predictions))
    return Change("accuracy", subject, "measured", *top1, top1[1] - top1[0], interval)


def _latency(subject: Subject, a: _Side, b: _Side) -> Change:
    _check_same_device(a.point, b.point)
    mixtures = a.mixture(), b.mixture()
    change, interval = mean_latency_change(*mixtures, paired=same_images(a.predictions, b.predictions))
    means = float(mixtures[0].image_ms.mean()), float(mixtures[1].image_ms.mean())
    return Change("latency", subject, "measured", *means, change, interval)


def _recorded_accuracy(subject: Subject, a: OperatingPoint, b: OperatingPoint) -> Change:
    if a.held_out and b.held_out:
        found = a.held_out.accuracy, b.held_out.accuracy
        change = found[1].value - found[0].value
        return Change("accuracy", subject, "held out", found[0].value, found[1].value, change, difference(*found))
    top1 = a.calibration_accuracy, b.calibration_accuracy
    return Change("accuracy", subject, "calibration", *top1, top1[1] - top1[0], None)


def _recorded_latency(subject: Subject, a: OperatingPoint, b: OperatingPoint) -> Change:
    _check_same_device(a, b)
    if a.held_out and b.held_out:
        found = a.held_out.mean_ms, b.held_out.mean_ms
        change = _relative(found[0].value, found[1].value)
        return Change(
            "latency", subject, "held out", found[0].value, found[1].value, change, relative_latency_difference(*found)
        )
    means = a.expected_mean_ms, b.expected_mean_ms
    return Change("latency", subject, "calibration", *means, _relative(*means), None)


def _check_same_device(a: OperatingPoint, b: OperatingPoint) -> None:
    places = RunKey.of_point(a).place, RunKey.of_point(b).place
    if places[0] != places[1]:
        raise MeasurementError(f"A's is for {places[0]}, B's for {places[1]}")


def _relative(a: float, b: float) -> float:
    if not SHORTEST_MS <= min(a, b) <= max(a, b) <= LONGEST_MS:
        raise MeasurementError(f"the means recorded, {a:g} and {b:g} ms, have no ratio")
    return b / a - 1
