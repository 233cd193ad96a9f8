"""A tree of thresholds: every gate on the way decides (docs/policies.md).

Two shapes are fitted: one node for every decision point; and the best thresholds of the first gate, where the gates
after it may still change each width. Under a price for what the budget limits, the best cuts of one node follow
exactly from what its children answer (`_best_cuts`); nodes are fitted in turn, children to the images that come to
them, and prices are searched. What a price leaves of the budget is spent by moving single thresholds. No policy is
returned that is worse than the best thresholds or the best single width: they are trees as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.bundle.fields import MAX_WIDTHS
from edge.bundle.manifest import ThresholdPolicy, TreePolicy
from edge.bundle.policies import TreeNode
from edge.calibration.budget import Budget, Floats
from edge.calibration.case import Case, route
from edge.calibration.optimise import SAME_SCORE
from edge.calibration.policies import thresholds
from edge.calibration.policies.base import Fitted, Needs, none_within
from edge.calibration.policies.price import best_price, combined_cost
from edge.errors import CalibrationError
from edge.runtime.policy import score

GRID = 64
"""Places where a threshold may lie, at quantiles of the scores."""
PRICES, HALVINGS = 24, 12
SWEEPS = 4
"""How often every node is fitted at one price."""
ROUNDS = 8
"""How often every threshold is moved at most."""
Columns = NDArray[np.intp]
Images = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """What one gate decides about n images: those in bins from `cuts[i]` on go further than child i."""

    bins: Columns
    """[n]; the number of `edges` below each image's score."""
    edges: Floats
    """Ascending thresholds to choose from."""
    cuts: tuple[int, ...]
    """One fewer than children, ascending, 0…len(edges) + 1. Equal cuts skip a child."""
    children: tuple["Split | int", ...]
    """What decides next, or the column that answers."""

    @property
    def taken(self) -> Columns:
        """Return which child each image goes on with, [n]."""
        return np.searchsorted(np.array(self.cuts, np.intp), self.bins, side="right")


def fit(case: Case, budget: Budget) -> Fitted:
    """Return the best tree found; raises CalibrationError when none is within the budget."""
    needs = Needs.of(budget, case.choices(), case.images)
    starts = _starts(case, budget)
    found = [tree for shape in _shapes(case, starts) if (tree := _fitted(shape, case, needs)) is not None]
    policies = [*map(_as_tree, starts), *(_policy(tree, case) for tree in found)]
    if not policies:
        raise none_within("tree", budget)
    return Fitted(max(policies, key=lambda policy: _worth(policy, case, budget)), gap=None)


def _starts(case: Case, budget: Budget) -> list[ThresholdPolicy]:
    """Return the best thresholds of the first gate, or the best single width where that is better; may be none."""
    try:
        policy = thresholds.fit(case, budget).policy
    except CalibrationError:
        return []
    assert isinstance(policy, ThresholdPolicy)
    return [policy]


def _shapes(case: Case, starts: Sequence[ThresholdPolicy]) -> Iterator[Split]:
    """Yield trees to be fitted, whose first gate decides nothing yet."""
    whole = _shape(case, list(case.widths), 0)
    if isinstance(whole, Split):
        yield whole
    for start in starts:
        if start.asks_gate:
            ways = [_shape(case, _together(case, width, 1), 1) for width in start.widths]
            shape = _split(case, start.widths[0], 0, ways)
            if _leaves(shape) <= MAX_WIDTHS:
                yield shape


def _shape(case: Case, widths: list[int], gate: int) -> Split | int:
    """Return a tree with a node for every decision point that lies before these widths, from a gate on."""
    if len(widths) == 1:
        return case.widths.index(widths[0])
    ways = {tuple(_together(case, width, gate + 1)): None for width in widths}
    return _split(case, widths[0], gate, [_shape(case, list(way), gate + 1) for way in ways])


def _together(case: Case, width: int, gate: int) -> list[int]:
    """Return the widths that an image may still get at a gate on the way to `width`; behind the last one, itself."""
    passed = [decision for decision in case.gates.decisions if width in decision.widths]
    return [other for other in passed[gate].widths if other in case.widths] if gate < len(passed) else [width]


def _split(case: Case, width: int, gate: int, ways: Sequence[Split | int]) -> Split:
    """Return a node at a gate on the way to a width, by which all images take the first way."""
    scores = score(case.gates.of(width, gate))
    values = np.unique(scores)
    gaps = np.flatnonzero(np.diff(values) > SAME_SCORE)
    if len(gaps) > GRID:  # the gaps next to the quantiles of the scores
        below = np.searchsorted(np.sort(scores), values[gaps], side="right")
        at = np.searchsorted(below, np.linspace(0, len(scores), GRID + 2)[1:-1])
        gaps = gaps[np.unique(np.minimum(at, len(gaps) - 1))]
    edges = (values[gaps] + values[gaps + 1]) / 2
    cuts = (len(edges) + 1,) * (len(ways) - 1)
    return Split(np.searchsorted(edges, scores, side="left"), edges, cuts, tuple(ways))


def _fitted(shape: Split, case: Case, needs: Needs) -> Split | None:
    """Return the tree of a shape that is best at some price, its thresholds moved; None when none meets the needs."""
    cost = combined_cost(needs)
    every = np.ones(case.images, np.bool_)

    def at_price(price: float) -> Split:
        tree, values = shape, case.hits - price * cost
        for _ in range(SWEEPS):
            tree = _swept(tree, values, every)
        return tree

    price = best_price(case, needs, lambda price: _columns(at_price(price), case.images), PRICES, HALVINGS)
    return None if price is None else _moved(at_price(price), case, needs)


def _columns(tree: Split | int, images: int) -> Columns:
    """Return the column that answers each image that comes to a place, [n]."""
    if isinstance(tree, int):
        return np.full(images, tree, np.intp)
    answers = np.array([_columns(child, images) for child in tree.children])
    found: Columns = answers[tree.taken, np.arange(images)]
    return found


def _swept(tree: Split, values: Floats, here: Images) -> Split:
    """Return a tree whose nodes are fitted anew to values [n, w]: children to the images that come to them, then it.

    A child that no image comes to is fitted to all that come this far.
    """
    taken, images = tree.taken, np.arange(len(values))
    come = [here & (taken == at) for at in range(len(tree.children))]
    children = tuple(
        _swept(child, values, some if some.any() else here) if isinstance(child, Split) else child
        for child, some in zip(tree.children, come, strict=True)
    )
    gains = [
        np.bincount(tree.bins[here], values[images, _columns(child, len(values))][here], len(tree.edges) + 1)
        for child in children
    ]
    return replace(tree, cuts=_best_cuts(np.array(gains)), children=children)


def _best_cuts(gains: Floats) -> tuple[int, ...]:
    """Return the cuts of the largest total of gains [children, bins], of equal ones those for earlier children.

    With G_c(x) = Σ_(b<x) gains[c, b], cuts x_1 ≤ x_2 ≤ … gain Σ_c G_(c−1)(x_c) − G_c(x_c), and a constant.
    """
    summed = np.pad(gains.cumsum(axis=1), ((0, 0), (1, 0)))
    totals, runs = np.zeros(summed.shape[1]), []
    for step in summed[:-1] - summed[1:]:
        totals = np.maximum.accumulate(totals) + step
        runs.append(totals)
    cuts = [summed.shape[1] - 1]
    for totals in reversed(runs):
        cuts.append(cuts[-1] - int(totals[: cuts[-1] + 1][::-1].argmax()))
    return tuple(reversed(cuts[1:]))


def _moved(tree: Split, case: Case, needs: Needs) -> Split:
    """Return a tree that meets the needs, its thresholds moved one by one to where they do best, while that helps."""
    every = np.ones(case.images, np.bool_)
    for _ in range(ROUNDS):
        before, rest = tree, np.zeros(len(case.widths), np.int64)
        tree = _moved_below(tree, every, rest, 0, case, needs)
        if _cuts(tree) == _cuts(before):
            break
    return tree


def _moved_below(tree: Split, here: Images, counts: NDArray[np.int64], hits: int, case: Case, needs: Needs) -> Split:
    """Move the thresholds of a node and of those below it; all other images have these counts [w] and hits."""
    for number in range(len(tree.cuts)):
        tree = _moved_cut(tree, number, here, counts, hits, case, needs)
    for at in range(len(tree.children)):
        child, taken = tree.children[at], tree.taken
        if isinstance(child, Split):
            columns = _columns(tree, case.images)
            others = columns[here & (taken != at)], np.flatnonzero(here & (taken != at))
            more = np.bincount(others[0], minlength=len(counts))
            right = int(case.hits[others[1], others[0]].sum())
            moved = _moved_below(child, here & (taken == at), counts + more, hits + right, case, needs)
            tree = replace(tree, children=(*tree.children[:at], moved, *tree.children[at + 1 :]))
    return tree


def _moved_cut(
    tree: Split, number: int, here: Images, counts: NDArray[np.int64], hits: int, case: Case, needs: Needs
) -> Split:
    """Move one cut of a node to where it is best between its neighbours, if that is better than where it is."""
    size = len(tree.edges) + 1
    low, high = (0, *tree.cuts[:number])[-1], (*tree.cuts[number + 1 :], size)[0]
    inside = here & (tree.bins >= low) & (tree.bins < high)
    outside = np.flatnonzero(here & ~inside)
    columns = _columns(tree, case.images)
    counts = counts + np.bincount(columns[outside], minlength=len(counts))
    hits += int(case.hits[outside, columns[outside]].sum())
    some = np.flatnonzero(inside)
    tables = []
    for child in tree.children[number : number + 2]:
        answers = _columns(child, case.images)[some]
        table = np.zeros((size, len(counts) + 1), np.int64)
        np.add.at(table, (tree.bins[some], answers), 1)
        np.add.at(table[:, -1], tree.bins[some], case.hits[some, answers])
        tables.append(np.pad(table.cumsum(axis=0), ((1, 0), (0, 0))))
    totals = (tables[0] + tables[1][-1] - tables[1])[low : high + 1] + np.array([*counts, hits])
    shares, right = totals[:, :-1] / case.images, totals[:, -1]
    worth = np.where(needs.met(shares, right), needs.worth(shares, right), -np.inf)
    here_now = tree.cuts[number] - low
    best = int(worth.argmax())
    if worth[best] <= worth[here_now]:
        return tree
    return replace(tree, cuts=(*tree.cuts[:number], low + best, *tree.cuts[number + 1 :]))


def _cuts(tree: Split | int) -> list[int]:
    """Return all cuts of a tree."""
    return [] if isinstance(tree, int) else [*tree.cuts, *(cut for child in tree.children for cut in _cuts(child))]


def _leaves(tree: Split | int) -> int:
    return 1 if isinstance(tree, int) else sum(map(_leaves, tree.children))


def _policy(tree: Split, case: Case) -> TreePolicy:
    """Return the policy of a tree, without what no image comes to."""
    root = _node(tree, case)
    root = root if isinstance(root, TreeNode) else TreeNode(thresholds=[], next=[root])
    return TreePolicy(widths=sorted(set(root.leaves)), root=root)


def _node(tree: Split | int, case: Case) -> TreeNode | int:
    if isinstance(tree, int):
        return case.widths[tree]
    starts, ends = (0, *tree.cuts), (*tree.cuts, len(tree.edges) + 1)
    used = [at for at, (start, end) in enumerate(zip(starts, ends, strict=True)) if start < end]
    ways = [_node(tree.children[at], case) for at in used]
    if len(ways) == 1 and isinstance(ways[0], int):
        return ways[0]
    return TreeNode(thresholds=[float(tree.edges[starts[at] - 1]) for at in used[1:]], next=ways)


def _as_tree(policy: ThresholdPolicy) -> TreePolicy:
    return TreePolicy(widths=policy.widths, root=TreeNode(thresholds=policy.thresholds, next=list(policy.widths)))


def _worth(policy: TreePolicy, case: Case, budget: Budget) -> float:
    """Return what a policy within the budget is worth (`Needs.worth`)."""
    routing = route(policy, case)
    needs = Needs.of(budget, routing.options, case.images)
    return float(needs.worth(np.array(routing.shares), routing.hit.sum()))
