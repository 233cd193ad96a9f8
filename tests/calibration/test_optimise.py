"""The optimiser against brute force, and its promises on larger problems."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibration import simulate
from edge.calibration import Problem, Solution, calibrate, choose
from edge.errors import CalibrationError

EXHAUSTIVE, ROOT_ONLY = 10**9, 0
ROUNDING = 1e-8


def most_hits(problem: Problem) -> int:
    """Return the most hits of any rule within the budget, by trying every one."""
    scores, counts = np.unique(problem.scores, return_counts=True)
    hits = np.array([problem.hits[problem.scores == score].sum(axis=0) for score in scores])
    rules = itertools.combinations_with_replacement(range(len(problem.costs)), len(scores))
    return max(
        int(hits[range(len(scores)), rule].sum())
        for rule in map(list, rules)
        if counts @ problem.costs[rule] <= problem.budget * len(problem.scores) * (1 + 1e-12)
    )


@st.composite
def small_problems(draw: st.DrawFn) -> Problem:
    images, widths = draw(st.integers(2, 8)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = random.integers(0, draw(st.integers(1, 8)), images) / 4
    hits = random.random((images, widths)) < draw(st.sampled_from([0.3, 0.6, 0.9]))
    costs = draw(st.sampled_from([random.random(widths) + 0.1, random.integers(1, 5, widths).astype(float)]))
    # Budgets that equal a cost, or a mean of two, are where rounding could lose a rule.
    budget = draw(st.sampled_from([*costs, costs.mean(), (costs.min() + costs.max()) / 2, costs.max() + 1]))
    return Problem(scores, hits, costs, float(max(budget, costs.min())))


def routed(problem: Problem, solution: Solution) -> np.ndarray:
    """Return the column that the solution's thresholds give to each image."""
    return np.array(solution.columns)[choose(problem.scores, list(solution.thresholds))]


@settings(max_examples=300, deadline=None)
@given(small_problems())
def test_no_rule_within_the_budget_is_more_accurate(problem: Problem) -> None:
    solution = calibrate(problem, EXHAUSTIVE)
    assert (solution.hits, solution.most_hits) == (most_hits(problem), most_hits(problem))


@settings(max_examples=300, deadline=None)
@given(small_problems())
def test_a_search_cut_short_still_knows_its_gap_and_keeps_the_budget(problem: Problem) -> None:
    solution = calibrate(problem, ROOT_ONLY)
    best_single = problem.hits.sum(axis=0)[problem.costs <= problem.budget].max()
    assert best_single <= solution.hits <= most_hits(problem) <= solution.most_hits
    assert solution.mean_cost <= problem.budget + ROUNDING


@settings(max_examples=300, deadline=None)
@given(small_problems())
def test_the_thresholds_give_exactly_the_hits_counts_and_cost_that_are_reported(problem: Problem) -> None:
    solution = calibrate(problem)
    columns = routed(problem, solution)
    assert int(problem.hits[np.arange(len(columns)), columns].sum()) == solution.hits
    assert tuple(np.bincount(columns)[list(solution.columns)]) == solution.counts
    assert problem.costs[columns].mean() == pytest.approx(solution.mean_cost)
    assert solution.mean_cost <= problem.budget + ROUNDING


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.7])
@pytest.mark.parametrize("gate_noise", [0.3, 1.0, 5.0])
def test_the_gap_on_realistic_data_is_at_most_a_tenth_of_a_point(share: float, gate_noise: float) -> None:
    images = simulate(2000, seed=3, gate_noise=gate_noise)
    cheapest, dearest = images.mean_ms.min(), images.mean_ms.max()
    solution = calibrate(images.problem(float(cheapest + share * (dearest - cheapest))))
    assert solution.gap <= 0.001, f"gap of {solution.gap * 100:.3f} points"


def test_fifty_thousand_images_and_fourteen_widths_are_solved_to_optimality_within_the_work_limit() -> None:
    images = simulate(50_000, seed=4)
    problem = images.problem(2.5)
    solution = calibrate(problem)
    assert solution.gap == 0, f"gap of {solution.gap * 100:.3f} points"
    assert int(problem.hits[np.arange(50_000), routed(problem, solution)].sum()) == solution.hits


def test_images_of_equal_score_get_one_width() -> None:
    scores = np.repeat([0.0, 1.0, 2.0], 10)
    hits = np.random.default_rng(0).random((30, 3)) < 0.5
    problem = Problem(scores, hits, np.array([1.0, 2.0, 3.0]), 2.0)
    columns = routed(problem, calibrate(problem))
    assert [len(set(columns[scores == score])) for score in (0.0, 1.0, 2.0)] == [1, 1, 1]


def test_scores_that_differ_by_rounding_alone_get_one_width() -> None:
    one = np.nextafter(1.0, 2.0)
    hits = np.array([[True, False], [False, True]])
    solution = calibrate(Problem(np.array([1.0, one]), hits, np.array([1.0, 2.0]), 2.0))
    assert (solution.hits, solution.thresholds) == (1, ())


def test_thresholds_keep_their_distance_from_every_score() -> None:
    scores = np.array([1.0, 1.0 + 4e-9])
    hits = np.array([[True, False], [False, True]])
    (threshold,) = calibrate(Problem(scores, hits, np.array([1.0, 2.0]), 2.0)).thresholds
    assert scores[0] + 1e-9 < threshold < scores[1] - 1e-9


def test_a_useless_wide_width_is_skipped() -> None:
    hits = np.array([[True, False, False], [False, False, True]])
    solution = calibrate(Problem(np.array([0.0, 1.0]), hits, np.array([1.0, 2.0, 3.0]), 3.0))
    assert (solution.columns, solution.hits) == ((0, 2), 2)


def test_of_equally_accurate_rules_a_loose_budget_takes_the_cheapest() -> None:
    hits = np.array([[True, True], [False, True], [True, True]])
    solution = calibrate(Problem(np.array([0.0, 1.0, 2.0]), hits, np.array([1.0, 2.0]), 9.0))
    assert (solution.counts, solution.hits) == ((1, 2), 3)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem(np.zeros(1), np.ones((1, 2), bool), np.ones(2), 1.0), "2 to 1,000,000 images, found 1"),
        (Problem(np.zeros(3), np.ones((4, 2), bool), np.ones(2), 1.0), r"need 4 scores and 2 costs"),
        (Problem(np.array([0, np.nan]), np.ones((2, 2), bool), np.ones(2), 1.0), "must be finite"),
        (Problem(np.zeros(2), np.ones((2, 2), bool), np.array([3.0, 2.0]), 1.0), "the cheapest column, 1, costs 2"),
    ],
)
def test_problems_without_an_answer_are_refused(problem: Problem, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(problem)
