"""Which ways the gates of a network can lead an image: paths whose every entry is a choice of its gate. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from train.paths import Path
from train.spec import SupernetSpec


@dataclass(frozen=True)
class Crossing:
    """Where one gate decides. q paths lead there, from each of which some of the gate's c choices are in reach."""

    paths: tuple[Path, ...]
    onward: tuple[int, ...]
    """What leads to each path of the next crossing, at last to each way: path · c + choice."""
    narrowest: tuple[int, ...]
    """The first of the ways that are still open, for every path."""
    widest: tuple[int, ...]
    """The last of these."""


@dataclass(frozen=True)
class Ways:
    """All ways through the gates."""

    widths: tuple[int, ...]
    """The width that each way is, ascending: those that the gates choose between."""
    crossings: tuple[Crossing, ...]
    """One per gate, in the order in which they decide."""


def ways_of(spec: SupernetSpec) -> Ways:
    """Return the ways that the gates of a spec can lead, a side gate too; without gates there are no crossings."""
    paths = {width: path for width, path in enumerate(spec.paths) if _is_chosen(path, spec.choices)}
    ends = tuple(paths.values())
    crossings = (_crossing(ends, number, choices) for number, choices in enumerate(spec.choices))
    return Ways(tuple(paths), tuple(crossings))


def _is_chosen(path: Path, choices: Sequence[Sequence[int]]) -> bool:
    return all(entry in of_gate for entry, of_gate in zip(path, choices, strict=False))


def _crossing(ends: Sequence[Path], number: int, choices: tuple[int, ...]) -> Crossing:
    paths = _beginnings(ends, number)
    onward = (
        paths.index(tuple(path)) * len(choices) + choices.index(entry) for *path, entry in _beginnings(ends, number + 1)
    )
    through = [[way for way, end in enumerate(ends) if end[:number] == path] for path in paths]
    narrowest, widest = tuple(ways[0] for ways in through), tuple(ways[-1] for ways in through)
    return Crossing(paths, tuple(onward), narrowest, widest)


def _beginnings(ends: Sequence[Path], length: int) -> tuple[Path, ...]:
    """Return how paths begin, in the order of the paths of a spec."""
    return tuple(sorted({end[:length] for end in ends}, key=lambda path: (sum(path), path)))
