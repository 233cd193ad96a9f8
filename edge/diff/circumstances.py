"""What differs between two sides besides the figures that are compared, and may explain them."""

from collections.abc import Iterator

from edge.bundle.describe import limit_text
from edge.bundle.manifest import Manifest, Model, OperatingPoint
from edge.diff.evidence import Evidence, same_images
from edge.diff.intervals import FEWEST_RUNS
from edge.diff.matching import common, operating_points, predictions
from edge.profiling.compare import compare_runs
from edge.profiling.latency_table import Run
from edge.runtime.predictions import Predictions

RELEASE = ("artifact_sha256",)
"""What of a run differs from release to release by its nature."""


def circumstances(a: Evidence, b: Evidence) -> Iterator[str]:
    """Yield, a line each, what makes figures of the two sides less comparable than they look."""
    yield from _models(a.bundle.manifest.model, b.bundle.manifest.model)
    for points in common(operating_points(a), operating_points(b)).values():
        yield from _points(*points)
    yield from _stale("A", a.bundle.manifest)
    yield from _stale("B", b.bundle.manifest)
    for key, runs in common(a.runs, b.runs).items():
        yield from (f"latency of {key.artifact} on {key.place}: {text}" for text in _runs(*runs))
    for name, seen in common(predictions(a), predictions(b)).items():
        if not same_images(*seen):
            yield f"predictions of {name}: other images, {' → '.join(map(_image_set, seen))}"


def _image_set(predictions: Predictions) -> str:
    metadata = predictions.metadata
    return f"{len(predictions.label)} of {metadata.data} ({metadata.data_sha256[:12]}…)"


def _models(a: Model, b: Model) -> Iterator[str]:
    if a.name != b.name:
        yield f"model: name {a.name} → {b.name}"
    if a.input_size != b.input_size:
        yield f"model: input_size {a.input_size} → {b.input_size}"
    if a.classes != b.classes:
        yield "model: other classes"
    if (a.mean, a.std) != (b.mean, b.std):
        yield "model: other mean and std of images"


def _stale(name: str, manifest: Manifest) -> Iterator[str]:
    known = {artifact.sha256 for artifact in manifest.artifacts}
    for point in manifest.operating_points:
        if point.artifact_sha256 not in known:
            yield f"operating point {point.name}: {name}'s is of another bundle; run dsnet calibrate again"


def _runs(a: list[Run], b: list[Run]) -> Iterator[str]:
    """Yield what compare_runs says of the circumstances; without entries, as the times are compared elsewhere."""
    changed = compare_runs(*(runs[0].model_copy(update={"entries": []}) for runs in (a, b))).changed
    yield from (f"{item.name} {item.a} → {item.b}" for item in changed if item.name not in RELEASE)
    for name, runs in (("A", a), ("B", b)):
        codes = dict.fromkeys(warning.code for run in runs for warning in run.warnings)
        if codes:
            yield f"{name} has warnings: {', '.join(codes)}"
    if len(a) == len(b) == 1:
        yield f"one run of each side: what differs from run to run is in no interval; {FEWEST_RUNS} of each tell"


def _points(a: OperatingPoint, b: OperatingPoint) -> Iterator[str]:
    for name, one, other in (
        ("limits", ", ".join(map(limit_text, a.limits)), ", ".join(map(limit_text, b.limits))),
        ("policy", a.policy.kind, b.policy.kind),
        ("confidence", a.confidence, b.confidence),
        ("accuracy by another artifact", *("yes" if point.stand_in_sha256 else "no" for point in (a, b))),
    ):
        if one != other:
            yield f"operating point {a.name}: {name} {one} → {other}"
