"""Other networks to compare with, from a small JSON file (docs/report.md)."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from edge.bundle.manifest import Record
from edge.bundle.records import join_problems, parse_json, problem_clause
from edge.errors import ReportError

MAX_PEERS, MAX_BYTES = 64, 1 << 20


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
    if not path.is_file():
        raise ReportError(f"{path}: no such file; give a JSON list of peers: name, accuracy, mean_ms, note")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ReportError(f"{path}: larger than the limit of {MAX_BYTES} bytes")
    try:
        return PEERS.validate_python(parse_json(data))
    except ValidationError as error:
        raise ReportError(f"{path}: {join_problems(map(problem_clause, error.errors()))}") from error
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from error
