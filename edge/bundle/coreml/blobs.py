"""`weight.bin`, Core ML's blob storage version 2: constants, each behind a header of 64 bytes, all 64-byte aligned.

    file    u32 count, u32 version = 2, 56 zero bytes; then per constant, padding to 64 bytes and
    header  u32 0xDEADBEEF, u32 type, u64 size, u64 absolute offset of the data, u64 0, 32 zero bytes; the data follows

Nothing follows the last constant's data. A program refers to a constant by the offset of its header.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import BundleError

ALIGNMENT = 64
VERSION = 2
SENTINEL = 0xDEADBEEF
FILE_HEADER = struct.Struct("<II56x")
HEADER = struct.Struct("<IIQQQ32x")
MAX_BLOBS = 1 << 16
BLOB_TYPES = {"float16": 1, "float32": 2, "uint8": 3, "int8": 4, "int32": 14}
"""NumPy's name → the type in a header."""


@dataclass(frozen=True)
class Blob:
    """One constant of a weight.bin."""

    type: int
    """See BLOB_TYPES."""
    data: memoryview


def read_blobs(data: bytes) -> dict[int, Blob]:
    """Return every constant by its header's offset, in order; a BundleError unless the file is exactly these."""
    if len(data) < FILE_HEADER.size:
        raise BundleError(f"weight.bin has {len(data)} bytes, not even a header; copy the bundle again")
    count, version = FILE_HEADER.unpack_from(data)
    if version != VERSION or count > MAX_BLOBS:
        raise BundleError(f"weight.bin is of version {version} with {count} constants; this reader knows version 2")
    blobs, view, place = {}, memoryview(data), FILE_HEADER.size
    for number in range(count):
        if place + HEADER.size > len(data):
            raise BundleError(f"weight.bin ends before constant {number} of {count}; copy the bundle again")
        sentinel, kind, size, start, _ = HEADER.unpack_from(data, place)
        if sentinel != SENTINEL or start != place + HEADER.size or start + size > len(data):
            raise BundleError(f"weight.bin: constant {number} at byte {place} does not hold together")
        blobs[place] = Blob(kind, view[start : start + size])
        end = start + size
        place = end + -end % ALIGNMENT
    if (end if count else FILE_HEADER.size) != len(data):
        raise BundleError("weight.bin goes on after its last constant; copy the bundle again")
    return blobs


def write_blobs(blobs: Sequence[Blob]) -> tuple[bytes, list[int]]:
    """Return the file with these constants in this order, and the offset of each one's header."""
    parts: list[bytes | memoryview] = [FILE_HEADER.pack(len(blobs), VERSION)]
    offsets, place = [], FILE_HEADER.size
    for blob in blobs:
        padding = -place % ALIGNMENT
        place += padding
        offsets.append(place)
        parts += [bytes(padding), HEADER.pack(SENTINEL, blob.type, len(blob.data), place + HEADER.size, 0), blob.data]
        place += HEADER.size + len(blob.data)
    return b"".join(parts), offsets
