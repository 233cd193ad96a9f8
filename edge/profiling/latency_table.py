"""`latency.json`, schema "dsnet-latency/1": raw samples per (device, runtime, precision, threads, programs). Statistics are derived."""

from typing import Annotated, Any

from pydantic import Field

from edge.bundle.manifest import Record, Runtime, Sha256

FORMAT = "dsnet-latency/1"

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Entry(Record):
    """The samples of one timed unit: a program alone (`["tail_03"]`) or one image end to end (`["prefix", "tail_03"]`)."""

    programs: list[str] = Field(min_length=1, max_length=8)
    first_run_ms: Milliseconds
    warm_up_runs: Annotated[int, Field(ge=0)]
    blocks_ms: list[list[Milliseconds]]
    """Raw samples, one list per finished block, in the order they were measured."""
    block_order: list[int]
    """Position of each block in the run's overall sequence, so that entries can be paired in time."""


class QualityWarning(Record):
    """Something that makes a number less trustworthy, and what to do about it."""

    code: str
    message: str
    remedy: str


class Run(Record):
    """Everything measured for one device, runtime, precision and thread count."""

    device: str
    """Short name, the key of operating points: a serial, or `local`."""
    environment: dict[str, Any]
    """Fingerprint: CPU model, cores, governor where readable, runtime version, operating system."""
    runtime: Runtime
    precision: str
    threads: Annotated[int, Field(ge=1, le=1024)]
    artifact_sha256: Sha256
    seed: int
    entries: list[Entry]
    warnings: list[QualityWarning] = []
    complete: bool
    """False while blocks are missing; `dsnet profile` resumes such a run."""


class LatencyTable(Record):
    """A set of runs."""

    format: str
    runs: list[Run]
