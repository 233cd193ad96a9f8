"""Paths through a network that gates part: which entry of its channel counts each part runs at. No torch."""

from collections.abc import Sequence
from itertools import pairwise

Path = tuple[int, ...]
"""One entry per part, or, for the beginning of a path, fewer."""


def all_paths(counts: Sequence[int], reaches: Sequence[int | None]) -> tuple[Path, ...]:
    """Return every path, ordered by the sum of its entries, then entry by entry.

    So the first is the narrowest everywhere, the last the widest, and one that is nowhere wider than another comes
    before it. counts: entries of each part. reaches: for every part but the first, how many places its entry may lie
    from the one before; None: any number.
    """
    paths: list[Path] = [(entry,) for entry in range(counts[0])]
    for count, reach in zip(counts[1:], reaches, strict=True):
        near = max(counts) if reach is None else reach
        paths = [(*path, entry) for path in paths for entry in range(count) if abs(entry - path[-1]) <= near]
    return tuple(sorted(paths, key=lambda path: (sum(path), path)))


def path_count(counts: Sequence[int], reaches: Sequence[int | None]) -> int:
    """Return how many paths there are, without listing them."""
    ways = [1] * counts[0]
    for count, reach in zip(counts[1:], reaches, strict=True):
        near = max(counts) if reach is None else reach
        ways = [sum(ways[max(0, entry - near) : entry + near + 1]) for entry in range(count)]
    return sum(ways)


def nested(paths: Sequence[Path]) -> bool:
    """Return whether no part runs narrower at a path than at the one before it."""
    return all(a <= b for before, after in pairwise(paths) for a, b in zip(before, after, strict=True))
