"""Budgets: how they are written, and what a percentile of a mixture asks of every width."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.calibration import Budget, parse_budget
from edge.calibration.budget import check_feasible, costs, latency_ms
from edge.errors import CalibrationError


@pytest.mark.parametrize(
    ("text", "ms"), [("3ms", 3), ("3", 3), ("0.5ms", 0.5), ("2.5 ms", 2.5), (".5ms", 0.5), (" 12ms ", 12)]
)
def test_budgets_are_milliseconds(text: str, ms: float) -> None:
    assert parse_budget(text) == Budget("mean", ms)


@pytest.mark.parametrize(
    "text", ["", "ms", "0ms", "-3ms", "3s", "3us", "nan", "inf", "1e3ms", "3 m s", "3,5ms", "٣ms", "3\nms\n3"]
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(CalibrationError, match="is not a latency; give milliseconds above 0") as refusal:
        parse_budget(text)
    assert "\n" not in str(refusal.value)


def test_the_default_name_says_statistic_and_budget() -> None:
    assert [parse_budget("2.50ms", "p95").name, parse_budget("3").name] == ["p95-2.5ms", "mean-3ms"]


@pytest.mark.parametrize("ms", ["1000000", "2.5000001", "2.5000002", "0.000000001", "123456.789"])
def test_the_default_name_holds_every_digit_that_was_typed(ms: str) -> None:
    assert parse_budget(f"{ms}ms").name == f"mean-{ms}ms"


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 60))
def test_the_tail_shares_are_within_the_limit_exactly_when_the_percentile_is_within_the_budget(
    seed: int, widths: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    samples = [random.integers(1, 12, random.integers(1, count + 1)).astype(float) for _ in range(widths)]
    shares = random.dirichlet(np.ones(widths))
    for ms in range(1, 12):
        tails, limit = costs(Budget("p95", ms), samples)
        if abs(shares @ tails - limit) > 1e-5:
            percentile = latency_ms("p95", samples, list(shares))
            assert (shares @ tails <= limit) == (percentile <= ms), (shares @ tails, percentile, ms)


def test_the_percentile_of_one_width_is_the_smallest_sample_with_95_percent_at_or_below_it() -> None:
    assert latency_ms("p95", [np.arange(1.0, 101.0)], [1.0]) == 95


def test_an_infeasible_budget_names_one_that_can_be_met() -> None:
    samples = [np.array([4.0, 5.0]), np.array([2.30, 2.3123])]
    with pytest.raises(CalibrationError) as refusal:
        check_feasible(Budget("mean", 1), samples, [0, 7])
    assert str(refusal.value) == (
        "budget 1 ms cannot be met: the cheapest feasible mean is 2.307 ms (always width 7); "
        "raise --budget to at least 2.307ms"
    )
    check_feasible(parse_budget("2.307ms"), samples, [0, 7])
