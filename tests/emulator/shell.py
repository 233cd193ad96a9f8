"""The services that run commands: `shell,v2:` with its own packets, `shell:` and `exec:` without."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.emulator.child import STDOUT, Child
from tests.emulator.connection import Stream, StreamClosedError
from tests.emulator.faults import Watch
from tests.emulator.log import Entry

PACKET = struct.Struct("<BI")
STDIN, EXIT, CLOSE_STDIN = 0, 3, 4
SDK_WITHOUT_CARRIAGE_RETURNS = 24


@dataclass(frozen=True)
class Command:
    """A running command, and what goes with it."""

    stream: Stream
    child: Child
    entry: Entry
    watch: Watch

    async def run_v2(self) -> None:
        """Pass packets of standard input, output and error, and at the end the exit status."""

        async def feed() -> None:
            while True:
                kind, size = PACKET.unpack(await self.stream.read(PACKET.size))
                data = await self.stream.read(size) if size else b""
                if kind == STDIN:
                    await self.child.write(data)
                elif kind == CLOSE_STDIN:
                    self.child.close_stdin()

        await self._pass(feed, lambda kind, data: PACKET.pack(kind, len(data)) + data)
        await self.stream.write(PACKET.pack(EXIT, 1) + bytes([self.child.status]))

    async def run_plain(self, carriage_returns: bool) -> None:
        """Pass bytes; nobody learns the exit status, and standard input ends only with the stream."""

        async def feed() -> None:
            while True:
                await self.child.write(await self.stream.read_some())

        await self._pass(feed, lambda _, data: data.replace(b"\n", b"\r\n") if carriage_returns else data)

    async def _pass(self, feed: Callable[[], Awaitable[None]], packed: Callable[[int, bytes], bytes]) -> None:
        """Pass input and output until the command has ended, even when nobody listens any more."""
        feeding = asyncio.ensure_future(self._feed_until_closed(feed))
        try:
            if self.watch.part_before_vanishing(b"") is not None:
                await self.watch.vanish()
            while (chunk := await self.child.next_chunk()) is not None:
                with suppress(StreamClosedError):
                    await self._show(*chunk, packed)
        finally:
            feeding.cancel()
        self.entry.status = self.child.status
        self.entry.complete = not self.stream.closed.is_set()

    async def _show(self, kind: int, data: bytes, packed: Callable[[int, bytes], bytes]) -> None:
        part = None
        if kind == STDOUT:
            data = self.watch.spoil(data)
            part = self.watch.part_before_vanishing(data)
            data = data if part is None else part
            self.entry.bytes += len(data)
        for piece in self.watch.pieces(data):
            if self.watch.delay_of_each_byte:
                await self.stream.pause(self.watch.delay_of_each_byte)
            await self.stream.write(packed(kind, piece))
        if part is not None:
            await self.stream.settled()
            await self.watch.vanish()

    async def _feed_until_closed(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Feed standard input; when the stream closes, the command's pipes close as well."""
        with suppress(StreamClosedError):
            await feed()
        self.child.abandon()
