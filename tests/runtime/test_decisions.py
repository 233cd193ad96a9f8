"""Decision points: each gate once for every way that leads to it."""

import numpy as np

from edge.bundle.fields import MAX_GATES, MAX_WIDTHS
from edge.bundle.manifest import Gate
from edge.runtime.decisions import Decision, GateLogits, decision_points, decision_problem
from edge.runtime.route import Route, added
from tests.runtime.recording import SIDE_GATE, TWO_GATES, artifact, net

GATES = [Gate(kind="trunk", choices=[0, 1]), Gate(kind="trunk", choices=[0, 1])]


def test_a_gate_is_decided_at_once_for_every_way_that_leads_to_it_in_the_order_of_gates() -> None:
    found = decision_points(TWO_GATES, GATES)
    assert [decision.widths for decision, _ in found] == [[0, 1, 2, 3], [0, 1], [2, 3]]
    assert [[program.name for program in way] for _, way in found] == [
        ["prefix"],
        ["prefix", "stage_1_00"],
        ["prefix", "stage_1_01"],
    ]


def test_a_side_gate_is_one_decision_and_no_gate_none() -> None:
    side = [Gate(kind="side", choices=[0, 1])]
    assert [decision.widths for decision, _ in decision_points(artifact(SIDE_GATE, net(0), net(1)), side)] == [[0, 1]]
    assert decision_points(artifact(net(0), net(1)), []) == []


def test_the_logits_of_a_gate_are_those_on_the_way_to_the_width() -> None:
    decisions = tuple(decision for decision, _ in decision_points(TWO_GATES, GATES))
    logits = GateLogits(decisions, np.arange(12, dtype=np.float32).reshape(2, 6))
    assert (logits.gates, logits.first.tolist()) == (2, [[0, 1], [6, 7]])
    assert [logits.of(width, 1)[0].tolist() for width in range(4)] == [[2, 3], [2, 3], [4, 5], [4, 5]]
    assert logits.take(np.array([1])).of(3, 1).tolist() == [[10, 11]]


def over(*widths: list[int]) -> str | None:
    """Return what is wrong with decisions over these of the widths 0…3."""
    return decision_problem([Decision(widths=each, choices=[0]) for each in widths], [0, 1, 2, 3])


def test_decisions_that_cross_are_no_decision_points() -> None:
    assert over([0, 1, 2, 3], [0, 1], [2, 3]) is None
    crossing = over([0, 1, 2, 3], [0, 1], [2, 3], [0, 2], [1, 3])
    assert crossing == "widths 0, 2 of decision 3 do not come there along one way"


def test_every_width_comes_through_the_first_decision_and_as_many_as_the_others() -> None:
    assert over() is None
    assert over([0, 1, 2, 3], [0, 1]) == "the widths do not all come through as many decisions"
    apart = over([0, 1], [2, 3])
    assert apart == "the first decision is of widths 0, 1; all of 0, 1, 2, 3 come through it"
    assert over([0, 1, 2, 3, 4]) == "decision 0 is of width 4; valid: 0, 1, 2, 3"


def test_more_decisions_on_one_way_than_there_can_be_gates_are_refused_at_once() -> None:
    widths = list(range(MAX_WIDTHS))
    most = [Decision(widths=widths, choices=[0])] * (MAX_WIDTHS * MAX_GATES)
    assert decision_problem(most, widths) == "a width comes through 2048 decisions; the most are 8"
    assert decision_problem(most[:MAX_GATES], widths) is None


def test_a_program_is_added_unless_it_ran_after_the_same_ones() -> None:
    paths = list(Route.of(TWO_GATES).names.values())
    assert added(paths)[:3] == [("stage_1_00", "tail_00_00"), ("tail_00_01",), ("stage_1_01", "tail_01_00")]
    assert added([("a", "c", "d"), ("b", "c", "d")]) == [("a", "c", "d"), ("b", "c", "d")]
