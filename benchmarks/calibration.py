"""How fast thresholds are found, and how much accuracy they keep compared with a grid search and with single widths.

    python -m benchmarks.calibration [--images 50000] [--repeats 5] [--out runs/benchmarks/calibration.json]

The data is simulated, as ImageNet does not ship with this repository: 14 widths with the multiply-adds and top-1
published for DS-MBNet, images of normally distributed difficulty, and a gate that sees the difficulty through noise.
The grid is what a careful user would try by hand: four widths (the gate's published choices), thresholds at every
combination of 20 quantiles of the score. All rules are judged on images they never saw as well.
"""

import argparse
import itertools
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.side_by_side import write_json
from common.console import stdout, table
from edge.calibration.optimise import Problem, calibrate
from edge.runtime.policy import choose

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


@dataclass(frozen=True)
class Images:
    """Simulated gate scores and top-1 hits of n images at w widths, and each width's mean latency."""

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    mean_ms: NDArray[np.float64]

    def problem(self, budget_ms: float) -> Problem:
        """Return the calibration problem for a budget on the mean latency."""
        return Problem(self.scores, self.hits, self.mean_ms, budget_ms)


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


def compare(calibration: Images, unseen: Images, budget_ms: float, repeats: int) -> dict[str, Any]:
    """Return times and accuracies of the optimiser, the grid and the best single width within one budget."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        solution = calibrate(calibration.problem(budget_ms))
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    grid = grid_search(calibration, budget_ms)
    grid_seconds = time.perf_counter() - start
    affordable = np.flatnonzero(calibration.mean_ms <= budget_ms)
    single = int(affordable[calibration.hits[:, affordable].mean(axis=0).argmax()])
    found = list(solution.columns), list(solution.thresholds)
    return {
        "budget_ms": budget_ms,
        "seconds": seconds,
        "grid_seconds": grid_seconds,
        "gap": solution.gap,
        "mean_ms": solution.mean_cost,
        "accuracy": solution.accuracy,
        "grid_accuracy": accuracy(calibration, *grid),
        "single_accuracy": accuracy(calibration, [single], []),
        "unseen_accuracy": accuracy(unseen, *found),
        "unseen_grid_accuracy": accuracy(unseen, *grid),
        "unseen_single_accuracy": accuracy(unseen, [single], []),
    }


def main() -> None:
    """Run the comparison, print its table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description="Time and judge calibration.")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/calibration.json"))
    options = parser.parse_args()
    calibration, unseen = simulate(options.images, seed=0), simulate(options.images, seed=1)
    cheapest, dearest = calibration.mean_ms.min(), calibration.mean_ms.max()
    budgets = [float(cheapest + share * (dearest - cheapest)) for share in BUDGET_SHARES]
    rows = [compare(calibration, unseen, budget, options.repeats) for budget in budgets]
    times = [
        (
            f"{row['budget_ms']:.2f}",
            f"{median(row['seconds']):.2f}",
            f"{min(row['seconds']):.2f}…{max(row['seconds']):.2f}",
            f"{row['grid_seconds']:.2f}",
            f"{row['gap'] * 100:.4f}",
        )
        for row in rows
    ]
    title = f"Calibration of {options.images:,} images × {len(TOP1)} widths, {options.repeats} runs"
    stdout().print(table(title, ("budget ms", "median s", "min…max s", "grid s", "gap (points)"), times))
    for title, prefix in (("Top-1 on the calibration images", ""), ("Top-1 on as many unseen images", "unseen_")):
        tops = [(f"{row['budget_ms']:.2f}", *(f"{row[prefix + rule]:.2%}" for rule in RULES)) for row in rows]
        stdout().print(table(title, ("budget ms", "dsnet", "grid", "best single width"), tops))
    record = {
        "images": options.images,
        "widths": len(TOP1),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "date": time.strftime("%Y-%m-%d"),
        "rows": rows,
    }
    write_json(options.out, record)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
