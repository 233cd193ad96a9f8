"""Nested LiteRT weights read back: where each stored block belongs, for tables that come from strangers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.bundle.litert.nested_layout import Index, Int8
from edge.errors import BundleError


@dataclass(frozen=True)
class BlockPlaces:
    """Where the stored blocks of a nested weight belong."""

    grid: tuple[int, ...]
    """How many blocks there are along each direction that indices are given for."""
    block: tuple[int, ...]
    """Shape of one block."""
    axes: tuple[int, ...]
    """The order in which the axes of grid and block, transposed, make the weight."""
    indices: tuple[Index, ...] | None
    """Block i belongs at (indices[0][i], indices[1][i], …) of the grid; None: they lie in the grid's own order."""


def places(stored: int, shape: Sequence[int], sparsity: Any) -> BlockPlaces:
    """Return where each block belongs in the weight that a sparse tensor of this file family stands for.

    stored: number of values in its buffer. shape: [O, kh, kw, I], or [1, kh, kw, C] for depthwise. Tables come from
    strangers: every index is checked, and every value of the weight has exactly one place. Only the table forms of
    `nested_layout` are understood; others are a BundleError. Builds no weight.
    """
    sizes = [int(size) for size in shape]
    if len(sizes) != 4 or min(sizes) < 1:
        raise BundleError(f"a nested weight has four sizes from 1 on, not {sizes}")
    if stored < math.prod(sizes):
        raise BundleError(f"a nested weight of shape {sizes} needs {math.prod(sizes)} values; its buffer has {stored}")
    order, block_map = (
        [] if numbers is None else list(numbers) for numbers in (sparsity.traversalOrder, sparsity.blockMap)
    )
    dimensions = sparsity.dimMetadata
    dense = [int(d.denseSize) if d.format == schema.DimensionType.DENSE else None for d in dimensions]
    outs, kh, kw, ins = sizes
    grid: tuple[int, ...]
    block: tuple[int, ...]
    axes: tuple[int, ...]
    if order == [3, 0, 1, 2] and not block_map and dense == [ins, outs, kh, kw]:
        return BlockPlaces((ins, outs, kh, kw), (), (1, 2, 3, 0), None)
    if order == [0, 3, 1, 2, 4, 5] and block_map == [0, 3] and len(dense) == 6:
        rows_per, columns_per = _blocks_that_fit(sizes, dense[2:], [kh, kw], (outs, ins))
        grid, block, axes = (outs // rows_per, ins // columns_per), (kh, kw, rows_per, columns_per), (0, 4, 2, 3, 1, 5)
        compressed = dimensions[:2]
    elif order == [0, 3, 1, 2, 4] and block_map == [3] and len(dense) == 5 and outs == 1:
        (channels_per,) = _blocks_that_fit(sizes, [dense[0], dense[4]], [1], (ins,))
        grid, block, axes = (ins // channels_per, kh, kw), (channels_per,), (1, 2, 0, 3)
        compressed = dimensions[1:4]
        if dense[1:4] == list(grid):
            return BlockPlaces(grid, block, axes, None)
    else:
        raise BundleError(f"a sparse tensor with traversal order {order} and block map {block_map} is no nested weight")
    indices = _block_indices(compressed, math.prod(grid))
    inside = all(index.min() >= 0 and index.max() < size for index, size in zip(indices, grid, strict=True))
    if not inside or np.unique(np.ravel_multi_index(indices, grid)).size != math.prod(grid):
        raise BundleError(f"nested index vectors of a weight of shape {sizes} point outside it or at one block twice")
    return BlockPlaces(grid, block, axes, indices)


def expand(stored: Int8, shape: Sequence[int], sparsity: Any) -> Int8:
    """Return the dense weight that a sparse tensor of this file family stands for; shapes and errors as `places`."""
    found = places(stored.size, shape, sparsity)
    sizes = [int(size) for size in shape]
    values = stored[: math.prod(sizes)]
    if found.indices is None:
        dense = values.reshape(*found.grid, *found.block)
    else:
        dense = np.empty((*found.grid, *found.block), np.int8)
        dense[found.indices] = values.reshape(-1, *found.block)
    return np.ascontiguousarray(dense.transpose(found.axes)).reshape(sizes)


def _blocks_that_fit(
    sizes: list[int], given: list[int | None], leading: list[int], sides: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the block's sizes, which follow the dense dimensions `leading` and must divide `sides`."""
    blocks = tuple(size or 0 for size in given[len(leading) :])
    fits = all(size >= 1 and side % size == 0 for size, side in zip(blocks, sides, strict=True))
    if given[: len(leading)] != leading or not fits:
        raise BundleError(f"nested blocks {given} do not fit a weight of shape {sizes}")
    return blocks


def _block_indices(dimensions: Sequence[Any], blocks: int) -> tuple[Index, ...]:
    """Return, along each compressed dimension, the index of each of a weight's blocks.

    Index vectors are cut to what `blocks` blocks can use before anything is made of them: they may have any length.
    """
    found: tuple[Index, ...] = ()
    parents = 1
    for dimension in dimensions:
        if (
            dimension.format != schema.DimensionType.SPARSE_CSR
            or dimension.arraySegments is None
            or dimension.arrayIndices is None
        ):
            raise BundleError("a nested weight needs compressed block rows and columns")
        segments, indices = dimension.arraySegments.values, dimension.arrayIndices.values
        starts = np.asarray(segments[: parents + 1], np.int64)
        children = np.diff(starts)
        count = int(starts[-1]) if starts.size == parents + 1 and starts[0] == 0 and (children >= 0).all() else 0
        if not 0 < count <= min(len(indices), blocks):
            raise BundleError(f"nested index vectors do not name the {blocks} blocks of their weight")
        found = (*(np.repeat(index, children) for index in found), np.asarray(indices[:count], np.int64))
        parents = count
    if parents != blocks:
        raise BundleError(f"nested index vectors do not name the {blocks} blocks of their weight")
    return found
