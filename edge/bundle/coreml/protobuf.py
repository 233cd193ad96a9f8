"""The wire format of Protocol Buffers, as far as Core ML's model files need it; no generated code, nothing trusted.

https://protobuf.dev/programming-guides/encoding: a message is a sequence of fields, each a tag (number and wire type)
and a value. Parsing keeps order and unknown fields, so a parsed message serialises to the bytes it came from, given
that its varints had no superfluous bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.errors import BundleError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10


@dataclass(frozen=True)
class Field:
    """One field of a message: an int for wire type VARINT, else bytes."""

    number: int
    kind: int
    value: int | bytes


def parse(data: bytes) -> list[Field]:
    """Return the fields of a message in order; a BundleError for bytes that are none."""
    fields, place = [], 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == VARINT:
            value, place = _varint(data, place)
        else:
            size, place = _size(data, place, kind)
            value = data[place : place + size]
            place += size
            if len(value) != size:
                raise BundleError("a model file ends inside a field; copy the bundle again")
        fields.append(Field(number, kind, value))
    return fields


def serialise(fields: Iterable[Field]) -> bytes:
    """Return the bytes of a message."""
    parts = []
    for field in fields:
        parts.append(varint(field.number << 3 | field.kind))
        if isinstance(field.value, int):
            parts.append(varint(field.value))
            continue
        if field.kind == BYTES:
            parts.append(varint(len(field.value)))
        parts.append(field.value)
    return b"".join(parts)


def varint(value: int) -> bytes:
    """Return a number below 2^64 in base 128, least significant group first."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def message(number: int, fields: Iterable[Field]) -> Field:
    """Return a field that holds a message."""
    return Field(number, BYTES, serialise(fields))


def text(number: int, value: str) -> Field:
    """Return a field that holds text."""
    return Field(number, BYTES, value.encode())


def map_order(key: str) -> bytes:
    """Return what to sort a map's keys by so that they lie as protobuf's deterministic serialisation puts them.

    That is by their bytes, a key after those that it begins: no byte of UTF-8 is 255.
    """
    return key.encode() + b"\xff"


def children(fields: Iterable[Field], number: int) -> list[bytes]:
    """Return the values of every field of this number that holds bytes."""
    return [field.value for field in fields if field.number == number and isinstance(field.value, bytes)]


def child(fields: Iterable[Field], number: int) -> bytes:
    """Return the last value of a field that holds bytes, as parsers do; empty where there is none."""
    return (children(fields, number) or [b""])[-1]


def integer(fields: Iterable[Field], number: int) -> int:
    """Return the last value of a varint field; 0, the default, where there is none."""
    return ([field.value for field in fields if field.number == number and isinstance(field.value, int)] or [0])[-1]


def integers(fields: Sequence[Field], number: int) -> list[int]:
    """Return the values of a repeated varint field, packed or not."""
    found: list[int] = []
    for field in fields:
        if field.number != number:
            continue
        if isinstance(field.value, int):
            found.append(field.value)
            continue
        place = 0
        while place < len(field.value):
            value, place = _varint(field.value, place)
            found.append(value)
    return found


def decoded(value: bytes) -> str:
    """Return text; a BundleError for what is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BundleError("a model file holds a name that is not UTF-8; copy the bundle again") from error


def _size(data: bytes, place: int, kind: int) -> tuple[int, int]:
    """Return how many bytes a value of this wire type has and where it starts."""
    if kind == BYTES:
        return _varint(data, place)
    if kind not in (FIXED64, FIXED32):
        raise BundleError(f"a model file holds a field of unknown wire type {kind}; copy the bundle again")
    return (8 if kind == FIXED64 else 4), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count, group in enumerate(data[place : place + MAX_VARINT_BYTES]):
        value |= (group & 127) << 7 * count
        if group < 128:
            return value, place + count + 1
    raise BundleError("a model file holds a number that does not end; copy the bundle again")
