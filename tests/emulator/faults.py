"""What can go wrong with a device, and exactly when."""

import stat
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Literal

Kind = Literal["command", "push", "pull"]
GARBAGE = bytes(range(256))
"""Neither UTF-8 nor a number, with line ends and zero bytes in it."""


@dataclass(eq=False)
class Fault:
    """One fault, which happens once, at a point of the `nth` request of its kind whose text has `match` in it."""

    kind: Kind
    match: str
    action: Literal["vanish", "vanish afterwards", "truncate", "garble", "hang", "slow"]
    at: int = 0
    """After as many bytes of the file, or of the command's standard output."""
    lines: int | None = None
    """Or after as many lines of the output."""
    nth: int = 1
    back_after: float | None = None
    """Seconds until the device comes back by itself; None is never."""
    before: float = 0.0
    """Seconds until a slow command begins."""
    each: float = 0.0
    """Seconds before every byte of a slow command's output."""
    happened: Event = field(default_factory=Event)


class Watch:
    """One request, and the faults that it runs into."""

    def __init__(self, faults: list[Fault], delay: float, vanish: Callable[[Fault], Coroutine[Any, Any, None]]) -> None:
        """`vanish` takes the device away."""
        slow = [fault for fault in faults if fault.action == "slow"]
        self.delay = delay + sum(fault.before for fault in slow)
        self.delay_of_each_byte = sum(fault.each for fault in slow)
        self._faults = faults
        self._vanish = vanish
        self._bytes = 0
        self._lines = 0
        for fault in slow:
            fault.happened.set()

    @property
    def hangs(self) -> bool:
        """Tell whether the command does nothing for ever."""
        fault = self._first("hang")
        if fault is not None:
            fault.happened.set()
        return fault is not None

    def part_before_vanishing(self, data: bytes) -> bytes | None:
        """Return the part of `data` that comes through before the device vanishes; None when all does."""
        part = None
        for fault in self._faults:
            if fault.happened.is_set():
                continue
            if fault.action == "vanish" and (cut := self._point(fault, data)) is not None:
                part = data[:cut]
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        return part

    def pieces(self, data: bytes) -> list[bytes]:
        """Return output as it comes: byte by byte from a slow command, else at once."""
        size = 1 if self.delay_of_each_byte else len(data)
        return [data[start : start + size] for start in range(0, len(data), size or 1)]

    async def vanish(self) -> None:
        """Take the device away now."""
        fault = self._first("vanish")
        assert fault is not None
        await self._vanish(fault)

    async def end(self) -> None:
        """Note that the request has been answered."""
        fault = self._first("vanish afterwards")
        if fault is not None:
            await self._vanish(fault)

    def spoil(self, data: bytes) -> bytes:
        """Return what arrives instead of the next bytes of output."""
        for fault in self._faults:
            if fault.action not in ("truncate", "garble"):
                continue
            start = 0 if fault.happened.is_set() else self._point(fault, data)
            if start is None:
                continue
            fault.happened.set()
            spoilt = len(data) - start
            data = data[:start] + (garbage(spoilt) if fault.action == "garble" else b"")
        return data

    def _point(self, fault: Fault, data: bytes) -> int | None:
        """Return where in the next `data` the fault happens."""
        if fault.lines is not None:
            missing = fault.lines - self._lines
            if missing > data.count(b"\n"):
                return None
            return sum(map(len, data.splitlines(keepends=True)[: max(missing, 0)]))
        return max(fault.at - self._bytes, 0) if fault.at <= self._bytes + len(data) else None

    def _first(self, action: str) -> Fault | None:
        return next((fault for fault in self._faults if fault.action == action), None)


class Faults:
    """The faults to come. Each method returns one, whose `happened` is set once it has taken place."""

    def __init__(self, folder: Path, vanish: Callable[[Fault], Coroutine[Any, Any, None]]) -> None:
        """`folder` is the device's storage."""
        self.delay = 0.0
        """Seconds that the device waits before it answers a request."""
        self._folder = folder
        self._vanish = vanish
        self._planned: list[Fault] = []
        self._modes: dict[Path, int] = {}

    def vanish(
        self,
        kind: Kind,
        match: str = "",
        *,
        at: int = 0,
        lines: int | None = None,
        nth: int = 1,
        back_after: float | None = None,
    ) -> Fault:
        """The cable is pulled in mid-transfer or mid-command. What runs on the device goes on running."""
        return self._plan(Fault(kind, match, "vanish", at, lines, nth, back_after))

    def vanish_after(self, match: str = "", *, nth: int = 1, back_after: float | None = None) -> Fault:
        """The cable is pulled once a command has been answered completely."""
        return self._plan(Fault("command", match, "vanish afterwards", nth=nth, back_after=back_after))

    def truncate(self, match: str, *, at: int = 0, lines: int | None = None, nth: int = 1) -> Fault:
        """A command's standard output ends early; its exit status does not show it."""
        return self._plan(Fault("command", match, "truncate", at, lines, nth))

    def garble(self, match: str, *, at: int = 0, lines: int | None = None, nth: int = 1) -> Fault:
        """A command's standard output becomes garbage of the same length."""
        return self._plan(Fault("command", match, "garble", at, lines, nth))

    def hang(self, match: str, *, nth: int = 1) -> Fault:
        """A command never does anything, not even end when its input does."""
        return self._plan(Fault("command", match, "hang", nth=nth))

    def slow(self, match: str, *, before: float = 0.0, each: float = 0.0, nth: int = 1) -> Fault:
        """A command begins late and its output trickles, byte by byte; but all of it comes."""
        return self._plan(Fault("command", match, "slow", nth=nth, before=before, each=each))

    def deny(self, path: str) -> None:
        """Make a file or folder of the device read-only, for its owner as well; a missing folder is made."""
        place = self._folder / path.lstrip("/")
        if not place.exists():
            place.mkdir(parents=True)
        mode = stat.S_IMODE(place.stat().st_mode)
        self._modes.setdefault(place, mode)
        place.chmod(mode & ~0o222)

    def allow(self) -> None:
        """Undo every `deny`."""
        for place, mode in self._modes.items():
            if place.exists():
                place.chmod(mode)
        self._modes.clear()

    def watch(self, kind: Kind, what: str) -> Watch:
        """Return the faults of a request that begins now."""
        mine = []
        for fault in self._planned:
            if fault.kind == kind and fault.match in what:
                fault.nth -= 1
                if fault.nth == 0:
                    mine.append(fault)
        self._planned = [fault for fault in self._planned if fault not in mine]
        return Watch(mine, self.delay, self._vanish)

    def _plan(self, fault: Fault) -> Fault:
        self._planned.append(fault)
        return fault


def garbage(size: int) -> bytes:
    """Return so many bytes of garbage."""
    return (GARBAGE * (size // len(GARBAGE) + 1))[:size]
