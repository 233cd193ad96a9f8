"""Transformers through Core ML: packages are coremltools' own to the byte, and compute what torch does."""

from dataclasses import replace

import numpy as np
import pytest

from convert.coreml.options import Precision
from tests.convert.coreml.conversions import CLASSES, answers, convert, in_torch, packages_of, weights_of
from tests.convert.coreml.mil_interpreter import Interpreter
from tests.convert.supernets import images, trained_like
from tests.train.networks import MICRO_VIT

SPEC = replace(MICRO_VIT, classes=len(CLASSES))
CHECKPOINT = trained_like(SPEC)
LIMITS: dict[Precision, float] = {"fp32": 12 * 2.0**-24, "int8": 12 * 2.0**-11}
"""The factors of quick GELU and attention, layer norm's constants and the positions are float32, or, beside int8
weights, float16: each is off by at most half a unit in the last place, and a dozen follow one another."""


@pytest.mark.parametrize("precision", LIMITS)
def test_packages_compute_what_torch_does_and_store_filters_once(precision: Precision) -> None:
    artifact = convert(CHECKPOINT, (0, 2), precision)
    packages, image = packages_of(artifact), images(SPEC, 1)[0].transpose(0, 3, 1, 2)
    for name, given, expected in in_torch(CHECKPOINT, (0, 2), precision, image):
        found = answers(Interpreter(packages[name], "exact"), "main", given)
        for output, values in expected.items():
            difference = float(np.abs(found[output] - values).max() / np.abs(values).max())
            assert difference <= LIMITS[precision], f"{name} {output}: {difference:.2e}"
    names = [tensor.name for tensor in weights_of(artifact).recipe.tensors if tensor.name.endswith(".weight")]
    assert sorted(names) == sorted(f"{layer.name}.weight" for layer in SPEC.layers if layer.has_filter)
