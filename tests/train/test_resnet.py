"""ResNets: filters sliced per stage, adds that every width can do, one early gate on a stage's input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from convert.slice_plan import plan_programs
from convert.static_module import static_module
from tests.convert.supernets import trained_like
from tests.train.networks import MICRO_STAGE, coloured_images, normal_images
from tests.train.test_spec import restrict_tensors
from train import GateSpec, SpecError, StageSpec, SupernetSpec, load_spec
from train.config import GateStageConfig
from train.gate_stage import train_gate
from train.initialise import begin_as_identity, initial_supernet
from train.supernet import Supernet
from train.supernet_stage import train_supernet

BOTTLENECK = SupernetSpec(
    name="micro_resnet",
    resolution=8,
    classes=3,
    stem=StageSpec((8,), depth=1, stride=1),
    stages=(StageSpec((16, 32), depth=1, stride=1), StageSpec((16, 24, 32), depth=2, stride=2)),
    gates=(GateSpec(stage=1, choices=(0, 2)),),
    activation="relu",
    family="resnet_bottleneck",
    dropout=0.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    stem_pool=True,
)
BASIC = replace(BOTTLENECK, family="resnet_basic")
RESNET_50 = load_spec("ds_resnet50")
RESNET_18 = replace(
    RESNET_50,
    family="resnet_basic",
    stages=(
        StageSpec((64,), 2, 1),
        *(StageSpec((channels // 2,) * 8 + (channels,), 2, 2) for channels in (128, 256, 512)),
    ),
)
BOTH = pytest.mark.parametrize("spec", [BASIC, BOTTLENECK], ids=lambda spec: spec.family)


def gate_macs(spec: SupernetSpec, width: int) -> int:
    return sum(layer.macs(width) for layer in spec.layers if layer.name.startswith("gate."))


@pytest.mark.parametrize(
    ("spec", "macs", "params"),
    [(RESNET_50, 4.089e9, 25.557e6), (RESNET_18, 1.814e9, 11.690e6)],
    ids=["ResNet-50", "ResNet-18"],
)
def test_the_widest_network_costs_what_the_static_original_does_at_224_pixels(
    spec: SupernetSpec, macs: float, params: float
) -> None:
    found = spec.macs(spec.n_widths - 1), spec.params(spec.n_widths - 1)
    assert abs(found[0] / macs - 1) < 0.01, f"{found[0] / 1e9:.3f} G multiply-accumulates"
    # A projection more in ResNet-18's first stage; batch norm's two vectors folded into one bias; the gate.
    assert abs(found[1] / params - 1) < 0.01, f"{found[1] / 1e6:.3f} M parameters"


@pytest.mark.parametrize("name", ["ds_resnet50", "ds_resnet18_64"])
def test_every_channel_count_is_a_multiple_of_8(name: str) -> None:
    for layer in load_spec(name).layers:
        if layer.statistics is not None:
            assert [count for count in layer.out_channels if count % 8] == [], layer.name


@torch.no_grad()
@BOTH
def test_a_width_executes_the_multiply_accumulates_that_its_spec_counts(spec: SupernetSpec) -> None:
    model = initial_supernet(spec, seed=0)
    for width in range(spec.largest + 1):
        with FlopCounterMode(display=False) as counter:
            model(normal_images(spec, 1), width)
        assert counter.get_total_flops() // 2 == spec.macs(width) - gate_macs(spec, width), f"width {width}"


def test_a_stem_without_max_pool_keeps_its_pixels() -> None:
    without = replace(BASIC, stem_pool=False)
    sides = [decision.features.side for spec in (BASIC, without) for decision in spec.graph.decisions]
    assert sides == [4, 8]


@pytest.mark.parametrize("pool", [True, False])
def test_a_spec_says_whether_its_stem_ends_with_a_max_pool(pool: bool) -> None:
    spec = replace(BASIC, stem_pool=pool)
    assert SupernetSpec.from_json(spec.to_json()) == spec


@torch.no_grad()
@BOTH
def test_the_gate_reads_what_the_tails_go_on_from(spec: SupernetSpec) -> None:
    model, batch = initial_supernet(spec, seed=0), normal_images(spec, 3)
    features, gate_logits = model.forward_prefix(batch)
    assert features.shape == (3, 16, 4, 4), "the input of the gate's stage, after the stem's max pool"
    assert torch.equal(gate_logits, model.gate_logits(features.mean((2, 3), keepdim=True)))
    for width in range(spec.n_widths):
        difference = (model(batch, width) - model.forward_rest(features, width)).abs().max().item()
        assert difference == 0, f"width {width} differs by {difference}"


@torch.no_grad()
@BOTH
def test_static_programs_answer_as_the_supernet(spec: SupernetSpec) -> None:
    checkpoint = trained_like(spec)
    supernet, image = Supernet.from_tensors(spec, checkpoint.tensors), normal_images(spec, 1)
    prefix, *tails = (static_module(spec, plan, checkpoint.tensors) for plan in plan_programs(spec, range(3)))
    features, gate_logits = prefix(image)
    pairs = {"gate logits": (gate_logits, supernet.forward_prefix(image)[1])}
    pairs |= {f"width {width}": (tail(features), supernet(image, width)) for width, tail in enumerate(tails)}
    for name, (found, expected) in pairs.items():
        error = float((found - expected).abs().max() / expected.abs().max())
        # As in test_static_module: folding reorders float32 operations, each within √(terms) · 2⁻²⁴ ≈ 1e-6.
        assert error < 2e-5, f"{name} differ by {error:.2e} of their largest value"


@torch.no_grad()
@BOTH
def test_a_block_begins_as_what_goes_past_it(spec: SupernetSpec) -> None:
    model = initial_supernet(spec, seed=0)
    begin_as_identity(model)
    values = {node.output.name: node.output for node in spec.graph.nodes}
    block = spec.graph.cut(values["stages.1.0.relu"], values["stages.1.1.relu"])
    x = torch.rand(2, 16, 2, 2, generator=torch.Generator().manual_seed(0))
    (found,) = model.run(block, x, 0)
    difference = (found - x).abs().max().item()
    assert difference == 0, f"the branch adds up to {difference}"


@BOTH
def test_both_stages_of_training_work(spec: SupernetSpec) -> None:
    images = coloured_images(20)
    start = initial_supernet(spec, seed=0).tensors()
    trained = train_supernet(spec, images, replace(MICRO_STAGE, epochs=2, batch_size=10, hold_out=0.0), seed=0)
    still = [name for name in start if name.endswith(".weight") and np.array_equal(start[name], trained[name])]
    assert still == ["gate.reduce.weight", "gate.logits.weight"], "stage I trains all but the gate"
    gated = train_gate(spec, trained, images, GateStageConfig(epochs=2, batch_size=10, hold_out=0.0), seed=0)
    moved = [name for name in trained if not np.array_equal(trained[name], gated[name])]
    assert sorted(moved) == ["gate.logits.bias", "gate.logits.weight", "gate.reduce.bias", "gate.reduce.weight"]


@torch.no_grad()
@BOTH
def test_a_restricted_network_answers_as_the_same_widths_of_the_supernet(spec: SupernetSpec) -> None:
    supernet, images = initial_supernet(spec, seed=0), normal_images(spec, 4)
    for widths in ((0,), (0, 2)):
        cut = Supernet.from_tensors(spec.restricted_to(widths), restrict_tensors(spec, supernet.tensors(), widths))
        for index, width in enumerate(widths):
            difference = (cut(images, index) - supernet(images, width)).abs().max().item()
            assert difference == 0, f"width {width} differs by {difference}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": StageSpec((8,), 1, 1, kernel=1)}, "head: a ResNet has none"),
        ({"stem": StageSpec((8,), 1, 1, expansion=2)}, "stem: expansion 2; only stages of family mobilenet_v2"),
        (
            {"family": "mobilenet_v1", "gates": ()},
            "stem_pool: only networks of family resnet_basic or resnet_bottleneck have one",
        ),
        ({"stem_pool": "yes"}, "stem_pool 'yes' is neither true nor false"),
        (
            {"stages": (BOTTLENECK.stages[0], StageSpec((16, 24, 34), 2, 2))},
            "stage 1: channels [16, 24, 34] of bottlenecks must be multiples of 4",
        ),
        (
            {"stages": (BOTTLENECK.stages[0], replace(BOTTLENECK.stages[1], kernels=(3, 3, 5)))},
            "stage 1: kernels; only stages of family ds_mbv1 or mobilenet_v1 or mobilenet_v2 have any",
        ),
    ],
)
def test_what_a_resnet_has_not_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        replace(BOTTLENECK, **changes)  # type: ignore[arg-type]
    assert message in str(refused.value)
