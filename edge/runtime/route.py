"""Which programs an image passes through, as the manifest says, so that every network takes one way.

gates on the trunk   prefix → stage_1_03 → stage_2_03_05 → tail_05_04; with one gate, prefix → tail_05
a side gate          gate, then net_05
no gate              net_05

A stage or tail reads the features of the program before it, a net the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.console import listed
from edge.bundle.checks import chains
from edge.bundle.manifest import Artifact, Program
from edge.errors import BundleError
from edge.runtime.session import Array

IMAGE, GATE_LOGITS, LOGITS = "image", "gate_logits", "logits"


@dataclass(frozen=True)
class Route:
    """The head (prefix or gate) that runs for every image, where there is one, and what runs after it, by width."""

    head: Program | None
    paths: Mapping[int, tuple[Program, ...]]
    """Width → what runs after the head, in order; the last answers. Widths share what their paths have in common."""

    @classmethod
    def of(cls, artifact: Artifact) -> "Route":
        """Return the route through an artifact of a checked manifest."""
        head = next((program for program in artifact.programs if program.role in ("prefix", "gate")), None)
        return cls(head, {width: chain[head is not None :] for width, chain in chains(artifact).items()})

    def path(self, width: int) -> tuple[Program, ...]:
        """Return what runs at one width after the head; raises BundleError naming the widths there are."""
        if width not in self.paths:
            raise BundleError(f"no width {width} in this artifact; choose from {listed(self.paths)}")
        return self.paths[width]

    @property
    def chains(self) -> dict[int, tuple[Program, ...]]:
        """Return all programs that an image passes through, by the width that answers it."""
        return {width: (*filter(None, [self.head]), *path) for width, path in self.paths.items()}

    @property
    def end_to_end(self) -> dict[int, tuple[str, ...]]:
        """Return the names of the programs that an image passes through, by the width that answers it."""
        return {width: tuple(program.name for program in chain) for width, chain in self.chains.items()}

    @property
    def names(self) -> dict[int, tuple[str, ...]]:
        """Return the names of what runs after the head, by width."""
        return {width: tuple(program.name for program in path) for width, path in self.paths.items()}

    def reads_features(self, widths: Iterable[int]) -> bool:
        """Return whether these widths need the head's output, whoever chooses between them."""
        return any(tensor.name != IMAGE for width in widths for tensor in self.path(width)[0].inputs)


def added(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return what each of several paths adds that run one after the other on one image.

    A program need not run again after the very programs that ran before it on a path already gone.
    """
    ran: set[tuple[str, ...]] = set()
    found = []
    for path in paths:
        ways = [path[: at + 1] for at in range(len(path))]
        found.append(tuple(way[-1] for way in ways if way not in ran))
        ran.update(ways)
    return found


def feed(program: Program, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Pick a program's inputs by name from what is there: the image and the outputs of the program before."""
    return {tensor.name: tensors[tensor.name] for tensor in program.inputs}


def real_values(program: Program, outputs: Mapping[str, Array], name: str) -> NDArray[np.float32]:
    """Return the output `name` as real numbers, shape [n]: scale·(q − zero_point) where it is quantized."""
    tensor = next(tensor for tensor in program.outputs if tensor.name == name)
    values = outputs[name].astype(np.float32).reshape(-1)
    if tensor.scale is None or tensor.zero_point is None:
        return values
    return (values - np.float32(tensor.zero_point)) * np.float32(tensor.scale)
