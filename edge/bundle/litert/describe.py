"""The manifest's description of a LiteRT program, read from the file itself."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edge.bundle.litert.flatbuffer import GraphFile, read
from edge.bundle.manifest import Program, Role, TensorInfo
from edge.errors import BundleError

DTYPES = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8"}


def describe_programs(data: bytes, roles: list[tuple[Role, int | None]], roots: dict[str, int]) -> list[Program]:
    """Return the manifest entry of each program of a nested file: tensors, types, quantization, root offset."""
    file = read(data)
    return [_describe(file, role, width, roots) for role, width in roles]


def _describe(file: GraphFile, role: Role, width: int | None, roots: dict[str, int]) -> Program:
    name = role if width is None else f"{role}_{width:02d}"
    program = file.program(name)
    tensors = program.graph.tensors
    return Program(
        name=name,
        role=role,
        width=width,
        inputs=[
            _tensor(label, tensors[index]) for label, index in zip(program.inputs, program.graph.inputs, strict=True)
        ],
        outputs=[
            _tensor(label, tensors[index]) for label, index in zip(program.outputs, program.graph.outputs, strict=True)
        ],
        root_offset=roots[name],
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
