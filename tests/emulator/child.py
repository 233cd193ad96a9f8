"""A running command: bytes to its standard input, chunks of its output, its exit status."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import cast

STDOUT, STDERR = 1, 2
CHUNKS_HELD = 64
"""More output than this stays in the pipe, so that the command waits as it would on a phone."""


class Child(asyncio.SubprocessProtocol):
    """Reads both outputs in the order in which they arrive."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """Make one that is not running yet; see `start`."""
        self.transport: asyncio.SubprocessTransport
        self.ended = asyncio.Event()
        self._on_end = on_end
        self._chunks: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def start(
        cls, argv: Sequence[str], environment: Mapping[str, str], merged: bool, on_end: Callable[[], None]
    ) -> "Child":
        """Start a command. `merged` sends standard error where standard output goes; `on_end` is called at the end."""
        loop = asyncio.get_running_loop()
        stderr = asyncio.subprocess.STDOUT if merged else asyncio.subprocess.PIPE
        _, child = await loop.subprocess_exec(
            lambda: cls(on_end),
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=environment,
        )
        return child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note that the command runs."""
        self.transport = cast("asyncio.SubprocessTransport", transport)

    async def next_chunk(self) -> tuple[int, bytes] | None:
        """Return the next output, its stream first; None when the command and whoever has its outputs are gone."""
        chunk = await self._chunks.get()
        self._pause(False)
        return chunk

    async def write(self, data: bytes) -> None:
        """Write to standard input; a command that does not read any more is no error."""
        stdin = cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0))
        if stdin is not None and not stdin.is_closing():
            stdin.write(data)
            await self._writable.wait()

    def close_stdin(self) -> None:
        """End standard input."""
        stdin = self.transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()

    def abandon(self) -> None:
        """Close the pipes; the command goes on until it notices."""
        for number in (0, STDOUT, STDERR):
            pipe = self.transport.get_pipe_transport(number)
            if pipe is not None:
                pipe.close()

    @property
    def status(self) -> int:
        """Return the exit status as a shell gives it."""
        status = self.transport.get_returncode()
        assert status is not None
        return status if status >= 0 else 128 - status

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take output."""
        self._chunks.put_nowait((fd, data))
        self._pause(True)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        """Wake a writer whose reader is gone."""
        if fd == 0:
            self._writable.set()

    def pause_writing(self) -> None:
        """Let writers wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End the output: the command has ended and all of its pipes are closed."""
        self._on_end()
        self.ended.set()
        self._chunks.put_nowait(None)

    def _pause(self, full: bool) -> None:
        if (self._chunks.qsize() > CHUNKS_HELD) is not full:
            return
        for number in (STDOUT, STDERR):
            pipe = cast("asyncio.ReadTransport", self.transport.get_pipe_transport(number))
            if pipe is not None and not pipe.is_closing():
                (pipe.pause_reading if full else pipe.resume_reading)()
