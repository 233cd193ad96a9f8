"""The supernet checkpoint: one .safetensors file, read without torch and without trusting it.

Header metadata: `format` "dsnet-supernet/1", `spec` (JSON), `provenance` (JSON). Every tensor at full width, batch-norm
statistics per index. The spec alone decides which tensors there must be and how large; a file that says otherwise is
refused before any is loaded.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from common import atomic_write, sha256_bytes
from train.errors import CheckpointError, SpecError, listed, one_line
from train.layer_specs import LayerSpec
from train.spec import SupernetSpec

FORMAT = "dsnet-supernet/1"
FORMAT_MAJOR = 1
MAX_HEADER_BYTES = 16 << 20
"""The largest header read: 120 bytes a tensor, so room for 130,000 (the published 14-width network has about 600)."""
ITEM_BYTES = {"F32": 4, "F16": 2}


@dataclass(frozen=True)
class Checkpoint:
    """A supernet on disk."""

    spec: SupernetSpec
    tensors: dict[str, np.ndarray]
    """Every tensor by name, float32."""
    provenance: dict[str, Any]
    """How the network came about: command, seed, data, hashes of inputs."""
    sha256: str
    """SHA-256 of the file."""


def expected_tensors(spec: SupernetSpec) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of a checkpoint of `spec`."""
    return dict(entry for layer in spec.layers for entry in _layer_tensors(layer))


def save_checkpoint(
    path: Path, spec: SupernetSpec, tensors: Mapping[str, np.ndarray], provenance: Mapping[str, Any], half: bool = False
) -> None:
    """Write a checkpoint whole or not at all, as float32, or rounded to float16; the same content gives the same bytes.

    Tensors that do not fit the spec, or hold NaN, infinity or a negative variance, are a CheckpointError.
    """
    dtype = np.float16 if half else np.float32
    with np.errstate(over="ignore"):  # a value too large for float16 becomes infinite, and is refused below by name
        arrays = {name: np.ascontiguousarray(values, dtype=dtype) for name, values in tensors.items()}
    _check_shapes(path, spec, {name: values.shape for name, values in arrays.items()})
    _check_values(path, arrays)
    metadata = {"format": FORMAT, "spec": spec.to_json(), "provenance": json.dumps(dict(provenance), sort_keys=True)}
    data = _in_fixed_order(safetensors.numpy.save(arrays, metadata))
    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path}: spec and provenance need over {MAX_HEADER_BYTES} bytes; shorten them")
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint (float16 tensors become float32); anything amiss is a CheckpointError of one line."""
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}; give a .safetensors file that `dsnet init` or `dsnet train` wrote"
        )
    header, header_end = _read_header(path)
    metadata = header.pop("__metadata__", {})
    _check_format(path, metadata)
    spec, provenance = _read_metadata(path, metadata)
    _check_shapes(path, spec, {name: _entry_shape(path, name, entry) for name, entry in header.items()})
    _check_size(path, header, header_end)
    data = path.read_bytes()
    try:
        loaded = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file: {one_line(error)}; copy or create it again"
        ) from error
    tensors = {name: values.astype(np.float32) for name, values in loaded.items()}
    _check_values(path, tensors)
    return Checkpoint(spec, tensors, provenance, sha256_bytes(data))


def _in_fixed_order(data: bytes) -> bytes:
    """Sort the metadata of safetensors bytes: its writer shuffles them, and one network must have one hash."""
    header_end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:header_end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[header_end:]


def _layer_tensors(layer: LayerSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    outputs = layer.out_channels[-1]
    if layer.kind == "linear":
        yield f"{layer.name}.weight", (outputs, layer.in_channels[-1])
    elif layer.kind == "position":
        yield f"{layer.name}.weight", (outputs, layer.output_size, layer.output_size)
    elif layer.kind == "layer_norm":
        yield f"{layer.name}.weight", (outputs,)
    else:
        inputs = 1 if layer.kind == "depthwise" else layer.in_channels[-1]
        pixels = (layer.kernel**2,) if layer.kernels else (layer.kernel, layer.kernel)
        yield f"{layer.name}.weight", (outputs, inputs, *pixels)
    if layer.bias:
        yield f"{layer.name}.bias", (outputs,)
    if layer.statistics is None:
        return
    for index, channels in zip(layer.statistics, layer.out_channels, strict=True):
        for parameter in ("weight", "bias"):
            yield f"{layer.batch_norm_affine(index)}.{parameter}", (channels if layer.switchable else outputs,)
        yield f"{layer.name}_bn.statistics.{index}.mean", (channels,)
        yield f"{layer.name}_bn.statistics.{index}.var", (channels,)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the safetensors header and the offset of the first byte after it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            claim = f"a header of {length} bytes in a file of {size}"
            raise CheckpointError(f"{path} is truncated or no safetensors file: {claim}; copy it again")
        if length > MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{path}: header of {length} bytes, valid: up to {MAX_HEADER_BYTES}; give a supernet checkpoint"
            )
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the safetensors header is not JSON; copy or create the file again") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: the safetensors header is not a JSON object; copy or create the file again")
    return header, 8 + length


def _check_format(path: Path, metadata: Any) -> None:
    found = metadata.get("format") if isinstance(metadata, dict) else None
    match = re.fullmatch(r"dsnet-supernet/(\d{1,6})", found) if isinstance(found, str) else None
    if match is None:
        wrong = f"format {found!r:.60}, expected {FORMAT!r}"
        raise CheckpointError(f"{path} is not a supernet checkpoint: {wrong}; `dsnet init` writes one")
    if int(match[1]) > FORMAT_MAJOR:
        raise CheckpointError(f"{path} has format {found!r}, this version reads up to {FORMAT!r}; update dsnet-edge")


def _read_metadata(path: Path, metadata: dict[str, Any]) -> tuple[SupernetSpec, dict[str, Any]]:
    try:
        spec = SupernetSpec.from_json(str(metadata.get("spec", "")))
        provenance = json.loads(metadata.get("provenance", "{}"))
    except SpecError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: the metadata is not JSON text; create the checkpoint again") from error
    if not isinstance(provenance, dict):
        raise CheckpointError(f"{path}: the provenance is not a JSON object; create the checkpoint again")
    return spec, provenance


def _entry_shape(path: Path, name: str, entry: Any) -> tuple[int, ...]:
    dtype, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if dtype not in ITEM_BYTES:
        valid = ", ".join(ITEM_BYTES)
        raise CheckpointError(f"{path}: tensor {name} has type {dtype!r:.40}, valid: {valid}; save it as float32")
    if not isinstance(shape, list):
        raise CheckpointError(f"{path}: tensor {name} has no shape; create the checkpoint again")
    return tuple(shape)


def _check_shapes(path: Path, spec: SupernetSpec, shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected = expected_tensors(spec)
    problems = {
        "missing": [name for name in expected if name not in shapes],
        "unexpected": [name for name in shapes if name not in expected],
        "wrong shape": [
            f"{name} {list(shapes[name])} instead of {list(shape)}"
            for name, shape in expected.items()
            if name in shapes and shapes[name] != shape
        ],
    }
    clauses = [f"{problem}: {listed(names)}" for problem, names in problems.items() if names]
    if clauses:
        wrong = "; ".join(clauses)
        raise CheckpointError(
            f"{path} does not hold the tensors of spec {spec.name!r}: {wrong}; create it from its spec"
        )


def _check_size(path: Path, header: Mapping[str, Any], header_end: int) -> None:
    payload = sum(ITEM_BYTES[entry["dtype"]] * math.prod(entry["shape"]) for entry in header.values())
    size = path.stat().st_size
    if size != header_end + payload:
        needed = header_end + payload
        raise CheckpointError(
            f"{path} has {size} bytes, its tensors need {needed}; it was cut or padded, copy it again"
        )


def _check_values(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{path}: tensor {name} holds NaN or infinity; train with a lower rate or copy it again"
            )
        if name.endswith(".var") and (values < 0).any():
            raise CheckpointError(f"{path}: tensor {name} holds a negative variance, {values.min():g}; recalibrate it")
