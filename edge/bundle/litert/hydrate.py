"""Plain LiteRT files from a nested one: every DENSIFY'd weight becomes an ordinary constant.

Needs no torch, runtime or recipe. Files come from strangers: whatever is wrong with one is a BundleError.
"""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.bundle.litert.block_places import expand
from edge.bundle.litert.flatbuffer import GraphFile, Program, doubting, read, write
from edge.bundle.litert.soundness import DENSIFY, check_sound
from edge.errors import BundleError


def hydrate_program(nested: bytes, program: str) -> bytes:
    """Return the bytes of a plain LiteRT file with one program of a nested file as its only signature."""
    return hydrate(nested, [program])


@doubting()
def hydrate(nested: bytes, programs: Sequence[str]) -> bytes:
    """Return the bytes of a plain LiteRT file with some programs of a nested file as its signatures."""
    file = _sound(nested, programs)
    chosen = [densified(file, name) for name in programs]
    return write(GraphFile(chosen, file.constants), shared=False)[0]


@doubting()
def hydrate_monolithic(nested: bytes, programs: Sequence[str], name: str) -> bytes:
    """Return a plain LiteRT file whose one signature runs programs in a row, without what only gates need."""
    file = _sound(nested, programs)
    whole = reduce(partial(fuse, name=name), [densified(file, program) for program in programs])
    return write(GraphFile([whole], file.constants), shared=False)[0]


@doubting()
def densified(file: GraphFile, name: str) -> Program:
    """Return a program with its nested weights expanded into constants of the file (which grow by them)."""
    program = file.program(name)
    graph = _shallow(program.graph)
    graph.tensors, graph.operators = list(graph.tensors), []
    for operator in program.graph.operators:
        if program.codes[operator.opcodeIndex].builtinCode != DENSIFY:
            graph.operators.append(operator)
            continue
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        sparse = graph.tensors[source]
        if sparse.type != schema.TensorType.INT8 or sparse.sparsity is None:
            raise BundleError(f"program {name}: tensor {source} is expanded but is no nested int8 weight")
        stored = file.constants.data[sparse.buffer].view(np.int8)
        weight = expand(stored, list(sparse.shape), sparse.sparsity)
        dense = _shallow(graph.tensors[target])
        dense.buffer = file.constants.add(weight)
        graph.tensors[target] = dense
        graph.tensors[source] = None
    return _compact(Program(program.name, graph, program.inputs, program.outputs, program.codes))


@doubting()
def fuse(first: Program, second: Program, name: str) -> Program:
    """Return one program: `first`, its single matching output fed to `second`'s single input.

    Operators whose results are unused go.
    """
    if len(second.inputs) != 1 or second.inputs[0] not in first.outputs:
        raise BundleError(
            f"{second.name} does not continue {first.name}: it needs {second.inputs}, which {first.name} does not give"
        )
    joint = int(first.graph.outputs[first.outputs.index(second.inputs[0])])
    moved = len(first.graph.tensors)
    place = {index: index + moved for index in range(len(second.graph.tensors))} | {
        int(second.graph.inputs[0]): joint,
        -1: -1,
    }
    graph = _shallow(first.graph)
    graph.tensors = [*first.graph.tensors, *second.graph.tensors]
    graph.outputs = np.array([place[int(index)] for index in second.graph.outputs], np.int32)
    codes = [*first.codes, *second.codes]
    operators = [*first.graph.operators]
    for operator in second.graph.operators:
        copy = _renumbered(operator, place)
        copy.opcodeIndex = operator.opcodeIndex + len(first.codes)
        operators.append(copy)
    needed, kept = {int(index) for index in graph.outputs}, []
    for operator in reversed(operators):
        if needed & {int(index) for index in operator.outputs}:
            needed |= {int(index) for index in operator.inputs}
            kept.append(operator)
    graph.operators = kept[::-1]
    used = needed | {int(index) for index in graph.inputs}
    used |= {int(index) for operator in kept for index in operator.outputs}
    graph.tensors = [tensor if index in used else None for index, tensor in enumerate(graph.tensors)]
    return _compact(Program(name, graph, first.inputs, second.outputs, codes))


def _sound(data: bytes, programs: Sequence[str]) -> GraphFile:
    file = read(data, programs)
    check_sound(file)
    return file


def _compact(program: Program) -> Program:
    """Return the program without the tensors that were set to None; everything else keeps its order."""
    graph = program.graph
    kept = [index for index, tensor in enumerate(graph.tensors) if tensor is not None]
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.operators = [_renumbered(operator, place) for operator in graph.operators]
    graph.inputs = np.array([place[int(index)] for index in graph.inputs], np.int32)
    graph.outputs = np.array([place[int(index)] for index in graph.outputs], np.int32)
    return program


def _renumbered(operator: Any, place: dict[int, int]) -> Any:
    copy = _shallow(operator)
    copy.inputs = np.array([place[int(index)] for index in operator.inputs], np.int32)
    copy.outputs = np.array([place[int(index)] for index in operator.outputs], np.int32)
    return copy


def _shallow(table: Any) -> Any:
    copy = type(table)()
    copy.__dict__.update(table.__dict__)
    return copy
