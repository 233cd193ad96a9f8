"""Intervals of changes hold the true change as often as they say, and agree with what is published and known exactly.

Coverage is simulated with fixed seeds. 1.96σ of 1000 trials at 95% is 1.4%; of 400, 2.1%.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.manifest import Estimate
from edge.diff.intervals import (
    Mixture,
    accuracy_change,
    difference,
    mean_latency_change,
    relative_latency_difference,
    repeated_latency_change,
    wilson,
)
from edge.errors import MeasurementError
from edge.profiling.latency_table import Entry
from tests.profiling.runs import NARROW, entry, noisy_blocks

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(np.array)


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def paired(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes on the same images with the given counts."""
    counts = (both, only_a, only_b, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


# Accuracies.


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe, Statistics in Medicine 17, 1998, p. 857, table I, method 3."""
    for hits, images, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        found = wilson(hits, images)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5), (hits, images)


def test_the_unpaired_interval_is_the_published_one() -> None:
    """Newcombe, the same volume, p. 873, table II, method 10: 56/70 − 48/80."""
    a, b = np.arange(80) < 48, np.arange(70) < 56
    found = accuracy_change(a, b, paired=False)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5), found


@pytest.mark.parametrize(
    ("counts", "low", "high"), [((36, 12, 2, 0), 0.0569, 0.3404), ((20, 12, 2, 16), 0.0562, 0.3292)]
)
def test_the_paired_interval_is_the_published_one(counts: tuple[int, ...], low: float, high: float) -> None:
    """Newcombe, the same volume, p. 2635, method 10."""
    b, a = paired(*counts)
    found = accuracy_change(a, b, paired=True)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5), found


@pytest.mark.parametrize(("images", "right", "lost", "won"), [(200, 0.7, 0.05, 0.03), (2000, 0.95, 0.01, 0.1)])
@pytest.mark.parametrize("same", [True, False])
def test_an_accuracy_change_is_held_as_often_as_the_interval_says(
    images: int, right: float, lost: float, won: float, same: bool
) -> None:
    random, trials, held = np.random.default_rng(0), 1000, 0
    change = (1 - right) * won - right * lost
    for _ in range(trials):
        a = random.random(images) < right
        other = a if same else random.random(images) < right
        b = np.where(other, random.random(images) >= lost, random.random(images) < won)
        interval = accuracy_change(a, b, same)
        held += interval.low <= change <= interval.high
    assert held / trials > 0.936, f"{held} of {trials}"


def test_on_the_same_images_the_interval_lives_on_those_that_changed() -> None:
    a, b = paired(both=6900, only_a=100, only_b=40, neither=2960)
    same, other = accuracy_change(a, b, paired=True), accuracy_change(a, b, paired=False)
    assert same.high < 0 < other.high, (same, other)
    assert same.high - same.low < (other.high - other.low) / 4, (same, other)


def test_answers_that_did_not_change_say_nothing_against_a_tiny_change() -> None:
    a, b = paired(both=700, only_a=0, only_b=0, neither=300)
    found = accuracy_change(a, b, paired=True)
    assert -0.01 < found.low < 0 < found.high < 0.01, found


@given(outcomes)
def test_an_accuracy_interval_holds_its_change_and_turns_around_with_the_sides(pairs: np.ndarray) -> None:
    a, b = pairs[:, 0], pairs[:, 1]
    for same in (True, False):
        forth, back = accuracy_change(a, b, same), accuracy_change(b, a, same)
        change = b.mean() - a.mean()
        assert -1 - 1e-12 <= forth.low <= change + 1e-12, forth
        assert change - 1e-12 <= forth.high <= 1 + 1e-12, forth
        assert (-back.high, -back.low) == pytest.approx((forth.low, forth.high)), (forth, back)


# Recorded estimates.


def test_the_difference_of_two_estimates_adds_their_squares() -> None:
    found = difference(estimate(0.7, 0.67, 0.73), estimate(0.72, 0.68, 0.76))
    assert (found.low, found.high) == pytest.approx((0.02 - 0.05, 0.02 + 0.05)), found


def test_the_relative_difference_of_two_latencies_holds_at_every_scale() -> None:
    a, b = estimate(2, 1.9, 2.1), estimate(3, 2.9, 3.1)
    found = relative_latency_difference(a, b)
    scaled = relative_latency_difference(*(estimate(9 * e.value, 9 * e.low, 9 * e.high) for e in (a, b)))
    assert found is not None and scaled is not None
    assert found.low < 0.5 < found.high, found
    assert (scaled.low, scaled.high) == pytest.approx((found.low, found.high))
    assert relative_latency_difference(estimate(2, 0, 3), b) is None


# Mean latencies of images that are routed to several widths.


def mixture(random: np.random.Generator, difficulty: np.ndarray, slower: float, rounds: int) -> Mixture:
    """Return images whose gate sees their difficulty through noise, timed in rounds that drift by 2%."""
    seen = difficulty + 0.1 * random.standard_normal(len(difficulty))
    drift = random.normal(1, 0.02, rounds)
    blocks = [
        [(ms * slower * level * random.normal(1, 0.01, 10)).tolist() for level in drift] for ms in (1.0, 2.0, 3.0)
    ]
    return Mixture(np.searchsorted([1 / 3, 2 / 3], seen), [blocks])


@pytest.mark.parametrize("rounds", [5, 20])
@pytest.mark.parametrize("same", [True, False])
def test_a_change_of_mean_latency_is_held_as_often_as_the_interval_says(rounds: int, same: bool) -> None:
    random, trials, held = np.random.default_rng(0), 400, 0
    for _ in range(trials):
        difficulty = random.random(300)
        a = mixture(random, difficulty, 1.0, rounds)
        b = mixture(random, difficulty if same else random.random(300), 1.1, rounds)
        interval = mean_latency_change(a, b, same)[1]
        held += interval.low <= 0.1 <= interval.high
    assert held / trials > 0.929, f"{held} of {trials}"


def test_on_the_same_images_a_mean_latency_is_known_better() -> None:
    random = np.random.default_rng(0)
    difficulty = random.random(300)
    a, b = (mixture(random, difficulty, 1.0, 20) for _ in range(2))
    same, other = (mean_latency_change(a, b, paired)[1] for paired in (True, False))
    assert same.high - same.low < 0.7 * (other.high - other.low), (same, other)


def test_a_release_against_itself_has_not_changed() -> None:
    random = np.random.default_rng(0)
    a = mixture(random, random.random(300), 1.0, 20)
    change, interval = mean_latency_change(a, a, paired=True)
    assert change == 0
    assert interval.low < 0 < interval.high, interval


def test_times_that_were_not_measured_in_rounds_count_one_by_one() -> None:
    random = np.random.default_rng(0)
    imported = [[random.normal(ms, 0.01, 50).tolist()] for ms in (1.0, 2.0)]
    position = np.arange(100) % 2
    change, interval = mean_latency_change(Mixture(position, [imported]), Mixture(position, [imported]), paired=True)
    assert (change, interval.high - interval.low) == pytest.approx((0, 0.004), abs=0.002), interval


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([[[1.0] * 10] * 4, [[2.0] * 10] * 4], "4 blocks; an interval needs 5"),
        ([[[1.0] * 4], [[2.0] * 9]], "4 blocks; an interval needs 5"),
        ([[[1.0] * 10] * 6, [[2.0] * 10] * 7], "do not have a block in every round"),
        ([[[0.0] * 10] * 6, [[0.0] * 10] * 6], "a time of 0 ms"),
    ],
)
def test_times_that_allow_no_interval_are_refused(blocks: list[list[list[float]]], message: str) -> None:
    found = Mixture(np.array([0, 1, 1]), [blocks])
    with pytest.raises(MeasurementError, match=message):
        mean_latency_change(found, found, paired=True)


# Runs that repeat a measurement, and differ among themselves by more than their blocks do.


def repeated(random: np.random.Generator, ms: float, runs: int) -> list[Entry]:
    return [
        entry(NARROW, noisy_blocks(ms * level, 10, random.integers(2**31))) for level in random.normal(1, 0.03, runs)
    ]


@pytest.mark.parametrize("runs", [3, 6])
def test_what_differs_from_run_to_run_is_in_the_interval_of_several(runs: int) -> None:
    random, trials, held = np.random.default_rng(0), 400, 0
    for _ in range(trials):
        interval = repeated_latency_change(repeated(random, 2.0, runs), repeated(random, 2.2, runs))[1]
        held += interval.low <= 0.1 <= interval.high
    assert held / trials > 0.929, f"{held} of {trials}"


def test_what_differs_from_run_to_run_is_in_the_interval_of_several_mixtures_too() -> None:
    random, trials, held = np.random.default_rng(0), 400, 0
    difficulty = random.random(300)
    for _ in range(trials):
        sides = []
        for slower in (1.0, 1.1):
            drawn = [mixture(random, difficulty, slower * level, 5) for level in random.normal(1, 0.03, 3)]
            sides.append(Mixture(drawn[0].position, [run for one in drawn for run in one.runs_ms]))
        interval = mean_latency_change(*sides, paired=True)[1]
        held += interval.low <= 0.1 <= interval.high
    assert held / trials > 0.929, f"{held} of {trials}"


@pytest.mark.parametrize(("runs_a", "runs_b"), [(1, 3), (3, 2), (2, 2)])
def test_two_runs_of_a_side_are_too_few_to_tell_how_runs_differ(runs_a: int, runs_b: int) -> None:
    random = np.random.default_rng(0)
    message = f"{runs_a} runs of A and {runs_b} of B; give one of each, or 3 and more of each"
    with pytest.raises(MeasurementError, match=message):
        repeated_latency_change(repeated(random, 1, runs_a), repeated(random, 1, runs_b))
    (run,) = mixture(random, random.random(9), 1.0, 5).runs_ms
    sides = (Mixture(np.zeros(9, np.intp), [run] * runs) for runs in (runs_a, runs_b))
    with pytest.raises(MeasurementError, match=message):
        mean_latency_change(*sides, paired=True)
