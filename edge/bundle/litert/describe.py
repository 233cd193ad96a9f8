"""The manifest's description of a LiteRT program, read from the file itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edge.bundle.litert.flatbuffer import GraphFile, read
from edge.bundle.manifest import Program, Role, TensorInfo
from edge.errors import BundleError

DTYPES = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8"}


def describe_programs(
    data: bytes, programs: Iterable[tuple[str, Role, Sequence[int]]], roots: Mapping[str, int]
) -> list[Program]:
    """Return the manifest entry of programs of a nested file: tensors, types, quantization, root offset.

    programs: name, role and widths of each.
    """
    file = read(data)
    return [_describe(file, name, role, widths, roots[name]) for name, role, widths in programs]


def _describe(file: GraphFile, name: str, role: Role, widths: Sequence[int], root: int) -> Program:
    program = file.program(name)
    tensors = program.graph.tensors
    return Program(
        name=name,
        role=role,
        widths=list(widths),
        inputs=[
            _tensor(label, tensors[index]) for label, index in zip(program.inputs, program.graph.inputs, strict=True)
        ],
        outputs=[
            _tensor(label, tensors[index]) for label, index in zip(program.outputs, program.graph.outputs, strict=True)
        ],
        root_offset=root,
    )


def _tensor(name: str, tensor: Any) -> TensorInfo:
    if tensor.type not in DTYPES:
        raise BundleError(f"tensor {name} has type {tensor.type}; programs exchange float32 and int8")
    quantized = tensor.type == schema.TensorType.INT8
    return TensorInfo.model_validate(
        {
            "name": name,
            "shape": [int(size) for size in tensor.shape],
            "dtype": DTYPES[tensor.type],
            "scale": float(tensor.quantization.scale[0]) if quantized else None,
            "zero_point": int(tensor.quantization.zeroPoint[0]) if quantized else None,
        }
    )
