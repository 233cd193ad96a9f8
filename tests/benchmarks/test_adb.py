import pytest

from benchmarks import adb_fleet, adb_overhead
from benchmarks.adb_fleet import Measured
from edge.profiling import Entry


def measured(wall_s: float) -> Measured:
    return Measured(wall_s, {"asleep": wall_s}, {"profiler": 1.0})


def entry(*samples_ms: float) -> Entry:
    return Entry(programs=["tail"], first_run_ms=1, warm_up_runs=5, blocks_ms=[list(samples_ms)], block_order=[0])


def test_growth_is_that_of_repetitions_which_were_close_in_time() -> None:
    """A machine that is half as fast for one repetition of both sizes changes nothing."""
    found = adb_fleet.compare({1: [measured(10), measured(20)], 16: [measured(12), measured(24)]})
    first, last = found["rows"]
    assert first["growth"] is None
    assert last["growth"]["value"] == pytest.approx(1.2)
    assert last["growth"]["pairs"] == 2


def test_a_session_counts_once_for_each_unit() -> None:
    """Of four pairs of processes three take 1.01 times as long over adb, one 3 times: that one is outvoted."""
    ratios = {"head": (1.01, 1.01), "body": (1.01, 3.0)}
    sessions = [
        {(unit,): {"local": entry(2, 2, 2), "adb": entry(*[2 * ratios[unit][number]] * 2, 99)} for unit in ratios}
        for number in range(2)
    ]
    found = adb_overhead.compare(sessions)
    assert found["adb_local"]["value"] == pytest.approx(1.01)
    assert found["adb_local"]["pairs"] == 4
    assert [row["adb_local"]["pairs"] for row in found["rows"]] == [2, 2]
