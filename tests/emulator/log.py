"""What a device was asked, in order, so that tests see what was done, and that nothing was done twice."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class Entry:
    """One request."""

    kind: Literal["command", "push", "pull"]
    what: str
    """The command, or the path on the device."""
    bytes: int = 0
    """What was transferred: of a push or pull the file's bytes, of a command those of its standard output."""
    status: int | None = None
    """A command's exit status; None for one that has not ended."""
    complete: bool = False
    """Whether it went through to its end."""


class Log(list[Entry]):
    """The requests so far."""

    def add(self, kind: Literal["command", "push", "pull"], what: str) -> Entry:
        """Note a request; the entry is filled in while it goes on."""
        entry = Entry(kind, what)
        self.append(entry)
        return entry

    @property
    def commands(self) -> list[str]:
        """Return the commands."""
        return [entry.what for entry in self if entry.kind == "command"]

    @property
    def pushed(self) -> dict[str, int]:
        """Return the bytes that each path received, over all pushes."""
        return self._bytes("push")

    @property
    def pulled(self) -> dict[str, int]:
        """Return the bytes that each path gave, over all pulls."""
        return self._bytes("pull")

    def _bytes(self, kind: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for entry in self:
            if entry.kind == kind:
                found[entry.what] = found.get(entry.what, 0) + entry.bytes
        return found
