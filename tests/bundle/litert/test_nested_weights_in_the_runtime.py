"""Nested weights of every kind in the stock runtime: full, 1×1 and depthwise convolutions, one level at a time."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edge.bundle.litert.flatbuffer import Constants, GraphFile, Program, write
from edge.bundle.litert.hydrate import hydrate_program
from edge.bundle.litert.nested_layout import DepthwiseLayout, NestedLayout, depthwise_sparsity

SIZE = 6
OP = schema.BuiltinOperator


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(
    ("outs", "ins"),
    [((8, 16), (8, 24)), ((32, 64, 96), (32, 32, 64)), ((12, 20), (4, 8)), ((10, 10), (8, 16)), ((16, 32), (3, 3))],
    ids=lambda levels: "-".join(map(str, levels)),
)
def test_each_level_of_a_convolution_answers_as_its_plain_weight(
    kernel: int, outs: tuple[int, ...], ins: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(kernel)
    weight = generator.integers(-127, 128, (outs[-1], kernel, kernel, ins[-1])).astype(np.int8)
    layout = NestedLayout("conv", outs, ins)
    stored, constants, programs = layout.store(weight), Constants(), []
    for level, (o, i) in enumerate(zip(outs, ins, strict=True)):
        sparsity = None if layout.is_plain_prefix else layout.sparsity(level, kernel, kernel)
        prefix = stored[: layout.size(level, kernel * kernel)]
        programs.append(program(f"tail_{level:02d}", (o, kernel, kernel, i), prefix, sparsity, constants, OP.CONV_2D))
    data, _ = write(GraphFile(programs, constants), shared=True)
    for level, (o, i) in enumerate(zip(outs, ins, strict=True)):
        image = generator.integers(-128, 128, (1, SIZE, SIZE, i)).astype(np.int8)
        expected = plain_answer(weight[:o, :, :, :i], image, OP.CONV_2D)
        check(data, f"tail_{level:02d}", image, expected)


@pytest.mark.parametrize("kernel", [3, 5])
def test_each_level_of_a_depthwise_convolution_answers_as_its_plain_weight(kernel: int) -> None:
    generator = np.random.default_rng(kernel)
    weight = generator.integers(-127, 128, (24, kernel, kernel)).astype(np.int8)
    constants, programs = Constants(), []
    for channels in (8, 24):
        sparsity = depthwise_sparsity(channels, kernel, kernel)
        stored = weight.reshape(-1)[: channels * kernel * kernel]
        shape = (1, kernel, kernel, channels)
        programs.append(program(f"tail_{channels:02d}", shape, stored, sparsity, constants, OP.DEPTHWISE_CONV_2D))
    data, _ = write(GraphFile(programs, constants), shared=True)
    for channels in (8, 24):
        image = generator.integers(-128, 128, (1, SIZE, SIZE, channels)).astype(np.int8)
        dense = weight[:channels].transpose(1, 2, 0)[None]
        check(data, f"tail_{channels:02d}", image, plain_answer(dense, image, OP.DEPTHWISE_CONV_2D))


@pytest.mark.parametrize(
    ("channels", "kernels"),
    [((8, 16, 24), (3, 5, 5)), ((4, 4, 8, 12), (1, 3, 3, 7)), ((32, 64, 96, 128), (3, 3, 5, 5))],
    ids=lambda levels: "-".join(map(str, levels)),
)
def test_each_level_of_channels_and_kernels_answers_as_its_plain_weight(
    channels: tuple[int, ...], kernels: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(0)
    weight = generator.integers(-127, 128, (channels[-1], 1, kernels[-1], kernels[-1])).astype(np.int8)
    layout = DepthwiseLayout("depthwise", channels, kernels)
    stored, constants, programs = layout.store(weight), Constants(), []
    levels = list(enumerate(zip(channels, kernels, strict=True)))
    for level, (c, k) in levels:
        prefix, name = stored[: layout.size(level)], f"tail_{level:02d}"
        programs.append(program(name, (1, k, k, c), prefix, layout.sparsity(level), constants, OP.DEPTHWISE_CONV_2D))
    data, _ = write(GraphFile(programs, constants), shared=True)
    for level, (c, k) in levels:
        image = generator.integers(-128, 128, (1, SIZE, SIZE, c)).astype(np.int8)
        centre = slice((kernels[-1] - k) // 2, (kernels[-1] + k) // 2)
        dense = weight[:c, 0, centre, centre].transpose(1, 2, 0)[None]
        check(data, f"tail_{level:02d}", image, plain_answer(dense, image, OP.DEPTHWISE_CONV_2D))


def check(data: bytes, name: str, image: np.ndarray, expected: np.ndarray) -> None:
    for file in (data, hydrate_program(data, name)):
        found = answer(file, name, image)
        difference = int(np.abs(found.astype(int) - expected).max())
        assert difference == 0, f"{name} differs by {difference}"
    assert np.unique(expected).size > 10, "the answer should not be saturated"


def plain_answer(weight: np.ndarray, image: np.ndarray, kind: int) -> np.ndarray:
    constants = Constants()
    plain = program("tail_00", weight.shape, np.ascontiguousarray(weight), None, constants, kind)
    return answer(write(GraphFile([plain], constants), shared=False)[0], "tail_00", image)


def answer(data: bytes, name: str, image: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    return np.array(interpreter.get_signature_runner(name)(features=image)["logits"])


def program(
    name: str, shape: tuple[int, ...], stored: np.ndarray, sparsity, constants: Constants, kind: int
) -> Program:  # type: ignore[no-untyped-def]
    """Return one int8 convolution whose filter is `stored`, through DENSIFY if it has a sparsity table."""
    depthwise = kind == OP.DEPTHWISE_CONV_2D
    channels_in, channels_out = shape[3], shape[3] if depthwise else shape[0]
    taps = shape[1] * shape[2] * (1 if depthwise else shape[3])
    graph = schema.SubGraphT()
    scale = np.full(channels_out, 1 / 127, np.float32)
    filter_quantization = quantization(scale, 3 if depthwise else 0)
    graph.tensors = [
        tensor((1, SIZE, SIZE, channels_in), schema.TensorType.INT8, quantization(np.float32([0.05]), 0)),
        tensor(shape, schema.TensorType.INT8, filter_quantization),
        tensor((channels_out,), schema.TensorType.INT32, quantization(scale * np.float32(0.05), 0)),
        tensor((1, SIZE, SIZE, channels_out), schema.TensorType.INT8, quantization(np.float32([0.05 * taps**0.5]), 0)),
    ]
    graph.tensors[2].buffer = constants.add(np.zeros(channels_out, np.int32))
    graph.inputs, graph.outputs = np.int32([0]), np.int32([3])
    graph.operators, codes = [], [code(kind), code(OP.DENSIFY)]
    if sparsity is None:
        graph.tensors[1].buffer = constants.add(stored)
    else:
        graph.tensors.append(tensor(shape, schema.TensorType.INT8, filter_quantization))
        graph.tensors[4].buffer, graph.tensors[4].sparsity = constants.add(stored), sparsity
        graph.operators.append(operator(1, [4], [1], schema.BuiltinOptions.DensifyOptions, schema.DensifyOptionsT()))
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, 1, 1
    options.dilationHFactor = options.dilationWFactor = 1
    if depthwise:
        options.depthMultiplier = 1
    kinds = schema.BuiltinOptions
    graph.operators.append(
        operator(0, [0, 1, 2], [3], kinds.DepthwiseConv2DOptions if depthwise else kinds.Conv2DOptions, options)
    )
    return Program(name, graph, ["features"], ["logits"], codes)


def tensor(shape: tuple[int, ...], dtype: int, quantized):  # type: ignore[no-untyped-def]
    made = schema.TensorT()
    made.shape, made.type, made.buffer, made.quantization = np.int32(shape), dtype, 0, quantized
    return made


def quantization(scale: np.ndarray, dimension: int):  # type: ignore[no-untyped-def]
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint, made.quantizedDimension = scale, np.zeros(scale.size, np.int64), dimension
    return made


def code(kind: int):  # type: ignore[no-untyped-def]
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.version = kind, min(kind, 127), 1 if kind == OP.DENSIFY else 3
    return made


def operator(opcode: int, inputs: list[int], outputs: list[int], kind: int, options):  # type: ignore[no-untyped-def]
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = opcode, np.int32(inputs), np.int32(outputs)
    made.builtinOptionsType, made.builtinOptions = kind, options
    return made
