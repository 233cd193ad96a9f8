"""One connection of an adb server: the greeting, then any number of streams, each with a service at its end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from os import urandom

from tests.emulator.state import DeviceState
from tests.emulator.wire import MAX_DATA, VERSION, Packet, read_packet

OLD_FEATURES = ("cmd",)
FEATURES = ("shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir", "fixed_push_symlink_timestamp", "sendrecv_v2")
AUTH_TOKEN, AUTH_PUBLIC_KEY = 1, 3
TOKEN_BYTES = 20
SECONDS_BETWEEN_LOOKS = 0.02


class StreamClosedError(Exception):
    """The other end closed the stream, or the whole connection is gone."""


class Stream:
    """Bytes in both directions. A write waits until the other end has taken the one before."""

    def __init__(self, connection: "Connection", ours: int, theirs: int) -> None:
        """`ours` and `theirs` are the two ends' numbers."""
        self.ours = ours
        self.theirs = theirs
        self.closed = asyncio.Event()
        self._connection = connection
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = bytearray()
        self._taken = asyncio.Event()
        self._taken.set()

    async def write(self, data: bytes) -> None:
        """Send data. Raises StreamClosedError."""
        for start in range(0, len(data), MAX_DATA):
            await self._taken.wait()
            if self.closed.is_set():
                raise StreamClosedError
            self._taken.clear()
            await self._connection.send(Packet(b"WRTE", self.ours, self.theirs, data[start : start + MAX_DATA]))

    async def pause(self, seconds: float) -> None:
        """Let time pass. Raises StreamClosedError as soon as the other end leaves."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closed.wait(), seconds)
            raise StreamClosedError

    async def settled(self) -> None:
        """Wait until the other end has taken all that was written, or is gone."""
        await self._taken.wait()

    async def read_some(self) -> bytes:
        """Return what arrived next. Raises StreamClosedError."""
        if self._rest:
            data = bytes(self._rest)
            self._rest.clear()
            return data
        data = await self._incoming.get()
        if not data:
            raise StreamClosedError
        return data

    async def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises StreamClosedError."""
        while len(self._rest) < size:
            data = await self._incoming.get()
            if not data:
                raise StreamClosedError
            self._rest += data
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data

    def arrived(self, data: bytes) -> None:
        """Take data that the other end wrote."""
        self._incoming.put_nowait(data)

    def taken(self) -> None:
        """Note that the other end has taken what was written."""
        self._taken.set()

    def lose(self) -> None:
        """Note that the connection is gone, with all that was under way."""
        self._rest.clear()
        while not self._incoming.empty():
            self._incoming.get_nowait()
        self.close()

    def close(self) -> None:
        """Note the end; readers and writers wake up."""
        self.closed.set()
        self._taken.set()
        self._incoming.put_nowait(b"")


Service = Callable[[Stream], Awaitable[None]]


class Connection:
    """Answers one adb server until either side goes away."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        state: DeviceState,
        find_service: Callable[[str], Service | None],
        report: Callable[[BaseException], None],
    ) -> None:
        """`find_service` returns what answers `shell:…`, `sync:` and the like; None refuses. Bugs go to `report`."""
        self._reader = reader
        self._writer = writer
        self._state = state
        self._find_service = find_service
        self._report = report
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._last = 0

    async def serve(self) -> None:
        """Answer packets until the connection is lost."""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._answer(await read_packet(self._reader))
        finally:
            self.drop()

    def drop(self) -> None:
        """Tear the connection like a cable. What commands are running goes on running."""
        self._writer.transport.abort()
        for stream in self._streams.values():
            stream.lose()

    async def finish(self) -> None:
        """Tear the connection, and wait until no service is left."""
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send(self, packet: Packet) -> None:
        """Send a packet. Raises StreamClosedError when the connection is lost."""
        if self._writer.transport.is_closing():
            raise StreamClosedError
        self._writer.write(packet.encode())
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise StreamClosedError from error

    async def _answer(self, packet: Packet) -> None:
        with suppress(StreamClosedError):
            if packet.command == b"CNXN":
                await self._greet()
            elif packet.command == b"AUTH":
                self._spawn(self._authorize(packet.first))
            elif packet.command == b"OPEN":
                await self._open(packet)
            elif packet.second in self._streams:
                await self._pass_on(packet, self._streams[packet.second])

    async def _greet(self) -> None:
        if not self._state.authorized:
            await self.send(Packet(b"AUTH", AUTH_TOKEN, 0, urandom(TOKEN_BYTES)))
            return
        await self.send(Packet(b"CNXN", VERSION, MAX_DATA, banner(self._state).encode()))

    async def _authorize(self, kind: int) -> None:
        """Refuse every key that was seen before; for a new one wait until the user accepts it."""
        if kind == AUTH_PUBLIC_KEY:
            while not self._state.authorized and not self._writer.transport.is_closing():
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        with suppress(StreamClosedError):
            await self._greet()

    async def _open(self, packet: Packet) -> None:
        service = self._find_service(packet.data.rstrip(b"\0").decode(errors="surrogateescape"))
        if service is None:
            await self.send(Packet(b"CLSE", 0, packet.first))
            return
        self._last += 1
        stream = self._streams[self._last] = Stream(self, self._last, packet.first)
        await self.send(Packet(b"OKAY", stream.ours, stream.theirs))
        self._spawn(self._serve_stream(service, stream))

    async def _serve_stream(self, service: Service, stream: Stream) -> None:
        try:
            with suppress(StreamClosedError):
                await service(stream)
        finally:
            self._streams.pop(stream.ours, None)
            if not stream.closed.is_set():
                stream.close()
                with suppress(StreamClosedError):
                    await self.send(Packet(b"CLSE", stream.ours, stream.theirs))

    async def _pass_on(self, packet: Packet, stream: Stream) -> None:
        if packet.command == b"WRTE":
            stream.arrived(packet.data)
            await self.send(Packet(b"OKAY", stream.ours, stream.theirs))
        elif packet.command == b"OKAY":
            stream.taken()
        elif packet.command == b"CLSE":
            stream.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error)


def banner(state: DeviceState) -> str:
    """Return how the device introduces itself."""
    features = FEATURES if state.shell_v2 else OLD_FEATURES
    names = {"ro.product.name": state.product, "ro.product.model": state.model, "ro.product.device": state.device}
    return "device::" + "".join(f"{key}={value};" for key, value in names.items()) + "features=" + ",".join(features)
