"""`latency.json`, schema "dsnet-latency/1": raw samples per (device, runtime, precision, threads, sustained, programs).

Statistics are derived from the samples, never stored.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from common import atomic_write
from edge.bundle.fields import MAX_GATES
from edge.bundle.manifest import Record, Runtime, Sha256
from edge.bundle.records import read_record
from edge.errors import BundleError, MeasurementError

FORMAT = "dsnet-latency/1"
MAX_BYTES = 64 << 20
"""About three million samples."""
MAX_THREADS = 1024
MAX_SUSTAINED_SECONDS = 86400.0

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SustainedSeconds = Annotated[float, Field(gt=0, le=MAX_SUSTAINED_SECONDS)]


class Entry(Record):
    """The samples of one timed unit: a program alone (`["tail_03"]`) or end to end (`["prefix", "tail_03"]`)."""

    programs: list[str] = Field(min_length=1, max_length=MAX_GATES + 1)
    first_run_ms: Milliseconds
    warm_up_runs: Annotated[int, Field(ge=0)]
    blocks_ms: list[list[Milliseconds]]
    """Raw samples, one list per finished block, in the order they were measured."""
    block_order: list[int]
    """Position of each block in the run's overall sequence, so that entries can be paired in time."""
    turns_ms: list[list[Milliseconds]] = Field(default_factory=list)
    """Raw samples of whole images that took turns with images at other widths, run by run, as images do: the caches
    hold other weights. A block for each round; none where the runner cannot change widths at little cost."""


class QualityWarning(Record):
    """Something that makes a number less trustworthy, and what to do about it."""

    code: str
    message: str
    remedy: str


class Run(Record):
    """Everything measured for one device, runtime, precision and thread count, in a burst or after sustained work."""

    device: str
    """Short name, the key of operating points: a serial, or `local`."""
    environment: dict[str, Any]
    """Fingerprint: CPU model, cores, governor where readable, runtime version, operating system."""
    runtime: Runtime
    precision: str
    runner: str = "python"
    """What ran the programs: `python` (the runtime's own package) or `native` (dsnet-runner)."""
    threads: Annotated[int, Field(ge=1, le=MAX_THREADS)]
    sustained_seconds: SustainedSeconds | None = None
    """How long the device was kept at work before its sustained speed was measured, without rests; None: in a burst."""
    artifact_sha256: Sha256
    seed: int
    entries: list[Entry]
    warnings: list[QualityWarning] = Field(default_factory=list)
    complete: bool
    """False while blocks are missing; `dsnet profile` resumes such a run."""


class LatencyTable(Record):
    """A set of runs."""

    format: str
    runs: list[Run]


def load_latency(path: Path) -> LatencyTable:
    """Read a latency table; raises MeasurementError, in one line, for anything but strict JSON of this schema."""
    if not path.exists():
        raise MeasurementError(f"{path}: no such file; dsnet profile writes it")
    try:
        table = read_record(path, LatencyTable, FORMAT, MAX_BYTES)
    except BundleError as error:
        raise MeasurementError(str(error)) from error
    for run in table.runs:
        for entry in run.entries:
            if len(entry.blocks_ms) != len(entry.block_order):
                raise MeasurementError(
                    f"{path}: {'+'.join(entry.programs)} on {run.device} has {len(entry.blocks_ms)} blocks but "
                    f"{len(entry.block_order)} positions in block_order; run dsnet profile again"
                )
    return table


def save_latency(path: Path, table: LatencyTable) -> None:
    """Write a latency table, whole or not at all."""
    text = json.dumps(table.model_dump(), allow_nan=False, separators=(",", ":"))
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
