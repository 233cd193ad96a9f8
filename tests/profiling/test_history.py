"""The history of runs: real SQLite files, real processes."""

import json
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.devices import FakeDevice
from edge.errors import MeasurementError
from edge.profiling import Entry, QualityWarning, Run, Settings, load_latency, profile_bundle
from edge.profiling import history as history_module
from edge.profiling.history import (
    FEWEST_BLOCKS,
    Recorder,
    compare_runs,
    history_path,
    interleaved,
    record_run,
    recorded_run,
    recorded_runs,
    two_sample_ratio,
)
from tests.runtime import golden

PAGE = 4096
NARROW, WIDE = ("prefix", "tail_00"), ("prefix", "tail_01")


def entry(unit: tuple[str, ...], blocks: list[list[float]], positions: list[int] | None = None) -> Entry:
    order = list(range(len(blocks))) if positions is None else positions
    return Entry(programs=list(unit), first_run_ms=9.0, warm_up_runs=10, blocks_ms=blocks, block_order=order)


def a_run(*entries: Entry, canary_reference_ms: float = 1.0, **changes: Any) -> Run:
    """A run of `entries`; `canary_reference_ms`, to the nanosecond, is what runs of one machine never share."""
    environment = {
        "cpu": "fake",
        "runtime_version": "litert 2",
        "canary_reference_ms": canary_reference_ms,
        "canary_ms": [1.0, 1.1],
        **changes.pop("facts", {}),
    }
    fields: dict[str, Any] = {
        "device": "local",
        "environment": environment,
        "runtime": "litert",
        "precision": "int8",
        "threads": 1,
        "artifact_sha256": "0" * 64,
        "seed": 0,
        "entries": list(entries or [entry(NARROW, [[1.0, 1.25]])]),
        "complete": True,
    }
    return Run(**{**fields, **changes})


def noisy_blocks(ms: float, count: int, seed: int) -> list[list[float]]:
    """Blocks of ten runs around `ms`; blocks differ among themselves by 1%, runs within one by 1%."""
    random = np.random.default_rng(seed)
    return [(ms * level * random.normal(1, 0.01, 10)).tolist() for level in random.normal(1, 0.01, count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder to make" / "runs.sqlite"


# Where it is.


def test_the_history_lives_in_the_users_folder_for_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSNET_HISTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert history_path() == tmp_path / "data" / "dsnet-edge" / "runs.sqlite"
    for not_absolute in ("", "data"):
        monkeypatch.setenv("XDG_DATA_HOME", not_absolute)
        assert history_path() == tmp_path / ".local" / "share" / "dsnet-edge" / "runs.sqlite"
    monkeypatch.setenv("DSNET_HISTORY", str(tmp_path / "mine"))
    assert history_path() == tmp_path / "mine"


# What is kept.


def test_a_run_comes_back_with_every_sample_and_all_that_is_known(path: Path) -> None:
    warning = QualityWarning(code="throttled", message="hot", remedy="wait")
    run = a_run(facts={"governor": None, "names": ["é", "\n"]}, warnings=[warning], runner="native", threads=4)
    number = record_run(run, "ds_mbv1", path)
    kept = recorded_run(number, path)
    assert kept.run == run
    (listed,) = recorded_runs(path)
    assert listed == kept.listed
    assert (listed.bundle, listed.device, listed.runner, listed.threads) == ("ds_mbv1", "local", "native", 4)
    assert (listed.complete, listed.units, listed.samples, listed.warnings) == (True, 1, 2, 1)
    assert listed.started == listed.updated
    assert listed.started.endswith("Z")


def test_between_transactions_the_history_is_one_file(path: Path) -> None:
    record_run(a_run(), "b", path)
    assert [file.name for file in path.parent.iterdir()] == ["runs.sqlite"]


def test_a_history_that_does_not_exist_is_empty_and_stays_away(path: Path) -> None:
    assert recorded_runs(path) == []
    with pytest.raises(MeasurementError, match="no run 1; dsnet profile list shows those there are"):
        recorded_run(1, path)
    assert not path.parent.exists()


def test_runs_are_listed_newest_first_and_filtered(path: Path) -> None:
    record_run(a_run(device="phone"), "a", path)
    record_run(a_run(), "a", path)
    record_run(a_run(runtime="executorch"), "b", path)
    assert [listed.id for listed in recorded_runs(path)] == [3, 2, 1]
    assert [listed.id for listed in recorded_runs(path, limit=2)] == [3, 2]
    assert [listed.id for listed in recorded_runs(path, bundle="a", device="local")] == [2]
    assert [listed.id for listed in recorded_runs(path, runtime="executorch")] == [3]


def test_a_number_is_never_given_twice(path: Path) -> None:
    assert record_run(a_run(), "b", path) == 1
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM runs")
    assert record_run(a_run(), "b", path) == 2


def test_a_run_that_grows_keeps_its_number(path: Path) -> None:
    recorder = Recorder("b", path)
    blocks = [[1.0], [1.1], [1.2]]
    for count in range(4):
        recorder.keep(a_run(entry(NARROW, blocks[:count]), complete=False))
        assert recorded_run(1, path).run.entries[0].blocks_ms == blocks[:count], "every block is there at once"
    assert recorder.finish(a_run(entry(NARROW, blocks))) is None
    (listed,) = recorded_runs(path)
    assert (listed.id, listed.complete, listed.samples) == (1, True, 3)
    assert recorder.run_id == 1


def test_an_interrupted_run_that_goes_on_in_another_process_keeps_its_number(path: Path) -> None:
    Recorder("b", path).keep(a_run(entry(NARROW, [[1.0]]), complete=False))
    Recorder("b", path).keep(a_run(entry(NARROW, [[1.0], [1.1]])))
    assert [listed.id for listed in recorded_runs(path)] == [1]
    assert recorded_run(1, path).run.complete


def test_the_same_import_twice_is_one_run(path: Path) -> None:
    assert record_run(a_run(), "b", path) == record_run(a_run(), "b", path) == 1


@pytest.mark.parametrize(
    "other",
    [
        a_run(canary_reference_ms=1.000001),
        a_run(device="phone"),
        a_run(threads=2),
        a_run(artifact_sha256="1" * 64),
        a_run(entry(NARROW, [])),
        a_run(entry(NARROW, [[1.0, 1.25, 1.5]])),
        a_run(entry(WIDE, [[1.0, 1.25]])),
    ],
    ids=["another start", "device", "threads", "artifact", "from the beginning", "another block", "unit"],
)
def test_another_run_never_takes_the_place_of_one(path: Path, other: Run) -> None:
    record_run(a_run(), "b", path)
    assert record_run(other, "b", path) == 2
    assert recorded_run(1, path).run == a_run()
    assert recorded_run(2, path).run == other


def test_a_recorder_whose_file_was_replaced_writes_a_row_of_its_own(path: Path) -> None:
    recorder = Recorder("b", path)
    recorder.keep(a_run(complete=False))
    path.unlink()
    record_run(a_run(device="phone"), "b", path)
    assert recorder.finish(a_run()) is None
    assert [listed.device for listed in recorded_runs(path)] == ["local", "phone"]


def test_profile_bundle_is_kept_block_by_block_and_resumes_under_its_number(path: Path, tmp_path: Path) -> None:
    device = FakeDevice(lambda unit, number: len(unit) + number % 7 / 100)
    settings = Settings(min_runs=30)

    def measure(**options: Any) -> tuple[Run, Recorder]:
        recorder = Recorder("golden", path)
        run = profile_bundle(
            golden.bundle(), golden.artifact(), device, tmp_path / "l.json", settings=settings,
            on_block=recorder.keep, seconds=device.seconds, **options,
        )  # fmt: skip
        assert recorder.finish(run) is None
        return run, recorder

    class PulledOutError(Exception):
        pass

    def pull_out(run: Run) -> None:
        before.keep(run)
        if len(run.environment["canary_ms"]) == 4:
            raise PulledOutError

    before = Recorder("golden", path)
    with pytest.raises(PulledOutError):
        profile_bundle(
            golden.bundle(), golden.artifact(), device, tmp_path / "l.json", settings=settings, on_block=pull_out
        )
    kept = recorded_run(1, path).run
    assert sum(len(entry.blocks_ms) for entry in kept.entries) == 4
    assert kept == load_latency(tmp_path / "l.json").runs[0]
    run, recorder = measure()
    assert (recorder.run_id, recorded_run(1, path).run) == (1, run)
    again, recorder = measure()
    assert (recorder.run_id, recorded_run(2, path).run) == (2, again), "measured anew, to the same samples"
    assert recorded_run(1, path).run == run


# Several processes, and killed ones.


def write_runs(path: Path, device: str, count: int) -> None:
    for number in range(count):
        record_run(a_run(device=device, canary_reference_ms=1 + number / 1e6), "b", path)


def write_and_be_killed(path: Path) -> None:
    record_run(a_run(device="finished"), "b", path)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA cache_size = 1")  # so that changes go to the file before they are committed
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE runs SET device = 'half'")
    for _ in range(20):
        database.execute("INSERT INTO about VALUES (?)", ("x" * 9000,))
    os.kill(os.getpid(), signal.SIGKILL)


def processes(target: Callable[..., None], *arguments: tuple[Any, ...]) -> list[int | None]:
    """Exit statuses of processes that ran at the same time."""
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=target, args=args) for args in arguments]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def test_processes_that_write_at_once_into_a_new_file_lose_nothing(path: Path) -> None:
    path.parent.mkdir()
    assert processes(write_runs, *((path, f"phone {number}", 8) for number in range(3))) == [0] * 3
    listed = recorded_runs(path)
    assert sorted(item.id for item in listed) == list(range(1, 25))
    assert {name: sum(item.device == name for item in listed) for name in ("phone 0", "phone 1", "phone 2")} == {
        "phone 0": 8,
        "phone 1": 8,
        "phone 2": 8,
    }


def test_a_process_killed_in_mid_write_loses_nothing_that_was_finished(path: Path) -> None:
    path.parent.mkdir()
    assert processes(write_and_be_killed, (path,)) == [-signal.SIGKILL]
    assert path.with_name("runs.sqlite-journal").exists(), "it died with changes in the file"
    assert [item.device for item in recorded_runs(path)] == ["finished"]
    assert record_run(a_run(), "b", path) == 2


def test_a_measurement_does_not_wait_long_for_a_file_in_use_and_is_kept_in_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(a_run(), "b", path)
    monkeypatch.setattr(history_module, "WAIT_BETWEEN_BLOCKS_SECONDS", 0.01)
    recorder = Recorder("b", path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        recorder.keep(a_run(device="phone", complete=False))
        assert recorder.problem == (
            f"{path}: another process has been using the history of runs for too long; end it and try again"
        )
        monkeypatch.setattr(history_module, "record_run", pytest.fail)
        recorder.keep(a_run(device="phone", complete=False))
        monkeypatch.undo()
    assert recorder.finish(a_run(device="phone")) is None
    assert recorded_runs(path)[0].device == "phone"


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


# How two runs differ.


def test_a_difference_has_its_ratio_and_its_interval() -> None:
    a = a_run(entry(NARROW, noisy_blocks(2, 20, 1)), entry(WIDE, noisy_blocks(4, 20, 2)))
    b = a_run(entry(NARROW, noisy_blocks(2, 10, 3)), entry(WIDE, noisy_blocks(5, 10, 4)))
    same, slower = compare_runs(a, b).units
    assert (same.programs, same.verdict, same.resampled) == (
        list(NARROW), "no difference beyond uncertainty", "blocks",
    )  # fmt: skip
    assert (slower.programs, slower.verdict) == (list(WIDE), "slower")
    assert slower.interval is not None
    assert slower.interval.low < 1.25 < slower.interval.high, slower
    assert slower.interval.high - slower.interval.low < 0.05, slower
    assert compare_runs(b, a).units[1].verdict == "faster"
    assert compare_runs(a, b) == compare_runs(a, b), "the seed is fixed"


def test_the_interval_of_equal_runs_holds_one_as_often_as_it_says() -> None:
    """With the fewest blocks it is given for. 1.96σ of 300 trials at 95% is 2.5%."""
    held = 0
    for trial in range(300):
        a, b = (entry(NARROW, noisy_blocks(1, FEWEST_BLOCKS, seed)) for seed in (2 * trial, 2 * trial + 1))
        interval = two_sample_ratio(b, a, seed=trial).interval
        held += interval.low <= 1 <= interval.high
    assert held / 300 > 0.925, f"{held} of 300"


def test_times_that_were_not_measured_in_blocks_are_drawn_run_by_run() -> None:
    imported = entry(NARROW, [noisy_blocks(2, 1, 1)[0]])
    found = two_sample_ratio(entry(NARROW, noisy_blocks(4, 10, 2)), imported)
    assert found.resampled == "runs"
    assert found.interval.low < found.value < found.interval.high, found
    assert found.value == pytest.approx(2, rel=0.03)


def test_too_few_blocks_have_no_interval_and_no_verdict() -> None:
    few, many = (a_run(entry(NARROW, noisy_blocks(2, count, 1))) for count in (FEWEST_BLOCKS - 1, 20))
    for a, b in ((few, many), (many, few), (a_run(entry(NARROW, [[1.0] * 4])), many)):
        (unit,) = compare_runs(a, b).units
        assert (unit.b_over_a, unit.interval, unit.verdict) == (None, None, "too few blocks")
        assert unit.a_p50_ms > 0
    with pytest.raises(MeasurementError, match=r"prefix \+ tail_00: 4 and 20 blocks; a ratio needs 5 of each"):
        two_sample_ratio(few.entries[0], many.entries[0])


def test_a_time_of_zero_has_no_ratio() -> None:
    zero, some = entry(NARROW, [[0.0] * 10] * 10), entry(NARROW, noisy_blocks(2, 10, 1))
    for a, b in ((zero, some), (some, zero), (zero, zero)):
        (unit,) = compare_runs(a_run(a), a_run(b)).units
        assert (unit.b_over_a, unit.verdict) == (None, "a time of 0 ms")
    with pytest.raises(MeasurementError, match="0 ms"):
        two_sample_ratio(some, zero)


def test_a_run_against_itself_shows_no_difference() -> None:
    run = a_run(entry(NARROW, noisy_blocks(2, 10, 1)))
    (unit,) = compare_runs(run, run).units
    assert (unit.b_over_a, unit.verdict, unit.resampled) == (1.0, "no difference beyond uncertainty", "blocks")


def test_units_of_one_run_only_are_named_and_those_without_samples_left_out() -> None:
    a = a_run(entry(NARROW, noisy_blocks(2, 10, 1)), entry(("prefix",), []))
    b = a_run(entry(WIDE, noisy_blocks(2, 10, 1)), entry(("prefix",), noisy_blocks(1, 10, 1)))
    found = compare_runs(a, b)
    assert (found.units, found.only_in_a) == ([], [list(NARROW)])
    assert found.only_in_b == [list(WIDE), ["prefix"]]


def test_runs_measured_in_turn_are_compared_pair_by_pair_so_that_drift_cancels() -> None:
    """One sequence of rounds, one block of each run in each; the machine slows down threefold on the way."""
    drift = np.linspace(1, 3, 20)
    noise = np.random.default_rng(0).normal(1, 0.001, (2, 20, 10))
    blocks = [(ms * drift[:, None] * level).tolist() for ms, level in zip((2, 2.1), noise, strict=True)]
    a = a_run(entry(NARROW, blocks[0], list(range(0, 40, 2))))
    b = a_run(entry(NARROW, blocks[1], list(range(1, 40, 2))), threads=2)
    (unit,) = compare_runs(a, b).units
    assert (unit.resampled, unit.verdict) == ("pairs", "slower")
    assert unit.b_over_a == pytest.approx(1.05, abs=0.001)
    apart = a_run(entry(NARROW, blocks[1]), threads=2)
    (unit,) = compare_runs(a, apart).units
    assert (unit.resampled, unit.verdict) == ("blocks", "no difference beyond uncertainty"), (
        "one has to measure in turn"
    )


@pytest.mark.parametrize(
    ("device", "positions"),
    [
        ("local", [0, 1, 2, 3]),
        ("local", [4, 5, 6, 7]),
        ("local", [3, 2, 5, 6]),
        ("phone", [1, 2, 5, 6]),
    ],
    ids=["each counts from 0", "one after the other", "two blocks in one round", "another device"],
)
def test_runs_that_were_not_measured_in_turn_are_not_taken_for_such(device: str, positions: list[int]) -> None:
    blocks = [[1.0]] * 4
    a = a_run(entry(NARROW, blocks, [0, 3, 4, 7]))
    assert interleaved(a, a_run(entry(NARROW, blocks, [1, 2, 5, 6])))
    assert not interleaved(a, a_run(entry(NARROW, blocks, positions), device=device))


def test_what_differs_besides_the_times_is_named() -> None:
    a = a_run(facts={"settings": {"ci": 0.01}, "governor": "performance"})
    b = a_run(device="phone", threads=4, runner="native", facts={"runtime_version": "litert 3", "cores": 8})
    assert [(item.name, item.a, item.b) for item in compare_runs(a, b).changed] == [
        ("device", "local", "phone"),
        ("runner", "python", "native"),
        ("threads", 1, 4),
        ("runtime_version", "litert 2", "litert 3"),
        ("governor", "performance", None),
        ("cores", None, 8),
    ]
    assert compare_runs(a, a).changed == []


def test_a_machine_that_was_slower_at_its_fixed_work_is_named() -> None:
    names = [
        [item.name for item in compare_runs(a_run(), a_run(canary_reference_ms=ms)).changed] for ms in (1.04, 0.9, 1.1)
    ]
    assert names == [[], ["canary_reference_ms"], ["canary_reference_ms"]]
    other_work = a_run(canary_reference_ms=9.0, runner="native")
    assert [item.name for item in compare_runs(a_run(), other_work).changed] == ["runner"]


def test_a_large_run_is_compared_within_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [entry(NARROW, noisy_blocks(2, 10, seed)) for seed in (1, 2)]
    at_once = two_sample_ratio(*blocks)
    monkeypatch.setattr(history_module, "DRAWN_AT_ONCE", 50)
    piecewise = two_sample_ratio(*blocks)
    assert piecewise == at_once, "the same numbers, drawn five at a time"
