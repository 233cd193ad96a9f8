"""Where a shared weight's bytes lie, so that every width is a prefix of one buffer.

For a weight W[O, kh, kw, I] used at levels (O_0, I_0) ⊂ (O_1, I_1) ⊂ … ("L-order"): first all rows of W[:O_0, …,
:I_0]; then, per further level, the new columns of all old rows followed by the new rows in full. In blocks of R
rows × B columns, each stored as [kh, kw, R, B]. LiteRT describes level k of this as a *sparse* tensor: a list of
block rows (a row repeats once per level that extends it), each with its list of block columns. The stock DENSIFY
operator expands it at start-up.

Three cases, cheapest first:
    one level or equal I    a plain prefix of the row-major weight: no sparsity, no DENSIFY
    depthwise [1,kh,kw,C]   stored channel-major; dense "sparsity" with the channel first in the traversal
    everything else         L-order blocks
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edge.errors import BundleError

BLOCKS = (32, 16, 8, 4, 2, 1)
MIN_SLICED_BLOCK = 4
"""Smallest block along a dimension that widths slice: below it the index vectors outgrow the weights they describe."""

Int8 = NDArray[np.int8]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class NestedLayout:
    """L-order of one weight [O, kh, kw, I] over its levels, narrow → wide."""

    name: str
    """The layer, for errors."""
    outs: tuple[int, ...]
    ins: tuple[int, ...]

    def __post_init__(self) -> None:
        for what, levels in (("output", self.outs), ("input", self.ins)):
            if len(set(levels)) > 1 and largest_block(levels) < MIN_SLICED_BLOCK:
                raise BundleError(
                    f"layer {self.name}: no block of {MIN_SLICED_BLOCK} or more divides every {what} width of "
                    f"{sorted(set(levels))}; use widths that are multiples of 8"
                )

    @property
    def is_plain_prefix(self) -> bool:
        """Return whether row-major order already makes every level a prefix (only outputs are sliced)."""
        return len(set(self.ins)) == 1

    @property
    def block(self) -> tuple[int, int]:
        """Return (R, B): the largest blocks that divide every level."""
        return largest_block(self.outs), largest_block(self.ins)

    def store(self, weight: Int8) -> Int8:
        """Return the widest weight [O, kh, kw, I] as one flat buffer; level k is its first `size(k, kh·kw)` values."""
        if self.is_plain_prefix:
            return weight.reshape(-1)
        (rows, columns), (_, kh, kw, _) = self.block, weight.shape
        parts = []
        for r0, r1, c0, c1 in (piece for level in self._pieces for piece in level):
            piece = weight[r0:r1, :, :, c0:c1].reshape((r1 - r0) // rows, rows, kh, kw, (c1 - c0) // columns, columns)
            parts.append(piece.transpose(0, 4, 2, 3, 1, 5).reshape(-1))
        return np.concatenate(parts)

    def size(self, level: int, taps: int) -> int:
        """Return how many values the prefix of `level` holds; `taps` = kh·kw."""
        return self.outs[level] * self.ins[level] * taps

    @cached_property
    def _pieces(self) -> list[list[tuple[int, int, int, int]]]:
        """Per level, the rectangles (r0, r1, c0, c1) it adds, in storage order."""
        levels, o0, i0 = [], 0, 0
        for o1, i1 in zip(self.outs, self.ins, strict=True):
            wider = [(0, o0, i0, i1)] if o0 and i1 > i0 else []
            taller = [(o0, o1, 0, i1)] if o1 > o0 else []
            levels.append(wider + taller)
            o0, i0 = o1, i1
        return levels

    @cached_property
    def _index(self) -> tuple[Index, Index, Index, list[int]]:
        """Block rows, their segments into block columns, block columns; and per level the number of its block rows."""
        rows_per, columns_per = self.block
        rows: list[int] = []
        columns: list[int] = []
        segments, counts = [0], []
        for level in self._pieces:
            for r0, r1, c0, c1 in level:
                for row in range(r0 // rows_per, r1 // rows_per):
                    rows.append(row)
                    columns.extend(range(c0 // columns_per, c1 // columns_per))
                    segments.append(len(columns))
            counts.append(len(rows))
        return np.array(rows), np.array(segments), np.array(columns), counts

    def sparsity(self, level: int, kh: int, kw: int) -> Any:
        """Return the sparsity table (schema.SparsityParametersT) that reads `level` from its prefix."""
        rows, segments, columns, counts = self._index
        rows_per, columns_per = self.block
        n = counts[level]
        table = schema.SparsityParametersT()
        table.traversalOrder = np.array([0, 3, 1, 2, 4, 5], np.int32)
        table.blockMap = np.array([0, 3], np.int32)
        table.dimMetadata = [
            _compressed(np.array([0, n]), rows[:n]),
            _compressed(segments[: n + 1], columns[: segments[n]]),
            *(_dense(size) for size in (kh, kw, rows_per, columns_per)),
        ]
        return table


def depthwise_sparsity(channels: int, kh: int, kw: int) -> Any:
    """Return the table that reads a depthwise filter [1, kh, kw, C] from channel-major bytes [C, 1, kh, kw]."""
    table = schema.SparsityParametersT()
    table.traversalOrder = np.array([3, 0, 1, 2], np.int32)
    table.dimMetadata = [_dense(size) for size in (channels, 1, kh, kw)]
    return table


def largest_block(levels: Sequence[int]) -> int:
    """Return the largest block size that divides every level."""
    return next(block for block in BLOCKS if all(level % block == 0 for level in levels))


@dataclass(frozen=True)
class BlockPlaces:
    """Where the stored blocks of a nested weight belong: block i at row `rows[i]`, column `columns[i]` of the grid."""

    grid: tuple[int, int]
    block: tuple[int, int]
    """(R, B): rows and columns of one block."""
    rows: Index
    columns: Index


def places(stored: int, shape: Sequence[int], sparsity: Any) -> BlockPlaces | None:
    """Return where each block belongs in the weight that a sparse tensor of this file family stands for.

    stored: number of values in its buffer. shape: [O, kh, kw, I]; or [1, kh, kw, C] for depthwise, whose values have no
    blocks (None). Tables come from strangers: every index is checked, and every value of the weight has exactly one
    place. Only the two table forms above are understood; others are a BundleError. Builds no weight.
    """
    sizes = [int(size) for size in shape]
    if len(sizes) != 4 or min(sizes) < 1:
        raise BundleError(f"a nested weight has four sizes from 1 on, not {sizes}")
    if stored < math.prod(sizes):
        raise BundleError(f"a nested weight of shape {sizes} needs {math.prod(sizes)} values; its buffer has {stored}")
    order, block_map = (
        [] if numbers is None else list(numbers) for numbers in (sparsity.traversalOrder, sparsity.blockMap)
    )
    dense = [int(d.denseSize) if d.format == schema.DimensionType.DENSE else None for d in sparsity.dimMetadata]
    outs, kh, kw, ins = sizes
    if order == [3, 0, 1, 2] and not block_map and dense == [ins, outs, kh, kw]:
        return None
    if order != [0, 3, 1, 2, 4, 5] or block_map != [0, 3] or len(dense) != 6:
        raise BundleError(f"a sparse tensor with traversal order {order} and block map {block_map} is no nested weight")
    taps, block = dense[2:4], dense[4:]
    rows_per, columns_per = (size or 0 for size in block)
    if taps != [kh, kw] or rows_per < 1 or columns_per < 1 or outs % rows_per or ins % columns_per:
        raise BundleError(f"nested blocks {[*taps, *block]} do not fit a weight of shape {sizes}")
    grid = outs // rows_per, ins // columns_per
    rows, columns = _block_indices(sparsity.dimMetadata, grid[0] * grid[1])
    inside = rows.min() >= 0 and columns.min() >= 0 and rows.max() < grid[0] and columns.max() < grid[1]
    if not inside or np.unique(rows * grid[1] + columns).size != rows.size:
        raise BundleError(f"nested index vectors of a weight of shape {sizes} point outside it or at one block twice")
    return BlockPlaces(grid, (rows_per, columns_per), rows, columns)


def expand(stored: Int8, shape: Sequence[int], sparsity: Any) -> Int8:
    """Return the dense weight that a sparse tensor of this file family stands for; shapes and errors as `places`."""
    found = places(stored.size, shape, sparsity)
    outs, kh, kw, ins = (int(size) for size in shape)
    values = stored[: outs * kh * kw * ins]
    if found is None:
        return values.reshape(ins, outs, kh, kw).transpose(1, 2, 3, 0)
    dense = np.empty((*found.grid, kh, kw, *found.block), np.int8)
    dense[found.rows, found.columns] = values.reshape(-1, kh, kw, *found.block)
    return np.ascontiguousarray(dense.transpose(0, 4, 2, 3, 1, 5)).reshape(outs, kh, kw, ins)


def _block_indices(dimensions: Sequence[Any], blocks: int) -> tuple[Index, Index]:
    """Return the block row and the block column of each of a weight's blocks.

    Index vectors are cut to what `blocks` blocks can use before anything is made of them: they may have any length.
    """
    for dimension in dimensions[:2]:
        if (
            dimension.format != schema.DimensionType.SPARSE_CSR
            or dimension.arraySegments is None
            or dimension.arrayIndices is None
        ):
            raise BundleError("a nested weight needs compressed block rows and columns")
    outer, rows, segments, columns = (
        vector.values for dimension in dimensions[:2] for vector in (dimension.arraySegments, dimension.arrayIndices)
    )
    n = int(outer[1]) if len(outer) == 2 and outer[0] == 0 else 0
    if not 0 < n <= min(len(rows), len(segments) - 1, blocks):
        raise BundleError(f"nested index vectors do not describe a weight of {blocks} blocks")
    starts = np.asarray(segments[: n + 1], np.int64)
    if starts[0] != 0 or (np.diff(starts) < 0).any() or starts[n] != blocks or blocks > len(columns):
        raise BundleError(f"nested index vectors do not name the {blocks} blocks of their weight")
    return np.repeat(np.asarray(rows[:n], np.int64), np.diff(starts)), np.asarray(columns[:blocks], np.int64)


def _dense(size: int) -> Any:
    dimension = schema.DimensionMetadataT()
    dimension.format, dimension.denseSize = schema.DimensionType.DENSE, size
    return dimension


def _compressed(segments: Index, indices: Index) -> Any:
    dimension = schema.DimensionMetadataT()
    dimension.format = schema.DimensionType.SPARSE_CSR
    dimension.arraySegmentsType, dimension.arraySegments = _vector(segments)
    dimension.arrayIndicesType, dimension.arrayIndices = _vector(indices)
    return dimension


def _vector(values: Index) -> tuple[int, Any]:
    """Return the narrowest index vector that holds the values."""
    kinds = (
        (1 << 8, schema.SparseIndexVector.Uint8Vector, schema.Uint8VectorT, np.uint8),
        (1 << 16, schema.SparseIndexVector.Uint16Vector, schema.Uint16VectorT, np.uint16),
        (1 << 31, schema.SparseIndexVector.Int32Vector, schema.Int32VectorT, np.int32),
    )
    limit = int(values.max(initial=0))
    _, kind, make, dtype = next(entry for entry in kinds if limit < entry[0])
    vector = make()
    vector.values = values.astype(dtype)
    return kind, vector
