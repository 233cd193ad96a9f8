"""Vision transformers: heads, MLPs and the embedding are sliced, tokens are normalised one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convert.slice_plan import plan_programs, whole_program
from convert.static_module import static_module
from tests.convert.supernets import trained_like
from tests.train.networks import MICRO_STAGE, MICRO_VIT, coloured_images, normal_images
from train import SpecError, StageSpec, SupernetSpec, load_spec
from train.initialise import initial_supernet
from train.loop import Setting
from train.progress import Progress
from train.recalibrate_bn import recalibrate
from train.run_folder import RunFolder
from train.supernet import Supernet
from train.supernet_stage import train_supernet

GATELESS = replace(
    MICRO_VIT,
    name="gateless_vit",
    stem=replace(MICRO_VIT.stem, channels=MICRO_VIT.stages[1].channels),
    stages=(replace(MICRO_VIT.stages[1], widens=False),),
    gates=(),
)
"""Every width slices everything from the patches on."""
HEADS_ALONE = replace(
    GATELESS,
    name="heads_alone",
    stem=replace(GATELESS.stem, channels=(16,) * 3),
    stages=(replace(GATELESS.stages[0], channels=(16,) * 3, hidden=(32,) * 3),),
)
MLPS_ALONE = replace(
    HEADS_ALONE, name="mlps_alone", stages=(replace(HEADS_ALONE.stages[0], heads=(2,) * 3, hidden=(8, 16, 32)),)
)
TWO_VIEWS = replace(MICRO_STAGE, epochs=4, objective="multi-view consistency")
ALL = (MICRO_VIT, GATELESS, HEADS_ALONE, MLPS_ALONE)


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_static_programs_answer_as_the_supernet(spec: SupernetSpec) -> None:
    checkpoint = trained_like(spec)
    supernet, image = Supernet.from_tensors(spec, checkpoint.tensors), normal_images(spec, 1)
    for width in range(spec.n_widths):
        first, *tails = (static_module(spec, plan, checkpoint.tensors) for plan in plan_programs(spec, [width]))
        found = tails[0](first(image)[0]) if tails else first(image)
        expected = supernet(image, width)
        error = float((found - expected).abs().max() / expected.abs().max())
        # Sums of the same float32 products in another order: √(64 terms) · 2⁻²⁴ ≈ 5e-7 per layer, ten times over.
        assert error < 1e-5, f"width {width}: logits differ by {error:.2e} of their largest value"


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_width_is_the_network_of_the_prefixes_of_all_tensors(spec: SupernetSpec) -> None:
    whole, image = trained_like(spec).tensors, normal_images(spec, 2)
    for width in range(spec.n_widths):
        alone = Supernet(spec.restricted_to((width,)))
        shapes = {name: tensor.shape for name, tensor in alone.state_dict().items()}
        prefixes = {name: whole[name][tuple(slice(size) for size in shape)] for name, shape in shapes.items()}
        found = Supernet.from_tensors(alone.spec, prefixes)(image, 0)
        expected = Supernet.from_tensors(spec, whole)(image, width)
        assert torch.equal(found, expected), f"width {width}: {float((found - expected).abs().max())}"


@torch.no_grad()
@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_width_executes_its_multiply_accumulates_and_holds_its_weights(spec: SupernetSpec) -> None:
    gate = [layer for layer in spec.layers if layer.name.startswith("gate")]
    for width in range(spec.n_widths):
        module = static_module(spec, whole_program(spec, width), trained_like(spec).tensors)
        with FlopCounterMode(display=False) as counter:
            module(normal_images(spec, 1))
        assert counter.get_total_flops() // 2 == spec.macs(width) - sum(layer.macs(width) for layer in gate)
        no_bias = module.get_parameter("layers.stem.bias")  # zeros, as exporters want one
        weights = sum(parameter.numel() for parameter in module.parameters()) - no_bias.numel()
        assert weights == spec.params(width) - sum(layer.params(width) for layer in gate)


def test_the_largest_network_costs_what_deit_s_costs() -> None:
    spec = load_spec("ds_vit_small")
    macs, params = spec.macs(spec.largest), spec.params(spec.largest)
    # Published: 4.6 G, 22 M. Ours has no class token, but a linear layer where the embedding widens, and a gate.
    assert macs == pytest.approx(4.6e9, rel=0.01), f"{macs / 1e9:.3f} G multiply-accumulates"
    assert params == pytest.approx(22e6, rel=0.015), f"{params / 1e6:.2f} M weights"


@torch.no_grad()
def test_the_network_is_a_transformer_of_torchs_own_layers() -> None:
    spec = replace(GATELESS, activation="relu").restricted_to((2,))
    tensors = {name: torch.from_numpy(values) for name, values in trained_like(spec).tensors.items()}
    image = normal_images(spec, 2)
    found = Supernet.from_tensors(spec, trained_like(spec).tensors)(image, 0)
    x = F.conv2d(image, tensors["stem.weight"], stride=spec.stem.stride) + tensors["position.weight"]
    x = x.flatten(2).mT
    for depth in range(spec.stages[0].depth):
        x = _torch_block(tensors, f"stages.0.{depth}", spec)(x)
    x = F.layer_norm(x, x.shape[-1:], tensors["norm.weight"], tensors["norm.bias"]).mean(dim=1)
    expected = F.linear(x, tensors["classifier.weight"], tensors["classifier.bias"])
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < 1e-5, f"logits differ by {error:.2e} of their largest value"


def _torch_block(tensors: dict[str, Tensor], name: str, spec: SupernetSpec) -> nn.Module:
    """Return torch's encoder layer with the weights of a block whose heads fill the embedding."""
    stage = spec.stages[0]
    assert stage.heads and stage.hidden and stage.heads[0] * (stage.head_size or 0) == stage.channels[0]
    block = nn.TransformerEncoderLayer(
        stage.channels[0], stage.heads[0], stage.hidden[0], dropout=0.0, batch_first=True, norm_first=True
    )
    ours = {key.removeprefix(f"{name}."): value.squeeze() for key, value in tensors.items() if key.startswith(name)}
    state = {
        "self_attn.in_proj_weight": torch.cat([ours[f"attention.{part}.weight"] for part in ("query", "key", "value")]),
        "self_attn.in_proj_bias": torch.cat([ours[f"attention.{part}.bias"] for part in ("query", "key", "value")]),
    }
    names = {
        "self_attn.out_proj": "attention.output",
        "linear1": "mlp.expand",
        "linear2": "mlp.reduce",
        "norm1": "attention.norm",
        "norm2": "mlp.norm",
    }
    for theirs, own in names.items():
        state |= {f"{theirs}.{kind}": ours[f"{own}.{kind}"] for kind in ("weight", "bias")}
    block.load_state_dict(state)
    return block.train()  # evaluation would take torch's fused path, which rounds in its own way


def test_nothing_is_recalibrated_as_every_token_is_normalised_by_itself() -> None:
    model = initial_supernet(MICRO_VIT, seed=0)
    before = model.tensors()
    recalibrate(model, [normal_images(MICRO_VIT, 4)])
    assert all(np.array_equal(before[name], values) for name, values in model.tensors().items())


@torch.no_grad()
def test_positions_are_interpolated_for_smaller_images() -> None:
    larger, images = initial_supernet(replace(MICRO_VIT, resolution=16), seed=0), normal_images(MICRO_VIT, 2)
    places = larger.get_parameter("position.weight")
    places.copy_(places.mean(dim=(1, 2), keepdim=True).expand_as(places).clone())
    same = Supernet(MICRO_VIT).eval()
    same.load_state_dict(larger.state_dict() | {"position.weight": places[:, :4, :4]})
    error = float((larger(images, 0) - same(images, 0)).abs().max())
    assert error < 1e-6, f"places that are all alike differ by {error:.1e} once interpolated"


def test_training_with_two_views_moves_every_weight_but_the_gates_and_lowers_the_loss() -> None:
    seen: list[Progress] = []
    setting = Setting(Fabric(accelerator="cpu", devices=1), report=seen.append)
    before = initial_supernet(MICRO_VIT, seed=0).tensors()
    after = train_supernet(MICRO_VIT, coloured_images(30), TWO_VIEWS, setting=setting)
    still = [name for name in before if np.array_equal(before[name], after[name])]
    assert still == [name for name in before if name.startswith("gate.")]
    losses = [state.losses[f"width {MICRO_VIT.largest}"] for state in seen if state.losses]
    assert losses[-1] < losses[0], f"losses of the widest: {losses}"


def test_an_interrupted_run_with_two_views_ends_with_the_same_network(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(state: Progress) -> None:
        if state.done >= 4:
            raise KilledError

    images, fabric = coloured_images(30), Fabric(accelerator="cpu", devices=1)
    whole = train_supernet(MICRO_VIT, images, TWO_VIEWS, setting=Setting(fabric))
    with pytest.raises(KilledError):
        train_supernet(MICRO_VIT, images, TWO_VIEWS, setting=Setting(fabric, RunFolder(tmp_path, {}), kill))
    kept = RunFolder(tmp_path, {}).load()
    assert kept is not None and kept.step == 2
    resumed = train_supernet(MICRO_VIT, images, TWO_VIEWS, setting=Setting(fabric, RunFolder(tmp_path, {})))
    different = [name for name in whole if not np.array_equal(whole[name], resumed[name])]
    assert different == []


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"heads": None}, "stage 1: heads None must be 3 whole numbers"),
        ({"heads": (2, 1, 1)}, "stage 1: heads (2, 1, 1) must be 3 whole numbers"),
        ({"hidden": (8, 16)}, "stage 1: hidden (8, 16) must be 3 whole numbers"),
        ({"head_size": None}, "stage 1: head_size None is not within 1…8192"),
        ({"stride": 2}, "stage 1: stride and kernel of a transformer must be 1"),
        (
            {"widens": False},
            "stage 1: embedding [8, 12, 16, 16] after [8, 8, 8, 16]; it must be the same, or set widens",
        ),
        ({"kernels": (1, 1, 1)}, "stage 1: kernels; only stages of family"),
    ],
)
def test_stages_that_are_no_transformers_are_refused(stage: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        replace(MICRO_VIT, stages=(MICRO_VIT.stages[0], replace(MICRO_VIT.stages[1], **stage)))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": replace(MICRO_VIT.stem, stride=1)}, "stem: depth must be 1, kernel and stride one and the same"),
        ({"resolution": 9}, "stem: patches of 2 pixels must divide 9, into at most 4096 of them"),
        ({"resolution": 256}, "stem: patches of 2 pixels must divide 256, into at most 4096 of them"),
        (
            {"head": StageSpec((16,), 1, 1, kernel=1)},
            "head: a transformer has none",
        ),
        ({"family": "ds_mbv1"}, "stage 0: heads, head_size, hidden, widens; only stages of family vit have any"),
    ],
)
def test_networks_that_are_no_transformers_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        replace(MICRO_VIT, **changes)
    assert message in str(refused.value)
