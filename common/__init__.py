"""What every package stands on: the one-line user error and whole-or-nothing files. Imports nothing of the project."""

from common.errors import DsnetError
from common.files import atomic_folder, atomic_write, check_writable, sha256_bytes, sha256_file
from common.numbers import parse_numbers, parse_widths

__all__ = [
    "DsnetError",
    "atomic_folder",
    "atomic_write",
    "check_writable",
    "parse_numbers",
    "parse_widths",
    "sha256_bytes",
    "sha256_file",
]
