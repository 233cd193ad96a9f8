"""Inputs on which `dsnet verify` compares a program's two forms."""

from collections.abc import Iterator

import numpy as np

from edge.bundle.manifest import Program, TensorInfo
from edge.runtime.session import Array

PARITY_INPUTS = 3
SEED = 0


def parity_inputs(program: Program) -> Iterator[dict[str, Array]]:
    """Yield PARITY_INPUTS sets of random inputs, the same ones every time."""
    generator = np.random.default_rng(SEED)
    for _ in range(PARITY_INPUTS):
        yield {tensor.name: _sample(generator, tensor) for tensor in program.inputs}


def _sample(generator: np.random.Generator, tensor: TensorInfo) -> Array:
    if tensor.dtype == "int8":
        return generator.integers(-128, 128, tensor.shape, np.int8)
    return generator.standard_normal(tensor.shape, np.float32)
