"""The optimiser against brute force, and its promises on larger problems."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibration_search import simulate
from edge.calibration import Problem, Solution, calibrate, choose
from edge.errors import CalibrationError

EXHAUSTIVE, ROOT_ONLY = 10**9, 0
ROUNDING = 1e-8
"""More than one cost step of problems whose costs range over no more than HIGHEST_COST."""
HIGHEST_COST = 4


def limited(
    scores: np.ndarray,
    hits: np.ndarray,
    costs: list[list[float]] | np.ndarray,
    limits: list[float],
    least_hits: int | None = None,
    price: np.ndarray | None = None,
) -> Problem:
    """Return a problem whose costs and limits are given as lists, of any length."""
    rows = np.array(costs, float).reshape(-1, hits.shape[1])
    return Problem(scores, hits, rows, np.array(limits, float), least_hits, price)


def best_value(problem: Problem) -> float | None:
    """Return the most hits, or the lowest mean price, of any rule within the limits, by trying every one."""
    scores, counts = np.unique(problem.scores, return_counts=True)
    hits = np.array([problem.hits[problem.scores == score].sum(axis=0) for score in scores])
    widths, images = problem.hits.shape[1], len(problem.scores)
    rules = np.array(list(itertools.combinations_with_replacement(range(widths), len(scores))))
    hit = hits[np.arange(len(scores)), rules].sum(axis=1)
    within = hit >= (problem.least_hits or 0)
    for costs, limit in zip(problem.costs, problem.limits, strict=True):
        within &= costs[rules] @ counts <= (limit + 1e-12) * images
    if not within.any():
        return None
    if problem.price is None:
        return int(hit[within].max())
    return float((problem.price[rules] @ counts)[within].min()) / images


@st.composite
def small_problems(draw: st.DrawFn, limits: int, reverse: bool = False) -> Problem:
    images, widths = draw(st.integers(2, 8)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = random.integers(0, draw(st.integers(1, 8)), images) / 4
    hits = random.random((images, widths)) < draw(st.sampled_from([0.3, 0.6, 0.9]))

    def row() -> np.ndarray:
        """Costs in any order, so that a wider width may be cheaper; whole ones are often equal or zero."""
        return draw(
            st.sampled_from(
                [random.random(widths) * HIGHEST_COST, random.integers(0, HIGHEST_COST + 1, widths).astype(float)]
            )
        )

    costs = np.array([row() for _ in range(limits)]).reshape(limits, widths)
    # Limits that equal a cost, or a mean of two, are where rounding could lose a rule.
    affordable = [
        max(float(draw(st.sampled_from([*c, c.mean(), (c.min() + c.max()) / 2, c.max() + 1]))), c.min()) for c in costs
    ]
    problem = limited(scores, hits, costs, affordable)
    if not reverse:
        return problem
    return dataclasses.replace(problem, least_hits=draw(st.integers(0, images)), price=row())


ANY_PROBLEM = st.one_of(
    *(small_problems(limits) for limits in (0, 1, 2, 3)), *(small_problems(limits, True) for limits in (0, 1, 2))
)


def routed(problem: Problem, solution: Solution) -> np.ndarray:
    """Return the column that the solution's thresholds give to each image."""
    return np.array(solution.columns)[choose(problem.scores, list(solution.thresholds))]


def solved(problem: Problem, work_limit: int) -> Solution | None:
    """Return the solution, or None when the optimiser is certain that there is none."""
    try:
        return calibrate(problem, work_limit)
    except CalibrationError as error:
        assert "nor is it proven" not in str(error), error
        return None


def assert_most_hits(problem: Problem) -> None:
    solution = solved(problem, EXHAUSTIVE)
    found = None if solution is None else (solution.hits, solution.gap)
    most = best_value(problem)
    assert found == (None if most is None else (most, 0)), f"found {found}, most hits {most}"


@settings(max_examples=300, deadline=None)
@given(small_problems(limits=1))
def test_no_rule_within_one_limit_is_more_accurate(problem: Problem) -> None:
    assert_most_hits(problem)


@settings(max_examples=200, deadline=None)
@given(small_problems(limits=2))
def test_no_rule_within_two_limits_is_more_accurate(problem: Problem) -> None:
    assert_most_hits(problem)


@settings(max_examples=200, deadline=None)
@given(small_problems(limits=3))
def test_no_rule_within_three_limits_is_more_accurate(problem: Problem) -> None:
    assert_most_hits(problem)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2).flatmap(lambda limits: small_problems(limits, reverse=True)))
def test_no_rule_with_enough_hits_within_the_limits_is_cheaper(problem: Problem) -> None:
    solution = solved(problem, EXHAUSTIVE)
    cheapest = best_value(problem)
    assert (solution is None) == (cheapest is None), f"found {solution}, lowest mean price {cheapest}"
    if solution is not None:
        assert solution.hits >= problem.least_hits
        assert solution.gap <= ROUNDING
        assert solution.mean_price == pytest.approx(cheapest, abs=ROUNDING)


@settings(max_examples=300, deadline=None)
@given(ANY_PROBLEM)
def test_a_search_cut_short_still_knows_its_gap(problem: Problem) -> None:
    try:
        solution = calibrate(problem, ROOT_ONLY)
    except CalibrationError as error:
        assert best_value(problem) is None or "nor is it proven that there is none" in str(error), error
        return
    best = best_value(problem)
    assert best is not None, solution
    if problem.price is None:
        assert solution.hits <= best <= solution.hits + solution.gap * len(problem.scores) + ROUNDING, best
    else:
        assert solution.mean_price - solution.gap - ROUNDING <= best <= solution.mean_price + ROUNDING, best


@settings(max_examples=200, deadline=None)
@given(ANY_PROBLEM)
def test_a_search_cut_short_is_no_worse_than_the_best_single_width_within_the_limits(problem: Problem) -> None:
    hits = problem.hits.sum(axis=0)
    singles = np.all(problem.costs <= problem.limits[:, None], axis=0) & (hits >= (problem.least_hits or 0))
    if not singles.any():
        return
    solution = calibrate(problem, ROOT_ONLY)
    if problem.price is None:
        assert solution.hits >= hits[singles].max()
    else:
        assert solution.mean_price <= problem.price[singles].min() + ROUNDING


@settings(max_examples=300, deadline=None)
@given(ANY_PROBLEM)
def test_the_thresholds_give_exactly_the_hits_counts_and_costs_that_are_reported(problem: Problem) -> None:
    solution = solved(problem, EXHAUSTIVE)
    if solution is None:
        return
    columns = routed(problem, solution)
    assert int(problem.hits[np.arange(len(columns)), columns].sum()) == solution.hits
    assert tuple(np.bincount(columns)[list(solution.columns)]) == solution.counts
    assert problem.costs[:, columns].mean(axis=1) == pytest.approx(solution.mean_costs)
    assert np.all(np.array(solution.mean_costs) <= problem.limits + ROUNDING), solution.mean_costs
    if problem.price is not None:
        assert problem.price[columns].mean() == pytest.approx(solution.mean_price)


def realistic(images: int, seed: int, shares: list[float], gate_noise: float = 1.0) -> Problem:
    """Return a problem whose limits lie at shares of the way from the lowest to the highest cost of each row.

    Rows: latency; latency elsewhere, where widths differ in other ways; share of images beyond some budget.
    """
    data = simulate(images, seed, gate_noise)
    random = np.random.default_rng(seed)
    elsewhere = data.mean_ms + random.normal(0, 0.3, len(data.mean_ms))
    beyond = np.clip(random.normal(0.1, 0.1, len(data.mean_ms)), 0, 1)
    costs = np.array([data.mean_ms, elsewhere, beyond])[: len(shares)]
    low, high = costs.min(axis=1), costs.max(axis=1)
    return Problem(data.scores, data.hits, costs, low + np.array(shares) * (high - low))


@pytest.mark.parametrize("shares", [[0.05], [0.2], [0.7], [0.4, 0.35], [0.4, 0.35, 0.3]])
@pytest.mark.parametrize("gate_noise", [0.3, 1.0, 5.0])
def test_the_gap_on_realistic_data_is_at_most_a_tenth_of_a_point(shares: list[float], gate_noise: float) -> None:
    solution = calibrate(realistic(2000, 3, shares, gate_noise))
    assert solution.gap <= 0.001, f"gap of {solution.gap * 100:.3f} points"


@pytest.mark.parametrize("shares", [[0.4], [0.4, 0.35], [0.4, 0.35, 0.3]])
def test_fifty_thousand_images_and_fourteen_widths_are_solved_to_optimality(shares: list[float]) -> None:
    problem = realistic(50_000, 4, shares)
    solution = calibrate(problem)
    assert solution.gap == 0, f"gap of {solution.gap * 100:.3f} points"
    assert int(problem.hits[np.arange(50_000), routed(problem, solution)].sum()) == solution.hits


def test_the_lowest_price_for_the_most_hits_within_a_budget_is_that_budget_or_less() -> None:
    forward = realistic(50_000, 5, [0.4])
    most = calibrate(forward)
    reverse = limited(forward.scores, forward.hits, [], [], least_hits=most.hits, price=forward.costs[0])
    cheapest = calibrate(reverse)
    assert cheapest.hits >= most.hits
    assert cheapest.mean_price <= most.mean_costs[0] + ROUNDING
    assert cheapest.gap <= 1e-6, f"gap of {cheapest.gap:g} ms"


def test_the_same_problem_gives_the_same_solution_when_it_is_cut_short() -> None:
    problem = realistic(2000, 6, [0.4, 0.35, 0.3])
    assert calibrate(problem, ROOT_ONLY) == calibrate(problem, ROOT_ONLY)


def test_a_mixture_may_keep_limits_that_no_single_width_keeps() -> None:
    hits = np.array([[True, False], [False, True]])
    solution = calibrate(limited(np.array([0.0, 1.0]), hits, [[1, 3], [3, 1]], [2, 2]))
    assert (solution.counts, solution.hits, solution.mean_costs) == ((1, 1), 2, (2.0, 2.0))


def test_without_limits_the_most_accurate_rule_is_found() -> None:
    hits = np.array([[True, False], [False, True], [True, False]])
    assert calibrate(limited(np.array([0.0, 1.0, 2.0]), hits, [], [])).hits == 2


def test_enough_hits_are_had_from_the_cheapest_widths() -> None:
    hits = np.array([[True, True], [False, True], [False, True]])
    problem = limited(np.array([0.0, 1.0, 2.0]), hits, [], [], least_hits=2, price=np.array([1.0, 4.0]))
    solution = calibrate(problem)
    assert (solution.counts, solution.mean_price) == ((2, 1), 2.0)


def test_images_of_equal_score_get_one_width() -> None:
    scores = np.repeat([0.0, 1.0, 2.0], 10)
    hits = np.random.default_rng(0).random((30, 3)) < 0.5
    problem = limited(scores, hits, [[1, 2, 3]], [2])
    columns = routed(problem, calibrate(problem))
    assert [len(set(columns[scores == score])) for score in (0.0, 1.0, 2.0)] == [1, 1, 1]


def test_scores_that_differ_by_rounding_alone_get_one_width() -> None:
    one = np.nextafter(1.0, 2.0)
    hits = np.array([[True, False], [False, True]])
    solution = calibrate(limited(np.array([1.0, one]), hits, [[1, 2]], [2]))
    assert (solution.hits, solution.thresholds) == (1, ())


def test_thresholds_keep_their_distance_from_every_score() -> None:
    scores = np.array([1.0, 1.0 + 4e-9])
    hits = np.array([[True, False], [False, True]])
    (threshold,) = calibrate(limited(scores, hits, [[1, 2]], [2])).thresholds
    assert scores[0] + 1e-9 < threshold < scores[1] - 1e-9


def test_a_useless_wide_width_is_skipped() -> None:
    hits = np.array([[True, False, False], [False, False, True]])
    solution = calibrate(limited(np.array([0.0, 1.0]), hits, [[1, 2, 3]], [3]))
    assert (solution.columns, solution.hits) == ((0, 2), 2)


@pytest.mark.parametrize("rows", [1, 2])
def test_of_equally_accurate_rules_a_loose_limit_takes_the_cheapest(rows: int) -> None:
    hits = np.array([[True, True], [False, True], [True, True]])
    solution = calibrate(limited(np.array([0.0, 1.0, 2.0]), hits, [[1, 2]] * rows, [9] * rows))
    assert (solution.counts, solution.hits) == ((1, 2), 3)


TWO, ALL = np.array([0.0, 1.0]), np.ones((2, 2), bool)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (limited(np.zeros(1), np.ones((1, 2), bool), [[1, 1]], [1]), "2 to 1,000,000 images, found 1"),
        (limited(np.zeros(3), np.ones((4, 2), bool), [[1, 1]], [1]), r"need 4 scores and costs of shape \[1, 2\]"),
        (limited(TWO, ALL, [[1, 1]], [1, 1]), r"2 limits need 2 scores and costs of shape \[2, 2\]"),
        (limited(np.array([0, np.nan]), ALL, [[1, 1]], [1]), "must be finite"),
        (limited(TWO, ALL, [[1, 1]], [np.inf]), "must be finite"),
        (limited(TWO, ALL, [], [], least_hits=1), "give both or neither"),
        (limited(TWO, ALL, [], [], least_hits=1, price=np.ones(3)), "need 2 prices, found"),
        (limited(TWO, ALL, [], [], least_hits=3, price=np.ones(2)), r"must be 0 to 2 \(the images\), found 3"),
        (limited(TWO, ALL, [[9, 9], [3, 2]], [9, 1]), "limit 1 of 1 cannot be met: the cheapest column, 1, costs 2"),
        (limited(TWO, ALL, [[1, 3], [3, 1]], [1.9, 1.9]), "no threshold rule keeps all limits at once"),
        (
            limited(TWO, ~ALL, [], [], least_hits=1, price=np.ones(2)),
            r"accuracy of 50.00% .* 0.00% \(0 of 2 images",
        ),
    ],
)
def test_problems_without_an_answer_are_refused(problem: Problem, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(problem)


def test_a_search_that_ran_out_of_work_does_not_claim_that_there_is_no_rule() -> None:
    costs = [[1, 0, 4, 4], [1, 3, 0, 4], [4, 2, 3, 1]]
    hits = np.random.default_rng(12).random((6, 4)) < 0.5
    problem = limited(np.arange(6.0), hits, costs, [2, 2, 2.5])
    with pytest.raises(CalibrationError, match="nor is it proven that there is none; loosen a limit"):
        calibrate(problem, ROOT_ONLY)
    assert calibrate(problem, EXHAUSTIVE).counts == (4, 2)
