"""B against A: every figure that both bundles have, and what only one of them has."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from edge.bundle.checks import artifact_bytes
from edge.bundle.manifest import Artifact, Manifest
from edge.diff.change import Change, Metric, NotCompared, Subject, attempted
from edge.diff.circumstances import circumstances
from edge.diff.evidence import Evidence, same_images
from edge.diff.intervals import accuracy_change, repeated_latency_change
from edge.diff.matching import artifacts, common, only_in, predictions
from edge.diff.points import point_changes
from edge.errors import MeasurementError
from edge.profiling.compare import two_sample_ratio
from edge.profiling.latency_table import Entry
from edge.profiling.statistics import Interval, samples_ms


@dataclass(frozen=True)
class Difference:
    """Bundle B against bundle A."""

    changes: list[Change]
    not_compared: list[NotCompared]
    removed: list[str]
    """What only A has."""
    added: list[str]
    """What only B has."""
    circumstances: list[str]
    """What else differs, and so may be what the figures show."""


def diff_bundles(a: Evidence, b: Evidence) -> Difference:
    """Return how bundle `b` differs from bundle `a`, by whatever evidence there is of both.

    Artifacts are matched by runtime and precision, widths by index, operating points by name, runtime and precision,
    runs by artifact, device, threads and runner.
    """
    found = [*_sizes(a, b), *_macs(a, b), *_latencies(a, b), *_accuracies(a, b), *point_changes(a, b)]
    return Difference(
        changes=[item for item in found if isinstance(item, Change)],
        not_compared=[item for item in found if isinstance(item, NotCompared)],
        removed=only_in(a, b),
        added=only_in(b, a),
        circumstances=list(circumstances(a, b)),
    )


def _sizes(a: Evidence, b: Evidence) -> Iterator[Change]:
    for name, (one, other) in common(artifacts(a), artifacts(b)).items():
        sizes = artifact_bytes(a.bundle.manifest, one), artifact_bytes(b.bundle.manifest, other)
        yield _exact("size", Subject(artifact=name), *sizes)
        parts = common(_parts(a.bundle.manifest, one), _parts(b.bundle.manifest, other))
        if len(parts) > 1:
            yield from (_exact("size", Subject(artifact=name, part=part), *pair) for part, pair in parts.items())


def _parts(manifest: Manifest, artifact: Artifact) -> dict[str, int]:
    """Return the bytes of an artifact by the role of its files."""
    found = Counter(programs=artifact.bytes)
    for item in manifest.weights:
        if (item.runtime, item.precision) == (artifact.runtime, artifact.precision):
            found[item.role] += item.bytes
    return dict(found)


def _macs(a: Evidence, b: Evidence) -> Iterator[Change]:
    for one, other in zip(a.bundle.manifest.widths, b.bundle.manifest.widths, strict=False):
        yield _exact("macs", Subject(width=one.index), one.macs, other.macs)


def _exact(metric: Metric, subject: Subject, a: int, b: int) -> Change:
    change = b / a - 1
    return Change(metric, subject, "exact", a, b, change, Interval(change, change))


def _latencies(a: Evidence, b: Evidence) -> Iterator[Change | NotCompared]:
    for key in common(a.runs, b.runs):
        times = a.times(key), b.times(key)
        for width in sorted({*times[0], *times[1]}):
            subject = Subject(artifact=key.artifact, width=width, device=key.place)
            yield attempted("latency", subject, _latency, times[0].get(width), times[1].get(width))


def _latency(subject: Subject, a: list[Entry] | None, b: list[Entry] | None) -> Change:
    if a is None or b is None:
        raise MeasurementError(f"not measured in {'B' if b is None else 'A'}; run dsnet profile for that width too")
    p50s = _p50(a), _p50(b)
    if len(a) == len(b) == 1:
        ratio = two_sample_ratio(b[0], a[0])
        change, interval = ratio.value - 1, Interval(ratio.interval.low - 1, ratio.interval.high - 1)
    else:
        change, interval = repeated_latency_change(a, b)
    return Change("latency", subject, "measured", *p50s, change, interval)


def _p50(entries: list[Entry]) -> float:
    return median([sample for entry in entries for sample in samples_ms(entry)])


def _accuracies(a: Evidence, b: Evidence) -> Iterator[Change]:
    for name, (one, other) in common(predictions(a), predictions(b)).items():
        paired = same_images(one, other)
        columns = ({width: column for column, width in enumerate(item.metadata.widths)} for item in (one, other))
        for width, (left, right) in common(*columns).items():
            hits = one.hit[:, left], other.hit[:, right]
            top1 = float(hits[0].mean()), float(hits[1].mean())
            change = top1[1] - top1[0]
            interval = accuracy_change(*hits, paired)
            yield Change("accuracy", Subject(artifact=name, width=width), "measured", *top1, change, interval)
