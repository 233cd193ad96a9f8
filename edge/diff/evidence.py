"""What is known of one side: the bundle, and the latency tables and predictions that are of this very bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import OperatingPoint
from edge.bundle.reader import Bundle
from edge.errors import CalibrationError, MeasurementError
from edge.profiling.history import LONGEST_MS
from edge.profiling.latency_table import Entry, Run, load_latency
from edge.profiling.statistics import samples_ms
from edge.runtime.decisions import check_decisions
from edge.runtime.policy import positions
from edge.runtime.predictions import Predictions, load_predictions
from edge.runtime.route import Route

Item = TypeVar("Item", int, str)


class RunKey(NamedTuple):
    """What two runs share whose times can be compared."""

    runtime: str
    precision: str
    device: str
    threads: int
    runner: str
    sustained: bool

    @classmethod
    def of_run(cls, run: Run) -> "RunKey":
        """Return a run's key."""
        sustained = run.sustained_seconds is not None
        return cls(run.runtime, run.precision, run.device, run.threads, run.runner, sustained)

    @classmethod
    def of_point(cls, point: OperatingPoint) -> "RunKey":
        """Return the key of the runs that an operating point is about."""
        return cls(point.runtime, point.precision, point.device, point.threads, point.runner, point.sustained)

    @property
    def artifact(self) -> str:
        """Return the artifact in two words."""
        return f"{self.runtime} {self.precision}"

    @property
    def place(self) -> str:
        """Return what ran it."""
        threads = [f"{self.threads} threads"] * (self.threads > 1)
        runner = [f"{self.runner} runner"] * (self.runner != "python")
        return ", ".join([self.device, *threads, *runner, *["sustained"] * self.sustained])


@dataclass(frozen=True)
class Routed:
    """What an operating point does with every image of an image set."""

    position: NDArray[np.intp]
    """[n] which of the point's widths answers; in a cascade all narrower ones ran before it."""
    hit: NDArray[np.bool_]
    """[n] whether that answer is right."""

    @classmethod
    def of(cls, point: OperatingPoint, predictions: Predictions) -> "Routed":
        """Return what `point` does with the images of `predictions`; raises CalibrationError where they cannot tell."""
        widths = predictions.metadata.widths
        absent = sorted(set(point.widths) - set(widths))
        if absent:
            raise CalibrationError(f"the predictions do not hold width {absent[0]}; run dsnet predict again")
        columns = np.searchsorted(widths, point.widths)
        position = positions(point.policy, predictions.gates, predictions.confidence[:, columns])
        return cls(position, predictions.hit[np.arange(len(position)), columns[position]])


@dataclass(frozen=True)
class Evidence:
    """One side of a comparison."""

    bundle: Bundle
    runs: dict[RunKey, list[Run]] = field(default_factory=dict)
    """One run for each key, or several that repeat the same measurement."""
    predictions: dict[str, Predictions] = field(default_factory=dict)
    """By the SHA-256 of the artifact that answered."""

    def times(self, key: RunKey) -> dict[int, list[Entry]]:
        """Return the times of one image from end to end, by width: an entry from every run of `key`."""
        return self._entries(key, self.route(key).end_to_end)

    def alone_times(self, key: RunKey) -> dict[str, list[Entry]]:
        """Return the times of every program after the head by itself: an entry from every run of `key`."""
        return self._entries(key, {name: (name,) for path in self.route(key).names.values() for name in path})

    def route(self, key: RunKey) -> Route:
        """Return the route through the artifact that the runs of a key measured."""
        return Route.of(self.bundle.artifact(key.runtime, key.precision))

    def _entries(self, key: RunKey, units: dict[Item, tuple[str, ...]]) -> dict[Item, list[Entry]]:
        """Return the entries of the units that every run has with samples in every block."""
        runs = self.runs[key]
        found = {
            item: [
                entry
                for run in runs
                for entry in run.entries
                if tuple(entry.programs) == unit and entry.blocks_ms and all(entry.blocks_ms)
            ]
            for item, unit in units.items()
        }
        return {item: entries for item, entries in found.items() if len(entries) == len(runs)}

    def of_point(self, point: OperatingPoint) -> Predictions | None:
        """Return the predictions that tell what an operating point of this very bundle does, where there are any."""
        if all(item.sha256 != point.artifact_sha256 for item in self.bundle.manifest.artifacts):
            return None
        return self.predictions.get(point.stand_in_sha256 or point.artifact_sha256)


def gather(bundle: Bundle, tables: Sequence[Path] = (), predictions: Sequence[Path] = ()) -> Evidence:
    """Read latency tables and predictions and make sure that they are of this bundle.

    Raises an EdgeError that says which file does not fit and what to run again.
    """
    found = Evidence(bundle)
    artifacts = {(item.runtime, item.precision, item.sha256) for item in bundle.manifest.artifacts}
    for path in tables:
        fitting = [
            run for run in load_latency(path).runs if (run.runtime, run.precision, run.artifact_sha256) in artifacts
        ]
        if not fitting:
            raise MeasurementError(f"{path}: no run of {bundle.place}; run dsnet profile again with that bundle")
        for run in fitting:
            _add_run(found.runs, run, path)
    for path in predictions:
        loaded = load_predictions(path)
        metadata = loaded.metadata
        owner = metadata.runtime, metadata.precision, metadata.artifact_sha256
        if owner not in artifacts:
            raise CalibrationError(f"{path}: not of {bundle.place}; run dsnet predict again with that bundle")
        check_decisions(loaded, bundle, str(path))
        if metadata.artifact_sha256 in found.predictions:
            raise CalibrationError(f"{path}: a second file for {metadata.runtime} {metadata.precision}; leave one out")
        found.predictions[metadata.artifact_sha256] = loaded
    return found


def same_images(a: Predictions, b: Predictions) -> bool:
    """Return whether two sets of predictions are of the same images with the same labels, in the same order."""
    return a.metadata.data_sha256 == b.metadata.data_sha256 and len(a.label) == len(b.label)


def _add_run(runs: dict[RunKey, list[Run]], run: Run, path: Path) -> None:
    key = RunKey.of_run(run)
    what = f"{path}: the run of {key.artifact} on {key.place}"
    if not run.complete:
        raise MeasurementError(f"{what} is not complete; run dsnet profile again to resume it")
    if any(sample > LONGEST_MS for entry in run.entries for sample in samples_ms(entry)):
        raise MeasurementError(f"{what} has a time above {LONGEST_MS:.0e} ms; run dsnet profile again")
    if run in runs.setdefault(key, []):
        raise MeasurementError(f"{what} was given twice; a repeated measurement is another run of dsnet profile")
    runs[key].append(run)
