"""`dsnet-recipe`: how to cut every constant of every width from a store, and how to rebuild a runtime's plain files.

docs/bundle.md specifies it for readers in any language; `NestedWeights` is the one in Python. Version 2 adds
`positions`; a recipe without them is written as version 1, which readers of both know.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from edge.bundle.archive import MAX_RATIO, RATIO_FREE_BYTES, path_problem
from edge.bundle.manifest import Record, Sha256

FORMAT = "dsnet-recipe/2"
"""The newest format."""
WITHOUT_POSITIONS = "dsnet-recipe/1"
ALIGNMENT = 64
"""Of every tensor in the store, in bytes: a cache line, and more than any kernel asks for."""
MAX_ENTRIES = 1 << 16
MAX_FILE_BYTES = 1 << 30
Dtype = Literal["float32", "float16", "int32", "int8"]
DTYPES: dict[Dtype, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int32": np.dtype("<i4"),
    "int8": np.dtype("i1"),
}

Size = Annotated[int, Field(ge=1, lt=MAX_FILE_BYTES)]
Offset = Annotated[int, Field(ge=0, lt=MAX_FILE_BYTES)]
Shape = Annotated[list[Size], Field(min_length=3, max_length=3)]
"""[a, b, c], row-major: rows, kernel positions, columns. A vector is [1, 1, n]."""


@dataclass(frozen=True)
class Region:
    """Where a constant lies in a plain file."""

    key: str
    offset: int
    bytes: int


class StoredTensor(Record):
    """A dense array in the store, at the widest range that any program uses."""

    name: Annotated[str, Field(max_length=256)]
    """The checkpoint's tensor, or what was derived from it; for people."""
    dtype: Dtype
    shape: Shape
    offset: Offset

    @property
    def bytes(self) -> int:
        """Return how many bytes the tensor occupies."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


class Slice(Record):
    """One constant of a program: tensor[:a, :b, :c], copied densely, times a scale, rounded, where it says so.

    With `positions`, tensor[:a, positions, :c].
    """

    key: str = Field(pattern=r"^[A-Za-z0-9_]{1,96}$")
    """What the runtime calls it: the SHA-256 of its bytes, after `scale_` for ExecuTorch's per-channel scales."""
    tensor: Annotated[int, Field(ge=0)]
    shape: Shape
    scale: Annotated[int, Field(ge=0)] | None = None
    """A float32 vector [1, 1, n], of which element i multiplies (in float32) what lies at index i of `axis`."""
    axis: Literal[0, 2] | None = None
    cast: Literal["float16"] | None = None
    """What the float32 result is rounded to, to nearest, ties to even."""
    positions: Annotated[list[Offset], Field(max_length=MAX_ENTRIES)] | None = None
    """Which position of the tensor each of the b positions is, no one twice. None: the first b, in their order."""


def format_for(slices: Iterable[Slice]) -> str:
    """Return the oldest format in which these slices can be written."""
    return WITHOUT_POSITIONS if all(piece.positions is None for piece in slices) else FORMAT


class PlainFile(Record):
    """A runtime's plain file: literal bytes from the template with slices in between."""

    path: str
    bytes: Size
    sha256: Sha256
    offset: Offset
    """Where its literal bytes start in the template file, as one stream of raw DEFLATE (RFC 1951)."""
    compressed_bytes: Size
    literal_bytes: Size
    pieces: list[Annotated[list[Offset], Field(min_length=2, max_length=2)]] = Field(max_length=MAX_ENTRIES)
    """[literal bytes to copy, index of the slice that follows], in order; the remaining literal bytes come last."""


class Recipe(Record):
    """The content of a recipe file."""

    format: str
    store_bytes: Size
    template_bytes: Size
    tensors: list[StoredTensor] = Field(max_length=MAX_ENTRIES)
    slices: list[Slice] = Field(max_length=MAX_ENTRIES)
    files: list[PlainFile] = Field(max_length=MAX_ENTRIES)

    @model_validator(mode="after")
    def _holds_together(self) -> "Recipe":
        problem = next(self._problems(), None)
        if problem:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        for number, tensor in enumerate(self.tensors):
            if tensor.offset % ALIGNMENT or tensor.offset + tensor.bytes > self.store_bytes:
                yield f"tensor {number} is not aligned to {ALIGNMENT} bytes inside a store of {self.store_bytes}"
        for number, piece in enumerate(self.slices):
            yield from (f"slice {number}: {clause}" for clause in self._slice_problems(piece))
        if len({piece.key for piece in self.slices}) != len(self.slices):
            yield "two slices have one key"
        for file in self.files:
            yield from (f"file {file.path[:80]!r}: {clause}" for clause in self._file_problems(file))
        paths = {file.path for file in self.files}
        if len(paths) != len(self.files):
            yield "two files have one path"
        if paths & {str(parent) for path in paths for parent in PurePosixPath(path).parents}:
            yield "a file's path is another's folder"

    def _slice_problems(self, piece: Slice) -> Iterator[str]:
        if piece.tensor >= len(self.tensors):
            yield f"no tensor {piece.tensor}"
            return
        tensor = self.tensors[piece.tensor]
        if any(taken > there for taken, there in zip(piece.shape, tensor.shape, strict=True)):
            yield f"takes {piece.shape} of {tensor.shape}"
        if piece.positions is not None:
            yield from self._position_problems(piece.positions, piece.shape[1], tensor.shape[1])
        if (piece.scale is None) != (piece.axis is None):
            yield "scale and axis go together"
        if piece.scale is not None and piece.axis is not None:
            if piece.scale >= len(self.tensors):
                yield f"no tensor {piece.scale}"
                return
            scale = self.tensors[piece.scale]
            if scale.dtype != "float32" or tensor.dtype not in ("float32", "float16"):
                yield f"a {scale.dtype} scale for a {tensor.dtype} tensor; it must be float32, for one of floats"
            if scale.shape[:2] != [1, 1] or scale.shape[2] < piece.shape[piece.axis]:
                yield f"a scale of shape {scale.shape} for {piece.shape[piece.axis]} elements"
        if piece.cast is not None and self._dtype_before_cast(piece) != "float32":
            yield f"a cast to {piece.cast} of what is {self._dtype_before_cast(piece)}; it must be float32"

    def _position_problems(self, positions: list[int], taken: int, there: int) -> Iterator[str]:
        if self.format.partition(".")[0] == WITHOUT_POSITIONS:
            yield f"positions, which {WITHOUT_POSITIONS} has not; they need {FORMAT}"
        if len(positions) != taken or len(set(positions)) != taken or max(positions, default=0) >= there:
            yield f"its positions are not {taken} different ones of {there}"

    def _file_problems(self, file: PlainFile) -> Iterator[str]:
        if (problem := path_problem(file.path)) is not None:
            yield problem
        if file.literal_bytes > RATIO_FREE_BYTES and file.literal_bytes > MAX_RATIO * file.compressed_bytes:
            yield f"{file.compressed_bytes} bytes give {file.literal_bytes}; a ratio above {MAX_RATIO} is refused"
        if file.offset + file.compressed_bytes > self.template_bytes:
            yield f"lies outside a template of {self.template_bytes} bytes"
        unknown = [index for _, index in file.pieces if index >= len(self.slices)]
        if unknown:
            yield f"no slice {unknown[0]}"
            return
        if sum(literal for literal, _ in file.pieces) > file.literal_bytes:
            yield f"its pieces need more than {file.literal_bytes} literal bytes"
        if file.literal_bytes + sum(self.slice_bytes(index) for _, index in file.pieces) != file.bytes:
            yield f"its literals and slices do not add up to {file.bytes} bytes"

    def to_json(self) -> bytes:
        """Return the recipe as it is written; equal recipes give equal bytes."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), separators=(",", ":")).encode()

    def slice_bytes(self, index: int) -> int:
        """Return how many bytes a slice has."""
        piece = self.slices[index]
        return math.prod(piece.shape) * DTYPES[piece.cast or self._dtype_before_cast(piece)].itemsize

    def _dtype_before_cast(self, piece: Slice) -> Dtype:
        """Return the type of what is cut: a scale makes it float32."""
        return self.tensors[piece.tensor].dtype if piece.scale is None else "float32"
