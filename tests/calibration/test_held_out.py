"""Figures for images that a rule did not see: unbiased, with intervals that cover, budgets that hold."""

import numpy as np
import pytest

from edge.calibration import KINDS, Case, Option, Routing, parse_budget, route
from edge.calibration.budget import expected
from edge.calibration.estimates import estimates, wilson
from edge.calibration.guarantee import fit_with_confidence, p_value, shows
from edge.calibration.held_out import cross_fit
from edge.errors import CalibrationError
from tests.calibration.test_policies import simulated

FIT = KINDS["thresholds"]


def split(case: Case, first: int) -> tuple[Case, Case]:
    order = np.arange(case.images)
    return case.take(order[:first]), case.take(order[first:])


def test_fitted_accuracy_flatters_and_held_out_accuracy_does_not() -> None:
    budget = parse_budget("2ms")
    flattery, error = [], []
    for seed in range(20):
        case, unseen = split(simulated(20_200, seed), 200)
        fitted = FIT(case, budget).policy
        truth = route(fitted, unseen).hit.mean()
        held_out = cross_fit(case, budget, FIT)
        assert held_out is not None
        flattery.append(route(fitted, case).hit.mean() - truth)
        error.append(held_out.accuracy.value - truth)
    assert np.mean(flattery) > 0.01, f"fitted is {np.mean(flattery)} too high"
    assert abs(np.mean(error)) < np.mean(flattery) / 2, f"held out is off by {np.mean(error)} on average"


def test_intervals_cover_what_unseen_images_show() -> None:
    policy = FIT(simulated(seed=99), parse_budget("2ms")).policy
    many = route(policy, simulated(100_000, seed=100))
    covered = 0
    for seed in range(60):
        (found,) = estimates([route(policy, simulated(400, seed))], ["accuracy"])
        covered += found.low <= many.hit.mean() <= found.high
    assert covered >= 51, f"{covered} of 60 intervals cover; 95% of 60 is 57, and under 51 has probability 0.2%"


@pytest.mark.parametrize("widths", [(4,), (0, 4, 9)])
def test_intervals_of_the_mean_cover_where_runs_of_a_block_resemble_each_other(widths: tuple[int, ...]) -> None:
    covered, trials = 0, 100
    for seed in range(trials):
        random = np.random.default_rng(seed)
        parts = tuple(
            tuple(1 + 0.02 * (random.standard_normal() + random.standard_normal(20)) for _ in range(10)) for _ in widths
        )
        option = Option(widths, parts, 0.0)
        (found,) = estimates([Routing((option,), np.zeros(50, np.intp), np.ones(50, bool))], ["mean_ms"])
        covered += found.low <= len(widths) <= found.high
    assert covered >= 84, f"{covered} of {trials}; the bootstrap of ten blocks covers about 90%"


def test_all_right_is_not_certainly_right() -> None:
    found = wilson(50, 50)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.9287, abs=1e-4), "Wilson's lower limit, z²/(n + z²) below 1"


def test_too_few_images_have_no_held_out_figures() -> None:
    with pytest.raises(CalibrationError, match="49 images are too few to hold some out; 50 are enough"):
        cross_fit(simulated(49), parse_budget("2ms"), FIT)


@pytest.mark.parametrize("text", ["2ms", "p90<=2.5ms", "accuracy>=50%"])
def test_a_budget_with_confidence_holds_on_new_images_that_often(text: str) -> None:
    budget, kept, plain = parse_budget(text), 0, 0
    for seed in range(25):
        case, unseen = split(simulated(5400, seed), 400)
        fitted, _ = fit_with_confidence(case, budget, FIT, 0.9)
        kept += holds(route(fitted.policy, unseen), text)
        plain += holds(route(FIT(case, budget).policy, unseen), text)
    assert kept >= 20, f"held {kept} times of 25; at least 90% were promised, and under 20 has probability 3% then"
    assert plain < kept, f"without confidence the budget holds {plain} times of 25"


def holds(routing, text: str) -> bool:  # type: ignore[no-untyped-def]
    (condition,) = parse_budget(text).conditions
    if condition.statistic == "accuracy":
        return bool(routing.hit.mean() >= condition.value)
    return bool(expected(condition.statistic, routing.options, routing.shares) <= condition.value)


def test_too_few_images_to_promise_anything_is_one_line() -> None:
    with pytest.raises(CalibrationError, match="cannot show with 99% confidence that any rule keeps this budget"):
        fit_with_confidence(simulated(30), parse_budget("accuracy>=60%"), FIT, 0.99)


def test_the_test_errs_at_most_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    for mean in (0.05, 0.5):
        wrong = sum(p_value((random.random(300) < mean).astype(float), mean, 0.0, 1.0, 0.1) <= 0.1 for _ in range(1000))
        assert wrong <= 130, f"{wrong} of 1000 at a mean of {mean}; 10% were promised, over 130 has probability 0.1%"


def test_the_test_sees_what_is_well_below_the_limit() -> None:
    values = (np.random.default_rng(0).random(1000) < 0.4).astype(float)
    found = p_value(values, 0.5, 0.0, 1.0, 0.05)
    assert found < 0.001, f"p = {found}"


def test_every_condition_must_be_shown() -> None:
    case = simulated()
    routing = route(FIT(case, parse_budget("2ms")).policy, case)
    assert shows(routing, parse_budget("2.1ms"), 0.95)
    assert not shows(routing, parse_budget("mean<=2.1ms,p50<=1.5ms"), 0.95)
    assert not shows(routing, parse_budget("mean<=2.1ms,accuracy>=90%"), 0.95)


def test_the_cheapest_width_is_always_promised() -> None:
    case = simulated(400)
    (mean,) = (expected("mean_ms", case.choices()[:1], [1.0]),)
    fitted, _ = fit_with_confidence(case, parse_budget(f"{mean * 1.001:.6f}ms"), FIT, 0.95)
    assert fitted.policy.widths == [0]
