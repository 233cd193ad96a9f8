"""How sure the figures of a policy are: bootstrap intervals over images and latency samples."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from edge.bundle.manifest import Estimate, Statistic
from edge.calibration.budget import Floats, expected
from edge.calibration.case import Option, Routing

RESAMPLES = 400
LEVELS = (0.025, 0.975)


def estimates(routings: Sequence[Routing], statistics: Sequence[Statistic], seed: int = 0) -> list[Estimate]:
    """Return each statistic of all routed images together, with its 95% interval.

    Of accuracy it is Wilson's (Probable inference, the law of succession, and statistical inference, JASA 1927). Of the
    others it is the percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, §13.3): images
    are drawn anew, and so are the blocks of each option's latency, since both stand for others that were not seen.
    What differs from one measurement of a device to the next is in neither.
    """
    options, counts, hits = _pooled(routings)
    random = np.random.default_rng(seed)
    images = int(counts.sum())
    draws = []
    for drawn_counts in random.multinomial(images, counts / images, RESAMPLES):
        drawn = [option.drawn(random) for option in options]
        draws.append([_latency(statistic, drawn, drawn_counts / images) for statistic in statistics])
    low, high = np.quantile(np.array(draws), LEVELS, axis=0)
    found = [
        _around(_latency(statistic, options, counts / images), float(below), float(above))
        for statistic, below, above in zip(statistics, low, high, strict=True)
    ]
    right = wilson(int(hits.sum()), images)
    return [right if name == "accuracy" else each for name, each in zip(statistics, found, strict=True)]


def wilson(hits: int, images: int) -> Estimate:
    """Return the share of hits with Wilson's 95% score interval."""
    share, z2 = hits / images, NormalDist().inv_cdf(LEVELS[1]) ** 2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = (z2 * (share * (1 - share) / images + z2 / (4 * images**2))) ** 0.5 / (1 + z2 / images)
    return _around(share, max(0.0, middle - half), min(1.0, middle + half))


def _around(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=min(low, value), high=max(high, value))


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


def _latency(statistic: Statistic, options: Sequence[Option], shares: Floats) -> float:
    """Return a statistic of the options; 0 for accuracy, which they do not tell."""
    return 0.0 if statistic == "accuracy" else expected(statistic, options, shares.tolist())
