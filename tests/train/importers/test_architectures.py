"""Published state dicts become our tensors, and what does not fit is told all at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.importers.published import STATE, published_state, random_tensors, small_spec
from train.errors import CheckpointError
from train.importers.architectures import ARCHITECTURES, recognise
from train.spec import load_spec
from train.supernet import Supernet

FILE = Path("net.pth")
SOME_KEYS = {
    "slimmable_mbnet_v1_bn_uniform": (
        "conv_stem.weight",
        "bn1.aux_bn.1.weight",
        "blocks.3.first_block.gate.gate.0.weight",
        "blocks.3.residual_blocks.4.bn2.aux_bn.4.bias",
        "blocks.4.residual_blocks.0.gate.conv_reduce.bias",
        "classifier.bias",
    ),
    "us_mobilenet_v1": ("features.0.1.weight", "features.0.1.bn.2.running_mean", "features.13.body.3.weight"),
    "us_mobilenet_v2": ("features.17.body.7.bn.2.running_var", "features.18.1.running_mean", "classifier.0.weight"),
    "s_mobilenet_v1": ("features.0.1.bn.3.weight", "features.13.body.4.bn.0.bias", "classifier.0.bias"),
    "s_mobilenet_v2": ("features.1.body.3.weight", "features.2.body.6.weight", "features.18.1.bias"),
}
"""As the authors' code names them."""


def arrays(state: STATE) -> dict[str, np.ndarray]:
    """Return a state dict as the reader gives it."""
    return {key: value.numpy() for key, value in state.items() if not key.endswith("num_batches_tracked")}


def refusal(state: dict[str, np.ndarray], architecture: str = "us_mobilenet_v2") -> str:
    """Return the one line that a state dict is refused with."""
    with pytest.raises(CheckpointError) as refused:
        recognise(FILE, state, architecture)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("asked", ["by name", "auto"])
def test_every_layout_becomes_our_spec_and_tensors(architecture: str, asked: str) -> None:
    state = published_state(architecture)
    assert set(SOME_KEYS[architecture]) <= set(state)
    found = recognise(FILE, arrays(state), architecture if asked == "by name" else "auto")
    spec = small_spec(architecture)
    assert (found.architecture, found.spec) == (architecture, spec)
    expected = random_tensors(spec)
    assert found.tensors.keys() == expected.keys()
    assert [name for name in expected if not np.array_equal(found.tensors[name], expected[name])] == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_network_runs_at_every_width(architecture: str) -> None:
    found = recognise(FILE, arrays(published_state(architecture)))
    network = Supernet.from_tensors(replace(found.spec, resolution=32), found.tensors)
    with torch.no_grad():
        for width in range(found.spec.largest + 1):
            assert network(torch.zeros(1, 3, 32, 32), width).shape == (1, 5)


def test_the_published_gate_choices_need_the_published_widths() -> None:
    assert load_spec("ds_mbv1").choices == ((0, 4, 9, 13),)
    found = recognise(FILE, arrays(published_state("slimmable_mbnet_v1_bn_uniform")))
    assert found.spec.choices == ((0, 1, 3, 4),), "four logits over five widths, evenly spread"


def test_missing_unexpected_and_misshapen_tensors_are_told_together() -> None:
    state = arrays(published_state("us_mobilenet_v2"))
    del state["features.17.body.7.bn.1.running_mean"], state["classifier.0.bias"]
    state["features.0.1.bn.3.running_mean"] = np.zeros(4, np.float32)
    state["features.3.body.3.weight"] = np.zeros((18, 1, 5, 5), np.float32)
    line = refusal(state)
    assert "missing: features.17.body.7.bn.1.running_mean, classifier.0.bias" in line
    assert "unexpected: features.0.1.bn.3.running_mean" in line
    assert "wrong shape: features.3.body.3.weight [18, 1, 5, 5] instead of [18, 1, 3, 3]" in line


def test_many_problems_are_counted() -> None:
    state = {key: values for key, values in arrays(published_state("us_mobilenet_v2")).items() if ".bn.1." not in key}
    assert " more" in refusal(state)
    assert len(refusal({}, "us_mobilenet_v1")) < 1000


def test_a_network_without_any_known_layout_is_told_what_the_nearest_lacks() -> None:
    line = refusal({"conv1.weight": np.zeros((8, 3, 3, 3), np.float32)}, "auto")
    assert "fits no architecture" in line
    assert [name for name in ARCHITECTURES if name not in line] == []


def test_a_damaged_network_is_told_what_the_nearest_architecture_lacks() -> None:
    state = arrays(published_state("s_mobilenet_v2"))
    del state["features.0.0.weight"]
    line = refusal(state, "auto")
    assert "The nearest is s_mobilenet_v2: missing: features.0.0.weight; more tensors are amiss for" in line


@pytest.mark.parametrize(
    ("architecture", "key"),
    [
        ("us_mobilenet_v2", "features.0.1.bn.1.running_mean"),
        ("slimmable_mbnet_v1_bn_uniform", "bn1.aux_bn.1.running_mean"),
        ("s_mobilenet_v1", "features.1.body.4.bn.2.running_var"),
        ("us_mobilenet_v1", "classifier.0.weight"),
    ],
)
def test_a_cut_tensor_is_named_beside_what_is_missing(architecture: str, key: str) -> None:
    state = arrays(published_state(architecture))
    stem = next(name for name in state if state[name].ndim == 4)
    del state[stem]
    state[key] = state[key][:1]
    line = refusal(state, architecture)
    assert f"missing: {stem}" in line
    assert f"wrong shape: {key} " in line


def test_a_network_of_another_architecture_is_refused_by_name() -> None:
    line = refusal(arrays(published_state("us_mobilenet_v1")), "s_mobilenet_v1")
    assert "is not of architecture s_mobilenet_v1: missing: features.0.1.bn.0.weight" in line


def test_an_unknown_architecture_is_refused_with_the_valid_ones() -> None:
    line = refusal({}, "resnet50")
    assert [name for name in (*ARCHITECTURES, "auto") if name not in line] == []


def test_channels_that_decrease_are_refused() -> None:
    spec = small_spec("s_mobilenet_v1")
    backwards = {f"bn.{3 - index}.": f"bn.{index}." for index in range(4)}
    state = {}
    for key, values in arrays(published_state("s_mobilenet_v1")).items():
        swapped = next((key.replace(old, new) for old, new in backwards.items() if old in key), key)
        state[swapped] = values
    assert spec.stem.channels == (1, 2, 3, 4)
    assert "must not decrease" in refusal(state, "s_mobilenet_v1")


def test_values_that_no_trained_network_has_are_named_together() -> None:
    state = arrays(published_state("us_mobilenet_v2"))
    state["features.0.0.weight"][0] = np.nan
    state["classifier.0.bias"][0] = np.inf
    state["features.0.1.bn.0.running_var"][0] = 0
    line = refusal(state)
    assert "NaN or infinity in features.0.0.weight, classifier.0.bias" in line
    assert "a variance of 0 or less in features.0.1.bn.0.running_var" in line


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_single_missing_tensor_hides_behind_others(architecture: str) -> None:
    state = arrays(published_state(architecture))
    statistics = [key for key in state if key.endswith("running_mean")]
    for key in [*statistics[:6], *statistics[-6:], *SOME_KEYS[architecture]]:
        line = refusal({name: values for name, values in state.items() if name != key}, architecture)
        assert f"missing: {key};" in line, line
        assert "wrong shape" not in line, line
