"""Budgets: how they are written, and what each condition asks of every option."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.calibration import Budget, Condition, Option, parse_budget
from edge.calibration.budget import costs, expected, sweep_budgets
from edge.errors import CalibrationError


def options(*samples: list[float]) -> list[Option]:
    return [Option((width,), ((np.array(values, float),),), 1e6 * (width + 1)) for width, values in enumerate(samples)]


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("3ms", [("mean_ms", 3)]),
        ("3", [("mean_ms", 3)]),
        (" .5 ms ", [("mean_ms", 0.5)]),
        ("mean<=8ms,p99<=20ms", [("mean_ms", 8), ("p99_ms", 20)]),
        ("p50 <= 2, p90≤3ms , p95<=4ms", [("p50_ms", 2), ("p90_ms", 3), ("p95_ms", 4)]),
        ("images/s>=30", [("images_per_s", 30)]),
        ("macs<=200M", [("mean_macs", 200e6)]),
        ("accuracy>=70%", [("accuracy", 0.7)]),
        ("accuracy≥70.5, 8ms", [("accuracy", 0.705), ("mean_ms", 8)]),
    ],
)
def test_budgets_are_conditions_that_hold_together(text: str, conditions: list[tuple[str, float]]) -> None:
    assert [(each.statistic, each.value) for each in parse_budget(text).conditions] == conditions


@pytest.mark.parametrize(
    "text",
    [
        "", "ms", "0ms", "-3ms", "3s", "nan", "inf", "1e3ms", "3,,5ms", "٣ms", "p99>=3ms", "images/s<=3", "p98<=3ms",
        "accuracy>=0%", "accuracy>=101%", "macs<=2G", "mean<=8ms;p99<=2ms", "3ms\n4ms",
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line_with_examples(text: str) -> None:
    with pytest.raises(CalibrationError, match=r"is not understood; valid, .*'mean<=8ms,p99<=20ms'") as refusal:
        parse_budget(text)
    assert "\n" not in str(refusal.value)


def test_a_statistic_is_limited_once() -> None:
    with pytest.raises(CalibrationError, match="limits one statistic twice"):
        parse_budget("3ms,mean<=4ms")


def test_the_default_name_says_every_condition() -> None:
    assert [parse_budget(f"accuracy>={tenth / 10}%").name for tenth in (18, 507)] == ["accuracy-1.8", "accuracy-50.7"]
    assert parse_budget("macs<=0.1M").name == "macs-0.1M"
    texts = ["2.50ms", "mean<=8ms,p99<=20ms", "images/s>=30", "macs<=200.5M", "accuracy>=70%"]
    names = ["mean-2.5ms", "mean-8ms-p99-20ms", "30-per-s", "macs-200.5M", "accuracy-70"]
    assert [parse_budget(text).name for text in texts] == names


@pytest.mark.parametrize("ms", ["1000000", "2.5000001", "2.5000002", "0.000000001", "123456.789"])
def test_the_default_name_holds_every_digit_that_was_typed(ms: str) -> None:
    assert parse_budget(f"{ms}ms").name == f"mean-{ms}ms"


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 60), st.sampled_from(["p50", "p90", "p95", "p99"]))
def test_the_tail_shares_are_within_the_limit_exactly_when_the_percentile_is_within_the_budget(
    seed: int, widths: int, count: int, percentile: str
) -> None:
    random = np.random.default_rng(seed)
    there = options(*(random.integers(1, 12, random.integers(1, count + 1)).tolist() for _ in range(widths)))
    shares = random.dirichlet(np.ones(widths))
    for ms in range(1, 12):
        (condition,) = parse_budget(f"{percentile}<={ms}ms").conditions
        tails, limit = costs(condition, there)
        if abs(shares @ tails - limit) > 1e-5:
            found = expected(condition.statistic, there, list(shares))
            assert (shares @ tails <= limit) == (found <= ms), (shares @ tails, found, ms)


def test_the_percentile_of_one_width_is_the_smallest_sample_with_95_percent_at_or_below_it() -> None:
    assert expected("p95_ms", options(np.arange(1.0, 101.0).tolist()), [1.0]) == 95


def test_images_per_second_are_those_of_one_image_after_the_other() -> None:
    there = options([10.0], [30.0])
    assert expected("images_per_s", there, [0.5, 0.5]) == pytest.approx(50)
    row, limit = costs(Condition("images_per_s", 50), there)
    assert (row @ [0.5, 0.5], limit) == pytest.approx((20, 20))


def test_multiply_adds_are_averaged_over_images() -> None:
    assert expected("mean_macs", options([1.0], [1.0]), [0.25, 0.75]) == pytest.approx(1.75e6)


def test_a_margin_leaves_a_share_of_every_limit_unused() -> None:
    there = options([1.0, 9.0], [5.0, 5.0])
    for text, limit in {"8ms": 6.5, "p90<=8ms": 0.05, "images/s>=100": 7.5}.items():
        (condition,) = parse_budget(text).conditions
        assert costs(Condition(condition.statistic, condition.value, margin=0.5), there)[1] == pytest.approx(limit)
    assert Budget((Condition("accuracy", 0.7, margin=0.5),)).least_accuracy == pytest.approx(0.85)


def test_a_sweep_goes_evenly_from_the_cheapest_width_to_the_dearest() -> None:
    values = [budget.conditions[0].value for budget in sweep_budgets(1.00001, 3.0, 5)]
    assert values == [1.001, 1.501, 2.001, 2.5, 3.0]
