"""Networks with several gates: which paths there are, and that every one is a network of its own."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.program_names import trunk_programs
from tests.gated_network import THREE_GATES, TWO_GATES
from tests.train.networks import MICRO, MICRO_GATES, MICRO_V2, MICRO_VIT_GATES, coloured_noise, decisive, normal_images
from train import GateSpec, SpecError, StageSpec, SupernetSpec, load_spec
from train.initialise import initial_supernet, initialise
from train.layers import normalise_by_batch
from train.paths import Path
from train.recalibrate_bn import recalibrate
from train.supernet import Supernet
from train.ways import ways_of

ALL = pytest.mark.parametrize(
    "spec", [TWO_GATES, THREE_GATES, MICRO_GATES, MICRO_VIT_GATES], ids=lambda spec: spec.name
)
GATES_BY_SIBLING = {"ds_resnet18_64": "ds_resnet18_64_gates", "ds_resnet50": "ds_resnet50_gates"}


def with_gates(*gates: GateSpec) -> SupernetSpec:
    """Return a ResNet whose stages have 1, 2, 3 and 3 channel counts, with these gates."""
    return replace(THREE_GATES, gates=gates)


def test_reach_keeps_neighbouring_parts_alike() -> None:
    assert TWO_GATES.paths == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
    assert all(abs(before - after) <= 1 for before, after in MICRO_GATES.paths)
    assert MICRO_GATES.n_widths == 7


def test_a_reach_of_nought_is_one_decision_for_all_parts() -> None:
    spec = replace(MICRO_GATES, gates=(GateSpec(1, (0, 2)), GateSpec(2, (0, 1, 2), reach=0)))
    assert spec.paths == ((0, 0), (1, 1), (2, 2))


@ALL
def test_the_widths_that_the_gates_choose_between_are_the_paths_of_their_choices(spec: SupernetSpec) -> None:
    chosen = {path: width for width, path in enumerate(spec.paths)}
    for gate, choices in enumerate(spec.choices):
        chosen = {path: width for path, width in chosen.items() if path[gate] in choices}
    assert ways_of(spec).widths == tuple(chosen.values())


def test_a_network_without_gates_or_with_one_has_a_path_per_width() -> None:
    assert MICRO.paths == tuple((width,) for width in range(5))
    assert ways_of(MICRO).widths == (0, 2, 4)
    assert MICRO_V2.paths == ((0,), (1,), (2,))


@ALL
def test_a_spec_reads_back_equal(spec: SupernetSpec) -> None:
    assert SupernetSpec.from_json(spec.to_json()) == spec


def test_a_spec_of_one_gate_is_written_as_before_there_were_several() -> None:
    written = json.loads(MICRO.to_json())
    assert written["gate"] == {"stage": 1, "choices": [0, 2, 4]}
    assert "gates" not in written
    assert json.loads(replace(MICRO, gates=()).to_json())["gate"] is None


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (tuple(GateSpec(n, (0,)) for n in range(9)), "9 gates; valid: at most 8"),
        (
            (GateSpec(2, (0,)), GateSpec(1, (0,))),
            "gates at stages [2, 1]; each needs a stage of its own, in their order",
        ),
        ((GateSpec(2, (0,)), GateSpec(2, (0,))), "gates at stages [2, 2]; each needs a stage of its own"),
        ((GateSpec(1, (0,)), GateSpec(4, (0,))), "gate stage 4 is not within 0…3"),
        ((GateSpec(1, (0,)), GateSpec(2, (0,), -1)), "gate at stage 2: reach -1 is not within 0…256"),
        ((GateSpec(1, (0,)), GateSpec(2, (0,), 257)), "gate at stage 2: reach 257 is not within 0…256"),
        ((GateSpec(1, (0,), 1), GateSpec(2, (0,))), "reach of the first gate; no part before it"),
        ((GateSpec(1, (0,)), GateSpec(2, (2,), 1)), "gate at stage 2: no choice within reach 1 of entries [0]"),
        ((GateSpec(1, (0, 1)), GateSpec(2, (0, 3))), "gate choices [0, 3] must be ascending entries of [0, 1, 2]"),
        (
            (GateSpec(1, (0,)), GateSpec(3, (0,))),
            "stage 2 has 3 channel counts; from the gate's stage on, 2 are needed",
        ),
    ],
)
def test_gates_that_do_not_fit_together_are_refused(gates: tuple[GateSpec, ...], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        with_gates(*gates)
    assert message in str(refused.value)


@pytest.mark.parametrize("counts", [(4, 2), (2, 4)])
def test_a_reach_that_leaves_entries_on_no_path_is_refused(counts: tuple[int, int]) -> None:
    channels = (8, 16, 24, 32)
    stages = tuple(StageSpec(channels[:count], 1, 1 + place) for place, count in enumerate(counts))
    numbers = f"its {counts[1]} entries and the {counts[0]} before"
    with pytest.raises(SpecError, match=f"gate at stage 1: reach 1; {numbers} differ by more, so some are on no path"):
        replace(TWO_GATES, stages=stages, gates=(GateSpec(0, (0, 1)), GateSpec(1, (0, 1), 1)))


def test_a_spec_with_both_one_gate_and_several_is_refused() -> None:
    text = TWO_GATES.to_json().replace('"gates"', '"gate":null,"gates"')
    with pytest.raises(SpecError, match="unknown field 'gate' in the spec"):
        SupernetSpec.from_json(text)


def test_too_many_paths_are_refused_before_they_are_listed() -> None:
    stages = tuple(StageSpec(tuple(range(8, 264)), 1, 1) for _ in range(8))
    gates = tuple(GateSpec(place, (0,), 1 if place else None) for place in range(8))
    with pytest.raises(SpecError, match=r"\d+ paths through the gates' widths; at most 256, so lower a gate's reach"):
        replace(TWO_GATES, stages=stages, gates=gates)


def test_kernels_need_one_side_per_entry_of_their_part() -> None:
    stage = replace(MICRO_GATES.stages[1], kernels=(3, 3, 5, 5))
    with pytest.raises(SpecError, match="stage 1: 4 kernels; a stage of 3 widths has one for each"):
        replace(MICRO_GATES, stages=(MICRO_GATES.stages[0], stage, MICRO_GATES.stages[2]))


@torch.no_grad()
@ALL
def test_widths_run_together_answer_as_each_alone(spec: SupernetSpec) -> None:
    model, batch = initial_supernet(spec, seed=0), normal_images(spec, 3)
    together, reads = model.forward_widths(batch, range(spec.n_widths))
    assert set(reads) == {path[:gate] for path in spec.paths for gate in range(len(spec.gates))}
    for width, logits in enumerate(together):
        difference = (model(batch, width) - logits).abs().max().item()
        assert difference == 0, f"width {width} differs by {difference}"


@torch.no_grad()
@ALL
def test_dynamic_inference_runs_the_parts_on_the_way_and_no_others(spec: SupernetSpec) -> None:
    model, batch = decisive(spec), coloured_noise(spec, 64)
    with FlopCounterMode(display=False) as counter:
        logits, widths = model.forward_dynamic(batch)
    used = widths.tolist()
    ways = {spec.paths[width] for width in used}
    assert ways <= {spec.paths[width] for width in ways_of(spec).widths}
    assert len(ways) > len({path[:-1] for path in ways}) > 1, f"paths {ways}: not every gate had a say"
    # Torch's counter leaves out fused attention.
    macs = [sum(node.macs(width) for node in spec.graph.nodes if node.layer) for width in range(spec.n_widths)]
    executed, expected = counter.get_total_flops() // 2, sum(macs[width] for width in used)
    assert executed == expected, f"{executed} MACs executed, the chosen widths need {expected}"
    for image, width, row in zip(batch, used, logits, strict=True):
        error = ((model(image[None], width)[0] - row).abs().max() / row.abs().max()).item()
        assert error < 1e-5, f"width {width}: dynamic and static logits differ by {error} of the largest"


@torch.no_grad()
def test_a_later_gate_is_as_wide_as_the_part_it_reads() -> None:
    model = initial_supernet(MICRO_GATES, seed=0)
    _, reads = model.forward_widths(normal_images(MICRO_GATES, 2), range(MICRO_GATES.n_widths))
    assert {path: model.gate_logits(read, path).shape for path, read in reads.items()} == {
        (): (2, 2), (0,): (2, 3), (1,): (2, 3), (2,): (2, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "count"), [(TWO_GATES, 8), (THREE_GATES, 17), (MICRO_GATES, 11), (MICRO_VIT_GATES, 9)],
    ids=lambda value: getattr(value, "name", value),
)  # fmt: skip
def test_paths_that_agree_share_programs(spec: SupernetSpec, count: int) -> None:
    assert len({program for path in spec.paths for program in trunk_programs(path)}) == count


def test_statistics_of_a_parts_entry_are_pooled_over_the_paths_through_it() -> None:
    model = Supernet(TWO_GATES)
    initialise(model, seed=0)
    images = normal_images(TWO_GATES, 16)
    recalibrate(model, [images])
    inputs: dict[Path, torch.Tensor] = {}
    hook = model.get_submodule("stages.1.0.first_bn").register_forward_pre_hook(
        lambda _, given: inputs.update({TWO_GATES.paths[given[1]]: given[0].double()})
    )
    normalise_by_batch(model)
    with torch.no_grad():
        for width in range(TWO_GATES.n_widths):
            model(images, width)
    hook.remove()
    for entry in range(3):
        pooled = torch.cat([x for path, x in inputs.items() if path[1] == entry])
        for moment, expected in {
            "mean": pooled.mean((0, 2, 3)),
            "var": pooled.var((0, 2, 3), correction=0),
        }.items():
            found = model.state_dict()[f"stages.1.0.first_bn.statistics.{entry}.{moment}"]
            error = (found - expected).abs().max().item()
            assert error < 1e-5, f"{moment} of entry {entry} differs by {error}"


@pytest.mark.parametrize(("sibling", "name"), GATES_BY_SIBLING.items())
def test_a_shipped_network_costs_what_its_sibling_of_one_gate_costs(sibling: str, name: str) -> None:
    spec, one = load_spec(name), load_spec(sibling)
    for entry in range(one.n_widths):
        width = spec.paths.index((entry,) * 3)
        added = sum(layer.macs(width) for layer in spec.layers if layer.name.startswith(("gate_2.", "gate_3.")))
        found, expected = spec.macs(width) - added, one.macs(entry)
        assert found == expected, f"entry {entry} costs {found}, in {sibling} {expected}"
        assert added < 0.001 * expected, f"entry {entry}: {added} multiply-accumulates of two gates"


def test_the_widest_shipped_resnet_50_costs_what_the_static_one_does() -> None:
    spec = load_spec("ds_resnet50_gates")
    macs = spec.macs(spec.n_widths - 1)
    assert macs == pytest.approx(4.1e9, rel=0.01), f"{macs / 1e9:.3f} G multiply-accumulates"


@torch.no_grad()
def test_what_a_network_of_one_gate_has_learned_is_that_of_equal_entries_everywhere() -> None:
    one, spec = load_spec("ds_resnet18_64"), load_spec("ds_resnet18_64_gates")
    tensors, untrained = initial_supernet(one, seed=0).tensors(), Supernet(spec).tensors()
    assert tensors.keys() <= untrained.keys()
    added = {name for name in untrained if name not in tensors}
    assert {name.split(".")[0] for name in added} == {"gate_2", "gate_3"}
    model, batch = Supernet.from_tensors(spec, untrained | tensors), normal_images(spec, 2)
    for width in range(one.n_widths):
        expected = Supernet.from_tensors(one, tensors)(batch, width)
        assert torch.equal(model(batch, spec.paths.index((width,) * 3)), expected), f"width {width}"
