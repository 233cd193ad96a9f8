"""What the programs of a bundle are called: the same in every runtime, in latency tables and on devices.

one gate on the trunk     prefix → tail_05
several                   prefix → stage_1_03 → stage_2_03_05 → tail_05_04
a side gate               gate, then net_05
no gate                   net_05

A part of a network depends on the entry that it runs at and, for what comes in, on that of the part before: so programs
have these two numbers, and widths whose paths agree on them share one.
"""

from collections.abc import Sequence

PREFIX, GATE = "prefix", "gate"


def trunk_programs(path: Sequence[int]) -> tuple[str, ...]:
    """Return, in order, the names of the programs that an image passes along a path, one entry per trunk gate."""
    names = [PREFIX]
    for part, entry in enumerate(path):
        role = "tail" if part == len(path) - 1 else f"stage_{part + 1}"
        pair = [*path[part - 1 : part], entry] if part else [entry]
        names.append("_".join([role, *(f"{number:02d}" for number in pair)]))
    return tuple(names)


def whole_program(width: int) -> str:
    """Return the name of the program that runs a whole network at one width, where no gate is on its trunk."""
    return f"net_{width:02d}"
