"""The service that transfers files, in both of its versions: STAT, LIST, SEND and RECV."""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from tests.emulator.connection import Stream
from tests.emulator.faults import Faults
from tests.emulator.log import Log
from tests.emulator.sandbox import Sandbox
from tests.emulator.state import DeviceState

REQUEST = struct.Struct("<4sI")
STAT_V1 = struct.Struct("<4s3I")
STAT_V2 = struct.Struct("<4sI2Q4IQ3q")
DENT_V1 = struct.Struct("<4s4I")
DENT_V2 = struct.Struct("<4sI2Q4IQ3qI")
SEND_V2 = struct.Struct("<4s2I")
RECV_V2 = struct.Struct("<4sI")
CHUNK = 64 << 10
CHUNKS_AT_ONCE = 15
"""As many as one packet holds."""
OWNER_READS, OWNER_WRITES = 0o400, 0o200


class Device(Protocol):
    """What transfers need of the device."""

    state: DeviceState
    faults: Faults
    log: Log


class Sync:
    """One `sync:` stream: requests until QUIT."""

    def __init__(self, stream: Stream, sandbox: Sandbox, device: Device) -> None:
        """Answer on `stream`."""
        self.stream = stream
        self.sandbox = sandbox
        self.device = device

    async def serve(self) -> None:
        """Answer requests. Raises StreamClosedError when the other end leaves."""
        answers = {
            b"STAT": self._stat_v1,
            b"LST2": self._lstat,
            b"STA2": self._stat,
            b"LIST": self._list_v1,
            b"LIS2": self._list_v2,
            b"SEND": self._send_v1,
            b"SND2": self._send_v2,
            b"RECV": self._receive,
            b"RCV2": self._receive_v2,
        }
        while True:
            kind, size = REQUEST.unpack(await self.stream.read(REQUEST.size))
            if kind == b"QUIT":
                return
            path = (await self.stream.read(size)).decode(errors="surrogateescape")
            await answers[kind](path)

    async def _stat_v1(self, path: str) -> None:
        try:
            found = self.sandbox.path(path).lstat()
            facts = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        except OSError:
            facts = (0, 0, 0)
        await self.stream.write(STAT_V1.pack(b"STAT", *facts))

    async def _lstat(self, path: str) -> None:
        await self.stream.write(STAT_V2.pack(b"LST2", *self._facts(path, follow=False)))

    async def _stat(self, path: str) -> None:
        await self.stream.write(STAT_V2.pack(b"STA2", *self._facts(path, follow=True)))

    def _facts(self, path: str, follow: bool) -> tuple[int, ...]:
        try:
            return stat_v2(self.sandbox.path(path).stat(follow_symlinks=follow))
        except OSError as error:
            return (error.errno or 0, *[0] * 10)

    async def _list_v1(self, path: str) -> None:
        for name, found in self._entries(path):
            facts = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
            await self.stream.write(DENT_V1.pack(b"DENT", *facts, len(name)) + name)
        await self.stream.write(DENT_V1.pack(b"DONE", 0, 0, 0, 0))

    async def _list_v2(self, path: str) -> None:
        for name, found in self._entries(path):
            await self.stream.write(DENT_V2.pack(b"DNT2", *stat_v2(found), len(name)) + name)
        await self.stream.write(DENT_V2.pack(b"DONE", *[0] * 12))

    def _entries(self, path: str) -> Iterator[tuple[bytes, os.stat_result]]:
        try:
            with os.scandir(self.sandbox.path(path)) as entries:
                for entry in entries:
                    yield os.fsencode(entry.name), entry.stat(follow_symlinks=False)
        except OSError:  # an empty answer is what adbd gives
            return

    async def _send_v1(self, request: str) -> None:
        path, _, mode = request.rpartition(",")
        await self._store(path, int(mode))

    async def _send_v2(self, path: str) -> None:
        _, mode, flags = SEND_V2.unpack(await self.stream.read(SEND_V2.size))
        assert flags == 0, "no compression was offered"
        await self._store(path, mode)

    async def _store(self, path: str, mode: int) -> None:
        """Receive a file. After an error the rest is read and thrown away, as adbd does."""
        entry = self.device.log.add("push", path)
        watch = self.device.faults.watch("push", path)
        place: Path | None = None
        problem = ""
        try:
            place = self._create(path)
        except OSError as error:
            problem = f"couldn't create file: {error.strerror}"
        while True:
            kind, size = REQUEST.unpack(await self.stream.read(REQUEST.size))
            if kind == b"DONE":
                break
            data = await self.stream.read(size)
            part = watch.part_before_vanishing(data)
            kept = data if part is None else part
            entry.bytes += len(kept)
            if place is not None and not self._append(place, kept):
                place.unlink()
                place, problem = None, f"write failed: {os.strerror(errno.ENOSPC)}"
            if part is not None:
                await watch.vanish()
        if place is None:
            await self._fail(problem)
            return
        place.chmod(stat.S_IMODE(mode))
        os.utime(place, (size, size))  # DONE carries the time where DATA has its size
        entry.complete = True
        await self.stream.write(REQUEST.pack(b"OKAY", 0))

    def _append(self, place: Path, data: bytes) -> bool:
        """Write to the end of a file; false when the disk is full."""
        free = self.device.state.free_bytes
        if free is not None:
            if len(data) > free:
                return False
            self.device.state.free_bytes = free - len(data)
        with place.open("ab") as file:
            file.write(data)
        return True

    async def _receive_v2(self, path: str) -> None:
        _, flags = RECV_V2.unpack(await self.stream.read(RECV_V2.size))
        assert flags == 0, "no compression was offered"
        await self._receive(path)

    async def _receive(self, path: str) -> None:
        entry = self.device.log.add("pull", path)
        watch = self.device.faults.watch("pull", path)
        try:
            source = self._open(path)
        except OSError as error:
            await self._fail(f"failed to open file: {error.strerror}")
            return
        with source:
            while data := source.read(CHUNK * CHUNKS_AT_ONCE):
                part = watch.part_before_vanishing(data)
                sent = data if part is None else part
                await self.stream.write(b"".join(in_chunks(sent)))
                entry.bytes += len(sent)
                if part is not None:
                    await self.stream.settled()
                    await watch.vanish()
        entry.complete = True
        await self.stream.write(REQUEST.pack(b"DONE", 0))

    def _create(self, path: str) -> Path:
        """Make an empty file, with its folders, unless its owner may not: this process may be privileged."""
        place = self.sandbox.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        require(place.parent, OWNER_WRITES)
        if place.exists():
            require(place, OWNER_WRITES)
        place.write_bytes(b"")
        return place

    def _open(self, path: str) -> BinaryIO:
        place = self.sandbox.path(path)
        require(place, OWNER_READS)
        return place.open("rb")

    async def _fail(self, message: str) -> None:
        data = message.encode()
        await self.stream.write(REQUEST.pack(b"FAIL", len(data)) + data)


def require(place: Path, right: int) -> None:
    """Raise PermissionError where the owner of a file has not this right."""
    if not place.stat().st_mode & right:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def in_chunks(data: bytes) -> Iterator[bytes]:
    """Yield data as the packets of RECV."""
    for start in range(0, len(data), CHUNK):
        chunk = data[start : start + CHUNK]
        yield REQUEST.pack(b"DATA", len(chunk)) + chunk


def stat_v2(found: os.stat_result) -> tuple[int, ...]:
    """Return the fields of a version 2 answer, no error first."""
    times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
    ids = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid)
    return (0, found.st_dev, found.st_ino, *ids, found.st_size, *times)
