"""Every program of the emitted packages against torch, through an interpreter of MIL: no Core ML runs here."""

from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest

from convert.artifacts import NewArtifact
from convert.coreml.options import PRECISIONS, Precision
from edge.bundle.checks import artifact_widths
from edge.bundle.coreml.multifunction import merge
from edge.bundle.coreml.package import WEIGHTS
from edge.runtime.images import Preprocessing
from tests.convert.coreml.conversions import (
    CHECKPOINT,
    FEW,
    IMAGE,
    answers,
    converted,
    in_torch,
    outputs,
    packages_of,
    references,
)
from tests.convert.coreml.mil_interpreter import Interpreter, Mode

ROUNDINGS, CONVOLUTIONS = 40, 16
"""Results that follow one another from the image to the logits of the tiny network, and convolutions among them."""
MARGIN = 4
"""The largest of many errors and the largest of many outputs are both some three standard deviations, so √n · ε is
expected of their ratio; activations and attention may amplify it this often."""
EXACT = 1e-12
"""Same constants, float64 on both sides: √(terms of a sum) · n · 2⁻⁵³ ≈ √200 · 40 · 1.1e-16 = 6e-14."""
UNIT = {"fp32": 2.0**-24, "fp16": 2.0**-11, "int8": 2.0**-11}
"""Half a unit in the last place, relative; int8 has int8 weights and float16 arithmetic."""
ROUNDED = {precision: MARGIN * ROUNDINGS**0.5 * unit / 3**0.5 for precision, unit in UNIT.items()}
"""|package − torch with the package's constants| / max|torch|; an error uniform within ε is ε / √3 on average."""
CHECKPOINTS = {
    "fp32": ROUNDED["fp32"],
    # Weights are rounded twice (master, folded), biases once, on top of the results.
    "fp16": 2 * ROUNDED["fp16"],
    # A weight is off by up to half a step, 1/254 of its channel's largest, which is some three standard deviations.
    "int8": MARGIN * CONVOLUTIONS**0.5 * 3 / 254 / 3**0.5,
}
"""|package − torch with the checkpoint's float32 weights| / max|torch|."""


def differences(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], what: str, limit: float
) -> dict[str, float]:
    """Return, and print, the relative difference of every output; one above the limit fails with its number."""
    assert set(found) == set(expected), (set(found), set(expected))
    relative = {
        name: float(np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max()) for name in found
    }
    print(f"{what}: {', '.join(f'{name} {value:.2e}' for name, value in relative.items())} (limit {limit:.1e})")
    assert max(relative.values()) <= limit, f"{what}: {relative}, limit {limit:.1e}"
    return relative


def compare(artifact: NewArtifact, mode: Mode, limit: float, reference: Precision) -> None:
    """Run every program on what torch gives it and compare with torch, whose constants are those of `reference`."""
    packages, widths = packages_of(artifact), artifact_widths(artifact.record)
    for name, given, expected in in_torch(CHECKPOINT, widths, reference, IMAGE):
        found = answers(Interpreter(packages[name], mode), "main", given)
        differences(found, expected, f"{artifact.record.precision} {mode} {name} against {reference} torch", limit)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_graph_and_constants_are_torchs_up_to_float64(precision: Precision) -> None:
    compare(converted(precision), "exact", EXACT, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_with_every_result_rounded_programs_stay_as_close_as_rounding_explains(precision: Precision) -> None:
    compare(converted(precision), "rounded", ROUNDED[precision], precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_programs_stay_close_to_the_checkpoint(precision: Precision) -> None:
    compare(converted(precision), "rounded", CHECKPOINTS[precision], "fp32")


def test_the_operations_of_older_systems_compute_the_same() -> None:
    artifact = converted("int8", "iOS16")
    compare(artifact, "exact", EXACT, "int8")
    interpreter = Interpreter(packages_of(artifact)["prefix"], "exact")
    interpreter.run("main", {"image": IMAGE})
    assert "constexpr_affine_dequantize" in interpreter.operations


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_functions_of_one_package_compute_what_the_single_ones_do(precision: Precision) -> None:
    artifact = converted(precision)
    packages = packages_of(artifact)
    merged = Interpreter(merge(packages, "prefix"), "rounded")
    for name, given, _ in in_torch(CHECKPOINT, artifact_widths(artifact.record), precision, IMAGE):
        expected = answers(Interpreter(packages[name], "rounded"), "main", given)
        differences(answers(merged, name, given), expected, f"{precision} {name} as a function of one package", 0.0)


def test_a_package_that_reads_pixels_normalises_them_as_the_manifest_says() -> None:
    packages = packages_of(converted("fp16", "iOS18", "pixels"))
    spec = CHECKPOINT.spec
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, spec.resolution, spec.resolution)).astype(np.float32)
    preprocessing = Preprocessing(spec.resolution, spec.mean, spec.std, "NCHW")
    mean, std = (np.array(values, np.float64).reshape(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    _, module = references(CHECKPOINT, FEW, "fp16")["prefix"]
    expected = outputs(module, (pixels / 255.0 - mean) / std)
    interpreter = Interpreter(packages["prefix"], "exact")
    (image,) = interpreter.specification.description.input
    assert image.type.WhichOneof("Type") == "imageType"
    assert (image.type.imageType.width, image.type.imageType.height) == (spec.resolution, spec.resolution)
    # 1/255, the mean and 1/std are float32 constants, each off by up to 2⁻²⁴ of values around 1, which std makes 2.
    differences(interpreter.run("main", {"image": pixels}), expected, "pixels, exact", 1e-6)
    differences(
        Interpreter(packages["prefix"], "rounded").run("main", {"image": pixels}), expected, "pixels", ROUNDED["fp16"]
    )


def test_a_changed_weight_is_seen() -> None:
    package = dict(packages_of(converted("fp32"))["prefix"])
    changed = bytearray(package[WEIGHTS])
    changed[128 + 2] ^= 1  # of the stem's first weight, in the middle of its fraction
    _, module = references(CHECKPOINT, FEW, "fp32")["prefix"]
    found = Interpreter(package | {WEIGHTS: bytes(changed)}, "exact").run("main", {"image": IMAGE})
    with pytest.raises(AssertionError, match="gate_logits"):
        differences(found, outputs(module, IMAGE), "changed", EXACT)


def test_every_precision_has_its_tolerances() -> None:
    assert set(ROUNDED) == set(CHECKPOINTS) == set(PRECISIONS) == set(get_args(Precision))
