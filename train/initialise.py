"""Untrained networks: He weights, batch-norm statistics measured on noise, so activations stay finite and alive."""

import math

import numpy as np
import torch

from train.families import FAMILIES
from train.gate import SlimmingHead
from train.layers import SlicedConv2d, SlicedLinear, SlicedPosition
from train.recalibrate_bn import recalibrate
from train.spec import SupernetSpec
from train.supernet import Supernet

NOISE_IMAGES = 8
"""Images of Gaussian noise that the statistics of an untrained network are measured on."""
HEAD_DEVIATION = 0.01
"""Standard deviation of the initial gate and classifier weights: logits near zero commit to nothing."""


POSITION_DEVIATION = 0.02
"""Standard deviation of an initial position embedding (DeiT, Touvron et al., ICML 2021)."""


@torch.no_grad()
def initialise(model: torch.nn.Module, seed: int) -> None:
    """Fill the weights of `model`: convolutions by fan-out (He et al., ICCV 2015), heads small; biases stay zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, SlimmingHead | SlicedLinear):
            module.weight.normal_(0, HEAD_DEVIATION, generator=generator)
        elif isinstance(module, SlicedPosition):
            module.weight.normal_(0, POSITION_DEVIATION, generator=generator)
        elif isinstance(module, SlicedConv2d):
            groups = module.layer.out_channels[-1] if module.layer.kind == "depthwise" else 1
            fan_out = module.layer.kernel**2 * module.layer.out_channels[-1] / groups
            module.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)


@torch.no_grad()
def begin_as_identity(model: Supernet) -> None:
    """Set the last gamma of every residual branch to 0, in families that train better so: a block adds nothing yet."""
    if not FAMILIES[model.spec.family].begins_as_identity:
        return
    nodes = model.spec.graph.nodes
    added = {node.inputs[1].name for node in nodes if node.op == "add"}
    for layer in (node.layer for node in nodes if node.layer and node.output.name in added):
        for name, parameter in model.get_submodule(f"{layer.name}_bn").named_parameters():
            if name.endswith("weight"):
                parameter.zero_()


def initial_supernet(spec: SupernetSpec, seed: int) -> Supernet:
    """Return an untrained network in evaluation mode; the same seed gives the same network."""
    model = Supernet(spec).eval()
    initialise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    recalibrate(model, [torch.randn(NOISE_IMAGES, 3, spec.resolution, spec.resolution, generator=generator)])
    return model


def initial_tensors(spec: SupernetSpec, seed: int) -> dict[str, np.ndarray]:
    """Return the tensors of an untrained network, by checkpoint name."""
    return initial_supernet(spec, seed).tensors()
