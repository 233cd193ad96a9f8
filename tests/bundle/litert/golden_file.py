"""The golden LiteRT file, and changed versions of it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from edge.bundle import open_bundle
from edge.bundle.litert.flatbuffer import GraphFile, read, write
from edge.bundle.manifest import Artifact
from tests.conftest import REPOSITORY

Change = Callable[[GraphFile], None]
TAIL = "tail_01"
"""The program that the changes below are made to."""


@cache
def artifact() -> Artifact:
    """Return the manifest's entry of the golden file."""
    return open_bundle(REPOSITORY / "tests" / "golden" / "bundle").artifact()


@cache
def content() -> bytes:
    """Return the golden file."""
    return open_bundle(REPOSITORY / "tests" / "golden" / "bundle").verified_bytes(artifact())


def changed(change: Change) -> tuple[bytes, dict[str, int]]:
    """Return the golden file after a change, and each program's root offset in it."""
    file = read(content())
    change(file)
    return write(file, shared=True)


def nested(file: GraphFile) -> Any:
    """Return the nested weight of TAIL."""
    return next(tensor for tensor in file.program(TAIL).graph.tensors if tensor.sparsity is not None)


def constant(file: GraphFile) -> Any:
    """Return the first tensor of TAIL that has an ordinary constant."""
    tensors = file.program(TAIL).graph.tensors
    return next(t for t in tensors if t.sparsity is None and file.constants.data[t.buffer].size)


def with_block_rows(values: list[int]) -> Change:
    """Return the change that gives the nested weight other block rows."""

    def change(file: GraphFile) -> None:
        nested(file).sparsity.dimMetadata[0].arrayIndices.values = np.array(values, np.uint8)

    return change


def with_block_columns(values: list[int]) -> Change:
    """Return the change that gives the nested weight other block columns."""

    def change(file: GraphFile) -> None:
        nested(file).sparsity.dimMetadata[1].arrayIndices.values = np.array(values, np.uint8)

    return change
