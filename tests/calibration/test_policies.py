"""Fitting each kind of policy: within the budget, at least as good as one width, judged as it will be run."""

from dataclasses import replace

import numpy as np
import pytest

from edge.bundle.manifest import CascadePolicy, ThresholdPolicy, UtilityPolicy
from edge.calibration import KINDS, Case, parse_budget, route
from edge.calibration.budget import Blocks, expected
from edge.calibration.policies import single_width
from edge.calibration.policies.cascade import every_chain
from edge.calibration.policies.utility import regressions
from edge.errors import CalibrationError
from edge.runtime.decisions import Decision, GateLogits
from edge.runtime.policy import decided, next_width, right_chance, start

WIDTHS = (0, 4, 9)
BUDGETS = ["2ms", "p95<=3.5ms", "images/s>=400", "macs<=250M", "mean<=2.2ms,p99<=4.2ms", "accuracy>=60%"]


def blocks(ms: float, random: np.random.Generator) -> Blocks:
    """Twenty blocks of ten runs that take up to 5% longer than `ms`."""
    return tuple(ms * (1 + 0.05 * random.random((20, 10))))


def simulated(images: int = 3000, seed: int = 0) -> Case:
    """Images of some difficulty; the gate and every width's confidence see it through noise."""
    random = np.random.default_rng(seed)
    difficulty = random.standard_normal(images)
    felt = difficulty[:, None] + 0.5 * random.standard_normal((images, 3))
    strength = np.array([-0.2, 0.3, 0.8])
    seen = difficulty[:, None] + 0.8 * random.standard_normal((images, 4))
    sure = 1 / (1 + np.exp(felt - strength + 0.7 * random.standard_normal((images, 3))))
    times = [1.0, 2.0, 3.5]
    return Case(
        widths=WIDTHS,
        gates=GateLogits(
            (Decision(widths=list(WIDTHS), choices=[0, 3, 6, 9]),),
            (seen * np.array([-1.0, -0.3, 0.3, 1.0])).astype(np.float32),
        ),
        hits=felt < strength,
        confidences=(0.1 + 0.9 * sure).astype(np.float32),
        steady=(gated := tuple(blocks(ms, random) for ms in times)),
        chosen=gated,
        unasked=gated,
        paths=tuple((f"tail_{width:02d}",) for width in WIDTHS),
        alone={f"tail_{width:02d}": blocks(0.8 * ms, random) for width, ms in zip(WIDTHS, times, strict=True)},
        macs=(100_000_000, 200_000_000, 400_000_000),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", BUDGETS)
def test_every_kind_keeps_every_budget(kind: str, text: str) -> None:
    case, budget = simulated(), parse_budget(text)
    routing = route(KINDS[kind](case, budget).policy, case)
    for condition in budget.conditions:
        if condition.statistic == "accuracy":
            assert routing.hit.mean() >= condition.value
        else:
            found = expected(condition.statistic, routing.options, routing.shares)
            least = condition.statistic == "images_per_s"
            within = found >= condition.value * (1 - 1e-5) if least else found <= condition.value * (1 + 1e-5)
            assert within, f"{condition.statistic} is {found}"


@pytest.mark.parametrize("text", BUDGETS)
def test_thresholds_are_never_worse_than_the_best_single_width(text: str) -> None:
    case, budget = simulated(), parse_budget(text)
    ours, single = (route(fit(case, budget).policy, case) for fit in (KINDS["thresholds"], single_width.fit))
    if budget.least_accuracy is None:
        assert ours.hit.mean() >= single.hit.mean()
    else:
        costs = [expected("mean_ms", routing.options, routing.shares) for routing in (ours, single)]
        assert costs[0] <= costs[1] * (1 + 1e-6), costs


def test_an_accuracy_is_kept_more_cheaply_than_by_any_single_width() -> None:
    case = simulated()
    kept = float(case.hits[:, 1].mean())
    routing = route(KINDS["thresholds"](case, parse_budget(f"accuracy>={kept * 100:.2f}%")).policy, case)
    mean = expected("mean_ms", routing.options, routing.shares)
    assert mean < case.single(4).samples.mean(), f"{mean} ms"


def test_a_cascade_costs_every_width_that_ran_and_answers_with_the_last() -> None:
    case = simulated(images=4)
    policy = CascadePolicy(widths=[0, 9], confidences=[0.5])
    stands = case.confidences[:, 0] >= 0.5
    routing = route(policy, case)
    assert routing.choice.tolist() == [0 if stood else 1 for stood in stands]
    assert routing.hit.tolist() == np.where(stands, case.hits[:, 0], case.hits[:, 2]).tolist()
    both = np.mean(case.unasked[0]) + np.mean(case.alone["tail_09"])
    assert routing.options[1].samples.mean() == pytest.approx(both, rel=1e-9)
    assert routing.options[1].macs == 500_000_000


def test_every_cascade_searched_is_counted_as_it_runs() -> None:
    case = simulated(images=60)
    counted, triples = 0, 0
    for chains in every_chain(case):
        for at in range(len(chains.hits)):
            policy = CascadePolicy(widths=list(chains.widths), confidences=chains.confidences[at].tolist())
            routing = route(policy, case)
            assert (routing.shares, int(routing.hit.sum())) == (pytest.approx(chains.shares[at]), chains.hits[at])
            counted, triples = counted + 1, triples + (len(chains.widths) == 3)
    assert (counted > 300, triples > 100) == (True, True), (counted, triples)


def test_a_cascade_runs_in_the_session_as_it_is_routed() -> None:
    case = simulated(images=200)
    found = KINDS["cascade"](case, parse_budget("2.5ms")).policy
    assert isinstance(found, CascadePolicy)
    routing = route(found, case)
    for image in range(case.images):
        ran = [int(start(found))]
        while (
            following := next_width(found, ran[-1], saying(case.confidences[image, WIDTHS.index(ran[-1])]))
        ) is not None:
            ran.append(following)
        assert routing.options[routing.choice[image]].widths == tuple(ran)


def saying(confidence: float) -> np.ndarray:  # type: ignore[type-arg]
    """Return logits of 100 classes whose top-1 probability is this."""
    return np.log(np.array([confidence, *[(1 - confidence) / 99] * 99], np.float64)).astype(np.float32)


def test_a_width_that_was_not_measured_alone_cannot_come_second() -> None:
    case = replace(simulated(images=20), alone={})
    with pytest.raises(CalibrationError, match="no samples of widths 9 alone, which a cascade adds"):
        route(CascadePolicy(widths=[0, 9], confidences=[0.5]), case)
    assert len(KINDS["cascade"](case, parse_budget("2ms")).policy.widths) == 1


def test_a_side_gate_is_paid_for_only_where_it_is_asked() -> None:
    case = simulated()
    alone = tuple(tuple(block - 0.5 for block in part) for part in case.chosen)
    case = replace(case, steady=alone, unasked=alone)
    assert case.single(4).samples.mean() == pytest.approx(case.choices()[1].samples.mean() - 0.5)
    for text in ("1.7ms", "0.9ms", "accuracy>=43%"):
        budget = parse_budget(text)
        ours, single = (route(fit(case, budget).policy, case) for fit in (KINDS["thresholds"], single_width.fit))
        worth = [
            (r.hit.mean(), -expected("mean_ms", r.options, r.shares))[budget.least_accuracy is not None]
            for r in (ours, single)
        ]
        assert worth[0] >= worth[1] - 1e-9, (text, worth)
    assert KINDS["thresholds"](case, parse_budget("0.9ms")).policy.widths == [0]


def test_one_width_for_all_never_pays_for_changes_of_width() -> None:
    case = simulated()
    in_turns = tuple(tuple(block * 1.2 for block in part) for part in case.chosen)
    case = replace(case, chosen=in_turns, unasked=in_turns)
    fixed = [CascadePolicy(widths=[4], confidences=[]), ThresholdPolicy(widths=[4], thresholds=[])]
    found = [route(policy, case).options[0].samples.mean() for policy in fixed]
    assert found == [pytest.approx(np.mean(case.steady[1]))] * 2
    for kind in ("thresholds", "cascade"):
        policy = KINDS[kind](case, parse_budget(f"{np.mean(case.steady[1]) + 1e-3:.3f}ms")).policy
        assert route(policy, case).hit.mean() >= case.hits[:, 1].mean(), policy


def test_a_budget_that_one_width_meets_exactly_is_met() -> None:
    case = simulated()
    tenth = tuple(np.array([1.0] * 9 + [5.0]) for _ in range(3))
    case = replace(case, steady=(tenth,) * 3, chosen=(tenth,) * 3, unasked=(tenth,) * 3)
    for kind in KINDS:
        assert route(KINDS[kind](case, parse_budget("p90<=2ms")).policy, case).shares


def test_utility_minds_the_mean_when_a_further_limit_is_loose() -> None:
    case = simulated()
    alone, with_limit = (
        route(KINDS["utility"](case, parse_budget(text)).policy, case)
        for text in ("accuracy>=60%", "accuracy>=60%,p99<=100ms")
    )
    means = [expected("mean_ms", routing.options, routing.shares) for routing in (alone, with_limit)]
    assert means[1] < 1.1 * means[0], means


def test_utility_routes_by_the_chance_of_being_right_less_the_price() -> None:
    case = simulated()
    found = KINDS["utility"](case, parse_budget("2ms")).policy
    assert isinstance(found, UtilityPolicy)
    for image in range(50):
        logits = case.gates.logits[image].astype(np.float64)
        chances = [1 / (1 + np.exp(-(np.dot(w, logits) + b))) for w, b in zip(found.weights, found.biases, strict=True)]
        best = int(np.argmax(np.array(chances) - found.penalties))
        assert decided(found, case.gates.logits[image]) == found.widths[best]


def test_the_chances_of_being_right_are_calibrated() -> None:
    case = simulated(images=20_000)
    weights, biases = regressions(case.gates.logits, case.hits)
    chances = right_chance(case.gates.logits, weights, biases)
    for column in range(3):
        for low in (0.2, 0.4, 0.6, 0.8):
            inside = (chances[:, column] >= low) & (chances[:, column] < low + 0.2)
            if inside.sum() > 500:
                off = case.hits[inside, column].mean() - chances[inside, column].mean()
                assert abs(off) < 0.04, f"width {WIDTHS[column]}, chance about {low + 0.1}: off by {off}"


def test_widths_that_are_always_right_do_not_break_the_regression() -> None:
    case = simulated(images=100)
    weights, biases = regressions(case.gates.logits, np.ones_like(case.hits))
    assert np.isfinite(weights).all() and np.isfinite(biases).all()
    assert right_chance(case.gates.logits, weights, biases).min() > 0.9


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thresholds"])
def test_what_no_policy_can_keep_is_one_line(kind: str) -> None:
    with pytest.raises(CalibrationError, match=f"no {kind} policy within the budget was found; lower the accuracy"):
        KINDS[kind](simulated(), parse_budget("mean<=1.1ms,accuracy>=80%"))
