"""The golden network: small enough to read, every kind of nested weight but depthwise, integers made by formula.

image [1,8,8,3] ─ quantize ─ conv 4×4/4 ─ features [1,2,2,8] ─┬─ gate conv 2×2 ─ gate_logits [1,2]
                                                              └─ conv 1×1 to 8 or 16 ─ conv 2×2 ─ logits [1,3]
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edge.bundle.litert.flatbuffer import Constants, GraphFile, Program, write
from edge.bundle.litert.nested_layout import NestedLayout

OP, TYPE = schema.BuiltinOperator, schema.TensorType
CODES = (OP.QUANTIZE, OP.CONV_2D, OP.DEQUANTIZE, OP.RESHAPE, OP.DENSIFY)
VERSIONS = {OP.QUANTIZE: 1, OP.CONV_2D: 3, OP.DEQUANTIZE: 2, OP.RESHAPE: 1, OP.DENSIFY: 1}
CHANNELS = (8, 16)
IMAGE, FEATURES, HIDDEN, LOGITS = (0.02, 1), (0.05, -4), (0.06, -10), (0.25, 3)
"""(scale, zero point) of each activation."""
FILTER_SCALE = 0.01


def integers(*shape: int, seed: int) -> NDArray[np.int8]:
    """Return int8 values within ±100 that look random and depend on nothing but the arguments."""
    index = np.arange(np.prod(shape), dtype=np.int64)
    return ((((index + seed) * 7919) ** 2 // 13) % 201 - 100).astype(np.int8).reshape(shape)


def build() -> tuple[bytes, dict[str, int]]:
    """Return the LiteRT file and each program's root offset."""
    constants = Constants()
    programs = [_prefix(constants), *(_tail(constants, width) for width in range(len(CHANNELS)))]
    return write(GraphFile(programs, constants), shared=True)


class _Graph:
    """Tensors and operators of one program under construction."""

    def __init__(self, constants: Constants) -> None:
        self.constants, self.graph = constants, schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, shape: list[int], quantization: Any, kind: int = TYPE.INT8, buffer: int = 0) -> int:
        made = schema.TensorT()
        made.shape, made.type, made.buffer, made.quantization = np.array(shape, np.int32), kind, buffer, quantization
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: list[int], output: int, kind: int = 0, options: Any = None) -> int:
        made = schema.OperatorT()
        made.opcodeIndex = CODES.index(code)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        made.builtinOptionsType, made.builtinOptions = kind, options
        self.graph.operators.append(made)
        return output

    def conv(
        self, x: int, weight: NDArray[np.int8], x_scale: float, out: list[int], y: tuple[float, int], nested: Any
    ) -> int:
        """Add a convolution whose stride is its kernel; `nested` = (layout, level) for a sliced weight, else None."""
        outs, kernel = weight.shape[0], weight.shape[1]
        scales = _quantized(FILTER_SCALE, 0, outs)
        index = self._weight(weight, scales, nested)
        bias = integers(outs, seed=outs).astype(np.int32) * 20
        biases = self.tensor([outs], _quantized(FILTER_SCALE * x_scale, 0, outs), TYPE.INT32, self.constants.add(bias))
        options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = schema.Padding.VALID, kernel, kernel
        options.dilationHFactor = options.dilationWFactor = 1
        result = self.tensor(out, _quantized(*y))
        return self.operator(OP.CONV_2D, [x, index, biases], result, schema.BuiltinOptions.Conv2DOptions, options)

    def logits(self, x: int, count: int, y: tuple[float, int]) -> int:
        """Add the way from a quantized [1,1,1,n] to a float32 [1,n]."""
        shape = self.tensor([2], None, TYPE.INT32, self.constants.add(np.array([1, count], np.int32)))
        flat = self.tensor([1, count], _quantized(*y))
        self.operator(OP.RESHAPE, [x, shape], flat, schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT())
        result = self.tensor([1, count], None, TYPE.FLOAT32)
        return self.operator(
            OP.DEQUANTIZE, [flat], result, schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT()
        )

    def program(self, name: str, inputs: dict[str, int], outputs: dict[str, int]) -> Program:
        self.graph.inputs, self.graph.outputs = (
            np.array([*inputs.values()], np.int32),
            np.array([*outputs.values()], np.int32),
        )
        return Program(name, self.graph, [*inputs], [*outputs], [_code(code) for code in CODES])

    def _weight(self, weight: NDArray[np.int8], scales: Any, nested: Any) -> int:
        if nested is None:
            return self.tensor(list(weight.shape), scales, buffer=self.constants.add(weight))
        layout, level = nested
        outs, kh, kw, ins = layout.outs[level], *weight.shape[1:3], layout.ins[level]
        stored = layout.store(integers(layout.outs[-1], kh, kw, layout.ins[-1], seed=3))[: layout.size(level, kh * kw)]
        source = self.tensor([outs, kh, kw, ins], scales, buffer=self.constants.add(stored))
        self.graph.tensors[source].sparsity = layout.sparsity(level, kh, kw)
        target = self.tensor([outs, kh, kw, ins], scales)
        return self.operator(
            OP.DENSIFY, [source], target, schema.BuiltinOptions.DensifyOptions, schema.DensifyOptionsT()
        )


def _prefix(constants: Constants) -> Program:
    graph = _Graph(constants)
    image = graph.tensor([1, 8, 8, 3], None, TYPE.FLOAT32)
    quantized = graph.tensor([1, 8, 8, 3], _quantized(*IMAGE))
    graph.operator(OP.QUANTIZE, [image], quantized, schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT())
    features = graph.conv(quantized, integers(8, 4, 4, 3, seed=1), IMAGE[0], [1, 2, 2, 8], FEATURES, None)
    gate = graph.conv(features, integers(2, 2, 2, 8, seed=2), FEATURES[0], [1, 1, 1, 2], LOGITS, None)
    gate_logits = graph.logits(gate, 2, LOGITS)
    return graph.program("prefix", {"image": image}, {"features": features, "gate_logits": gate_logits})


def _tail(constants: Constants, width: int) -> Program:
    graph, channels = _Graph(constants), CHANNELS[width]
    features = graph.tensor([1, 2, 2, 8], _quantized(*FEATURES))
    widest = integers(CHANNELS[-1], 1, 1, 8, seed=4)
    hidden = graph.conv(features, widest[:channels], FEATURES[0], [1, 2, 2, channels], HIDDEN, None)
    nested = NestedLayout("classifier", (3,) * len(CHANNELS), CHANNELS), width
    classifier = graph.conv(hidden, integers(3, 2, 2, channels, seed=3), HIDDEN[0], [1, 1, 1, 3], LOGITS, nested)
    return graph.program(f"tail_{width:02d}", {"features": features}, {"logits": graph.logits(classifier, 3, LOGITS)})


def _quantized(scale: float, zero_point: int, channels: int = 1) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = np.full(channels, scale, np.float32), np.full(channels, zero_point, np.int64)
    return made


def _code(code: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), VERSIONS[code]
    return made
