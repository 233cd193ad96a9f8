"""The tables at the end of the demonstration."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.console import table
from edge.calibration import Evaluation
from edge.profiling import summarise

if TYPE_CHECKING:
    from rich.table import Table

    from edge.bundle.manifest import Manifest, OperatingPoint
    from edge.profiling import Run
    from edge.runtime.predictions import Predictions
    from edge.runtime.route import Route


def width_table(manifest: "Manifest", route: "Route", run: "Run", predictions: "Predictions") -> "Table":
    """Return a row per width: cost, size, accuracy on unseen images, latency of one image end to end."""
    entries = {tuple(entry.programs): summarise(entry) for entry in run.entries}
    units = route.end_to_end
    rows = []
    for column, index in enumerate(predictions.metadata.widths):
        width, latency = manifest.widths[index], entries[units[index]]
        rows.append(
            (
                index,
                f"{width.macs:,}",
                f"{width.params:,}",
                f"{predictions.hit[:, column].mean():.2%}",
                f"{latency.p50_ms:.4f}",
                f"{latency.p90_ms:.4f}",
            )
        )
    title = f"Widths of {manifest.model.name}; accuracy on {len(predictions.label)} unseen images"
    return table(title, ("width", "MACs", "params", "accuracy", "p50 ms", "p90 ms"), rows)


def operating_point_table(
    points: Sequence[tuple["OperatingPoint", Evaluation]], runs: Mapping[str, Mapping[str, Any]]
) -> "Table":
    """Return a row per operating point: what calibration expected, and what running unseen images measured."""
    rows = []
    for point, unseen in points:
        shares = {share.width: share.share for share in unseen.shares}
        rows.append(
            (
                f"{point.limits[0].value:g}",
                _thresholds(point),
                ", ".join(f"{width}: {shares[width]:.0%}" for width in point.widths),
                f"{point.expected_mean_ms:.4f}",
                f"{runs[point.name]['mean_ms']:.4f}",
                f"{unseen.accuracy.value:.2%}",
            )
        )
    columns = ("budget ms", "thresholds", "share of each width", "expected ms", "measured ms", "accuracy")
    return table("Operating points; shares, measured mean and accuracy on unseen images", columns, rows)


def _thresholds(point: "OperatingPoint") -> str:
    return ", ".join(f"{threshold:.3f}" for threshold in getattr(point.policy, "thresholds", [])) or "none"


def size_table(nested: int, singles: Sequence[int]) -> "Table":
    """Return file sizes: one nested file against a plain file per width."""
    largest = max(singles)
    rows = [
        ("one file, every width", f"{nested:,}", f"{nested / largest:.2f}"),
        ("largest single model", f"{largest:,}", "1.00"),
        (f"{len(singles)} separate models", f"{sum(singles):,}", f"{sum(singles) / largest:.2f}"),
    ]
    return table("Bytes", ("what", "bytes", "of the largest"), rows)
