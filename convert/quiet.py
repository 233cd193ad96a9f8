"""Keep exporters from talking over our output: they print from Python, from C++, and before any log level applies."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Send everything written to the process's stdout and stderr to nowhere; if the block fails, show it after all."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile("w+", errors="replace") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Python's own streams too: in a notebook or a test they are not the process's.
            with _descriptors_to(sink.fileno()), redirect_stdout(sink), redirect_stderr(sink):
                yield
        except Exception:
            sink.seek(0)
            sys.stderr.write(sink.read())
            raise


@contextmanager
def _descriptors_to(target: int) -> Iterator[None]:
    """Point file descriptors 1 and 2 at another file for a while: C++ writes there."""
    kept = os.dup(1), os.dup(2)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
