"""An ExecuTorch bundle: one program without weights, weights stored once, and stock files to the byte."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from common import sha256_bytes
from convert.executorch.quantize import quantize
from convert.quantized_weights import quantize_weights
from convert.slice_plan import plan_programs
from edge.bundle.executorch import pte
from edge.bundle.nested.weights import NestedWeights, open_nested_weights
from edge.bundle.plain_files import plain_files
from edge.bundle.reader import Bundle
from edge.bundle.verify import verify
from tests.convert.executorch.conversions import CHECKPOINT, IMAGES, WIDTHS
from tests.convert.executorch.exports import answers, export, float_programs, whole_network

PRECISIONS = ("fp32", "int8")
PICTURES = [torch.from_numpy(image).permute(0, 3, 1, 2).contiguous() for image in IMAGES[:3]]


def weights_of(bundle: Bundle, precision: str) -> NestedWeights:
    return open_nested_weights(bundle, bundle.artifact("executorch", precision))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_program_holds_every_method_as_one_delegate_and_no_weights(
    executorch_bundle: Bundle, precision: str
) -> None:
    program = executorch_bundle.verified_bytes(executorch_bundle.artifact("executorch", precision))
    assert pte.methods(program) == {"prefix": 1, "tail_00": 1, "tail_03": 1}
    assert pte.constant_regions(program) == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_width_reads_ranges_of_one_tensor_per_layer(executorch_bundle: Bundle, precision: str) -> None:
    recipe = weights_of(executorch_bundle, precision).recipe
    shapes = defaultdict(set)
    for piece in recipe.slices:
        shapes[piece.tensor].add(tuple(piece.shape))
    names = [tensor.name for tensor in recipe.tensors if tensor.name.endswith(".weight")]
    assert (
        len(names)
        == len(set(names))
        == len({piece.name for plan in plan_programs(CHECKPOINT.spec, WIDTHS) for piece in plan.layers})
    )
    read_twice = [recipe.tensors[index].name for index, found in shapes.items() if len(found) > 1]
    assert any("pointwise" in name for name in read_twice) and any("depthwise" in name for name in read_twice), (
        read_twice
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensors_are_aligned_and_do_not_overlap(executorch_bundle: Bundle, precision: str) -> None:
    weights = weights_of(executorch_bundle, precision)
    places = sorted((tensor.offset, tensor.bytes) for tensor in weights.recipe.tensors)
    assert [offset % 64 for offset, _ in places] == [0] * len(places)
    gaps = [after - (offset + size) for (offset, size), (after, _) in pairwise(places)]
    assert all(0 <= gap < 64 for gap in gaps), max(gaps)
    assert sum(places[-1]) == len(weights.store)


def test_a_float_width_is_to_the_byte_what_the_stock_exporter_writes_for_it(
    executorch_bundle: Bundle, tmp_path: Path
) -> None:
    artifact = executorch_bundle.artifact("executorch", "fp32")
    (hydrated,) = plain_files(executorch_bundle, artifact, [3], "pte", tmp_path / "w3.pte").values()
    assert hydrated == export(float_programs(CHECKPOINT, [3]))


@pytest.mark.parametrize("width", WIDTHS)
def test_all_three_forms_answer_as_the_ordinary_export_of_the_whole_width(
    executorch_bundle: Bundle, width: int, tmp_path: Path
) -> None:
    """Float32: the export has neither prefix nor tail nor gate, so the cut itself is checked as well."""
    artifact, tail = executorch_bundle.artifact("executorch", "fp32"), f"tail_{width:02d}"
    for form, out in (("pte", "pte"), ("ptd", "ptd.pte"), ("programs", "programs")):
        for path, data in plain_files(executorch_bundle, artifact, [width], form, tmp_path / out).items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    (tmp_path / "whole.pte").write_bytes(export({"net": whole_network(CHECKPOINT, width)}))
    expected = answers(tmp_path / "whole.pte", "net", PICTURES)
    places = {
        "pte": (tmp_path / "pte", tmp_path / "pte", None),
        "ptd": (tmp_path / "ptd.pte", tmp_path / "ptd.pte", tmp_path / "ptd.ptd"),
        "programs": (tmp_path / "programs" / "prefix.pte", tmp_path / "programs" / f"{tail}.pte", None),
    }
    for form, (prefix, body, data) in places.items():
        features = [outputs[0] for outputs in answers(prefix, "prefix", PICTURES, data)]
        found = answers(body, tail, features, data)
        for (logits,), (wanted,) in zip(found, expected, strict=True):
            difference = float((logits - wanted).abs().max())
            assert torch.equal(logits, wanted), f"{form}: logits differ by {difference:g}"


def test_int8_weights_are_ranges_of_the_shared_integers(executorch_bundle: Bundle) -> None:
    weights = weights_of(executorch_bundle, "int8")
    shared = quantize_weights(CHECKPOINT.tensors, plan_programs(CHECKPOINT.spec, WIDTHS))
    by_name = {tensor.name: index for index, tensor in enumerate(weights.recipe.tensors)}
    for name, quantized in shared.items():
        tensor = weights.recipe.tensors[by_name[f"{name}.weight"]]
        stored = np.frombuffer(weights.store, np.int8, tensor.bytes, tensor.offset).reshape(tensor.shape)
        payload = quantized.payload.reshape(*quantized.payload.shape[:2], -1)
        is_depthwise = name.endswith("depthwise")
        assert np.array_equal(stored, payload.transpose((1, 2, 0) if is_depthwise else (0, 2, 1))), name


def test_int8_scales_are_above_zero_although_gammas_are_not(executorch_bundle: Bundle) -> None:
    assert any((tensor < 0).any() for name, tensor in CHECKPOINT.tensors.items() if name.endswith("_bn.weight"))
    weights = weights_of(executorch_bundle, "int8")
    scales = [np.frombuffer(weights.slice(index), np.float32) for key, index in weights.keys.items() if "scale" in key]
    assert len(scales) > 20
    assert min(float(scale.min()) for scale in scales) > 0


def test_biases_scales_are_products_and_take_no_room(executorch_bundle: Bundle) -> None:
    recipe = weights_of(executorch_bundle, "int8").recipe
    products = [piece for piece in recipe.slices if piece.key.startswith("scale_") and piece.scale is not None]
    layers = sum(len(plan.layers) for plan in plan_programs(CHECKPOINT.spec, WIDTHS))
    assert len(products) > 0.9 * layers, f"{len(products)} of {layers} biases"


def test_the_conversion_says_how_far_every_width_is_from_float(executorch_bundle: Bundle) -> None:
    for precision, limit in (("fp32", 0.0), ("int8", 0.25)):
        accuracy = executorch_bundle.artifact("executorch", precision).accuracy
        assert [entry.width for entry in accuracy] == list(WIDTHS)
        changes = [abs(entry.artifact_top1 - entry.float_top1) for entry in accuracy]
        assert max(changes) <= limit, changes


def test_everything_in_the_bundle_verifies(executorch_bundle: Bundle) -> None:
    checks = list(verify(executorch_bundle.root))
    assert [check for check in checks if check.outcome != "pass"] == []
    assert sum("parity" in check.claim for check in checks) == 6


def test_a_changed_weight_fails_the_hash_and_the_constants_check(executorch_bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(executorch_bundle.root, tmp_path / "bundle"))
    path = copy / "executorch" / "weights.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    failed = {check.claim: check.detail for check in verify(copy) if check.outcome == "fail"}
    assert "its SHA-256 starts with" in failed["executorch fp32 store file"]
    manifest = json.loads((copy / "manifest.json").read_text())
    (store,) = (item for item in manifest["weights"] if item["file"] == "executorch/weights.bin")
    store["sha256"] = sha256_bytes(bytes(data))  # a liar who knows the format
    (copy / "manifest.json").write_text(json.dumps(manifest))
    failed = {check.claim: check.detail for check in verify(copy) if check.outcome == "fail"}
    assert "is not named by its content" in failed["executorch fp32 constants"]
    assert any("is not the one that was converted" in detail for detail in failed.values())


def test_int8_programs_in_a_row_answer_as_the_whole_width_quantized_and_exported_at_once(
    executorch_bundle: Bundle, tmp_path: Path
) -> None:
    """The quantizer then sees one network without a cut; every range, scale and output must be the same."""
    artifact = executorch_bundle.artifact("executorch", "int8")
    for path, data in plain_files(executorch_bundle, artifact, [3], "pte", tmp_path / "w3.pte").items():
        path.write_bytes(data)
    module, _ = whole_network(CHECKPOINT, 3)
    every = [torch.from_numpy(image).permute(0, 3, 1, 2).contiguous() for image in IMAGES]
    shared = quantize_weights(CHECKPOINT.tensors, plan_programs(CHECKPOINT.spec, WIDTHS))
    whole = quantize(module, every, shared, CHECKPOINT.tensors, None, None)
    (tmp_path / "whole.pte").write_bytes(export({"net": (whole, every[0])}))
    expected = answers(tmp_path / "whole.pte", "net", PICTURES)
    features = [outputs[0] for outputs in answers(tmp_path / "w3.pte", "prefix", PICTURES)]
    found = answers(tmp_path / "w3.pte", "tail_03", features)
    for (logits,), (wanted,) in zip(found, expected, strict=True):
        difference = float((logits - wanted).abs().max())
        assert torch.equal(logits, wanted), f"logits differ by {difference:g}"


@pytest.mark.parametrize(
    "forge",
    [
        lambda data: bytes(len(data)),
        lambda data: data[:2000] + b"x" * 64 + data[2064:],
    ],
    ids=["zeros", "other bytes"],
)
def test_a_program_file_that_is_none_fails_whatever_its_hash_says(
    forge: Callable[[bytes], bytes], executorch_bundle: Bundle, tmp_path: Path
) -> None:
    """A liar who knows the format: ExecuTorch's own reader may end the process, and verify goes on."""
    copy = Path(shutil.copytree(executorch_bundle.root, tmp_path / "bundle"))
    forged = forge((copy / "executorch" / "model.pte").read_bytes())
    (copy / "executorch" / "model.pte").write_bytes(forged)
    manifest = json.loads((copy / "manifest.json").read_text())
    (artifact,) = (item for item in manifest["artifacts"] if item["precision"] == "fp32")
    artifact |= {"sha256": sha256_bytes(forged), "bytes": len(forged)}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    checks = {check.claim: check for check in verify(copy)}
    assert checks["executorch fp32 file"].outcome == "pass"
    assert checks["executorch fp32 prefix parity"].outcome == "fail", checks["executorch fp32 prefix parity"]
    assert "\n" not in checks["executorch fp32 prefix parity"].detail
    assert checks["executorch int8 tail_03 parity"].outcome == "pass"
