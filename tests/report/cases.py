"""A golden bundle with everything a report can show: two devices, operating points with and without intervals."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import sha256_file
from edge.bundle import Bundle, OperatingPoint, add_operating_points, open_bundle
from edge.bundle.manifest import Estimate, HeldOut, Limit, Share, ThresholdPolicy
from edge.profiling import LatencyTable, QualityWarning, load_latency, save_latency
from tests.calibration.cases import case_in, run_of
from tests.runtime.pictures import write_pictures

WARNING = QualityWarning(code="throttled", message="fixed work took longer", remedy="let the device cool down")

QUICK = {
    "policy": ThresholdPolicy(widths=[0], thresholds=[]),
    "shares": [Share(width=0, share=1.0, mean_ms=1.0)],
    "expected_mean_ms": 1.0,
    "calibration_accuracy": 0.5,
}
"""What differs in a point that always uses the narrow width."""


@dataclass(frozen=True)
class Files:
    """Where the inputs of a report lie."""

    root: Path
    latency: Path
    predictions: Path
    images: Path

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.root)

    def add_run(self, **changes: object) -> None:
        """Add a run of 2 and 6 ms to the latency table."""
        table = load_latency(self.latency)
        run = run_of(self.bundle, noisy({0: 2.0, 1: 6.0}), **changes)
        save_latency(self.latency, LatencyTable(format=table.format, runs=[*table.runs, run]))

    def add_point(self, name: str, device: str = "phone", **changes: object) -> OperatingPoint:
        """Add an operating point that was made from these files."""
        point = OperatingPoint.model_validate(
            {
                "name": name,
                "runtime": "litert",
                "precision": "int8",
                "device": device,
                "threads": 1,
                "policy": ThresholdPolicy(widths=[0, 1], thresholds=[0.5]),
                "objective": "accuracy",
                "limits": [Limit(statistic="mean_ms", value=2.5, expected=2.0)],
                "shares": [Share(width=0, share=0.5, mean_ms=1.0), Share(width=1, share=0.5, mean_ms=3.0)],
                "expected_mean_ms": 2.0,
                "calibration_accuracy": 0.7,
                "optimality_gap": 0.0,
                "artifact_sha256": self.bundle.artifact().sha256,
                "latency_sha256": sha256_file(self.latency),
                "predictions_sha256": sha256_file(self.predictions),
                **changes,
            }
        )
        add_operating_points(self.root, [point])
        return point


def held_out() -> HeldOut:
    """Return what cross-fitting might have found for a point."""
    accuracy, mean_ms = Estimate(value=0.61, low=0.57, high=0.65), Estimate(value=2.1, low=1.9, high=2.3)
    return HeldOut(images=400, folds=5, accuracy=accuracy, mean_ms=mean_ms, limits=[mean_ms])


def noisy(means_ms: dict[int, float]) -> dict[int, list[list[float]]]:
    """Return two blocks of 20 samples for each width."""
    random = np.random.default_rng(0)
    return {width: (ms * random.normal(1, 0.05, (2, 20))).tolist() for width, ms in means_ms.items()}


def files_in(folder: Path, golden: Path) -> Files:
    """Write a bundle, a table with a phone's and a tablet's run, predictions, images and three operating points."""
    case = case_in(folder, golden)
    files = Files(case.root, case.latency, case.predictions, write_pictures(folder / "images", per_class=4))
    table = load_latency(files.latency)
    phone = run_of(files.bundle, noisy({0: 1.0, 1: 3.0}), warnings=[WARNING], environment={"cpu": "Cortex-A76"})
    save_latency(files.latency, LatencyTable(format=table.format, runs=[phone]))
    files.add_run(device="tablet")
    files.add_point("balanced-phone", held_out=held_out())
    files.add_point("balanced-tablet", "tablet")
    files.add_point("quick-tablet", "tablet", **QUICK)
    return files
