"""How sure the figures of a policy are: bootstrap intervals over images and latency samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.bundle.manifest import Estimate, Statistic
from edge.calibration.budget import Samples, expected
from edge.calibration.case import Option, Routing

RESAMPLES = 400
LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class _Drawn:
    """An option with latency samples drawn anew."""

    samples: Samples
    macs: float


def estimates(routings: Sequence[Routing], statistics: Sequence[Statistic], seed: int = 0) -> list[Estimate]:
    """Return each statistic of all routed images together, with its 95% interval.

    Percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, §13.3): images are drawn anew, and each
    option's latency samples too, since both stand for others that were not seen. Samples of one block are less
    different than independent ones, so that latency's share of the interval is a little too narrow.
    """
    options, counts, hits = _pooled(routings)
    random = np.random.default_rng(seed)
    images = int(counts.sum())
    cells = np.concatenate([hits, counts - hits]) / images
    draws = random.multinomial(images, cells, RESAMPLES)
    found: list[list[float]] = []
    for draw in draws:
        right, wrong = np.split(draw, 2)
        drawn = [_Drawn(random.choice(option.samples, len(option.samples)), option.macs) for option in options]
        shares = (right + wrong) / images
        found.append([_statistic(statistic, drawn, shares, right.sum() / images) for statistic in statistics])
    low, high = np.quantile(np.array(found), LEVELS, axis=0)
    values = [_statistic(statistic, options, counts / images, hits.sum() / images) for statistic in statistics]
    return [
        Estimate(value=value, low=min(float(below), value), high=max(float(above), value))
        for value, below, above in zip(values, low, high, strict=True)
    ]


def _pooled(
    routings: Sequence[Routing],
) -> tuple[list[Option], np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the options of all routings, and the images and right answers of each."""
    options: dict[tuple[int, ...], Option] = {}
    counts: dict[tuple[int, ...], int] = {}
    hits: dict[tuple[int, ...], int] = {}
    for routing in routings:
        for at, option in enumerate(routing.options):
            taken = routing.choice == at
            options.setdefault(option.widths, option)
            counts[option.widths] = counts.get(option.widths, 0) + int(taken.sum())
            hits[option.widths] = hits.get(option.widths, 0) + int(routing.hit[taken].sum())
    return list(options.values()), np.array(list(counts.values())), np.array(list(hits.values()))


def _statistic(statistic: Statistic, options: Sequence[Option | _Drawn], shares: Samples, accuracy: float) -> float:
    return float(accuracy) if statistic == "accuracy" else expected(statistic, options, shares.tolist())
