"""Zip archives that no honest tool writes, byte by byte, so that they are the same everywhere."""

import struct
import zlib
from dataclasses import dataclass

STORED, DEFLATED = 0, 8
PLAIN_FILE, SYMLINK = 0o100644, 0o120777


@dataclass(frozen=True)
class Entry:
    """One member: its name, its bytes as they lie in the archive, and what the archive claims about them."""

    name: str
    data: bytes
    method: int = STORED
    size: int | None = None
    crc: int | None = None
    mode: int = PLAIN_FILE


def archive(*entries: Entry) -> bytes:
    """Return a .zip of the entries."""
    body, directory = b"", b""
    for entry in entries:
        name = entry.name.encode()
        size = len(entry.data) if entry.size is None else entry.size
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        common = struct.pack("<5H3I2H", 20, 0x800, entry.method, 0, 33, crc, len(entry.data), size, len(name), 0)
        directory += b"PK\1\2" + struct.pack("<H", 3 << 8 | 20) + common
        directory += struct.pack("<3H2I", 0, 0, 0, entry.mode << 16, len(body)) + name
        body += b"PK\3\4" + common + name + entry.data
    counts = struct.pack("<4H2IH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + counts


def deflated_zeros(repeats: int) -> tuple[bytes, int, int]:
    """Return (DEFLATE bytes, size, CRC) of 1 + 258·repeats zeros: 13 bits for 258 of them (RFC 1951, fixed codes)."""
    final_block_fixed_codes, zero, copy_258_from_1, end = "110", "00110000", "1100010100000", "0000000"
    bits = final_block_fixed_codes + zero + copy_258_from_1 * repeats + end
    packed = bytes(int(bits[start : start + 8][::-1], 2) for start in range(0, len(bits), 8))
    size = 1 + 258 * repeats
    return packed, size, zlib.crc32(bytes(size))
