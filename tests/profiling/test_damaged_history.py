"""Files that are no history of runs, or not one that can be read: one line each, and they stay as they are."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge.errors import MeasurementError
from edge.profiling.history import Recorder, record_run, recorded_run, recorded_runs
from tests.profiling.runs import NARROW, a_run, entry, noisy_blocks

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder to make" / "runs.sqlite"


# Files that are no history, or not one that can be read.


def not_a_database(path: Path) -> None:
    path.write_text("precious notes\n" * 1000)


def damaged_in_the_middle(path: Path) -> None:
    """A history of many pages, of which all but the first are noise."""
    data = many_pages(path)
    path.write_bytes(data[:PAGE] + np.random.default_rng(0).bytes(len(data) - PAGE))


def cut_short(path: Path) -> None:
    path.write_bytes(many_pages(path)[: PAGE + 1])


def many_pages(path: Path) -> bytes:
    record_run(a_run(entry(NARROW, noisy_blocks(1, 100, 0))), "b", path)
    data = path.read_bytes()
    assert len(data) > 4 * PAGE
    return data


def newer(path: Path) -> None:
    change(path, "UPDATE about SET format = 'dsnet-runs/2'")


def of_something_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE bookmarks (url)")


def with_a_view(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
    change(path, "ALTER TABLE runs RENAME TO real_runs", f"CREATE VIEW runs AS {endless}")


def with_a_trigger(path: Path) -> None:
    change(path, "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END")


def without_a_column(path: Path) -> None:
    change(path, "ALTER TABLE runs DROP COLUMN bundle")


def change(path: Path, *statements: str) -> None:
    record_run(a_run(), "b", path)
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (not_a_database, "no history of runs; let $DSNET_HISTORY name another file"),
        (damaged_in_the_middle, "the history of runs is damaged"),
        (cut_short, "the history of runs is damaged"),
        (newer, "dsnet-runs/2 is newer than this reader (dsnet-runs/1); update dsnet-edge, or let $DSNET_HISTORY"),
        (of_something_else, "an SQLite database, but no history of runs; let $DSNET_HISTORY name another file"),
        (with_a_view, "an SQLite database, but no history of runs"),
        (with_a_trigger, "an SQLite database, but no history of runs"),
        (without_a_column, "the history of runs is damaged"),
        (Path.mkdir, "no file; let $DSNET_HISTORY name a file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_stays_as_it_is(
    break_it: Callable[[Path], None], message: str, path: Path
) -> None:
    path.parent.mkdir()
    break_it(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(MeasurementError) as refused:
        recorded_runs(path)
    assert f"{path}: {message}" in str(refused.value)
    assert "\n" not in str(refused.value)
    recorder = Recorder("b", path)
    recorder.keep(a_run(device="phone"))
    warning = recorder.finish(a_run(device="phone"))
    assert warning is not None
    assert warning.startswith(f"not in the history of runs, or not in full: {path}: {message}")
    assert "\n" not in warning
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_place_that_cannot_be_had_is_a_warning_to_who_measures(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    warning = Recorder("b", tmp_path / "file" / "runs.sqlite").finish(a_run())
    assert warning is not None
    assert "let $DSNET_HISTORY name another file" in warning


def test_a_run_that_json_cannot_hold_is_a_warning_too(path: Path) -> None:
    for fact in (float("nan"), object(), "\udcff"):
        warning = Recorder("b", path).finish(a_run(facts={"fact": fact}))
        assert warning is not None
        assert "a run that JSON cannot hold" in warning
    assert recorded_runs(path) == []


def test_a_bundle_whose_name_is_no_text_is_kept_with_its_name_spelled_out(path: Path) -> None:
    assert Recorder("b\udcff\x1b[31m", path).finish(a_run()) is None
    assert recorded_runs(path)[0].bundle == "b\\udcff\\x1b[31m"


def test_an_empty_file_is_a_history_without_runs(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert recorded_runs(path) == []
    assert record_run(a_run(), "b", path) == 1


def test_a_newer_minor_version_is_read_and_written(path: Path) -> None:
    change(path, "UPDATE about SET format = 'dsnet-runs/1.4'", "ALTER TABLE runs ADD COLUMN remark TEXT")
    assert record_run(a_run(device="phone"), "b", path) == 2
    assert [item.device for item in recorded_runs(path)] == ["phone", "local"]


LONG = json.dumps(a_run().model_dump()).replace("1.25", "1e13")
SHAPELESS = json.dumps(a_run().model_dump()).replace('"block_order": [0]', '"block_order": [0, 1]')


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE runs SET record = 'none'", "run 1: not JSON"),
        ("UPDATE runs SET record = '{}'", "run 1: device: Field required"),
        ("UPDATE runs SET record = x'ff00'", "run 1: its record is no text"),
        ("UPDATE runs SET record = CAST(x'ff00' AS TEXT)", "Could not decode to UTF-8"),
        (f"UPDATE runs SET record = '{LONG}'", "run 1: prefix + tail_00 has a time above 1e+12 ms"),
        (f"UPDATE runs SET record = '{SHAPELESS}'", "has 1 blocks but 2 positions in block_order"),
        ("UPDATE runs SET threads = 'four'", "run 1: threads: Input should be a valid integer"),
        ("UPDATE runs SET complete = 7", "run 1: complete: Input should be a valid boolean"),
        ("UPDATE runs SET artifact_sha256 = 'short'", "run 1: artifact_sha256: String should match"),
        ("UPDATE runs SET bundle = printf('%.*c', 20000, 'x')", "string or blob too big"),
    ],
)
def test_a_strangers_row_is_a_record_or_one_line(statement: str, message: str, path: Path) -> None:
    record_run(a_run(), "b", path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    with pytest.raises(MeasurementError) as refused:
        recorded_runs(path)
        recorded_run(1, path)
    assert message in str(refused.value)
    assert "move it away and dsnet profile begins a new one" in str(refused.value)
    assert record_run(a_run(canary_reference_ms=2.0), "b", path) == 2, "other runs are still kept"
