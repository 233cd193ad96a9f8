"""Other networks to compare with, from a small JSON file (docs/report.md)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from edge.bundle.manifest import Record
from edge.report.lists import read_list

MAX_PEERS = 64


class Peer(Record):
    """Another network on the same device and the same images, as its user measured it."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    accuracy: Annotated[float, Field(ge=0, le=1)]
    """Top-1, 0…1."""
    mean_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Mean latency of one image."""
    note: Annotated[str, Field(max_length=200)] = ""
    """Where the numbers come from."""


PEERS: TypeAdapter[list[Peer]] = TypeAdapter(Annotated[list[Peer], Field(max_length=MAX_PEERS)])


def load_peers(path: Path) -> list[Peer]:
    """Return the peers that a file lists; raises ReportError, in one line, for anything but strict JSON of such."""
    return read_list(path, PEERS, "peers: name, accuracy, mean_ms, note")
