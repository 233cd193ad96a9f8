"""A bundle as a .zip: unpacked to a temporary folder within bounds; packed so that equal bundles give equal bytes."""

import atexit
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from common import atomic_write
from edge.errors import BundleError, NotABundleError

MAX_FILES = 256
MAX_TOTAL_BYTES = 2 << 30
MAX_RATIO = 100
"""Weights hardly compress and JSON compresses about tenfold; DEFLATE itself can reach 1032."""
RATIO_FREE_BYTES = 1 << 20
"""Below this size a high ratio does no harm."""
MAX_DIRECTORY_BYTES = MAX_FILES * 4096
BLOCK_BYTES = 1 << 20
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What `zipfile` raises for archives it cannot read; the last two for features it lacks and for encryption."""
EPOCH = (1980, 1, 1, 0, 0, 0)

_unpacked: set[Path] = set()


def unpack(archive: Path) -> Path:
    """Unpack a bundle's .zip and return the temporary folder that holds its manifest.

    The folder is removed when the process ends. Raises BundleError for anything but plain files within the limits.
    """
    _check_directory_size(archive)
    folder = Path(tempfile.mkdtemp(prefix="dsnet-bundle-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _unpacked.add(folder)
    try:
        with zipfile.ZipFile(archive) as source:
            entries = [entry for entry in source.infolist() if not entry.is_dir()]
            _check_entries(archive, entries)
            for entry in entries:
                _extract(source, entry, folder)
    except UNREADABLE as error:
        raise BundleError(f"{archive}: not a readable .zip: {error}") from error
    return _bundle_folder(folder)


def is_unpacked(root: Path) -> bool:
    """Return whether `root` is a temporary copy that `unpack` made: what is written there is lost."""
    resolved = root.resolve()
    return any(resolved.is_relative_to(folder) for folder in _unpacked)


def pack(root: Path, archive: Path, files: list[str]) -> None:
    """Write the named files of folder `root` to a .zip whose bytes depend on their names and contents alone."""
    with atomic_write(archive) as temporary, zipfile.ZipFile(temporary, "w") as target:
        for name in sorted(set(files)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            # Weights hardly compress, and stored files can be memory-mapped from the archive.
            entry.compress_type = zipfile.ZIP_STORED
            entry.file_size = (root / name).stat().st_size
            with (root / name).open("rb") as file, target.open(entry, "w") as out:
                shutil.copyfileobj(file, out, BLOCK_BYTES)


def path_problem(name: str) -> str | None:
    """Return what is wrong with a file name inside a bundle (relative, forward slashes, no ..), or None."""
    path = PurePosixPath(name)
    if not name or len(name) > 255 or not name.isprintable():
        return f"file name {name[:80]!r} is not 1…255 printable characters"
    if path.is_absolute() or "\\" in name or ":" in name:
        return f"file name {name!r} must be relative to the bundle, with forward slashes"
    if ".." in path.parts or path.as_posix() != name:
        return f"file name {name!r} must stay inside the bundle, without '.' or '..' parts"
    return None


def _check_directory_size(archive: Path) -> None:
    """Bound the central directory before `zipfile` reads all of it; ZIP64 is for files beyond our limits anyway."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22:
        raise NotABundleError(f"{archive}: not a .zip, or its end is missing")
    directory_bytes = struct.unpack_from("<I", tail, end + 12)[0]
    if directory_bytes > MAX_DIRECTORY_BYTES or tail[max(0, end - 20) : end].startswith(b"PK\6\7"):
        raise BundleError(f"{archive}: too many files; a bundle's .zip has at most {MAX_FILES}")


def _check_entries(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_FILES:
        raise BundleError(f"{archive}: {len(entries)} files; a bundle's .zip has at most {MAX_FILES}")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        raise BundleError(f"{archive}: unpacks to {total} bytes; the limit is {MAX_TOTAL_BYTES}")
    names = [PurePosixPath(entry.filename) for entry in entries]
    if len(set(names)) != len(names) or set(names) & {parent for name in names for parent in name.parents}:
        raise BundleError(f"{archive}: holds one name twice")
    if any(entry.header_offset < 0 for entry in entries):
        raise BundleError(f"{archive}: not a readable .zip: a file lies before its start")
    for entry in entries:
        problem = path_problem(entry.orig_filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if problem:
            raise BundleError(f"{archive}: {problem}")
        if kind not in (0, stat.S_IFREG):
            raise BundleError(f"{archive}: {entry.filename!r} is not a plain file (links are refused)")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{archive}: {entry.filename!r} is neither stored nor deflated, which phones cannot read")
        if entry.file_size > RATIO_FREE_BYTES and entry.file_size > MAX_RATIO * entry.compress_size:
            raise BundleError(
                f"{archive}: {entry.filename!r} unpacks {entry.compress_size} bytes to {entry.file_size}; "
                f"a ratio above {MAX_RATIO} is refused"
            )


def _extract(source: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open(entry) as file, target.open("xb") as out:
        shutil.copyfileobj(file, out, BLOCK_BYTES)


def _bundle_folder(folder: Path) -> Path:
    """Return where the manifest lies: at the top of the archive, or in the one folder that was zipped."""
    inner = [path for path in folder.iterdir() if path.is_dir()]
    if not (folder / "manifest.json").exists() and len(inner) == 1:
        return inner[0]
    return folder
