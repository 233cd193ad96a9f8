"""How fast thresholds are found, how much accuracy they keep, and whether they are the best ones; on simulated images.

14 widths with the multiply-adds and top-1 published for DS-MBNet, images of normally distributed difficulty, and a gate
that sees the difficulty through noise. The grid is what a careful user would try by hand: four widths (the gate's
published choices), thresholds at every combination of 20 quantiles of the score. All rules are judged on images they
never saw as well.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.console import table
from edge.calibration.optimise import Problem, calibrate
from edge.runtime.policy import choose

if TYPE_CHECKING:
    from rich.table import Table

MEGA_MACS = (133, 153, 175, 200, 226, 255, 286, 319, 355, 393, 433, 475, 519, 565)
TOP1 = (0.701, 0.704, 0.708, 0.712, 0.716, 0.720, 0.724, 0.727, 0.730, 0.733, 0.736, 0.739, 0.741, 0.746)
"""Widths 0…13 of DS-MBNet, as its authors released it."""
MS_PER_MEGA_MAC, OVERHEAD_MS = 0.01, 0.3
WIDTH_NOISE = 0.25
"""Standard deviation of what one width finds hard and another does not, in units of the difficulty's own."""
GRID_WIDTHS = (0, 4, 9, 13)
GRID_QUANTILES = 20
RULES = ("accuracy", "grid_accuracy", "single_accuracy")
BUDGET_SHARES = (0.05, 0.2, 0.4, 0.7)
"""Budgets, as shares of the way from the cheapest width's latency to the dearest's."""
SMALL_IMAGES, SMALL_WIDTHS = 8, 4
SAME = 1e-6
"""Mean costs that differ by less, as a share of their range, are equal: the search rounds costs to its steps."""


@dataclass(frozen=True)
class Images:
    """Simulated gate scores and top-1 hits of n images at w widths, and each width's mean latency."""

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    mean_ms: NDArray[np.float64]

    def problem(self, budget_ms: float) -> Problem:
        """Return the calibration problem for a budget on the mean latency."""
        return Problem(self.scores, self.hits, self.mean_ms[None], np.array([budget_ms]))

    def cheapest(self, accuracy: float) -> Problem:
        """Return the problem of keeping an accuracy as cheaply as possible."""
        least, no_limits = int(np.ceil(accuracy * len(self.hits))), np.empty((0, len(self.mean_ms)))
        return Problem(self.scores, self.hits, no_limits, np.empty(0), least_hits=least, price=self.mean_ms)


def simulate(images: int, seed: int, gate_noise: float = 1.0) -> Images:
    """Return n images whose accuracy at every width has the published value as its expectation."""
    random = np.random.default_rng(seed)
    difficulty = random.standard_normal(images)
    spread = (1 + WIDTH_NOISE**2) ** 0.5
    strength = np.array([NormalDist().inv_cdf(top1) * spread for top1 in TOP1])
    felt = difficulty[:, None] + WIDTH_NOISE * random.standard_normal((images, len(TOP1)))
    seen = difficulty + gate_noise * random.standard_normal(images)
    mean_ms = OVERHEAD_MS + MS_PER_MEGA_MAC * np.array(MEGA_MACS, np.float64)
    return Images(3 / (1 + np.exp(-seen)), felt < strength, mean_ms)


def grid_search(images: Images, budget_ms: float) -> tuple[list[int], list[float]]:
    """Return widths and thresholds of the most accurate combination of quantiles within the budget."""
    order = np.argsort(images.scores)
    widths = list(GRID_WIDTHS)
    hits = np.pad(np.cumsum(images.hits[order][:, widths], axis=0), ((1, 0), (0, 0)))
    n = len(order)
    cuts = np.linspace(0, n, GRID_QUANTILES + 1).astype(int)
    best_hits, best = -1, np.zeros(len(widths) - 1, int)
    for middle in itertools.combinations_with_replacement(cuts, len(widths) - 1):
        ends = np.array([0, *middle, n])
        found = int((hits[ends[1:], range(len(widths))] - hits[ends[:-1], range(len(widths))]).sum())
        if np.diff(ends) @ images.mean_ms[widths] <= budget_ms * n and found > best_hits:
            best_hits, best = found, np.array(middle)
    edges = np.concatenate([[-np.inf], images.scores[order]])
    return widths, [float(edges[cut]) for cut in best]


def accuracy(images: Images, widths: list[int], thresholds: list[float]) -> float:
    """Return the top-1 of a threshold rule."""
    chosen = np.array(widths)[choose(images.scores, thresholds)]
    return float(images.hits[np.arange(len(chosen)), chosen].mean())


def speed_and_accuracy(images: int, repeats: int) -> list[dict[str, Any]]:
    """Return a row for each budget: times, gaps, and accuracies on calibration and on unseen images."""
    calibration, unseen = simulate(images, seed=0), simulate(images, seed=1)
    cheapest, dearest = calibration.mean_ms.min(), calibration.mean_ms.max()
    budgets = [float(cheapest + share * (dearest - cheapest)) for share in BUDGET_SHARES]
    return [_compare(calibration, unseen, budget, repeats) for budget in budgets]


def _compare(calibration: Images, unseen: Images, budget_ms: float, repeats: int) -> dict[str, Any]:
    seconds, kept_seconds = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        solution = calibrate(calibration.problem(budget_ms))
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        calibrate(calibration.cheapest(solution.accuracy))
        kept_seconds.append(time.perf_counter() - start)
    grid = grid_search(calibration, budget_ms)
    affordable = np.flatnonzero(calibration.mean_ms <= budget_ms)
    single = int(affordable[calibration.hits[:, affordable].mean(axis=0).argmax()])
    found = list(solution.columns), list(solution.thresholds)
    return {
        "budget_ms": budget_ms,
        "seconds": seconds,
        "kept_seconds": kept_seconds,
        "gap": solution.gap,
        "mean_ms": solution.mean_costs[0],
        "accuracy": solution.accuracy,
        "grid_accuracy": accuracy(calibration, *grid),
        "single_accuracy": accuracy(calibration, [single], []),
        "unseen_accuracy": accuracy(unseen, *found),
        "unseen_grid_accuracy": accuracy(unseen, *grid),
        "unseen_single_accuracy": accuracy(unseen, [single], []),
    }


def agreement(cases: int) -> dict[str, int]:
    """Return in how many small random cases the search finds what trying every rule finds, and where it does not.

    Cases have one to three limits, or an accuracy to keep.
    """
    random = np.random.default_rng(0)
    counts = {"cases": 0, "agree": 0, "infeasible": 0}
    while counts["cases"] < cases:
        problem = _small_problem(random)
        best = _brute_force(problem)
        if best is None:
            counts["infeasible"] += 1
            continue
        solution = calibrate(problem)
        ours = solution.hits if problem.price is None else -float(solution.mean_price or 0)
        scale = 1.0 if problem.price is None else max(float(np.ptp(problem.price)), 1.0)
        counts["cases"] += 1
        counts["agree"] += abs(ours - best) <= SAME * scale
    return counts


def _small_problem(random: np.random.Generator) -> Problem:
    n, w = int(random.integers(2, SMALL_IMAGES + 1)), int(random.integers(1, SMALL_WIDTHS + 1))
    scores, hits = random.integers(0, 6, n).astype(np.float64), random.random((n, w)) < 0.6
    rows = int(random.integers(1, 4))
    costs = np.round(random.random((rows, w)) * 10, 2)
    limits = costs.min(axis=1) + random.random(rows) * np.ptp(costs, axis=1)
    if random.random() < 0.3:
        least = int(random.integers(0, hits.any(axis=1).sum() + 1))
        return Problem(scores, hits, costs[:1], limits[:1] * 2, least_hits=least, price=np.round(random.random(w), 2))
    return Problem(scores, hits, costs, limits)


def _brute_force(problem: Problem) -> float | None:
    """Return the most hits, or less the lowest mean price, of all rules; None: no rule keeps the limits."""
    values = []
    for chosen in _every_rule(problem):
        hits = int(problem.hits[np.arange(len(chosen)), chosen].sum())
        means = problem.costs[:, chosen].mean(axis=1)
        if np.all(means <= problem.limits + 1e-12) and hits >= (problem.least_hits or 0):
            values.append(float(hits) if problem.price is None else -float(problem.price[chosen].mean()))
    return max(values, default=None)


def _every_rule(problem: Problem) -> Iterator[NDArray[np.intp]]:
    """Yield every assignment of columns that does not fall along the score and treats equal scores alike."""
    levels, group = np.unique(problem.scores, return_inverse=True)
    for columns in itertools.combinations_with_replacement(range(problem.hits.shape[1]), len(levels)):
        yield np.array(columns)[group]


def tables(rows: list[dict[str, Any]], images: int) -> "Iterator[Table]":
    """Yield the figures as tables."""
    times = [
        (
            f"{row['budget_ms']:.2f}",
            *(f"{median(row[name]):.2f} ({min(row[name]):.2f}…{max(row[name]):.2f})" for name in TIMED),
            f"{row['gap'] * 100:.4f}",
        )
        for row in rows
    ]
    title = f"Calibration of {images:,} simulated images × {len(TOP1)} widths, {len(rows[0]['seconds'])} runs, seconds"
    yield table(title, ("budget ms", "most accurate", "same accuracy, cheapest", "gap (points)"), times)
    for title, prefix in (("Top-1 on the calibration images", ""), ("Top-1 on as many unseen images", "unseen_")):
        tops = [(f"{row['budget_ms']:.2f}", *(f"{row[prefix + rule]:.2%}" for rule in RULES)) for row in rows]
        yield table(title, ("budget ms", "dsnet", "grid", "best single width"), tops)


TIMED = ("seconds", "kept_seconds")
