"""One set of weights, every width: prefix + tail is the network, and the checkpoint names are exactly the spec's."""

import threading
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.train.networks import MICRO_V2
from train import TrainError, load_spec
from train.checkpoint import expected_tensors
from train.initialise import initial_supernet
from train.spec import GateSpec, StageSpec, SupernetSpec, spec_names
from train.supernet import Supernet

TINY = load_spec("ds_mbv1_tiny")
MOBILENET_V1 = replace(MICRO_V2, family="mobilenet_v1", stages=(StageSpec((4, 6, 8), 2, 2),), head=None)


@pytest.fixture(scope="module")
def model() -> Supernet:
    """An untrained tiny network whose gate spreads its decisions over the widths."""
    model = initial_supernet(TINY, seed=0)
    with torch.no_grad():
        model.gate.weight.normal_(0, 5, generator=torch.Generator().manual_seed(1))
    return model


def images(count: int, spec: SupernetSpec = TINY, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, spec.resolution, spec.resolution, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", spec_names())
def test_state_dict_holds_exactly_the_tensors_that_the_spec_names(name: str) -> None:
    spec = load_spec(name)
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Supernet(spec).state_dict().items()}
    assert shapes == expected_tensors(spec)


@torch.no_grad()
@pytest.mark.parametrize("spec", [TINY, MICRO_V2, MOBILENET_V1], ids=lambda spec: spec.family)
def test_a_width_executes_the_multiply_accumulates_that_its_spec_counts(spec: SupernetSpec) -> None:
    model, gate = initial_supernet(spec, seed=0), sum(layer.macs(0) for layer in spec.layers if layer.name == "gate")
    for width in range(spec.n_widths):
        with FlopCounterMode(display=False) as counter:
            model(images(1, spec), width)
        assert counter.get_total_flops() // 2 == spec.macs(width) - gate, f"width {width}"


@torch.no_grad()
def test_an_inverted_residual_adds_its_input_and_ends_without_activation() -> None:
    model = initial_supernet(MICRO_V2, seed=0)
    values = {node.output.name: node.output for node in MICRO_V2.graph.nodes}
    before, out, added = (values[name] for name in ("stages.1.0.pointwise", "stages.1.1.pointwise", "stages.1.1"))
    x = torch.randn(2, MICRO_V2.stages[1].channels[0], 4, 4, generator=torch.Generator().manual_seed(0))
    projected, found = model.run(MICRO_V2.graph.cut(before, out, added), x, 0)
    assert torch.equal(found, x + projected)
    assert projected.min() < 0, "a linear projection has negative values"


@torch.no_grad()
@pytest.mark.parametrize("spec", [TINY, replace(TINY, gates=()), MICRO_V2], ids=["trunk gate", "no gate", "no prefix"])
def test_widths_run_together_answer_as_each_alone(spec: SupernetSpec) -> None:
    model, batch = initial_supernet(spec, seed=0), images(3, spec)
    together, reads = model.forward_widths(batch, range(spec.n_widths))
    assert len(reads) == len(spec.gates)
    for width, logits in enumerate(together):
        difference = (model(batch, width) - logits).abs().max().item()
        assert difference == 0, f"width {width} differs by {difference}"


def test_well_known_tensor_names_are_stable() -> None:
    names = expected_tensors(load_spec("ds_mbv1"))
    assert names["stages.3.0.depthwise.weight"] == (264, 1, 3, 3)
    assert names["stages.3.0.depthwise_bn.statistics.0.mean"] == (96,)
    assert names["stages.3.0.attention.reduce.weight"] == (66, 264, 1, 1)
    assert names["stages.3.0.attention.expand.bias"] == (264,)
    assert names["stages.3.0.pointwise_bn.statistics.13.var"] == (640,)
    assert names["gate.weight"] == (4, 66, 1, 1)
    assert names["stem_bn.weight"] == (24,)
    assert names["classifier.weight"] == (1000, 1152)


@torch.no_grad()
def test_every_width_equals_its_tail_on_the_prefix_bit_for_bit(model: Supernet) -> None:
    batch = images(3)
    features, _ = model.forward_prefix(batch)
    for width in range(TINY.n_widths):
        difference = (model(batch, width) - model.forward_rest(features, width)).abs().max().item()
        assert difference == 0, f"width {width} differs by {difference}"


@torch.no_grad()
def test_the_largest_network_equals_its_tail_on_its_own_prefix(model: Supernet) -> None:
    batch = images(2)
    features, _ = model.forward_prefix(batch, TINY.largest)
    assert features.shape[1] == TINY.stages[1].channels[-1]
    assert torch.equal(model(batch, TINY.largest), model.forward_rest(features, TINY.largest))


@torch.no_grad()
def test_defect_a_dynamic_inference_executes_only_the_chosen_width(model: Supernet) -> None:
    batch = images(24)
    with FlopCounterMode(display=False) as counter:
        logits, widths = model.forward_dynamic(batch)
    executed, expected = counter.get_total_flops() // 2, sum(TINY.macs(width) for width in widths.tolist())
    full = len(batch) * TINY.macs(TINY.n_widths - 1)
    assert len(set(widths.tolist())) > 1, f"the gate chose {set(widths.tolist())} alone, so this test shows nothing"
    assert executed == expected, f"{executed} MACs executed, the chosen widths need {expected}"
    assert executed < full, f"{executed} MACs executed, full width needs {full}"
    for image, width, row in zip(batch, widths.tolist(), logits, strict=True):
        error = (model(image[None], width)[0] - row).abs().max().item()
        assert error < 1e-5, f"width {width}: dynamic and static logits differ by {error}"


@torch.no_grad()
def test_defect_b_the_gate_decides_the_same_at_every_evaluation(model: Supernet) -> None:
    batch = images(16)
    _, gate_logits = model.forward_prefix(batch)
    expected = torch.tensor(TINY.choices[0])[gate_logits.argmax(1)]
    for seed in range(5):
        torch.manual_seed(seed)
        assert torch.equal(model.forward_dynamic(batch)[1], expected)


@torch.no_grad()
def test_defect_e_the_device_and_precision_are_the_callers(model: Supernet) -> None:
    with torch.device("meta"):
        on_meta = Supernet(TINY)
    assert {value.device.type for value in on_meta.state_dict().values()} == {"meta"}
    assert on_meta(torch.empty(2, 3, 32, 32, device="meta"), 1).device.type == "meta"
    double = Supernet.from_tensors(TINY, model.tensors()).double()
    logits, _ = double.forward_dynamic(images(4).double())
    assert logits.dtype == torch.float64


@torch.no_grad()
def test_defect_f_a_width_answers_the_same_whatever_ran_before_or_beside_it(model: Supernet) -> None:
    batch = images(2)
    alone = {width: Supernet.from_tensors(TINY, model.tensors())(batch, width) for width in range(TINY.largest + 1)}
    for width in [3, 0, 4, 1, 0, 2, 3]:
        assert torch.equal(model(batch, width), alone[width]), f"width {width} depends on the call before it"
    differing: list[int] = []

    @torch.no_grad()
    def run(width: int) -> None:
        differing.extend(width for _ in range(20) if not torch.equal(model(batch, width), alone[width]))

    threads = [threading.Thread(target=run, args=(width,)) for width in range(TINY.n_widths)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert differing == []


def test_dropout_applies_to_the_largest_network_in_training_only(model: Supernet) -> None:
    training = Supernet.from_tensors(TINY, model.tensors()).train()
    batch = images(4)
    for width in range(TINY.n_widths):
        assert torch.equal(training(batch, width), training(batch, width)), f"width {width} drops"
    assert not torch.equal(training(batch, TINY.largest), training(batch, TINY.largest))
    assert torch.equal(model(batch, TINY.largest), model(batch, TINY.largest))


def test_dynamic_inference_refuses_training_mode(model: Supernet) -> None:
    training = Supernet.from_tensors(TINY, model.tensors()).train()
    with pytest.raises(TrainError, match=r"call \.eval\(\)"):
        training.forward_dynamic(images(2))


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = (initial_supernet(TINY, seed).tensors() for seed in (3, 3, 4))
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


EQUAL = StageSpec((8, 16), 1, 2)


@pytest.mark.parametrize(
    "stages",
    [(EQUAL, StageSpec((16, 32), 1, 2), StageSpec((24, 40), 1, 2)), (EQUAL, EQUAL, EQUAL)],
    ids=["different stages", "one description for all"],
)
def test_a_gated_network_of_two_widths_keeps_its_stem_out_of_the_routing(stages: tuple[StageSpec, ...]) -> None:
    spec = SupernetSpec("two", 32, 10, EQUAL, stages, (GateSpec(1, (0, 1)),))
    assert (spec.n_widths, spec.largest) == (2, 2)
    model = initial_supernet(spec, seed=0).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, _ = model.forward_prefix(images)
        for width in range(2):
            difference = float((model(images, width) - model.forward_rest(features, width)).abs().max())
            assert difference == 0, f"width {width} differs by {difference}"
