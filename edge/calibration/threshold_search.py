"""The threshold rule with the smallest total of one kind under limits on the others: branch and bound.

The goal is any row of the totals (misses or a cost); each other row has a limit. Weights α ≥ 1 on the goal and λ_j ≥ 0
on the others bound the goal of every rule within the limits (Lagrangian duality): with V the smallest weighted total
(`Chain`),

    α·goal + Σ_j λ_j·limit_j ≥ α·goal + Σ_j λ_j·total_j ≥ V,        so        goal ≥ ⌈(V − Σ_j λ_j·limit_j) / α⌉.

A mixture of rules (`Mixture`) gives good weights. Rounding them to integers costs a little of the bound and never its
truth. A rule that beats the best one so far, with goal `best`, has a weighted total of at most
α·(best − 1) + Σ_j λ_j·limit_j: positions that no such rule passes through are cut off (`Chain.tightened`; in integer
programming this is fixing by reduced costs), which leaves few of many thousands. What is then still open is halved at
the threshold on which the rules of the mixture differ most, until no region can hold a better rule.

Rules within the limits are found on the way: those that are best under some weights, and the mixture's mean, each
threshold of which is then moved to where it is best (`_improve`).
"""

import heapq
import itertools
from typing import NamedTuple

import numpy as np

from edge.calibration.rule_mixture import Mixture, Reals
from edge.calibration.threshold_rules import Chain, Integers, Region, Rule, Rules

STEPS = 40
"""Weights to try for one region: with four limits a mixture rarely needs twenty."""
CLOSE = 0.05
"""Weights are good enough when better ones can close at most this share of the distance from the bound to the best."""
DIVE = 0.5
"""The search stays with a region's better half while its bound is at most this share of the way to the best rule: a
better rule is found early, and cuts off more everywhere else."""
MOVES = 5
"""Thresholds to move one after the other on the way to a better rule."""
OVERHEAD = 1000
"""Cells that could be visited in the time that it takes to turn to a threshold."""


class Found(NamedTuple):
    """What a search found."""

    rule: Rule | None
    """The best rule within the limits, None when none was found."""
    excess: int
    """No rule within the limits has a goal smaller than the found rule's by more than this."""
    complete: bool
    """Whether the search was not cut short."""


class _Bound(NamedTuple):
    """The bound that some weights give in a region."""

    goal: int
    multipliers: Reals
    weights: Integers
    allowed: int
    """The limits' weighted total."""
    chain: Chain
    rule: Rule


class _Move(NamedTuple):
    """Where a threshold may go, in order of what is best."""

    beyond: float
    """How far that is beyond the limits, in shares of the largest totals."""
    goal: int
    threshold: int
    position: int


class _Node(NamedTuple):
    """An open region: no rule in it that keeps the limits has a goal below the bound's."""

    bound: int
    region: Region
    weights: Integers
    multipliers: Reals
    known: list[Rule]
    mixed: list[Rule]


class Search:
    """Branch and bound over regions, the most promising first."""

    def __init__(self, rules: Rules, goal: int, limits: Integers) -> None:
        """Take the row of the totals that is the goal, and a limit [r+1] for each row; the goal's own is not used."""
        self._rules, self._goal, self._limits = rules, goal, limits
        self._limited = np.delete(np.arange(len(limits)), goal)
        self._best: Rule | None = None
        self._best_goal = int(rules.most[goal]) + 1
        self._open: list[tuple[int, int, _Node]] = []
        self._serial = itertools.count()
        self._work = 0

    def run(self, work_limit: int) -> Found:
        """Return the best rule within the limits; stop early after visiting `work_limit` cells."""
        region = self._rules.everything
        each_alone = np.eye(len(self._limits), dtype=np.int64)[self._limited]
        extremes = [self._lightest(region, weights)[1] for weights in each_alone]
        if any(rule.totals[row] > self._limits[row] for row, rule in zip(self._limited, extremes, strict=True)):
            return Found(None, 0, complete=True)
        for rule in self._rules.singles():
            self._offer(rule)
        self._push(self._examined(region, 0, extremes, np.zeros(len(self._limited))))
        while self._open and self._open[0][0] < self._best_goal and self._work < work_limit:
            *_, node = heapq.heappop(self._open)
            self._dive(node, work_limit)
        bound = min([self._best_goal, *(bound for bound, *_ in self._open[:1])])
        return Found(self._best, self._best_goal - bound, complete=bound == self._best_goal)

    def _dive(self, start: _Node, work_limit: int) -> None:
        """Halve a node, its better half, and so on, while that is promising."""
        deep = start.bound + DIVE * (self._best_goal - start.bound)
        node: _Node | None = start
        while node is not None and node.bound <= deep and self._work < work_limit:
            node = self._better_half(node)
        self._push(node)

    def _push(self, node: _Node | None) -> None:
        if node is not None and node.bound < self._best_goal:
            heapq.heappush(self._open, (node.bound, next(self._serial), node))

    def _better_half(self, node: _Node) -> _Node | None:
        """Return the half of a node with the lower bound, if any is open; the other waits."""
        halves = [
            self._examined(half, node.bound, node.known, node.multipliers)
            for half in node.region.halves(*self._middle(node))
        ]
        nodes = sorted((half for half in halves if half is not None), key=lambda half: half.bound)
        for other in nodes[1:]:
            self._push(other)
        return nodes[0] if nodes else None

    def _middle(self, node: _Node) -> tuple[int, int]:
        """Return the threshold whose positions differ most among the mixed rules, in weighted cost, and the middle."""
        low, high = node.region
        positions = np.array([rule.positions for rule in node.mixed] or [low])
        first, last = np.clip([positions.min(axis=0), positions.max(axis=0)], low, high)
        moved = (self._rules.images[last] - self._rules.images[first]) * (node.weights[1:] @ abs(self._rules.savings))
        if not moved.any():
            first, last, moved = low, high, high - low
        threshold = int(moved.argmax())
        return threshold, int(first[threshold] + last[threshold]) // 2

    def _examined(self, region: Region, bound: int, known: list[Rule], multipliers: Reals) -> _Node | None:
        """Return what is open of a region after bounding and tightening it; None when it holds no better rule."""
        mixture = Mixture(self._goal, self._best_goal, self._limits, self._rules.most)
        known = [rule for rule in known if region.holds(rule)]
        for rule in known:
            mixture.add(rule)
        tightest = tried = self._bound(region, multipliers)
        for _ in range(STEPS):
            known.append(tried.rule)
            mixture.add(tried.rule)
            within_reach = mixture.solve()
            if tightest.goal >= self._best_goal:
                return None
            if within_reach - tightest.goal < CLOSE * (self._best_goal - tightest.goal):
                break
            tried = self._bound(region, mixture.multipliers)
            tightest = max(tightest, tried, key=lambda bound: bound.goal)
        self._improve(self._rules.rule(mixture.mean), region)
        beating = int(tightest.weights[self._goal]) * (self._best_goal - 1) + tightest.allowed
        if int(tightest.weights @ tightest.rule.totals) > beating:
            return None
        self._visit(region)
        region = tightest.chain.tightened(beating)
        if region.single:
            self._offer(self._rules.rule(region.low))
            return None
        return _Node(max(bound, tightest.goal), region, tightest.weights, tightest.multipliers, known, mixture.rules)

    def _bound(self, region: Region, multipliers: Reals) -> _Bound:
        weights = self._weights(multipliers)
        chain, rule = self._lightest(region, weights)
        allowed = sum(int(weights[row]) * int(self._limits[row]) for row in self._limited)
        goal = -((allowed - int(weights @ rule.totals)) // int(weights[self._goal]))
        return _Bound(goal, multipliers, weights, allowed, chain, rule)

    def _weights(self, multipliers: Reals) -> Integers:
        """Return multipliers as integers such that no weighted total reaches 2⁶² (`Chain`).

        Multipliers count in shares of the largest totals, so that of the goal is 1. A hundredth is left for rounding.
        A weight of at least 1 on all rows lets the cheapest of equally good rules win. It can loosen the bound, so it
        is added only where each row's whole total then weighs no more than one unit of the goal.
        """
        most = self._rules.most
        unit = 0.99 * 2.0**62 / (1 + float(multipliers.sum()))
        weights = np.empty_like(most)
        weights[self._goal] = max(1, int(unit / most[self._goal]))
        least = int(np.all(weights[self._goal] >= most[self._limited]))
        weights[self._limited] = np.maximum(np.rint(unit * multipliers / most[self._limited]), least)
        return weights

    def _lightest(self, region: Region, weights: Integers) -> tuple[Chain, Rule]:
        self._visit(region)
        chain = Chain(self._rules, region, weights)
        return chain, self._offer(self._rules.rule(chain.best()))

    def _visit(self, region: Region) -> None:
        self._work += region.cells + OVERHEAD * len(region.low)

    def _improve(self, rule: Rule, region: Region) -> None:
        """Offer a rule of a region, and those that come from moving single thresholds of it to where they do best."""
        self._offer(rule)
        for _ in range(MOVES):
            moves = [self._best_move(rule, threshold, region) for threshold in range(len(rule.positions))]
            best = min((move for move in moves if move is not None), default=None)
            if best is None:
                return
            positions = rule.positions.copy()
            positions[best.threshold] = best.position
            rule = self._offer(self._rules.rule(positions))

    def _best_move(self, rule: Rule, threshold: int, region: Region) -> _Move | None:
        """Return where a threshold does best, if that is better than where it is."""
        rules, here = self._rules, rule.positions[threshold]
        first = rule.positions[threshold - 1 : threshold].max(initial=region.low[threshold])
        last = rule.positions[threshold + 1 : threshold + 2].min(initial=region.high[threshold])
        self._work += int(last - first + 1) * len(rule.totals) + OVERHEAD
        gained = rules.gain[threshold, first : last + 1] - rules.gain[threshold, here]
        below = rules.images[first : last + 1] - rules.images[here]
        totals = rule.totals[:, None] - np.array([gained, *(saving * below for saving in rules.savings[:, threshold])])
        beyond = np.maximum(totals - self._limits[:, None], 0)[self._limited] / rules.most[self._limited, None]
        beyond = beyond.sum(axis=0)
        goals = totals[self._goal]
        least = int(np.where(beyond <= beyond.min(), goals, rules.most[self._goal]).argmin())
        best, stays = ((beyond[k], goals[k]) for k in (least, here - first))
        return _Move(*best, threshold, int(first) + least) if best < stays else None

    def _offer(self, rule: Rule) -> Rule:
        """Take note of a rule if it is the best so far, and return it."""
        if np.all(rule.totals[self._limited] <= self._limits[self._limited]):
            order = [self._goal, *self._limited]
            if self._best is None or tuple(rule.totals[order]) < tuple(self._best.totals[order]):
                self._best, self._best_goal = rule, int(rule.totals[self._goal])
        return rule
