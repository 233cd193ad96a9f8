"""Run LiteRT bytes with the stock interpreter, during conversion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

Outputs = dict[str, NDArray[Any]]


def run_program(
    data: bytes,
    program: str,
    inputs: Sequence[Mapping[str, NDArray[Any]]],
    root_offset: int | None = None,
    num_threads: int = 1,
) -> list[Outputs]:
    """Return one program's outputs for each set of named inputs.

    With a root offset, only that root of the file is loaded. Comparisons for equality want one thread.
    """
    if root_offset is not None:
        data = root_offset.to_bytes(4, "little") + data[4:]
    interpreter = Interpreter(model_content=data, num_threads=num_threads)
    interpreter.allocate_tensors()  # before the runner is made, or older runtimes skip XNNPACK
    runner = interpreter.get_signature_runner(program)
    return [{name: np.array(value) for name, value in runner(**sample).items()} for sample in inputs]
