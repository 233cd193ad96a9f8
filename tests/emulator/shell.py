"""The services that run commands: `shell,v2:` with its own packets, `shell:` and `exec:` without."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.emulator.child import STDOUT, Child
from tests.emulator.connection import Stream, StreamClosedError
from tests.emulator.log import Entry

PACKET = struct.Struct("<BI")
STDIN, EXIT, CLOSE_STDIN = 0, 3, 4
SDK_WITHOUT_CARRIAGE_RETURNS = 24


async def run_v2(stream: Stream, child: Child, entry: Entry) -> None:
    """Pass packets of standard input, output and error, and at the end the exit status."""

    async def feed() -> None:
        while True:
            kind, size = PACKET.unpack(await stream.read(PACKET.size))
            data = await stream.read(size) if size else b""
            if kind == STDIN:
                await child.write(data)
            elif kind == CLOSE_STDIN:
                child.close_stdin()

    def packed(kind: int, data: bytes) -> bytes:
        return PACKET.pack(kind, len(data)) + data

    async def show(kind: int, data: bytes) -> None:
        await stream.write(packed(kind, data))

    await _pass(child, entry, feed, show)
    await stream.write(packed(EXIT, bytes([child.status])))


async def run_plain(stream: Stream, child: Child, entry: Entry, carriage_returns: bool) -> None:
    """Pass bytes; nobody learns the exit status, and standard input ends only with the stream."""

    async def feed() -> None:
        while True:
            await child.write(await stream.read_some())

    async def show(kind: int, data: bytes) -> None:  # noqa: ARG001
        await stream.write(data.replace(b"\n", b"\r\n") if carriage_returns else data)

    await _pass(child, entry, feed, show)


async def _pass(
    child: Child,
    entry: Entry,
    feed: Callable[[], Awaitable[None]],
    show: Callable[[int, bytes], Awaitable[None]],
) -> None:
    """Pass input and output until the command has ended. A stream that closes leaves the command running."""
    feeding = asyncio.ensure_future(_feed_until_closed(child, feed))
    try:
        while (chunk := await child.next_chunk()) is not None:
            kind, data = chunk
            await show(kind, data)
            entry.bytes += len(data) if kind == STDOUT else 0
    finally:
        feeding.cancel()
    entry.status = child.status
    entry.complete = True


async def _feed_until_closed(child: Child, feed: Callable[[], Awaitable[None]]) -> None:
    """Feed standard input; when the stream closes, the command's pipes close as well."""
    with suppress(StreamClosedError):
        await feed()
    child.abandon()
