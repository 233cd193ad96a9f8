"""Which programs an image passes through, read from the roles in the manifest, so that every network takes one path.

trunk gate   prefix → tail_NN      the tail reads the prefix's features
side gate    gate, then net_NN     the net reads the image
no gate      net_NN
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import Artifact, Program
from edge.errors import BundleError
from edge.runtime.session import Array

IMAGE, GATE_LOGITS, LOGITS = "image", "gate_logits", "logits"


@dataclass(frozen=True)
class Route:
    """The head (prefix or gate) that runs for every image, where there is one, and one body (tail or net) per width."""

    head: Program | None
    bodies: Mapping[int, Program]

    @classmethod
    def of(cls, artifact: Artifact) -> "Route":
        """Return the route through an artifact of a checked manifest."""
        head = next((program for program in artifact.programs if program.width is None), None)
        bodies = {program.width: program for program in artifact.programs if program.width is not None}
        return cls(head, dict(sorted(bodies.items())))

    def body(self, width: int) -> Program:
        """Return the program of one width; raises BundleError naming the widths there are."""
        if width not in self.bodies:
            raise BundleError(f"no width {width} in this artifact; choose from {', '.join(map(str, self.bodies))}")
        return self.bodies[width]

    @property
    def end_to_end(self) -> dict[int, tuple[str, ...]]:
        """Return the names of the programs that an image passes through, by the width that answers it."""
        head = (self.head.name,) if self.head else ()
        return {width: (*head, body.name) for width, body in self.bodies.items()}

    def reads_features(self, widths: Iterable[int]) -> bool:
        """Return whether a body of these widths needs the head's output, whoever chooses between them."""
        return any(tensor.name != IMAGE for width in widths for tensor in self.body(width).inputs)


def feed(program: Program, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Pick a program's inputs by name from what is there: the image and the outputs of the head."""
    return {tensor.name: tensors[tensor.name] for tensor in program.inputs}


def real_values(program: Program, outputs: Mapping[str, Array], name: str) -> NDArray[np.float32]:
    """Return the output `name` as real numbers, shape [n]: scale·(q − zero_point) where it is quantized."""
    tensor = next(tensor for tensor in program.outputs if tensor.name == name)
    values = outputs[name].astype(np.float32).reshape(-1)
    if tensor.scale is None or tensor.zero_point is None:
        return values
    return (values - np.float32(tensor.zero_point)) * np.float32(tensor.scale)
