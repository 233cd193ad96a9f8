"""The checkpoint reads back what was written, and refuses in one line whatever is not a whole, sane supernet."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from common import sha256_file
from tests.train.networks import MICRO
from train import CheckpointError
from train.checkpoint import FORMAT, MAX_HEADER_BYTES, expected_tensors, load_checkpoint, save_checkpoint

Tensors = dict[str, np.ndarray]


@pytest.fixture
def tensors() -> Tensors:
    generator = np.random.default_rng(0)
    return {name: generator.random(shape, np.float32) for name, shape in expected_tensors(MICRO).items()}


@pytest.fixture
def written(tmp_path: Path, tensors: Tensors) -> Path:
    path = tmp_path / "micro.safetensors"
    save_checkpoint(path, MICRO, tensors, {"seed": 3})
    return path


def metadata(**changes: str) -> dict[str, str]:
    return {"format": FORMAT, "spec": MICRO.to_json(), "provenance": "{}"} | changes


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the JSON header of a safetensors file, leaving its payload."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def refused(path: Path, *fragments: str) -> None:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    for fragment in fragments:
        assert fragment in message, message


def test_a_checkpoint_reads_back_equal_with_the_hash_of_its_file(written: Path, tensors: Tensors) -> None:
    loaded = load_checkpoint(written)
    assert loaded.spec == MICRO
    assert loaded.provenance == {"seed": 3}
    assert loaded.sha256 == sha256_file(written)
    assert loaded.tensors.keys() == tensors.keys()
    assert all(np.array_equal(loaded.tensors[name], tensors[name]) for name in tensors)


def test_a_switchable_network_keeps_an_affine_beside_every_set_of_statistics(tmp_path: Path, tensors: Tensors) -> None:
    spec, path = replace(MICRO, batch_norm="switchable"), tmp_path / "switchable.safetensors"
    shapes = expected_tensors(spec)
    affines = {name for name in shapes if "pointwise_bn" in name and name.startswith("stages.2.0") and "weight" in name}
    assert affines == {f"stages.2.0.pointwise_bn.statistics.{index}.weight" for index in range(5)}
    assert shapes["stages.2.0.pointwise_bn.statistics.3.bias"] == (12,)
    save_checkpoint(path, spec, {name: np.full(shape, 2, np.float32) for name, shape in shapes.items()}, {})
    assert load_checkpoint(path).spec == spec
    with pytest.raises(CheckpointError, match=r"missing: stem_bn\.statistics\.0\.weight.*unexpected: stem_bn\.weight"):
        save_checkpoint(path, spec, tensors, {})


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, tensors: Tensors) -> None:
    hashes = set()
    for number in range(8):
        save_checkpoint(tmp_path / f"{number}.safetensors", MICRO, tensors, {"seed": 3})
        hashes.add(sha256_file(tmp_path / f"{number}.safetensors"))
    assert len(hashes) == 1


def test_other_readers_of_safetensors_can_open_it(written: Path, tensors: Tensors) -> None:
    loaded = safetensors.numpy.load_file(written)
    assert all(np.array_equal(loaded[name], tensors[name]) for name in tensors)


def test_float16_tensors_become_float32(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "half.safetensors"
    half = {name: values.astype(np.float16) for name, values in tensors.items()}
    safetensors.numpy.save_file(half, path, metadata())
    loaded = load_checkpoint(path)
    assert {values.dtype for values in loaded.tensors.values()} == {np.dtype(np.float32)}
    assert all(np.array_equal(loaded.tensors[name], half[name].astype(np.float32)) for name in half)


def test_a_network_written_in_half_is_its_float16_rounding_in_half_the_bytes(
    tmp_path: Path, written: Path, tensors: Tensors
) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, MICRO, tensors, {}, half=True)
    loaded = load_checkpoint(path).tensors
    assert all(np.array_equal(loaded[name], tensors[name].astype(np.float16)) for name in tensors)
    payload = sum(values.size for values in tensors.values())
    assert written.stat().st_size - path.stat().st_size >= 2 * payload - 1024


def test_a_weight_too_large_for_float16_is_refused_by_name(tmp_path: Path, tensors: Tensors) -> None:
    large = tensors | {"classifier.bias": np.full(3, 1e6, np.float32)}
    with pytest.raises(CheckpointError, match=r"classifier\.bias holds NaN or infinity"):
        save_checkpoint(tmp_path / "half.safetensors", MICRO, large, {}, half=True)


def test_a_newer_minor_field_in_the_metadata_is_accepted(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "extra.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata(remark="from the future"))
    assert load_checkpoint(path).spec == MICRO


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.safetensors", "no checkpoint at")


@pytest.mark.parametrize("length", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(written: Path, length: int) -> None:
    written.write_bytes(written.read_bytes()[:length])
    refused(written)


def test_appended_bytes_are_refused(written: Path) -> None:
    written.write_bytes(written.read_bytes() + b"\0")
    refused(written, "bytes, its tensors need", "copy it again")


def test_a_header_longer_than_the_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "vast.safetensors"
    with path.open("wb") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER_BYTES + 100)
    refused(path, f"valid: up to {MAX_HEADER_BYTES}")


@pytest.mark.parametrize("text", [b"no json", b"[]", b"[" * 100_000, b'{"__metadata__": []}', b"\xff\xfe"])
def test_a_header_that_is_no_json_object_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    refused(path)


def test_a_higher_major_version_is_refused_by_name(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "new.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata(format="dsnet-supernet/2"))
    refused(path, "dsnet-supernet/2", "reads up to 'dsnet-supernet/1'", "update dsnet-edge")


@pytest.mark.parametrize("found", ["pt", "dsnet-bundle/1", "dsnet-supernet/one", ""])
def test_another_format_is_refused(tmp_path: Path, tensors: Tensors, found: str) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata(format=found))
    refused(path, "not a supernet checkpoint", "dsnet init")


@pytest.mark.parametrize(
    "changes",
    [{"spec": "{}"}, {"spec": MICRO.to_json().replace("silu", "gelu")}, {"provenance": "[]"}, {"provenance": "{"}],
)
def test_metadata_that_does_not_hold_together_is_refused(
    tmp_path: Path, tensors: Tensors, changes: dict[str, str]
) -> None:
    path = tmp_path / "bad.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata(**changes))
    refused(path)


def test_missing_unexpected_and_misshapen_tensors_are_named_together(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "wrong.safetensors"
    del tensors["gate.weight"]
    tensors["gate.bias"] = np.zeros(3, np.float32)
    tensors["stem.weight"] = np.zeros((6, 3, 5, 5), np.float32)
    safetensors.numpy.save_file(tensors, path, metadata())
    refused(path, "missing: gate.weight", "unexpected: gate.bias", "stem.weight [6, 3, 5, 5] instead of [6, 3, 3, 3]")


def test_absurd_shapes_are_refused_before_anything_is_allocated(written: Path) -> None:
    rewrite_header(written, lambda header: header["stem.weight"].update(shape=[2**40, 2**40]))
    refused(written, "stem.weight [1099511627776, 1099511627776] instead of")


@pytest.mark.parametrize("offsets", [[0, 10**15], [8, 4], [-4, 0], "all", None])
def test_offsets_outside_the_file_are_refused(written: Path, offsets: Any) -> None:
    rewrite_header(written, lambda header: header["stem.weight"].update(data_offsets=offsets))
    refused(written)


@pytest.mark.parametrize("dtype", ["I64", "BF16", 7, None])
def test_other_number_types_are_refused(written: Path, dtype: Any) -> None:
    rewrite_header(written, lambda header: header["stem.weight"].update(dtype=dtype))
    refused(written, "stem.weight has type", "valid: F32, F16")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_the_tensors_name(tmp_path: Path, tensors: Tensors, value: float) -> None:
    tensors["stages.1.0.pointwise.weight"].flat[3] = value
    path = tmp_path / "nan.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata())
    refused(path, "stages.1.0.pointwise.weight holds NaN or infinity")


def test_a_negative_variance_is_refused(tmp_path: Path, tensors: Tensors) -> None:
    tensors["stem_bn.statistics.1.var"][2] = -0.5
    path = tmp_path / "negative.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata())
    refused(path, "stem_bn.statistics.1.var holds a negative variance, -0.5")


def test_nothing_unreadable_is_ever_written(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "new.safetensors"
    with pytest.raises(CheckpointError, match=r"stem\.weight holds NaN"):
        save_checkpoint(path, MICRO, tensors | {"stem.weight": np.full((6, 3, 3, 3), np.nan)}, {})
    with pytest.raises(CheckpointError, match=r"missing: classifier\.bias"):
        save_checkpoint(path, MICRO, {name: tensors[name] for name in tensors if name != "classifier.bias"}, {})
    assert list(tmp_path.iterdir()) == []
