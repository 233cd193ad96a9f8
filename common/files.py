"""Files that are whole or absent: a killed process leaves the old content or the new, never a half."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DsnetError

STORAGE_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a write to an open file; they carry no file name."""


def check_writable(target: Path) -> None:
    """Raise a DsnetError unless a file can be written at `target`; for use before long work. Nothing is left behind."""
    try:
        folder = next(parent for parent in target.absolute().parents if parent.exists())
    except OSError as error:
        raise _unwritable(target, error) from error
    _temporary(folder, target).unlink()


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; when the block ends without an error, flush it and move it into place.

    A place that cannot be written to, or that fills up, is a DsnetError that names `target`.
    """
    temporary = _temporary(target.parent, target)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        if error.filename != str(temporary) and error.errno not in STORAGE_FULL:
            raise
        raise _unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; when the block ends without an error, it takes that folder's place.

    A kill in the very moment of the exchange leaves the old folder under a hidden name beside it.
    """
    if target.exists() and not target.is_dir():
        raise DsnetError(f"{target} is a file; name the folder to write")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".old", dir=target.parent) as old:
                target.rename(Path(old) / target.name)
                temporary.rename(target)
        else:
            temporary.rename(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(folder: Path, target: Path) -> Path:
    """Return a new file for `target` in `folder`, which is made if need be."""
    try:
        if target.is_dir():
            raise DsnetError(f"{target} is a folder; name the file to write")
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=folder)
    except OSError as error:
        raise _unwritable(target, error) from error
    os.close(handle)
    return Path(name)


def _unwritable(target: Path, error: OSError) -> DsnetError:
    return DsnetError(f"{target} cannot be written ({error.strerror}); choose another place")


def sha256_bytes(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
