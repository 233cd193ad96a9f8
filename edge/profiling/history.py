"""Every run ever measured or imported here, in one SQLite file, schema "dsnet-runs/1".

A run is its record as JSON, raw samples and all, beside the columns by which runs are listed. It is written whenever it
has grown, in one transaction, and found again when an interrupted measurement goes on. Its number is never given twice.

The file has SQLite's rollback journal and not a write-ahead log: between transactions it is one file, which a killed
process cannot leave in two halves, and with a connection per transaction, which any thread of any process may open, the
journal is the faster of the two. Writers take their turns: BEGIN IMMEDIATE, and a wait while another one writes.

Like every file, a history may come from a stranger: it may hold tables and indexes but nothing that runs by itself, its
schema is not trusted with functions, and what is read becomes a record or a MeasurementError in one line.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from common import sha256_bytes
from common.console import one_line
from edge.bundle.manifest import Record, Runtime, Sha256
from edge.bundle.records import parse_json, parse_record
from edge.errors import BundleError, MeasurementError
from edge.profiling.latency_table import MAX_BYTES, Entry, Run, SustainedSeconds

FORMAT = "dsnet-runs/1"
VARIABLE = "DSNET_HISTORY"
"""Environment variable that names another file."""
COLUMN_BYTES = 1 << 14
"""What a row may hold in each column beside its record."""
WAIT_SECONDS = 30.0
"""How long to wait for other processes: a hundred of them, each writing a large run, take a few seconds."""
WAIT_BETWEEN_BLOCKS_SECONDS = 2.0
"""The same in the middle of a measurement, where the device would cool down meanwhile."""

TABLES = (
    "CREATE TABLE about (format TEXT NOT NULL)",
    "CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, started TEXT NOT NULL, "
    "updated TEXT NOT NULL, bundle TEXT NOT NULL, device TEXT NOT NULL, runtime TEXT NOT NULL, "
    "precision TEXT NOT NULL, runner TEXT NOT NULL, threads INTEGER NOT NULL, sustained_seconds REAL, "
    "artifact_sha256 TEXT NOT NULL, complete INTEGER NOT NULL, units INTEGER NOT NULL, samples INTEGER NOT NULL, "
    "warnings INTEGER NOT NULL, record TEXT NOT NULL)",
    "CREATE INDEX runs_origin ON runs (origin)",
)
ACTIVE_OBJECTS = "SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index') OR coalesce(rootpage, 0) < 1"
"""Views, triggers, virtual tables: they have no page of their own, and run code when they are read or written."""
SHORTEST_MS, LONGEST_MS = 1e-9, 1e12
"""A picosecond, below which no clock counts, and thirty years: between the two every statistic is a finite number."""

SHOWN_CHARACTERS = 80

Count = Annotated[int, Field(ge=0)]


class Listed(Record):
    """What the list says about a run."""

    id: Annotated[int, Field(ge=1)]
    started: str
    """When the run was first written, and when last: UTC, ISO 8601."""
    updated: str
    bundle: str
    device: str
    runtime: Runtime
    precision: str
    runner: str
    threads: Count
    sustained_seconds: SustainedSeconds | None
    artifact_sha256: Sha256
    complete: bool
    units: Count
    samples: Count
    warnings: Count


COLUMNS = ", ".join(Listed.model_fields)


@dataclass(frozen=True)
class Kept:
    """A run of the history."""

    listed: Listed
    run: Run


def history_path() -> Path:
    """Return the file that $DSNET_HISTORY names, else runs.sqlite in the user's folder for data."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():  # the XDG base directory specification: relative paths are to be ignored
        try:
            base = Path.home() / ".local" / "share"
        except RuntimeError as error:
            raise MeasurementError(f"no home folder for the history of runs; let ${VARIABLE} name a file") from error
    return base / "dsnet-edge" / "runs.sqlite"


class Recorder:
    """Keeps one run in the history while it is measured. Whatever goes wrong there is a warning, never an error.

    `keep` is called after every block and `finish` at the end, or when the run was measured elsewhere.
    """

    def __init__(self, bundle: str, path: Path | None = None) -> None:
        """`bundle` is the name under which the run is listed; `path` None: the user's history."""
        self.run_id: int | None = None
        """The run's number, as soon as it has one."""
        self.problem: str | None = None
        """Why the history does not hold all of the run, in one line."""
        self._bundle = bundle
        self._path = path

    def keep(self, run: Run) -> None:
        """Write what the run holds so far. After a failure only `finish` tries again: no block waits for a file."""
        if self.problem is None:
            self._write(run, WAIT_BETWEEN_BLOCKS_SECONDS)

    def finish(self, run: Run) -> str | None:
        """Write the run as it ended; returns a line to show to the user if the history does not hold it."""
        self._write(run, WAIT_SECONDS)
        return self.problem and f"not in the history of runs, or not in full: {self.problem}"

    def _write(self, run: Run, wait_seconds: float) -> None:
        try:
            self.run_id = record_run(run, self._bundle, self._path, run_id=self.run_id, wait_seconds=wait_seconds)
            self.problem = None
        except Exception as error:  # the measurement is worth more than its place in a list, whatever this is
            self.problem = one_line(str(error)) or type(error).__name__


def record_run(
    run: Run, bundle: str, path: Path | None = None, *, run_id: int | None = None, wait_seconds: float = WAIT_SECONDS
) -> int:
    """Write a run, whole or not at all, and return its number.

    In the place of run `run_id`, else of the run that it continues or repeats sample by sample, else as a new one.
    """
    path = path or history_path()
    record = _json(run, path)
    with _opened(path, wait_seconds, writing=True) as database:
        assert database is not None
        origin = _origin(run)
        found = run_id or _continued(database, run, origin)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        values = {**_columns(run, bundle), "origin": origin, "updated": now, "record": record}
        if found is not None and _replaced(database, found, values):
            return found
        return _inserted(database, {**values, "started": now})


def recorded_runs(
    path: Path | None = None,
    *,
    device: str | None = None,
    bundle: str | None = None,
    runtime: str | None = None,
    limit: int = 1000,
) -> list[Listed]:
    """Return the last `limit` runs of the history, the newest first; None: of every device, bundle, runtime."""
    path = path or history_path()
    wanted = {"device": device, "bundle": bundle, "runtime": runtime}
    where = " AND ".join(f"(:{name} IS NULL OR {name} = :{name})" for name in wanted)
    query = f"SELECT {COLUMNS} FROM runs WHERE {where} ORDER BY id DESC LIMIT :limit"
    with _opened(path, value_bytes=COLUMN_BYTES) as database:
        if database is None:
            return []
        return [_listed(row, path) for row in database.execute(query, {**wanted, "limit": limit})]


def recorded_run(run_id: int, path: Path | None = None) -> Kept:
    """Return a run with its samples; raises MeasurementError when there is none of this number."""
    path = path or history_path()
    with _opened(path) as database:
        query = f"SELECT {COLUMNS}, record FROM runs WHERE id = :id"
        row = database and database.execute(query, {"id": run_id}).fetchone()
        if not row:
            raise MeasurementError(f"{path}: no run {run_id}; dsnet profile list shows those there are")
        try:
            return Kept(_listed(row, path), _run(row["record"]))
        except ValueError as error:
            raise MeasurementError(f"{path}: {_damaged(f'run {run_id}: {error}')}") from error


@contextmanager
def _opened(
    path: Path, wait_seconds: float = WAIT_SECONDS, value_bytes: int = MAX_BYTES + COLUMN_BYTES, writing: bool = False
) -> Iterator[sqlite3.Connection | None]:
    """Yield the history in a transaction that is committed at the end; to readers, None where nothing was written yet.

    Raises MeasurementError for a file that is no history, is damaged, is newer than this reader, or cannot be had.
    """
    try:
        if path.exists() and not path.is_file():
            raise MeasurementError(f"{path}: no file; let ${VARIABLE} name a file")
        if writing:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            yield None
            return
        place = f"{path.absolute().as_uri()}?mode={'rwc' if writing else 'rw'}"
        with closing(sqlite3.connect(place, timeout=wait_seconds, isolation_level=None, uri=True)) as database:
            database.row_factory = sqlite3.Row
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, value_bytes)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            database.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
            empty = _check_schema(database, path)
            if empty and writing:
                _create(database)
            yield None if empty and not writing else database
            database.execute("COMMIT")
    except sqlite3.Error as error:
        raise MeasurementError(f"{path}: {_advice(error)}") from error
    except OSError as error:
        raise MeasurementError(f"{path}: {error.strerror}; let ${VARIABLE} name another file") from error


def _check_schema(database: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is still empty; raises MeasurementError when it is something else than a history."""
    names = {row["name"] for row in database.execute("SELECT name FROM sqlite_master")}
    if not names:
        return True
    (active,) = database.execute(ACTIVE_OBJECTS).fetchone()
    if active or not {"about", "runs"} <= names:
        raise MeasurementError(f"{path}: an SQLite database, but no history of runs; let ${VARIABLE} name another file")
    row = database.execute("SELECT format FROM about").fetchone()
    fields = {"format": str(row["format"]) if row else None}
    try:
        parse_record(json.dumps(fields).encode(), Record, FORMAT, str(path))
    except BundleError as error:
        raise MeasurementError(f"{error}, or let ${VARIABLE} name another file") from error
    return False


def _create(database: sqlite3.Connection) -> None:
    for statement in TABLES:
        database.execute(statement)
    database.execute("INSERT INTO about VALUES (?)", (FORMAT,))


def _advice(error: sqlite3.Error) -> str:
    """Return what SQLite's error means here and what to do about it."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "another process has been using the history of runs for too long; end it and try again"
    if name.startswith("SQLITE_FULL"):
        return f"no room for the history of runs; make some, or let ${VARIABLE} name another file"
    if name.startswith("SQLITE_NOTADB"):
        return f"no history of runs; let ${VARIABLE} name another file"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return f"the history of runs cannot be read or written ({error}); let ${VARIABLE} name another file"
    return _damaged(error)


def _damaged(problem: object) -> str:
    return f"the history of runs is damaged ({problem}); move it away and dsnet profile begins a new one"


def _json(run: Run, path: Path) -> str:
    try:
        text = json.dumps(run.model_dump(), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())  # fails on lone surrogates, which readers refuse
    except (ValueError, TypeError) as error:
        raise MeasurementError(f"{path}: a run that JSON cannot hold: {error}") from error
    if size > MAX_BYTES:
        raise MeasurementError(f"{path}: a run of {size} bytes; the limit is {MAX_BYTES}: lower --max-runs")
    return text


def _columns(run: Run, bundle: str) -> dict[str, object]:
    names = ("device", "runtime", "precision", "runner", "threads", "sustained_seconds", "artifact_sha256")
    return {
        "bundle": one_line(bundle),
        **{name: getattr(run, name) for name in names},
        "complete": int(run.complete),
        "units": len(run.entries),
        "samples": sum(len(block) for entry in run.entries for block in entry.blocks_ms),
        "warnings": len(run.warnings),
    }


def _origin(run: Run) -> str:
    """Return what a run has in common with its own continuation and with no other run: how it began.

    The first runs of its units and the canary's reference, in nanoseconds, are different every time.
    """
    entries = [[entry.programs, entry.first_run_ms, entry.warm_up_runs] for entry in run.entries]
    names = ("device", "runtime", "precision", "runner", "threads", "sustained_seconds", "artifact_sha256", "seed")
    key = [getattr(run, name) for name in names]
    return sha256_bytes(json.dumps([key, entries, run.environment.get("canary_reference_ms")]).encode())


def _continued(database: sqlite3.Connection, run: Run, origin: str) -> int | None:
    """Return the number of the last run that began as `run` did, if all its samples are in `run` as well."""
    query = "SELECT id, record FROM runs WHERE origin = ? ORDER BY id DESC LIMIT 1"
    row = database.execute(query, (origin,)).fetchone()
    if row is None:
        return None
    try:
        old = _run(row["record"])
    except ValueError:  # damaged: it stays as it is, and this run gets a row of its own
        return None
    same_units = [entry.programs for entry in old.entries] == [entry.programs for entry in run.entries]
    pairs = zip(old.entries, run.entries, strict=False)
    is_continued = same_units and all(new.blocks_ms[: len(old.blocks_ms)] == old.blocks_ms for old, new in pairs)
    return int(row["id"]) if is_continued else None


def _replaced(database: sqlite3.Connection, run_id: int, values: Mapping[str, object]) -> bool:
    """Return whether the run was there, of the same origin, and now has these values.

    Somebody may have moved the file away since: the number would then be another run's.
    """
    assigned = ", ".join(f"{name} = :{name}" for name in values)
    query = f"UPDATE runs SET {assigned} WHERE id = :id AND origin = :origin"
    return database.execute(query, {**values, "id": run_id}).rowcount > 0


def _inserted(database: sqlite3.Connection, values: Mapping[str, object]) -> int:
    names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
    number = database.execute(f"INSERT INTO runs ({names}) VALUES ({places})", values).lastrowid
    assert number is not None
    return number


def _listed(row: sqlite3.Row, path: Path) -> Listed:
    fields = {name: row[name] for name in Listed.model_fields}
    fields["complete"] = {0: False, 1: True}.get(fields["complete"])
    try:
        return Listed.model_validate(fields)
    except ValidationError as error:
        problem = f"run {row['id']}: {_first_problem(error)}"
        raise MeasurementError(f"{path}: {_damaged(problem)}") from error


def _run(text: object) -> Run:
    """Return a run from its JSON; raises ValueError, in one line, for anything else."""
    if not isinstance(text, str):
        raise ValueError("its record is no text")
    try:
        run = Run.model_validate(parse_json(text.encode()))
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from error
    for entry in run.entries:
        name, blocks = unit_name(entry), entry.blocks_ms
        if len(blocks) != len(entry.block_order):
            raise ValueError(f"{name} has {len(blocks)} blocks but {len(entry.block_order)} positions in block_order")
        if not all(blocks):
            raise ValueError(f"{name} has a block without samples")
        if max((entry.first_run_ms, *map(max, blocks))) > LONGEST_MS:
            raise ValueError(f"{name} has a time above {LONGEST_MS:.0e} ms")
    return run


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def unit_name(entry: Entry) -> str:
    """Return what an error calls an entry; a stranger's may name programs at any length."""
    return " + ".join(entry.programs)[:SHOWN_CHARACTERS]
