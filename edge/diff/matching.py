"""What of two bundles belongs together, and what only one of them has."""

from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

from edge.bundle.manifest import Artifact, OperatingPoint
from edge.diff.evidence import Evidence
from edge.runtime.predictions import Predictions

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def common(a: Mapping[Key, Item], b: Mapping[Key, Item]) -> dict[Key, tuple[Item, Item]]:
    """Return the pairs of items whose key both have, in A's order."""
    return {key: (a[key], b[key]) for key in a if key in b}


def artifacts(side: Evidence) -> dict[str, Artifact]:
    """Return a side's artifacts by runtime and precision."""
    return {f"{item.runtime} {item.precision}": item for item in side.bundle.manifest.artifacts}


def operating_points(side: Evidence) -> dict[tuple[str, str], OperatingPoint]:
    """Return a side's operating points by artifact and name."""
    return {(f"{item.runtime} {item.precision}", item.name): item for item in side.bundle.manifest.operating_points}


def predictions(side: Evidence) -> dict[str, Predictions]:
    """Return a side's predictions by runtime and precision."""
    return {f"{item.metadata.runtime} {item.metadata.precision}": item for item in side.predictions.values()}


def only_in(a: Evidence, b: Evidence) -> list[str]:
    """Return, in words, what `a` has and `b` has not: artifacts, widths, operating points, measurements."""
    return [*(text for text in _names(a) if text not in set(_names(b)))]


def _names(side: Evidence) -> Iterator[str]:
    yield from (f"artifact {name}" for name in artifacts(side))
    yield from (f"width {width.index}" for width in side.bundle.manifest.widths)
    yield from (f"operating point {name} ({artifact})" for artifact, name in operating_points(side))
    yield from (f"latency of {key.artifact} on {key.place}" for key in side.runs)
    yield from (f"predictions of {name}" for name in predictions(side))
