"""Files on a device, named by their SHA-256: nothing is copied twice, and what is there is whole."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from common import sha256_bytes, sha256_file
from edge.devices.adb.client import Adb
from edge.errors import DeviceError

ROOT = "/data/local/tmp/dsnet-edge"
"""Where every user of adb may write and run programs."""
SIZE = 'if [ -f "$1" ]; then wc -c < "$1"; fi'
ARRIVED = 'chmod 755 "$1" && mv -f "$1" "$2"'
LINKED = """[ -d "$1" ] && exit; partial="$2"; mkdir -p "$partial"; target="$1"; shift 2
while [ $# -gt 0 ]; do ln -sf "$1" "$partial/$2" || exit; shift 2; done; mv "$partial" "$target\""""
SIZES = 'for file in "$1"/*; do if [ -f "$file" ]; then wc -c < "$file"; fi; done'
PARTS = 'rm -rf "$1"/*.part'


class Store:
    """The folder of ours on one device."""

    def __init__(self, adb: Adb) -> None:
        """Take a device; nothing is done before something is wanted."""
        self._adb = adb
        self._there: dict[str, int] = {}
        self._partial = f".{secrets.token_hex(4)}.part"
        self.pushed_bytes = 0
        """How much was copied; what was there already costs nothing."""

    def ensure(self, path: Path) -> str:
        """Return the path of a file's copy on the device, made now unless it is there.

        It is copied to a name of its own, compared, and then renamed: an interrupted copy never counts. When the device
        goes away and comes back, copying begins again.
        """
        digest, size = sha256_file(path), path.stat().st_size
        remote = f"{ROOT}/{digest}"
        if self._there.get(digest) != size:
            self._adb.persistently(lambda: self._bring(path, remote, size))
            self._there[digest] = size
        return remote

    def folder(self, files: Sequence[Path]) -> str:
        """Return a folder on the device that holds the files under their own names, as libraries must have them."""
        named = {path.name: self.ensure(path) for path in files}
        remote = f"{ROOT}/folder-{sha256_bytes(repr(sorted(named.items())).encode())}"
        links = [part for name, target in named.items() for part in (target, name)]
        self._adb.persistently(lambda: self._adb.script(LINKED, remote, remote + self._partial, *links))
        return remote

    def remove_parts(self) -> None:
        """Remove what interrupted copies have left. What cannot be removed takes space and does no other harm."""
        self._adb.persistently(lambda: self._adb.try_shell(["sh", "-c", PARTS, "sh", ROOT]))

    def clean(self) -> int:
        """Remove everything of ours from the device; returns how many bytes its files had."""
        self._there.clear()
        sizes = self._adb.persistently(lambda: self._adb.script(SIZES, ROOT)).split()
        if not all(re.fullmatch("[0-9]{1,18}", size) for size in sizes):
            raise DeviceError(f"{self._adb.serial}: sizes in {ROOT} cannot be read: {' '.join(sizes)[:100]!r}")
        self._adb.persistently(lambda: self._adb.shell(["rm", "-rf", ROOT]))
        return sum(map(int, sizes))

    def _bring(self, path: Path, remote: str, size: int) -> None:
        if self._adb.script(SIZE, remote).strip() == str(size):
            return
        self._adb.script('mkdir -p "$1"', ROOT)
        partial = remote + self._partial
        try:
            self._adb.push(path, partial)
            self._adb.script(ARRIVED, partial, remote)
        except DeviceError as error:
            if "No space left" in str(error):
                self._adb.try_shell(["rm", "-f", partial])
                raise DeviceError(
                    f"{self._adb.serial}: no space for {path.name} ({size} bytes) in {ROOT}; free some on the device"
                ) from error
            raise
        self.pushed_bytes += size
