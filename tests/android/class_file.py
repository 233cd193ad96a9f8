"""What a compiled class says of itself: its name, what it extends, and every name that it mentions (JVMS 17, 4.4)."""

import struct
from dataclasses import dataclass

UTF8, CLASS = 1, 7
BYTES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Of a constant after its tag, for every tag but UTF8."""
TWO_ENTRIES = (5, 6)
"""Tags of constants that take two numbers of the pool."""


@dataclass(frozen=True)
class ClassFile:
    """Names with slashes, as in the file."""

    name: str
    superclass: str
    mentioned: frozenset[str]


def read_class(data: bytes) -> ClassFile:
    """Return what the class file in `data` says."""
    (count,) = struct.unpack_from(">H", data, 8)
    texts, classes = {}, {}
    at, number = 10, 1
    while number < count:
        tag = data[at]
        (value,) = struct.unpack_from(">H", data, at + 1)
        if tag == UTF8:
            texts[number] = data[at + 3 : at + 3 + value].decode("utf-8", errors="replace")
        elif tag == CLASS:
            classes[number] = value
        at += 3 + value if tag == UTF8 else 1 + BYTES[tag]
        number += 2 if tag in TWO_ENTRIES else 1
    _, this, parent = struct.unpack_from(">3H", data, at)
    return ClassFile(texts[classes[this]], texts[classes[parent]], frozenset(texts.values()))
