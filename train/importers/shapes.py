"""What the shapes of a published state dict say about its widths. Gaps are bridged, so that all problems are told."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from train.spec_problems import MAX_WIDTHS

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every tensor by published key."""


def statistics_sets(shapes: Shapes) -> dict[str, dict[int, list[int]]]:
    """Return the channel counts of PREFIX.INDEX.running_mean and running_var, by prefix and index."""
    sets: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for key, shape in shapes.items():
        match = re.fullmatch(r"(.+)\.(\d{1,3})\.running_(?:mean|var)", key)
        if match and len(shape) == 1 and int(match[2]) < MAX_WIDTHS:
            sets[match[1]][int(match[2])].append(shape[0])
    return sets


def channels_of(sets: Mapping[str, Mapping[int, list[int]]], prefixes: Iterable[str]) -> dict[int, int]:
    """Return the channels by index of batch norms that should be alike: what most of them say."""
    said: dict[int, list[int]] = defaultdict(list)
    for prefix in prefixes:
        for index, counts in sets.get(prefix, {}).items():
            said[index] += counts
    return {index: _majority(counts) for index, counts in said.items()}


def _majority(counts: list[int]) -> int:
    """Return the most frequent count; of equally frequent ones the largest, as damage cuts."""
    frequency = Counter(counts)
    return max(frequency, key=lambda count: (frequency[count], count))


def filled(channels: Mapping[int, int], count: int) -> tuple[int, ...]:
    """Return the channels of indices 0 … count-1; what is missing, and so refused later, repeats its neighbour."""
    latest = min(channels.values(), default=1)
    found = []
    for index in range(count):
        latest = channels.get(index, latest)
        found.append(latest)
    return tuple(found)


def classes_of(shapes: Shapes, classifier: str, otherwise: int) -> int:
    """Return the number of classes that the classifier tells apart."""
    rows = [shape[0] for kind in ("weight", "bias") if (shape := shapes.get(f"{classifier}.{kind}"))]
    return _majority(rows) if rows else otherwise
