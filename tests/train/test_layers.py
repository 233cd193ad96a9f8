"""A layer at a width is the plain layer made of the prefix of its tensors."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.train.networks import MICRO
from train.layer_specs import LayerSpec
from train.layers import SlicedConv2d, SlicedLinear, WidthBatchNorm2d, normalise_by_batch

WIDTHS = range(MICRO.largest + 1)
LAYERS = {layer.name: layer for layer in MICRO.layers}
DEPTHWISE, POINTWISE = LAYERS["stages.1.0.depthwise"], LAYERS["stages.1.0.pointwise"]


def filled(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module.eval()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "layer", [LAYERS["stem"], LAYERS["stages.1.0.attention.reduce"], POINTWISE], ids=lambda layer: layer.name
)
def test_a_full_convolution_uses_the_first_rows_and_columns(layer: LayerSpec, width: int) -> None:
    conv = filled(SlicedConv2d(layer))
    inputs, outputs = layer.in_channels[width], layer.out_channels[width]
    x = torch.randn(2, inputs, 8, 8)
    bias = None if conv.bias is None else conv.bias[:outputs]
    expected = F.conv2d(x, conv.weight[:outputs, :inputs], bias, stride=layer.stride, padding=layer.kernel // 2)
    assert torch.equal(conv(x, width), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_depthwise_convolution_keeps_its_channels_apart(width: int) -> None:
    layer = DEPTHWISE
    conv = filled(SlicedConv2d(layer))
    x = torch.randn(2, layer.in_channels[width], 8, 8)
    channels = [
        F.conv2d(x[:, [c]], conv.weight[[c]], stride=layer.stride, padding=layer.kernel // 2)
        for c in range(layer.out_channels[width])
    ]
    error = (conv(x, width) - torch.cat(channels, dim=1)).abs().max().item()
    assert error < 1e-5, f"largest difference {error}"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_classifier_uses_the_first_columns_and_every_row(width: int) -> None:
    layer = LAYERS["classifier"]
    linear = filled(SlicedLinear(layer))
    x = torch.randn(2, layer.in_channels[width])
    assert torch.equal(linear(x, width), F.linear(x, linear.weight[:, : x.shape[1]], linear.bias))


def test_batch_norm_has_statistics_per_width_and_one_affine() -> None:
    norm = WidthBatchNorm2d(POINTWISE, epsilon=1e-5).eval()
    names = {name for name, _ in norm.named_parameters()}
    assert names == {"weight", "bias"}
    assert [len(statistics.mean) for statistics in norm.statistics] == [4, 6, 8, 10, 12]
    x = torch.randn(4, 6, 2, 2)
    before = norm(x, 1)
    with torch.no_grad():
        norm.statistics_of(3).mean.add_(5)
    assert torch.equal(norm(x, 1), before), "the statistics of width 3 changed width 1"
    with torch.no_grad():
        norm.weight.mul_(2)
    assert torch.equal(norm(x, 1), 2 * before), "the affine is not shared"


def test_switchable_batch_norm_has_an_affine_per_width_and_none_in_common() -> None:
    norm = WidthBatchNorm2d(replace(POINTWISE, switchable=True), epsilon=1e-5).eval()
    shapes = {name: len(parameter) for name, parameter in norm.named_parameters()}
    assert shapes == {
        f"statistics.{index}.{name}": count
        for index, count in enumerate([4, 6, 8, 10, 12])
        for name in ("weight", "bias")
    }
    x = torch.randn(4, 6, 2, 2)
    before = norm(x, 1)
    gammas = [norm.affine_of(width)[0] for width in range(5)]
    with torch.no_grad():
        gammas[3].mul_(2)
    assert torch.equal(norm(x, 1), before), "the affine of width 3 changed width 1"
    with torch.no_grad():
        gammas[1].mul_(2)
    assert torch.equal(norm(x, 1), 2 * before), "width 1 does not use its affine"


def test_a_switchable_width_learns_its_own_affine_alone() -> None:
    norm = WidthBatchNorm2d(replace(POINTWISE, switchable=True), epsilon=1e-5).train()
    norm(torch.randn(8, 8, 2, 2), 2).square().sum().backward()
    learning = {name for name, parameter in norm.named_parameters() if parameter.grad is not None}
    assert learning == {"statistics.2.weight", "statistics.2.bias"}


@pytest.mark.parametrize("switchable", [False, True])
def test_training_normalises_by_the_batch_and_touches_no_statistics(switchable: bool) -> None:
    norm = WidthBatchNorm2d(replace(POINTWISE, switchable=switchable), epsilon=1e-5).train()
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    found = norm(torch.randn(8, 8, 2, 2) * 5 + 3, 2)
    mean, deviation = found.mean((0, 2, 3)).abs().max().item(), found.std((0, 2, 3), correction=0)
    assert mean < 1e-5, f"largest channel mean {mean}"
    assert (deviation - 1).abs().max().item() < 1e-3, f"deviations {deviation}"
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


def test_normalising_by_the_batch_needs_no_training_mode() -> None:
    norm = WidthBatchNorm2d(POINTWISE, epsilon=1e-5)
    holder = torch.nn.ModuleList([norm, torch.nn.Dropout()])
    normalise_by_batch(holder)
    mean = norm(torch.randn(64, 4, 4, 4) + 7, 0).mean().item()
    assert abs(mean) < 1e-4, f"mean {mean}"
    assert not holder[1].training
