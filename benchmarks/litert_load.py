"""Load one LiteRT program in a fresh process and print the cost: `python -m benchmarks.litert_load FILE SIGNATURE`.

With `--hydrate`, FILE is a nested file: the plain file is rebuilt and written first, as part of the time.

Prints JSON: load_ms (construct, allocate, first run: everything before the second image), resident_bytes (growth of
this process's resident set, of which file_bytes are clean pages of the mapped file that the system may drop).
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
from ai_edge_litert.interpreter import Interpreter

from edge.bundle.litert.hydrate import hydrate_program


def memory() -> tuple[int, int]:
    """Return (resident bytes, of which mapped files) of this process."""
    info = psutil.Process().memory_info()
    return info.rss, info.shared


def load(path: Path, signature: str, hydrate: bool) -> dict[str, Any]:
    """Load one program of `path` and run it once."""
    before = memory()
    start = time.perf_counter()
    if hydrate:
        plain = path.with_name(f"{signature}-hydrated.tflite")
        plain.write_bytes(hydrate_program(path.read_bytes(), signature))
        path = plain
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(signature)
    runner(**{key: np.zeros(detail["shape"], detail["dtype"]) for key, detail in runner.get_input_details().items()})
    load_ms = (time.perf_counter() - start) * 1e3
    after = memory()
    return {"load_ms": load_ms, "resident_bytes": after[0] - before[0], "file_bytes": after[1] - before[1]}


if __name__ == "__main__":
    print(json.dumps(load(Path(sys.argv[1]), sys.argv[2], "--hydrate" in sys.argv)))
