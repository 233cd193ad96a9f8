"""A graph is cut where its values say, and a cut runs what it needs and holds on to nothing else."""

import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.train.networks import MICRO, MICRO_V2
from train import GateSpec, StageSpec, SupernetSpec, load_spec
from train.graph import Graph, Node, Value

RESNET = load_spec("ds_resnet18_64")


def values(graph: Graph) -> dict[str, Value]:
    return {node.output.name: node.output for node in graph.nodes}


def without_gate(spec: SupernetSpec) -> SupernetSpec:
    return replace(spec, gates=())


@pytest.mark.parametrize("spec", [MICRO, MICRO_V2, RESNET], ids=lambda spec: spec.family)
def test_every_node_comes_after_what_it_reads(spec: SupernetSpec) -> None:
    known = {spec.graph.image.name}
    for node in spec.graph.nodes:
        assert {value.name for value in node.inputs} <= known, node.output.name
        assert node.output.name not in known, f"{node.output.name} is given twice"
        known.add(node.output.name)


def test_a_cut_runs_what_each_wanted_value_needs_in_turn() -> None:
    (decision,) = MICRO.graph.decisions
    cut = MICRO.graph.cut(MICRO.graph.image, decision.features, decision.logits)
    assert cut.steps[-1].node.output == decision.logits, "the gate runs after the features"
    names = [layer.name for layer in cut.layers]
    assert names[-4:] == [f"stages.1.0.{name}" for name in ("depthwise", "attention.reduce")] + [
        "gate",
        "stages.1.0.attention.expand",
    ]
    rest = MICRO.graph.cut(decision.features, MICRO.graph.logits)
    assert not {layer.name for layer in rest.layers} & set(names)


def test_a_cut_that_needs_more_than_it_is_given_is_refused() -> None:
    found = values(MICRO_V2.graph)
    with pytest.raises(ValueError, match=r"stages\.1\.1 needs more than stages\.1\.1\.pointwise"):
        MICRO_V2.graph.cut(found["stages.1.1.pointwise"], found["stages.1.1"])


def test_a_run_lets_go_of_what_nothing_reads_any_more() -> None:
    class Held:
        pass

    made: dict[str, weakref.ref[Held]] = {}
    alive: list[int] = []

    def operate(node: Node, inputs: Sequence[Held]) -> Held:
        del inputs
        alive.append(sum(reference() is not None for reference in made.values()))
        held = Held()
        made[node.output.name] = weakref.ref(held)
        return held

    cut = MICRO_V2.graph.cut(MICRO_V2.graph.image, MICRO_V2.graph.logits)
    cut.run(Held(), operate)
    assert max(alive) == 2, f"{max(alive)} values at once: a block's input and what comes of it are enough"


def test_widths_part_where_the_gate_decides() -> None:
    for spec in (MICRO, RESNET):
        (decision,) = spec.graph.decisions
        assert spec.graph.parting(spec.n_widths) == decision.features


def test_without_a_gate_widths_part_before_the_first_layer_that_differs() -> None:
    plain = without_gate(MICRO)
    assert plain.graph.parting(plain.n_widths) == values(plain.graph)["stages.1.0.depthwise.silu.multiply"]
    resnet = without_gate(RESNET)
    assert resnet.graph.parting(resnet.n_widths) == values(resnet.graph)["stages.0.1.relu"], "read twice, but one value"


def test_widths_have_nothing_in_common_where_two_values_would_be_needed_or_the_stem_differs() -> None:
    across = replace(
        MICRO_V2,
        stem=StageSpec((4,), 1, 1),
        stages=(StageSpec((4,), 1, 1), StageSpec((4, 4, 4), 1, 1, expansion=2), StageSpec((4, 6, 8), 1, 1)),
    )
    assert across.graph.parting(across.n_widths) is None, "the branch and what it is added to"
    assert MICRO_V2.graph.parting(MICRO_V2.n_widths) is None


def test_a_gate_may_decide_at_any_stage_of_a_resnet() -> None:
    late = replace(
        RESNET, stages=(*RESNET.stages[:1], StageSpec((64,), 2, 2), *RESNET.stages[2:]), gates=(GateSpec(2, (0, 5)),)
    )
    (decision,) = late.graph.decisions
    assert decision.features == values(late.graph)["stages.1.1.relu"]
