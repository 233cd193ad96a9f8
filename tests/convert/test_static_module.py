"""Fixed-width programs against the supernet they are cut from."""

import numpy as np
import pytest
import torch

from convert.slice_plan import plan_programs
from convert.static_module import static_module
from tests.convert.supernets import trained_like
from train.spec import load_spec
from train.supernet import Supernet

CHECKPOINT = trained_like()


@pytest.mark.parametrize("width", range(4))
def test_prefix_and_tail_equal_the_supernet_at_that_width(width: int) -> None:
    spec, tensors = CHECKPOINT.spec, CHECKPOINT.tensors
    supernet = Supernet(spec).eval()
    supernet.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    image = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 32, 32)).astype(np.float32))
    prefix, tail = (static_module(spec, plan, tensors) for plan in plan_programs(spec, [width]))
    with torch.no_grad():
        expected_features, expected_gate = supernet.forward_prefix(image)
        features, gate = prefix(image)
        found, expected = tail(features), supernet(image, width)
    for name, a, b in (
        ("features", features, expected_features),
        ("gate", gate, expected_gate),
        ("logits", found, expected),
    ):
        error = float((a - b).abs().max() / b.abs().max())
        # Folding reorders float32 operations in some twenty layers, each within √(terms) · 2⁻²⁴ ≈ 1e-6.
        assert error < 2e-5, f"{name} differs by {error:.2e} of its largest value"


@pytest.mark.parametrize("activation", ["silu", "relu", "relu6", "hardswish"])
def test_the_activation_is_the_specs(activation: str) -> None:
    from dataclasses import replace

    checkpoint = trained_like(replace(load_spec("ds_mbv1_tiny"), activation=activation))
    supernet = Supernet(checkpoint.spec).eval()
    supernet.load_state_dict({name: torch.from_numpy(value) for name, value in checkpoint.tensors.items()})
    image = torch.ones(1, 3, 32, 32)
    prefix, tail = (static_module(checkpoint.spec, p, checkpoint.tensors) for p in plan_programs(checkpoint.spec, [1]))
    with torch.no_grad():
        error = float((tail(prefix(image)[0]) - supernet(image, 1)).abs().max() / supernet(image, 1).abs().max())
    assert error < 2e-5, f"{activation}: logits differ by {error:.2e} of their largest value"
