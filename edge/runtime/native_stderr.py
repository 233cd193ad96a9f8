"""Runtimes written in C++ print to descriptor 2 whatever they like; their errors reach us as exceptions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Keep what native code prints ("INFO: Created … XNNPACK delegate") off descriptor 2."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
