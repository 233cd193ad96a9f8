"""A layer at a width is the plain layer made of the prefix of its tensors."""

import pytest
import torch
import torch.nn.functional as F

from tests.train.networks import MICRO
from train.layers import SlicedConv2d, SlicedLinear, WidthBatchNorm2d, normalise_by_batch
from train.spec import LayerSpec

WIDTHS = range(MICRO.largest + 1)
BLOCK = MICRO.blocks[1]


def filled(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module.eval()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("layer", [MICRO.stem_layer, BLOCK.reduce, BLOCK.pointwise], ids=lambda layer: layer.name)
def test_a_full_convolution_uses_the_first_rows_and_columns(layer: LayerSpec, width: int) -> None:
    conv = filled(SlicedConv2d(layer))
    inputs, outputs = layer.in_channels[width], layer.out_channels[width]
    x = torch.randn(2, inputs, 8, 8)
    bias = None if conv.bias is None else conv.bias[:outputs]
    expected = F.conv2d(x, conv.weight[:outputs, :inputs], bias, stride=layer.stride, padding=layer.kernel // 2)
    assert torch.equal(conv(x, width), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_depthwise_convolution_keeps_its_channels_apart(width: int) -> None:
    layer = BLOCK.depthwise
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
    layer = MICRO.classifier
    linear = filled(SlicedLinear(layer))
    x = torch.randn(2, layer.in_channels[width])
    assert torch.equal(linear(x, width), F.linear(x, linear.weight[:, : x.shape[1]], linear.bias))


def test_batch_norm_has_statistics_per_width_and_one_affine() -> None:
    norm = WidthBatchNorm2d(BLOCK.pointwise, epsilon=1e-5).eval()
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


def test_training_a_width_moves_only_its_own_statistics() -> None:
    norm = WidthBatchNorm2d(BLOCK.pointwise, epsilon=1e-5).train()
    norm(torch.randn(8, 8, 2, 2) + 3, 2)
    moved = [index for index, statistics in enumerate(norm.statistics) if statistics.mean.abs().max() > 0]
    assert moved == [2]


def test_normalising_by_the_batch_needs_no_training_mode() -> None:
    norm = WidthBatchNorm2d(BLOCK.pointwise, epsilon=1e-5)
    holder = torch.nn.ModuleList([norm, torch.nn.Dropout()])
    normalise_by_batch(holder)
    mean = norm(torch.randn(64, 4, 4, 4) + 7, 0).mean().item()
    assert abs(mean) < 1e-4, f"mean {mean}"
    assert not holder[1].training
