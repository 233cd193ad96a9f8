"""Whether a runtime may open a LiteRT file.

Stock runtimes verify a flatbuffer's offsets, but trust what its numbers mean: a sparse index, a tensor's number or a
shape that lies makes them read and write out of bounds, hang or exhaust memory. So every number that they follow is
checked here, before one opens the file. No weight is expanded for it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.bundle.litert.block_places import places
from edge.bundle.litert.flatbuffer import Constants, GraphFile, Program, doubting
from edge.bundle.manifest import MAX_ELEMENTS
from edge.errors import BundleError

DENSIFY = schema.BuiltinOperator.DENSIFY
MAX_RANK = 8
ELEMENT_BYTES = {
    schema.TensorType.BOOL: 1,
    schema.TensorType.INT8: 1,
    schema.TensorType.UINT8: 1,
    schema.TensorType.INT16: 2,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT32: 4,
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.INT64: 8,
}
"""Types that programs may hold. Others have no fixed size: strings, for one, carry offsets of their own."""


@doubting()
def check_sound(file: GraphFile) -> None:
    """Raise a BundleError that names program and tensor (or operator) unless a runtime may open these programs.

    Every shape is bounded, every index in range, every constant as long as its tensor needs and never written to, every
    value given before it is read, and every nested weight as `block_places.places` demands.
    """
    for program in file.programs:
        with _at(f"program {program.name}"):
            _check_program(program, file.constants)


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{place}: {error}") from error


def _check_program(program: Program, constants: Constants) -> None:
    tensors = program.graph.tensors
    expanded = 0
    for number, tensor in enumerate(tensors):
        with _at(f"tensor {number}"):
            expanded += _check_tensor(tensor, constants)
    if expanded > MAX_ELEMENTS:
        raise BundleError(f"its nested weights have {expanded} elements in all; the limit is {MAX_ELEMENTS}")
    with _at("inputs"):
        _check_written(program.graph.inputs, tensors, constants)
    with _at("outputs"):
        _check_numbers(program.graph.outputs, 0, len(tensors))
    known = {number for number, tensor in enumerate(tensors) if constants.data[tensor.buffer].size}
    known.update(map(int, program.graph.inputs))
    for number, operator in enumerate(program.graph.operators):
        with _at(f"operator {number}"):
            _check_operator(operator, program, constants)
            _check_known(operator.inputs, known)
        known.update(map(int, operator.outputs))
    with _at("outputs"):
        _check_known(program.graph.outputs, known)


def _check_tensor(tensor: Any, constants: Constants) -> int:
    """Return how many elements are expanded for this tensor when the runtime opens it: 0 unless it is nested."""
    elements = _elements(tensor)
    if tensor.type not in ELEMENT_BYTES:
        raise BundleError(f"type {tensor.type}; programs hold types {', '.join(map(str, sorted(ELEMENT_BYTES)))}")
    if tensor.buffer >= len(constants.data):
        raise BundleError(f"constant {tensor.buffer}; the file has {len(constants.data)}")
    _check_quantization(tensor)
    stored = constants.data[tensor.buffer].size
    if tensor.sparsity is not None:
        if tensor.type != schema.TensorType.INT8:
            raise BundleError(f"a nested weight of type {tensor.type}; they are int8")
        places(stored, tensor.shape, tensor.sparsity)
        return elements
    needed = elements * ELEMENT_BYTES[tensor.type]
    if 0 < stored < needed:
        raise BundleError(f"needs {needed} bytes; its constant has {stored}")
    return 0


def _elements(tensor: Any) -> int:
    shape = () if tensor.shape is None else tensor.shape
    if len(shape) > MAX_RANK:
        raise BundleError(f"{len(shape)} dimensions; the limit is {MAX_RANK}")
    sizes = [int(size) for size in shape]
    if min(sizes, default=1) < 1 or math.prod(sizes) > MAX_ELEMENTS:
        raise BundleError(f"shape {sizes}; sizes start at 1 and the limit is {MAX_ELEMENTS} elements")
    return math.prod(sizes)


def _check_quantization(tensor: Any) -> None:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) <= 1:
        return
    axis, scales = quantization.quantizedDimension, len(quantization.scale)
    if not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != scales:
        raise BundleError(f"{scales} scales along dimension {axis} do not fit shape {tensor.shape.tolist()}")


def _check_operator(operator: Any, program: Program, constants: Constants) -> None:
    tensors = program.graph.tensors
    if not operator.opcodeIndex < len(program.codes):
        raise BundleError(f"operator code {operator.opcodeIndex}; the file has {len(program.codes)}")
    _check_numbers(operator.inputs, -1, len(tensors))
    _check_numbers(operator.intermediates, 0, len(tensors))
    _check_written(operator.outputs, tensors, constants)
    if program.codes[operator.opcodeIndex].builtinCode == DENSIFY:
        source, target = (_only(side, tensors) for side in (operator.inputs, operator.outputs))
        if source.sparsity is None or source.type != target.type or not np.array_equal(source.shape, target.shape):
            raise BundleError("DENSIFY must make a nested weight into a dense one of the same shape and type")


def _only(numbers: Any, tensors: list[Any]) -> Any:
    if len(numbers) != 1 or numbers[0] < 0:
        raise BundleError("DENSIFY takes one tensor and gives one")
    return tensors[numbers[0]]


def _check_numbers(numbers: Any, lowest: int, count: int) -> None:
    wrong = [int(number) for number in (() if numbers is None else numbers) if not lowest <= number < count]
    if wrong:
        raise BundleError(f"tensor {wrong[0]}; the program has {count}")


def _check_known(numbers: Any, known: set[int]) -> None:
    missing = [int(number) for number in numbers if number >= 0 and int(number) not in known]
    if missing:
        raise BundleError(f"tensor {missing[0]} is read, but nothing has given it a value")


def _check_written(numbers: Any, tensors: list[Any], constants: Constants) -> None:
    _check_numbers(numbers, 0, len(tensors))
    constant = [int(n) for n in (() if numbers is None else numbers) if constants.data[tensors[n].buffer].size]
    if constant:
        raise BundleError(f"tensor {constant[0]} is written to, but is a constant")
