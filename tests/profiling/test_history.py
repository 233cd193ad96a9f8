"""The history of runs: real SQLite files, real processes."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.devices import FakeDevice
from edge.errors import MeasurementError
from edge.profiling import QualityWarning, Run, Settings, load_latency, profile_bundle
from edge.profiling import history as history_module
from edge.profiling.history import Recorder, history_path, record_run, recorded_run, recorded_runs
from tests.profiling.runs import NARROW, WIDE, a_run, entry
from tests.runtime import golden

PAGE = 4096


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
