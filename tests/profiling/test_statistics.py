import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import MeasurementError
from edge.profiling import Entry, median_interval, paired_ratio, summarise
from edge.profiling.statistics import Interval, relative_half_width


def entry(blocks: list[list[float]], name: str = "prefix") -> Entry:
    return Entry(
        programs=[name], first_run_ms=9.0, warm_up_runs=10, blocks_ms=blocks, block_order=list(range(len(blocks)))
    )


def test_a_summary_is_derived_from_all_raw_samples() -> None:
    found = summarise(entry([[float(value) for value in range(1, 51)], [float(value) for value in range(51, 102)]]))
    assert (found.runs, found.p50_ms, found.p90_ms, found.p99_ms) == (101, 51.0, 91.0, 100.0)
    assert (found.mean_ms, found.mad_ms, found.first_run_ms) == (51.0, 25.0, 9.0)


def test_a_unit_without_samples_has_no_summary() -> None:
    with pytest.raises(MeasurementError, match="prefix has no samples yet"):
        summarise(entry([]))


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (20, 6), (30, 10), (100, 40)])
def test_the_interval_has_the_ranks_of_the_sign_test_tables(count: int, rank: int) -> None:
    assert median_interval([float(value) for value in range(1, count + 1)]) == Interval(rank, count + 1 - rank)


def test_too_few_samples_have_no_interval() -> None:
    assert median_interval([1.0] * 5) is None
    assert relative_half_width([1.0] * 5) == math.inf
    assert relative_half_width([]) == math.inf


@pytest.mark.parametrize("count", [6, 9, 12])
def test_the_interval_covers_the_median_as_often_as_it_says(count: int) -> None:
    """Enumerates every way in which `count` samples can fall below (-1) or above (+1) a median of 0."""
    covered = 0
    for signs in product((-1.0, 1.0), repeat=count):
        interval = median_interval(signs)
        assert interval is not None
        covered += interval.low < 0 < interval.high
    assert covered / 2**count >= 0.95, f"{covered} of {2**count}"


@given(st.lists(st.floats(0.001, 1000), min_size=6, max_size=80))
def test_the_interval_holds_the_sample_median(samples: list[float]) -> None:
    interval = median_interval(samples)
    assert interval is not None
    assert interval.low <= np.median(samples) <= interval.high


def test_the_interval_narrows_with_more_samples() -> None:
    noise = np.random.default_rng(0).normal(10, 1, 1000)
    widths = [relative_half_width(noise[:count].tolist()) for count in (30, 100, 1000)]
    assert widths == sorted(widths, reverse=True), widths
    assert widths[-1] < 0.01, widths


def test_a_paired_ratio_is_not_fooled_by_drift() -> None:
    """Both units slow down threefold during the measurement; their ratio stays 2."""
    noise = np.random.default_rng(1)
    drift = np.linspace(1, 3, 20)
    slow = entry([(2 * d * noise.normal(1, 0.01, 10)).tolist() for d in drift], "tail_01")
    fast = entry([(d * noise.normal(1, 0.01, 10)).tolist() for d in drift], "tail_00")
    ratio = paired_ratio(slow, fast)
    assert ratio.interval.low < 2 < ratio.interval.high, ratio
    assert ratio.interval.high - ratio.interval.low < 0.03, ratio
    assert ratio.pairs == 20


def test_a_paired_ratio_uses_the_blocks_both_have_and_repeats_itself() -> None:
    long, short = entry([[2.0], [2.2], [2.1], [9.0]]), entry([[1.0], [1.0], [1.0]])
    assert paired_ratio(long, short).value == pytest.approx(2.1)
    assert paired_ratio(long, short) == paired_ratio(long, short)


def test_one_pair_gives_no_ratio() -> None:
    with pytest.raises(MeasurementError, match="1 blocks in common; a ratio needs 2"):
        paired_ratio(entry([[1.0]]), entry([[1.0], [1.0]]))
