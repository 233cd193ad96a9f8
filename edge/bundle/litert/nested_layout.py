"""Where a shared weight's bytes lie, so that every width is a prefix of one buffer.

For a weight W[O, kh, kw, I] used at levels (O_0, I_0) ⊂ (O_1, I_1) ⊂ … ("L-order"): first all rows of W[:O_0, …,
:I_0]; then, per further level, the new columns of all old rows followed by the new rows in full. In blocks of R
rows × B columns, each stored as [kh, kw, R, B]. LiteRT describes level k of this as a *sparse* tensor: a list of
block rows (a row repeats once per level that extends it), each with its list of block columns. The stock DENSIFY
operator expands it at start-up.

Four cases, cheapest first:
    one level or equal I    a plain prefix of the row-major weight: no sparsity, no DENSIFY
    depthwise [1,kh,kw,C]   stored channel-major; dense "sparsity" with the channel first in the traversal
    and kernels sliced      L-order as well, with blocks of B channels for rows and the kernel's pixels for columns
    everything else         L-order blocks

`block_places` reads all of them back.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
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
        _check_divisible(self.name, "output", self.outs)
        _check_divisible(self.name, "input", self.ins)

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


@dataclass(frozen=True)
class DepthwiseLayout:
    """Where one depthwise weight [C, 1, k, k] lies over its levels, narrow → wide.

    With one kernel size that is channel-major, as the weight is; otherwise L-order.
    """

    name: str
    """The layer, for errors."""
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    """Sides of the square kernels, odd; a smaller one is the centre of a larger one."""

    def __post_init__(self) -> None:
        _check_divisible(self.name, "output", self.channels)

    @property
    def is_plain_prefix(self) -> bool:
        """Return whether LiteRT's own order makes every level a prefix: channels are innermost in it."""
        return self.channels[0] == self.channels[-1] and not self._slices_kernels

    @property
    def _slices_kernels(self) -> bool:
        return self.kernels[0] != self.kernels[-1]

    @property
    def block(self) -> int:
        """Return B: the largest block that divides the channels of every level."""
        return largest_block(self.channels)

    def store(self, weight: Int8) -> Int8:
        """Return the widest weight [C, 1, k, k] as one flat buffer; level k is its first `size(k)` values."""
        if not self._slices_kernels:
            return weight.reshape(-1)
        centre = self.kernels[-1] // 2
        parts = []
        for c0, c1, pixels in (piece for level in self._pieces for piece in level):
            rows, columns = (np.array(pixels) + centre).T
            piece = weight[c0:c1, 0, rows, columns].reshape(-1, self.block, len(pixels))
            parts.append(piece.transpose(0, 2, 1).reshape(-1))
        return np.concatenate(parts)

    def size(self, level: int) -> int:
        """Return how many values the prefix of `level` holds."""
        return self.channels[level] * self.kernels[level] ** 2

    @cached_property
    def _pieces(self) -> list[list[tuple[int, int, list[tuple[int, int]]]]]:
        """Per level, in storage order, what it adds: channels c0 … c1, and their pixels, counted from the centre."""
        levels, c0, k0 = [], 0, 0
        for c1, k1 in zip(self.channels, self.kernels, strict=True):
            wider = [(0, c0, _ring(k0, k1))] if c0 and k1 > k0 else []
            taller = [(c0, c1, _ring(0, k1))] if c1 > c0 else []
            levels.append(wider + taller)
            c0, k0 = c1, k1
        return levels

    def sparsity(self, level: int) -> Any:
        """Return the sparsity table (schema.SparsityParametersT) that reads `level` from its prefix.

        Levels of one kernel size have the index vectors of the widest of them: the file then holds these once.
        """
        kernel, block = self.kernels[level], self.block
        if not self._slices_kernels:
            return depthwise_sparsity(self.channels[level], kernel, kernel)
        table = schema.SparsityParametersT()
        table.traversalOrder, table.blockMap = np.array([0, 3, 1, 2, 4], np.int32), np.array([3], np.int32)
        if kernel == self.kernels[0]:
            table.dimMetadata = [_dense(size) for size in (1, self.channels[level] // block, kernel, kernel, block)]
            return table
        channels: list[int] = []
        rows: list[int] = []
        columns: list[int] = []
        row_segments, column_segments, counts = [0], [0], []
        for pieces in self._pieces[: bisect_right(self.kernels, kernel)]:
            for c0, c1, pixels in pieces:
                for channel in range(c0 // block, c1 // block):
                    channels.append(channel)
                    for row, line in groupby(pixels, key=itemgetter(0)):
                        rows.append(row + kernel // 2)
                        columns += [column + kernel // 2 for _, column in line]
                        column_segments.append(len(columns))
                    row_segments.append(len(rows))
            counts.append(len(channels))
        table.dimMetadata = [
            _dense(1),
            _compressed(np.array([0, counts[level]]), np.array(channels)),
            _compressed(np.array(row_segments), np.array(rows)),
            _compressed(np.array(column_segments), np.array(columns)),
            _dense(block),
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


def _check_divisible(layer: str, what: str, levels: Sequence[int]) -> None:
    if len(set(levels)) > 1 and largest_block(levels) < MIN_SLICED_BLOCK:
        raise BundleError(
            f"layer {layer}: no block of {MIN_SLICED_BLOCK} or more divides every {what} width of "
            f"{sorted(set(levels))}; use widths that are multiples of 8"
        )


def _ring(inner: int, outer: int) -> list[tuple[int, int]]:
    """Return the pixels that a kernel of side `outer` has and one of side `inner` (0: none) has not, row by row."""
    reach = range(-(outer // 2), outer // 2 + 1)
    return [(row, column) for row in reach for column in reach if max(abs(row), abs(column)) > (inner - 1) // 2]


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
