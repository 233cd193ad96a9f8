"""Confidence cascade: run a narrow width, and a wider one where its top-1 probability is too low.

An image that goes on pays for both runs (Wang et al., IDK Cascades, UAI 2018; Bolukbasi et al., Adaptive Neural
Networks for Efficient Inference, ICML 2017). Chains of two widths are searched at every threshold, chains of three on a
grid of quantiles.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import CascadePolicy
from edge.calibration.budget import Budget, Floats
from edge.calibration.case import Case
from edge.calibration.policies.base import Fitted, Needs, none_within

GRID = 24
"""Quantiles of each width's confidence that chains of three try."""
NOBODY_IS_SURE = 2.0
"""A confidence that no probability reaches."""


@dataclass(frozen=True)
class Chains:
    """Cascades over the same widths with different confidences, as arrays over the c candidates."""

    widths: tuple[int, ...]
    confidences: Floats
    """[c, widths − 1]"""
    shares: Floats
    """[c, widths]; share of images that each width answers."""
    hits: NDArray[np.int64]
    """[c]"""


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the best cascade found; raises CalibrationError when none is within the budget."""
    best: tuple[float, CascadePolicy] | None = None
    for chains in filter(lambda chains: len(chains.hits), every_chain(case)):
        needs = Needs.of(budget, case.chains(chains.widths), case.images)
        worth = np.where(needs.met(chains.shares, chains.hits), needs.worth(chains.shares, chains.hits), -np.inf)
        at = int(worth.argmax())
        if np.isfinite(worth[at]) and (best is None or worth[at] > best[0]):
            policy = CascadePolicy(widths=list(chains.widths), confidences=chains.confidences[at].tolist())
            best = float(worth[at]), policy
    if best is None:
        raise none_within("cascade", budget)
    return Fitted(best[1], None)


def every_chain(case: Case) -> Iterator[Chains]:
    """Yield every cascade that is tried, single widths among them."""
    for column, width in enumerate(case.widths):
        yield Chains((width,), np.zeros((1, 0)), np.ones((1, 1)), np.array([case.hits[:, column].sum()]))
    columns = range(len(case.widths))
    measured = [case.is_measured_alone(column) for column in columns]
    for narrow, wide in itertools.combinations(columns, 2):
        if measured[wide]:
            yield _pairs(case, narrow, wide)
    for chain in itertools.combinations(columns, 3):
        if measured[chain[1]] and measured[chain[2]]:
            yield _triples(case, chain)


def _pairs(case: Case, narrow: int, wide: int) -> Chains:
    """Return chains of two, one for each place between two confidences: the k least sure images go on.

    The threshold is halfway, so that rounding moves no image across it.
    """
    confidence = case.confidences[:, narrow].astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    ordered = confidence[order]
    go_on = np.flatnonzero(np.r_[True, np.diff(ordered) > 0, True])
    gain = np.r_[0, np.cumsum(case.hits[order, wide].astype(np.int64) - case.hits[order, narrow])]
    thresholds = np.r_[0, (ordered[:-1] + ordered[1:]) / 2, NOBODY_IS_SURE][go_on]
    shares = np.column_stack([1 - go_on / case.images, go_on / case.images])
    return Chains(
        (case.widths[narrow], case.widths[wide]),
        thresholds[:, None],
        shares,
        gain[go_on] + int(case.hits[:, narrow].sum()),
    )


def _edges(confidence: Floats) -> Floats:
    """Return a grid of confidences, each halfway between two that occur: rounding moves no image across one."""
    values = np.unique(confidence)
    above = np.unique(np.linspace(1, max(len(values) - 1, 1), GRID).round().astype(int))[: len(values) - 1]
    return np.asarray((values[above - 1] + values[above]) / 2)


def _triples(case: Case, chain: tuple[int, int, int]) -> Chains:
    """Return chains of three, one for each pair of the grid's confidences.

    Images fall into cells (bin of the first width's confidence, bin of the second's); sums over cells give every pair.
    """
    first, second, third = chain
    edges = [_edges(case.confidences[:, column].astype(np.float64)) for column in chain[:2]]
    bins = [
        np.searchsorted(edge, case.confidences[:, column], side="right")
        for edge, column in zip(edges, chain[:2], strict=True)
    ]
    size = (len(edges[0]) + 1, len(edges[1]) + 1)
    cell = bins[0] * size[1] + bins[1]

    def summed(values: NDArray[np.bool_] | None) -> Floats:
        """Return sums over cells below (p, q) in both bins, for p and q from 0 to the number of bins."""
        cells = np.bincount(cell, values, size[0] * size[1]).reshape(size)
        return np.pad(cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    images, hit = summed(None), [summed(case.hits[:, column]) for column in (first, second, third)]
    # Edge number e is the smallest confidence of bin e + 1: bins 0…e go on.
    p, q = np.arange(1, size[0]), np.arange(1, size[1])
    every = (slice(None), slice(-1, None))
    below_p = images[p][every]
    below_both = images[np.ix_(p, q)]
    hits = (hit[0][-1, -1] - hit[0][p][every]) + (hit[1][p][every] - hit[1][np.ix_(p, q)]) + hit[2][np.ix_(p, q)]
    shape = below_both.shape
    counts = np.stack([np.broadcast_to(case.images - below_p, shape), below_p - below_both, below_both], axis=-1)
    confidences = np.stack(np.meshgrid(edges[0], edges[1], indexing="ij"), axis=-1)
    return Chains(
        tuple(case.widths[column] for column in chain),
        confidences.reshape(-1, 2).astype(np.float64),
        counts.reshape(-1, 3) / case.images,
        np.rint(hits).astype(np.int64).reshape(-1),
    )
