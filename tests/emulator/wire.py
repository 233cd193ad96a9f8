"""adb's packets: six little-endian words, then data."""

import asyncio
import struct
from dataclasses import dataclass

VERSION = 0x01000001
"""Since this version nobody looks at checksums."""
MAX_DATA = 1 << 20
HEADER = struct.Struct("<4s5I")
INVERTED = 0xFFFFFFFF


@dataclass(frozen=True)
class Packet:
    """`first` and `second` are the sender's and the receiver's stream, except in CNXN and AUTH."""

    command: bytes
    first: int
    second: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the packet's bytes."""
        magic = int.from_bytes(self.command, "little") ^ INVERTED
        return HEADER.pack(self.command, self.first, self.second, len(self.data), 0, magic) + self.data


async def read_packet(reader: asyncio.StreamReader) -> Packet:
    """Read one packet. Raises IncompleteReadError at the end."""
    command, first, second, size, _, magic = HEADER.unpack(await reader.readexactly(HEADER.size))
    assert magic == int.from_bytes(command, "little") ^ INVERTED, f"no adb packet: {command!r}"
    assert size <= MAX_DATA, f"a packet of {size} bytes"
    return Packet(command, first, second, await reader.readexactly(size) if size else b"")
