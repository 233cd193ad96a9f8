"""Recalibrated statistics are the data's own, for every width, whatever `largest` shares with the others."""

from dataclasses import replace

import pytest
import torch

from tests.train.networks import MICRO, MICRO_V2, normal_images
from train import DataError
from train.initialise import initialise
from train.layers import WidthBatchNorm2d, normalise_by_batch
from train.recalibrate_bn import recalibrate
from train.supernet import Supernet


@pytest.fixture
def model() -> Supernet:
    model = Supernet(MICRO)
    initialise(model, seed=0)
    return model.train()


@torch.no_grad()
def inputs_of(model: Supernet, name: str, images: torch.Tensor, width: int) -> torch.Tensor:
    """Return what reaches the batch norm `name` at `width` when the layers below normalise by this batch."""
    seen: list[torch.Tensor] = []
    copy = Supernet.from_tensors(model.spec, model.tensors())
    hook = copy.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    normalise_by_batch(copy)
    copy(images, width)
    hook.remove()
    return seen[0].double()


NORMS = [name for name, module in Supernet(MICRO).named_modules() if isinstance(module, WidthBatchNorm2d)]


@pytest.mark.parametrize("name", NORMS)
def test_statistics_equal_direct_ones_at_every_width_of_the_routing_space(model: Supernet, name: str) -> None:
    images = normal_images(MICRO, 16)
    recalibrate(model, [images])
    for width in range(MICRO.n_widths):
        direct = inputs_of(model, name, images, width)
        statistics = model.get_submodule(name).statistics_of(width)
        for found, expected in [
            (statistics.mean, direct.mean((0, 2, 3))),
            (statistics.var, direct.var((0, 2, 3), correction=0)),
        ]:
            error = (found - expected).abs().max().item() / max(1.0, expected.abs().max().item())
            assert error < 1e-5, f"{name}, width {width}: relative error {error}"


def test_statistics_that_widths_share_after_slimmed_layers_are_pooled_over_all_of_them() -> None:
    model = Supernet(MICRO_V2)
    initialise(model, seed=0)
    images = normal_images(MICRO_V2, 16)
    recalibrate(model, [images])
    seen = torch.cat([inputs_of(model, "head_bn", images, width) for width in range(MICRO_V2.n_widths)])
    (statistics,) = model.head_bn.statistics
    error = (statistics.mean - seen.mean((0, 2, 3))).abs().max().item()
    assert error < 1e-5 * seen.abs().max().item(), error
    error = (statistics.var - seen.var((0, 2, 3), correction=0)).abs().max().item()
    assert error < 1e-5 * seen.var().item(), error


def test_switchable_affines_shape_what_the_next_layer_measures() -> None:
    model = Supernet(replace(MICRO, batch_norm="switchable"))
    initialise(model, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.get_submodule("stages.1.0.pointwise_bn").parameters():
            parameter.add_(torch.rand(parameter.shape, generator=generator))
    images, name = normal_images(MICRO, 16), "stages.1.1.depthwise_bn"
    recalibrate(model, [images])
    for width in range(MICRO.n_widths):
        direct = inputs_of(model, name, images, width).mean((0, 2, 3))
        error = (model.get_submodule(name).statistics_of(width).mean - direct).abs().max().item()
        assert error < 1e-5, f"width {width}: largest difference {error}"


def test_unequal_batches_are_pooled_exactly(model: Supernet) -> None:
    images = normal_images(MICRO, 20) * torch.linspace(0.1, 3, 20).view(-1, 1, 1, 1)
    recalibrate(model, [images[:4], images[4:7], images[7:]])
    direct = model.stem(images, 0).double()
    mean_error = (model.stem_bn.statistics_of(0).mean - direct.mean((0, 2, 3))).abs().max().item()
    variance_error = (model.stem_bn.statistics_of(0).var - direct.var((0, 2, 3), correction=0)).abs().max().item()
    assert max(mean_error, variance_error) < 1e-5, (mean_error, variance_error)


def test_only_the_images_decide_not_the_statistics_found(model: Supernet) -> None:
    images = normal_images(MICRO, 12)
    recalibrate(model, [images])
    first = model.tensors()
    recalibrate(model, [normal_images(MICRO, 12, seed=5) * 9])
    assert any((first[name] != tensor).any() for name, tensor in model.tensors().items())
    recalibrate(model, [images])
    again = model.tensors()
    assert all((first[name] == again[name]).all() for name in first)


def test_statistics_that_only_the_largest_network_uses_are_measured_too(model: Supernet) -> None:
    images = normal_images(MICRO, 16)
    recalibrate(model, [images])
    direct = inputs_of(model, "stages.0.0.pointwise_bn", images, MICRO.largest).mean((0, 2, 3))
    error = (
        (model.get_submodule("stages.0.0.pointwise_bn").statistics_of(MICRO.largest).mean - direct).abs().max().item()
    )
    assert error < 1e-5, f"largest difference {error}"


def test_weights_and_mode_stay_as_they_were(model: Supernet) -> None:
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    recalibrate(model, [normal_images(MICRO, 8)])
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(module.training for module in model.modules())


def test_no_images_are_refused(model: Supernet) -> None:
    with pytest.raises(DataError, match="no images"):
        recalibrate(model, [])
