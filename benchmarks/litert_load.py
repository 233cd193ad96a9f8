"""Load one LiteRT file in a fresh process and print what that cost: `python -m benchmarks.litert_load FILE SIGNATURE`.

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


def memory() -> tuple[int, int]:
    """Return (resident bytes, of which mapped files) of this process."""
    info = psutil.Process().memory_info()
    return info.rss, info.shared


def load(path: Path, signatures: list[str]) -> dict[str, Any]:
    """Load `path` and run signatures once, one after the other."""
    before = memory()
    start = time.perf_counter()
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    for name in signatures:
        runner = interpreter.get_signature_runner(name)
        inputs = {key: np.zeros(detail["shape"], detail["dtype"]) for key, detail in runner.get_input_details().items()}
        runner(**inputs)
    load_ms = (time.perf_counter() - start) * 1e3
    after = memory()
    return {"load_ms": load_ms, "resident_bytes": after[0] - before[0], "file_bytes": after[1] - before[1]}


if __name__ == "__main__":
    print(json.dumps(load(Path(sys.argv[1]), sys.argv[2:])))
