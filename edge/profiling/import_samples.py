"""Latency measured elsewhere, by Xcode or an app on an iPhone, as a run of the latency table.

CSV: a header `programs,sample_ms` (a column `device` is optional), then one line per timed run; `programs` is one
program, or all of a width measured end to end with a plus between them: `prefix+tail_03`.
JSON: {"device": …, "samples_ms": {"tail_03": [1.9, …], "prefix+tail_03": [3.1, …]}}.
"""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from common.console import listed, one_line
from edge.bundle.manifest import Artifact, Record
from edge.bundle.records import join_problems, parse_json, problem_clause
from edge.errors import MeasurementError
from edge.profiling.latency_table import Entry, QualityWarning, Run
from edge.profiling.profile import plan_units

MAX_BYTES = 64 << 20
FEWEST = 6
"""Samples of a unit: below that, its median has no 95% interval."""


LONGEST_MS = 3_600_000.0
"""An hour: what is longer is in another unit."""


class Samples(Record):
    """Times of each unit, in the order in which they were measured."""

    device: str | None = None
    samples_ms: dict[str, list[Annotated[float, Field(gt=0, le=LONGEST_MS)]]] = Field(min_length=1)


def read_samples(path: Path) -> Samples:
    """Read a .csv or .json file of samples; raises MeasurementError, in one line, for anything else."""
    is_json = path.suffix.lower() == ".json"
    if path.suffix.lower() not in (".csv", ".json"):
        raise MeasurementError(f"{path}: samples are read from .csv or .json files")
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise MeasurementError(f"{path}: larger than the limit of {MAX_BYTES} bytes")
    try:
        fields = parse_json(data) if is_json else _csv_fields(data.decode("utf-8-sig"))
        return Samples.model_validate(fields)
    except ValidationError as error:
        raise MeasurementError(f"{path}: {join_problems(map(problem_clause, error.errors()))}") from error
    except UnicodeDecodeError as error:
        raise MeasurementError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except (ValueError, csv.Error) as error:
        raise MeasurementError(f"{path}: {error}") from error


def checked_device(name: str | None, path: Path) -> str:
    """Return a device's name, 1…128 printable characters; raises MeasurementError for none or another."""
    if name is None:
        raise MeasurementError(f"{path}: does not say on which device it was measured; name it with --device")
    if not 1 <= len(name) <= 128 or not name.isprintable():
        raise MeasurementError(f"device {one_line(name[:80])!r} is not 1…128 printable characters; change --device")
    return name


def imported_run(
    artifact: Artifact, samples: Mapping[str, Iterable[float]], device: str, runner: str, threads: int, origin: str
) -> Run:
    """Return samples as a complete run of an artifact; each unit's samples are one block.

    Raises MeasurementError for programs that the artifact does not have, and for too few samples of one.
    """
    units = {"+".join(unit): unit for unit in plan_units(artifact)}
    strangers = [name for name in samples if name not in units]
    if strangers:
        raise MeasurementError(f"{origin}: no {strangers[0][:80]!r} in this artifact; valid: {listed(units)}")
    measured = {name: list(values) for name, values in samples.items()}
    for name, values in measured.items():
        if len(values) < FEWEST:
            raise MeasurementError(f"{origin}: {len(values)} sample(s) of {name}; a median needs {FEWEST}")
    entries = [
        Entry(
            programs=list(units[name]),
            first_run_ms=values[0],
            warm_up_runs=0,
            blocks_ms=[values],
            block_order=[position],
        )
        for position, (name, values) in enumerate(measured.items())
    ]
    return Run(
        device=device,
        environment={"imported_from": origin},
        runtime=artifact.runtime,
        precision=artifact.precision,
        runner=runner,
        threads=threads,
        artifact_sha256=artifact.sha256,
        seed=0,
        entries=entries,
        warnings=[_imported(origin)],
        complete=True,
    )


def _imported(origin: str) -> QualityWarning:
    return QualityWarning(
        code="imported",
        message=f"times come from {origin}: order, warm-up and throttling are not known",
        remedy="measure in interleaved blocks after a warm-up, and leave the first runs out",
    )


def _csv_fields(text: str) -> dict[str, object]:
    rows = csv.DictReader(io.StringIO(text), strict=True)
    columns = set(rows.fieldnames or ())
    if not {"programs", "sample_ms"} <= columns:
        raise ValueError(f"columns are {', '.join(sorted(columns)) or 'missing'}; needed: programs, sample_ms")
    samples: dict[str, list[float]] = defaultdict(list)
    devices = set()
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"line {rows.line_num}: not as many fields as the header has; decimals take a point")
        samples[row["programs"]].append(_milliseconds(row["sample_ms"], rows.line_num))
        devices.add(row.get("device") or None)
    if len(devices) > 1:
        raise ValueError(f"samples of several devices ({', '.join(sorted(map(str, devices)))}); split the file")
    return {"device": next(iter(devices), None), "samples_ms": dict(samples)}


def _milliseconds(text: str | None, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST_MS:
        raise ValueError(f"line {line}: {json.dumps(text)[:40]} is no time in milliseconds")
    return value
