"""How two runs differ: ratios with their uncertainty, what is not comparable, what else is not the same."""

import numpy as np
import pytest

from edge.errors import MeasurementError
from edge.profiling import compare as compare_module
from edge.profiling.compare import FEWEST_BLOCKS, compare_runs, interleaved, two_sample_ratio
from tests.profiling.runs import NARROW, WIDE, a_run, entry, noisy_blocks

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
    monkeypatch.setattr(compare_module, "DRAWN_AT_ONCE", 50)
    piecewise = two_sample_ratio(*blocks)
    assert piecewise == at_once, "the same numbers, drawn five at a time"
