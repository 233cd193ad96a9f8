"""Networks unlike the tiny one through Core ML: families, gates, activations, batch norm; and values at limits."""

from dataclasses import replace

import numpy as np
import pytest

from convert import ConvertError, ExportError
from convert.coreml.nest import as_coremltools_rounds
from convert.coreml.options import CoreMlOptions, Precision
from edge.bundle.coreml.package import WEIGHTS
from tests.convert.coreml.conversions import CLASSES, answers, convert, in_torch, packages_of, weights_of
from tests.convert.coreml.mil_interpreter import Interpreter
from tests.convert.supernets import images, trained_like, with_kernels
from train.checkpoint import Checkpoint
from train.spec import GateSpec, StageSpec, SupernetSpec

EXACT = 1e-12
"""As in test_numerics: float64 on both sides, on the same constants."""
SIXTH = 8 * 2.0**-24
"""hardswish multiplies by 1/6, which coremltools writes in float32, after each of some eight convolutions."""

MOBILENET_V1 = SupernetSpec(
    "small_v1", 16, 10, StageSpec((8, 16), 1, 2), (StageSpec((12, 24), 2, 2),), gates=(), family="mobilenet_v1"
)
MOBILENET_V2 = SupernetSpec(
    "small_v2", 16, 10, StageSpec((8, 16), 1, 2), (StageSpec((8, 16), 2, 1, expansion=2),),
    gates=(), activation="relu6", family="mobilenet_v2", head=StageSpec((24,), 1, 1, kernel=1),
)  # fmt: skip
GATED = SupernetSpec(
    "small_gated", 16, 10, StageSpec((8, 16), 1, 2), (StageSpec((12, 24), 1, 1), StageSpec((16, 32), 1, 2, kernel=5)),
    gates=(GateSpec(1, (0, 1)),), activation="hardswish",
)  # fmt: skip
RESNET_BASIC = SupernetSpec(
    "small_basic", 16, 10, StageSpec((8,), 1, 1), (StageSpec((8,), 1, 1), StageSpec((16, 24), 2, 2)),
    gates=(GateSpec(1, (0, 1)),), activation="relu", family="resnet_basic", stem_pool=True,
)  # fmt: skip
RESNET_BOTTLENECK = replace(
    RESNET_BASIC, family="resnet_bottleneck", stages=(StageSpec((16,), 1, 1), StageSpec((16, 32), 2, 2))
)
NETWORKS: dict[str, tuple[SupernetSpec, Precision]] = {
    "mobilenet_v1": (MOBILENET_V1, "fp16"),
    "mobilenet_v2, relu6, residual, with a side gate": (MOBILENET_V2.with_side_gate((0, 1)), "int8"),
    "trunk gate, hardswish, 5x5": (GATED, "fp16"),
    "kernels of several sizes": (with_kernels(GATED, 1, (3, 5)), "fp16"),
    "kernels of several sizes, int8": (with_kernels(GATED, 1, (3, 5)), "int8"),
    "switchable": (replace(MOBILENET_V2, batch_norm="switchable"), "fp32"),
    "resnet_basic": (RESNET_BASIC, "fp16"),
    "resnet_bottleneck": (RESNET_BOTTLENECK, "int8"),
}


def check_exactly(checkpoint: Checkpoint, precision: Precision) -> None:
    """Convert both widths and compare every program with torch on the same constants."""
    packages = packages_of(convert(checkpoint, (0, 1), precision))
    image = images(checkpoint.spec, 1)[0].transpose(0, 3, 1, 2)
    for name, given, expected in in_torch(checkpoint, (0, 1), precision, image):
        found = answers(Interpreter(packages[name], "exact"), "main", given)
        for output, values in expected.items():
            difference = float(np.abs(found[output] - values).max() / np.abs(values).max())
            limit = SIXTH if checkpoint.spec.activation == "hardswish" else EXACT
            assert difference <= limit, f"{name} {output}: {difference:.2e}"


@pytest.mark.parametrize(("spec", "precision"), NETWORKS.values(), ids=NETWORKS)
def test_it_computes_what_torch_does(spec: SupernetSpec, precision: Precision) -> None:
    check_exactly(trained_like(spec), precision)


def test_widths_that_disagree_on_the_sign_of_a_gamma_share_their_integers_all_the_same() -> None:
    checkpoint = trained_like(replace(MOBILENET_V2, batch_norm="switchable"))
    name = "stages.0.1.pointwise_bn.statistics.1.weight"
    checkpoint.tensors[name] = -checkpoint.tensors[name]
    check_exactly(checkpoint, "int8")
    artifact = convert(checkpoint, (0, 1), "int8")
    recipe = weights_of(artifact).recipe
    assert len([tensor for tensor in recipe.tensors if tensor.name == "stages.0.1.pointwise.weight"]) == 1
    assert [tensor for tensor in recipe.tensors if "_sign_" in tensor.name], "a layer for the sign should be there"


def test_what_underflows_in_float16_is_kept_from_zero_in_small_constants_alone() -> None:
    checkpoint = trained_like(MOBILENET_V1)
    for layer in ("stem", "stages.0.1.pointwise"):  # 8·3·9 and 12·12 elements at width 0; 16·3·9 and 24·24 at width 1
        checkpoint.tensors[f"{layer}.weight"][:, 0] = np.float32(1e-8)
        checkpoint.tensors[f"{layer}_bn.bias"][0] = checkpoint.tensors[f"{layer}_bn.statistics.0.mean"][0] = 0
        checkpoint.tensors[f"{layer}_bn.bias"][0] = np.float32(-1e-9)
    # A master of 6e-8 times a small gamma: the product underflows, after the master has not.
    checkpoint.tensors["stages.0.0.depthwise.weight"][1] = np.float32(6e-8)
    checkpoint.tensors["stages.0.0.depthwise_bn.weight"][1] = np.float32(0.1)
    check_exactly(checkpoint, "fp16")
    artifact = convert(checkpoint, (0, 1), "fp16")
    smallest = np.array([1], np.uint16).tobytes()
    assert all(smallest in package[WEIGHTS] for package in packages_of(artifact).values())


def test_rounding_of_constants_is_coremltools_own() -> None:
    values = np.array([1e-9, -1e-9, 0.0, 1e-45, 0.1, 7e4], np.float32)
    tiny = np.float32(2.0**-24)
    assert as_coremltools_rounds(values).astype(np.float32).tolist() == [
        tiny, -tiny, 0.0, 0.0, np.float32(np.float16(0.1)), np.inf,
    ]  # fmt: skip
    assert not as_coremltools_rounds(np.full(400, 1e-9, np.float32)).any()


@pytest.mark.parametrize(
    ("name", "value", "precision", "message"),
    [
        ("stem.weight", 1e5, "fp16", "stem.weight holds values beyond float16's range; convert with --precision fp32"),
        ("stem_bn.weight", 1e7, "fp16", "of layer stem is not in what coremltools exported.*--precision fp32"),
        ("stem_bn.weight", 1e9, "int8", "beyond float16's range; convert with --precision fp32"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_values_that_float16_cannot_hold_are_refused_in_one_line(
    name: str, value: float, precision: Precision, message: str
) -> None:
    checkpoint = trained_like(MOBILENET_V1)
    checkpoint.tensors[name].reshape(-1)[0] = value
    with pytest.raises(ExportError, match=message) as caught:
        convert(checkpoint, (0, 1), precision)
    assert "\n" not in str(caught.value)


def test_unknown_choices_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConvertError, match="unknown --deployment-target iOS15; valid: iOS16, iOS17, iOS18, iOS26"):
        CoreMlOptions(target="iOS15")  # type: ignore[arg-type]
    with pytest.raises(ConvertError, match="unknown --image-input picture; valid: tensor, pixels"):
        CoreMlOptions(image_input="picture")  # type: ignore[arg-type]
    assert len(CLASSES) == 10
