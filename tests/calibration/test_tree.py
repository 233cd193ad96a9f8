"""Trees of thresholds: they use what a later gate knows, keep every budget, and never do worse than their starts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edge.bundle.manifest import TreePolicy
from edge.calibration import KINDS, Case, parse_budget, route
from edge.calibration.budget import expected
from edge.calibration.held_out import cross_fit
from edge.calibration.policies import kinds_for, single_width
from edge.calibration.policies.tree import _best_cuts
from edge.runtime.decisions import Decision, GateLogits
from edge.runtime.policy import decided, start
from tests.calibration.test_policies import blocks

PATHS = ((0, 0), (0, 1), (1, 0), (1, 1))
TIMES = (1.0, 2.0, 2.5, 4.0)
DECISIONS = (
    Decision(widths=[0, 1, 2, 3], choices=[0, 1]),
    Decision(widths=[0, 1], choices=[0, 1]),
    Decision(widths=[2, 3], choices=[0, 1]),
)
BUDGETS = ["2ms", "p95<=3.5ms", "images/s>=450", "macs<=220M", "mean<=2.2ms,p99<=4.2ms", "accuracy>=75%"]


def two_gates(images: int = 3000, seed: int = 0, first: float = 0.3, second: float = 3.0) -> Case:
    """Images of some difficulty, which the gates see through noise: the second one clearly, the first one hardly.

    `first` and `second` say how strongly. The last part of the network matters most: a wide one is right on nearly all.
    """
    random = np.random.default_rng(seed)
    difficulty = random.standard_normal(images)
    felt = difficulty[:, None] + 0.3 * random.standard_normal((images, 4))
    strength = np.array([-0.3, 1.2, 0.2, 1.5])
    seen = [strong * difficulty + random.standard_normal(images) for strong in (first, second, second)]
    logits = np.stack([column for each in seen for column in (-each, each)], axis=1)
    times = [blocks(ms, random) for ms in TIMES]
    names = [(f"stage_1_{a:02d}", f"tail_{a:02d}_{b:02d}") for a, b in PATHS]
    return Case(
        widths=(0, 1, 2, 3),
        gates=GateLogits(DECISIONS, logits.astype(np.float32)),
        hits=felt < strength,
        confidences=np.full((images, 4), 0.5, np.float32),
        steady=tuple(times),
        chosen=tuple(times),
        unasked=tuple(times),
        paths=tuple(names),
        alone={name: blocks(1.0, random) for path in names for name in path},
        macs=(100_000_000, 200_000_000, 250_000_000, 400_000_000),
    )


def test_a_tree_beats_thresholds_where_the_second_gate_knows_what_the_first_does_not() -> None:
    case, unseen, budget = two_gates(), two_gates(seed=1), parse_budget("mean<=1.8ms")
    found = {kind: KINDS[kind](case, budget).policy for kind in ("thresholds", "tree")}
    accuracy = {kind: route(policy, unseen).hit.mean() for kind, policy in found.items()}
    assert accuracy["tree"] > accuracy["thresholds"] + 0.05, accuracy
    held_out = cross_fit(case, budget, KINDS["tree"])
    assert abs(held_out.accuracy.value - accuracy["tree"]) < 0.03, (held_out.accuracy, accuracy)


@pytest.mark.parametrize("text", BUDGETS)
@pytest.mark.parametrize("first", [0.0, 3.0])
def test_a_tree_keeps_every_budget_and_is_never_worse_than_thresholds_or_one_width(text: str, first: float) -> None:
    case, budget = two_gates(1000, first=first, second=3.0 - first), parse_budget(text)
    routing = route(KINDS["tree"](case, budget).policy, case)
    for condition in budget.limits:
        found = expected(condition.statistic, routing.options, routing.shares)
        least = condition.statistic == "images_per_s"
        within = found >= condition.value * (1 - 1e-5) if least else found <= condition.value * (1 + 1e-5)
        assert within, f"{condition.statistic} is {found}"
    for fit in (KINDS["thresholds"], single_width.fit):
        other = route(fit(case, budget).policy, case)
        if budget.least_accuracy is None:
            assert routing.hit.mean() >= other.hit.mean(), text
        else:
            assert routing.hit.mean() >= budget.least_accuracy
            means = [expected("mean_ms", each.options, each.shares) for each in (routing, other)]
            assert means[0] <= means[1] + 1e-9, means


def test_each_image_gets_the_width_that_it_gets_alone() -> None:
    case = two_gates(200)
    policy = KINDS["tree"](case, parse_budget("2ms")).policy
    assert isinstance(policy, TreePolicy) and policy.root.depth == 2
    routing = route(policy, case)
    for image in range(case.images):
        place = start(policy)
        for gate in range(2):
            ways = {0: 0, 1: 2}
            way = place if isinstance(place, int) else place.leaves[0] if hasattr(place, "leaves") else ways[0]
            place = decided(place, case.gates.of(int(way), gate)[image])
        assert routing.options[routing.choice[image]].widths == (place,)


def test_the_same_images_give_the_same_tree() -> None:
    found = [KINDS["tree"](two_gates(500), parse_budget("2ms")).policy for _ in range(2)]
    assert found[0] == found[1]


def test_images_that_all_look_alike_get_one_width() -> None:
    case = two_gates(100)
    alike = replace(case, gates=replace(case.gates, logits=np.zeros_like(case.gates.logits)))
    found = KINDS["tree"](alike, parse_budget("2.2ms"))
    assert found.policy.widths == KINDS["thresholds"](alike, parse_budget("2.2ms")).policy.widths
    assert found.gap is None


def test_the_best_cuts_are_those_that_trying_all_of_them_finds() -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        gains = random.integers(-3, 4, (3, 5)).astype(np.float64)

        def total(cuts: tuple[int, ...], gains: np.ndarray = gains) -> float:  # type: ignore[type-arg]
            taken = np.searchsorted(cuts, np.arange(5), side="right")
            return float(gains[taken, np.arange(5)].sum())

        every = [cuts for cuts in itertools.product(range(6), repeat=2) if cuts[0] <= cuts[1]]
        assert total(_best_cuts(gains)) == max(map(total, every)), gains


def test_a_tree_is_offered_where_there_are_several_gates() -> None:
    assert [kinds_for(gates) for gates in (0, 1, 2)] == [
        ["cascade"],
        ["thresholds", "utility", "cascade"],
        ["thresholds", "tree", "utility", "cascade"],
    ]


def test_a_cascade_over_paths_does_not_pay_twice_for_what_its_widths_share() -> None:
    case = two_gates(10)
    apart, together = case.chains([0, 2])[1], case.chains([0, 1])[1]
    assert [len(option.parts) for option in (together, apart)] == [2, 3], "a tail, or a stage and a tail"
