"""`predictions.npz`, schema "dsnet-predictions/3": what the bundle itself answered on a labelled image set.

Arrays (n images, w widths, m logits at each decision point; read with allow_pickle=False):
    gate_logits  float32 [n, Σ m]  columns of all decision points one after the other (`edge.runtime.decisions`)
    hit          bool    [n, w]   top-1 right
    loss         float32 [n, w]   cross-entropy in nats
    confidence   float32 [n, w]   top-1 softmax probability
    label        int32   [n]
    metadata     uint8            JSON of `Metadata`
"""

import json
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from common import atomic_write
from edge.bundle.fields import MAX_GATES, MAX_WIDTHS
from edge.bundle.manifest import Record, Runtime, Sha256
from edge.bundle.records import parse_record
from edge.errors import BundleError, CalibrationError
from edge.runtime.decisions import Decision, GateLogits, decision_problem

FORMAT, OLDEST = "dsnet-predictions/3", "dsnet-predictions/2"
ARRAYS = {
    "gate_logits": (np.dtype("<f4"), 2),
    "hit": (np.dtype("?"), 2),
    "loss": (np.dtype("<f4"), 2),
    "confidence": (np.dtype("<f4"), 2),
    "label": (np.dtype("<i4"), 1),
    "metadata": (np.dtype("u1"), 1),
}
"""Array → its type on disk and number of dimensions."""
MAX_BYTES = 512 << 20
"""All arrays together: ImageNet's 1.28 million training images at 32 widths still fit."""
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00.."
    rb"\{'descr': '(?P<type>[<|]\w{2})', 'fortran_order': False, 'shape': \((?P<shape>[\d, ]{1,64})\), \} *\n",
    re.DOTALL,
)
"""Start of an array in .npy format 1.0, as NumPy writes it; NumPy's own reader of headers evaluates what it finds."""
MAX_HEADER_BYTES = 256


class Metadata(Record):
    """Which bundle answered, on which images."""

    format: str
    runtime: Runtime
    precision: str
    artifact_sha256: Sha256
    widths: list[int] = Field(min_length=1, max_length=MAX_WIDTHS)
    """The width of each column of `hit`, `loss` and `confidence`."""
    decisions: list[Decision] = Field(max_length=MAX_WIDTHS * MAX_GATES)
    """The decision points, in the order of their columns in `gate_logits`; none without a gate."""
    data: str
    """Name of the image set as the user gave it (its last path component)."""
    data_sha256: Sha256
    """Digest over the images' names, contents and labels, in order."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_second_format(cls, fields: Any) -> Any:
        """Read what was written when there was one gate at most: its `choices`, at which all widths came by."""
        if not isinstance(fields, dict) or "choices" not in fields or "decisions" in fields:
            return fields
        choices = fields["choices"]
        kept = {name: value for name, value in fields.items() if name != "choices"}
        decisions = [{"widths": fields.get("widths"), "choices": choices}] if choices else []
        return {**kept, "format": FORMAT, "decisions": decisions}


@dataclass(frozen=True)
class Predictions:
    """The content of a predictions file."""

    metadata: Metadata
    gate_logits: NDArray[np.float32]
    hit: NDArray[np.bool_]
    loss: NDArray[np.float32]
    confidence: NDArray[np.float32]
    label: NDArray[np.int32]

    @property
    def gates(self) -> GateLogits:
        """Return the gates' logits with what each column is."""
        return GateLogits(tuple(self.metadata.decisions), self.gate_logits)


def load_predictions(path: Path) -> Predictions:
    """Read a predictions file; raises CalibrationError, in one line, for one that is not whole and consistent.

    Types, shapes and sizes are compared with the headers before any array is allocated, and nothing is unpickled.
    """
    if path.is_dir():
        raise CalibrationError(f"{path}: a folder; give the .npz file that dsnet predict wrote")
    if not path.is_file():
        raise CalibrationError(f"{path}: no such file; dsnet predict writes it")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _read_arrays(archive)
        metadata = parse_record(arrays.pop("metadata").tobytes(), Metadata, FORMAT, "metadata", OLDEST)
        predictions = Predictions(metadata, **arrays)
        _check(predictions)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError) as error:
        raise CalibrationError(f"{path}: not a readable predictions file: {type(error).__name__} {error}") from error
    except (ValueError, BundleError) as error:
        raise CalibrationError(f"{path}: {error}") from error
    return predictions


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file, whole or not at all; equal predictions give equal bytes.

    Raises CalibrationError for predictions that `load_predictions` would refuse.
    """
    try:
        _check(predictions)
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from error
    text = json.dumps(predictions.metadata.model_dump(mode="json"), allow_nan=False)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            gate_logits=np.ascontiguousarray(predictions.gate_logits),
            hit=np.ascontiguousarray(predictions.hit),
            loss=np.ascontiguousarray(predictions.loss),
            confidence=np.ascontiguousarray(predictions.confidence),
            label=np.ascontiguousarray(predictions.label),
            metadata=np.frombuffer(text.encode(), np.uint8),
        )


def _read_arrays(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    names = [member.filename for member in members]
    if sorted(names) != sorted(f"{name}.npy" for name in ARRAYS):
        found = ", ".join(map(repr, names[:8]))[:200] or "nothing"
        raise ValueError(f"holds {found}; {FORMAT} has {', '.join(ARRAYS)}, each once: run dsnet predict again")
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        raise ValueError(f"arrays of {total} bytes; the limit is {MAX_BYTES}")
    return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array once its header has been compared with the expected type and the bytes that are there."""
    name = member.filename.removesuffix(".npy")
    dtype, dimensions = ARRAYS[name]
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} has compression {member.compress_type}; valid: stored, deflated")
    with archive.open(member) as file:
        match = HEADER.fullmatch(file.readline(MAX_HEADER_BYTES))
        if match is None:
            raise ValueError(f"{name} does not start as an array that dsnet predict writes")
        found, shape = match["type"].decode(), [int(size) for size in match["shape"].split(b",") if size]
        if found != dtype.str or len(shape) != dimensions:
            raise ValueError(f"{name} is {found} of shape {shape}; expected {dtype.str} with {dimensions} dimensions")
        stored = member.file_size - file.tell()
        if math.prod(shape) * dtype.itemsize != stored:
            raise ValueError(f"{name} of shape {shape} does not fit the {stored} bytes stored")
        return np.frombuffer(file.read(), dtype).reshape(shape)


def _check(predictions: Predictions) -> None:
    metadata, images = predictions.metadata, len(predictions.label)
    shapes = {
        "gate_logits": [images, sum(len(decision.choices) for decision in metadata.decisions)],
        "hit": [images, len(metadata.widths)],
        "loss": [images, len(metadata.widths)],
        "confidence": [images, len(metadata.widths)],
        "label": [images],
    }
    for name, shape in shapes.items():
        array = getattr(predictions, name)
        if array.dtype != ARRAYS[name][0] or list(array.shape) != shape:
            raise ValueError(
                f"{name} is {array.dtype} of shape {list(array.shape)}; labels and metadata ask for "
                f"{ARRAYS[name][0]} of shape {shape}"
            )
    if images == 0:
        raise ValueError("no images")
    if metadata.widths != sorted(set(metadata.widths)) or metadata.widths[0] < 0:
        raise ValueError(f"widths {metadata.widths[:16]} must be ascending widths")
    if problem := decision_problem(metadata.decisions, metadata.widths):
        raise ValueError(problem)
    for name in ("gate_logits", "loss"):
        wrong = int(images - np.isfinite(getattr(predictions, name)).all(axis=1).sum())
        if wrong:
            raise ValueError(f"{name} of {wrong} images are not finite")
    certain = ((predictions.confidence > 0) & (predictions.confidence <= 1)).all(axis=1)
    if not certain.all():
        raise ValueError(f"confidence of {int((~certain).sum())} images is not above 0 and at most 1")
    if predictions.label.min() < 0:
        raise ValueError(f"label {predictions.label.min()} is negative")
    if predictions.hit.view(np.uint8).max() > 1:
        raise ValueError("hit holds bytes other than 0 and 1")
