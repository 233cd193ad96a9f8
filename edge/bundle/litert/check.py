"""What a LiteRT artifact must hold: the manifest's programs and tensors; weights that hydrate to the same answers."""

import struct
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.bundle.litert.describe import DTYPES
from edge.bundle.litert.flatbuffer import GraphFile, doubting, read
from edge.bundle.litert.hydrate import hydrate_program
from edge.bundle.manifest import Artifact, Program, TensorInfo
from edge.bundle.parity_inputs import PARITY_INPUTS, parity_inputs
from edge.bundle.reader import Bundle
from edge.errors import BundleError
from edge.runtime.litert_session import LiteRtSession


def check_programs(bundle: Bundle, artifact: Artifact) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the claims about the content of `artifact`: its programs, each one's tensors, each one's parity.

    Raises BundleError for a file that is no LiteRT file.
    """
    data = bundle.verified_bytes(artifact)
    file = read(data)
    yield "programs", partial(_same_programs, file, artifact)
    present = {program.name for program in file.programs}
    for program in artifact.programs:
        if program.name not in present:
            continue
        yield f"{program.name} tensors", partial(_same_tensors, file, program)
        yield f"{program.name} parity", partial(_same_answers, data, artifact, program)


def _same_programs(file: GraphFile, artifact: Artifact) -> str:
    found = sorted(program.name for program in file.programs)
    named = sorted(program.name for program in artifact.programs)
    if found != named:
        raise BundleError(f"the file holds {', '.join(found) or 'no programs'}; the manifest says {', '.join(named)}")
    return ", ".join(found)


def _same_tensors(file: GraphFile, program: Program) -> str:
    with doubting():
        found = _tensors(file, program.name)
    named = {tensor.name: _describe(tensor) for tensor in (*program.inputs, *program.outputs)}
    wrong = [name for name in (found | named) if found.get(name) != named.get(name)]
    if wrong:
        clauses = (f"{n} is {found.get(n, 'absent')}, the manifest says {named.get(n, 'nothing')}" for n in wrong)
        raise BundleError("; ".join(clauses))
    return ", ".join(f"{name} {text}" for name, text in named.items())


def _tensors(file: GraphFile, name: str) -> dict[str, str]:
    """Return the description of every input and output of a program, by signature name."""
    program = file.program(name)
    names = [*program.inputs, *program.outputs]
    tensors = [program.graph.tensors[index] for index in (*program.graph.inputs, *program.graph.outputs)]
    return {name: _describe_packed(tensor) for name, tensor in zip(names, tensors, strict=True)}


def _describe_packed(tensor: schema.TensorT) -> str:
    dtype = DTYPES.get(tensor.type, f"type {tensor.type}")
    text = f"{dtype} {[int(size) for size in (() if tensor.shape is None else tensor.shape)]}"
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        return text
    return f"{text} scale {np.float32(quantization.scale[0])!s} zero point {int(quantization.zeroPoint[0])}"


def _describe(tensor: TensorInfo) -> str:
    text = f"{tensor.dtype} {tensor.shape}"
    # The file holds float32: a manifest may write the same number with more digits.
    return text if tensor.scale is None else f"{text} scale {np.float32(tensor.scale)!s} zero point {tensor.zero_point}"


def _same_answers(data: bytes, artifact: Artifact, program: Program) -> str:
    """Run a program nested and hydrated on the same inputs; every output must be the same, bit for bit."""
    hydrated_data = hydrate_program(data, program.name)
    seen_by_runtime = hydrate_program(_rooted(data, program), program.name)
    if seen_by_runtime != hydrated_data:
        raise BundleError(f"root_offset {program.root_offset} leads to other weights or operators than the file's own")
    plain = artifact.model_copy(update={"programs": [program.model_copy(update={"root_offset": None})]})
    plain_session = LiteRtSession(hydrated_data, plain, [program.name])
    nested_session = LiteRtSession(data, artifact, [program.name])
    for inputs in parity_inputs(program):
        nested, hydrated = nested_session.run(program.name, inputs), plain_session.run(program.name, inputs)
        for name, values in nested.items():
            if not np.array_equal(values, hydrated[name]):
                difference = np.abs(values.astype(np.float64) - hydrated[name].astype(np.float64)).max()
                raise BundleError(f"{name} differs by {difference:g} between the nested and the hydrated weights")
    return f"identical to its hydrated weights on {PARITY_INPUTS} inputs"


def _rooted(data: bytes, program: Program) -> bytes:
    """Return the file as the runtime sees it when only `program` is opened."""
    return data if program.root_offset is None else struct.pack("<I", program.root_offset) + data[4:]
