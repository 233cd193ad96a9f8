"""`predictions.npz`, schema "dsnet-predictions/1": what the bundle itself answered on a labelled image set.

Arrays (n images, m gate logits, w widths; read with allow_pickle=False):
    gate_logits  float32 [n, m]
    hit          bool    [n, w]   top-1 right
    loss         float32 [n, w]   cross-entropy in nats
    label        int32   [n]
    metadata     uint8            JSON of `Metadata`
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge.bundle.manifest import Record, Runtime, Sha256

FORMAT = "dsnet-predictions/1"


class Metadata(Record):
    """Which bundle answered, on which images."""

    format: str
    runtime: Runtime
    precision: str
    artifact_sha256: Sha256
    widths: list[int] = Field(min_length=1)
    """The width of each column of `hit` and `loss`."""
    choices: list[int]
    """The width of each gate logit."""
    data: str
    """Name of the image set as the user gave it (its last path component)."""
    data_sha256: Sha256
    """Digest over the images' names, contents and labels, in order."""


@dataclass(frozen=True)
class Predictions:
    """The content of a predictions file."""

    metadata: Metadata
    gate_logits: NDArray[np.float32]
    hit: NDArray[np.bool_]
    loss: NDArray[np.float32]
    label: NDArray[np.int32]
