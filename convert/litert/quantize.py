"""Plain static programs with our integers: every filter a range of the shared payload, scales and biases per width.

int8    activations in int8 (ranges measured), conv(int8, int8) + int32 bias,
        bias = rint(b / (input scale · filter scale))
wi8     float activations, DEQUANTIZE(int8 filter) → conv
"""

from typing import Any, Literal, get_args

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from convert.fold import Float, Tensors, bias_slice
from convert.litert.activations import Ranges, quantize_activations
from convert.litert.float_graph import Filter, Graph, operator_code, stored
from convert.quantized_weights import QuantizedWeights, payload_at, scale_at

Precision = Literal["int8", "wi8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

OP = schema.BuiltinOperator
TYPE = schema.TensorType
INT32 = np.iinfo(np.int32)


def quantize_int8(graph: Graph, ranges: Ranges, weights: QuantizedWeights, tensors: Tensors, epsilon: float) -> Graph:
    """Return the program in static int8. Images and logits stay float32 at its edges; features stay int8."""
    quantized = quantize_activations(graph, ranges)
    for place in quantized.filters:
        scale = scale_at(weights[place.layer.name], tensors, place.layer, epsilon)
        source = quantized.program.graph.tensors[quantized.reader(place.weight).inputs[0]]
        input_scale = np.float32(source.quantization.scale[0])
        _set_filter(quantized, place, weights, scale)
        bias_scale = (input_scale * scale).astype(np.float32)
        bias = np.rint(bias_slice(tensors, place.layer, epsilon).astype(np.float64) / bias_scale)
        tensor = quantized.program.graph.tensors[place.bias]
        tensor.type, tensor.quantization = TYPE.INT32, _per_channel(bias_scale, 0)
        tensor.buffer = quantized.constants.add(bias.clip(INT32.min, INT32.max).astype(np.int32))
    _float_edges(quantized)
    return quantized


def quantize_weights_only(graph: Graph, weights: QuantizedWeights, tensors: Tensors, epsilon: float) -> Graph:
    """Return the program with int8 filters and float32 arithmetic."""
    made = graph.own_copy()
    subgraph, codes = made.program.graph, made.program.codes
    for place in made.filters:
        convolution = made.reader(place.weight)
        float_filter = add_tensor(subgraph, subgraph.tensors[place.weight].shape, TYPE.FLOAT32)
        _set_filter(made, place, weights, scale_at(weights[place.layer.name], tensors, place.layer, epsilon))
        convolution.inputs = np.array([convolution.inputs[0], float_filter, *convolution.inputs[2:]], np.int32)
        dequantize = one_to_one(codes, OP.DEQUANTIZE, place.weight, float_filter)
        subgraph.operators.insert(subgraph.operators.index(convolution), dequantize)
    return made


def _set_filter(graph: Graph, place: Filter, weights: QuantizedWeights, scale: Float) -> None:
    kind = place.layer.layer.kind
    tensor = graph.program.graph.tensors[place.weight]
    tensor.type, tensor.quantization = TYPE.INT8, _per_channel(scale, 3 if kind == "depthwise" else 0)
    tensor.buffer = graph.constants.add(stored(payload_at(weights[place.layer.name], place.layer), place.layer))


def _float_edges(graph: Graph) -> None:
    """Put QUANTIZE before the image and DEQUANTIZE after logits; features pass between programs as int8."""
    made, codes = graph.program.graph, graph.program.codes
    inputs, outputs = list(made.inputs), list(made.outputs)
    for position, name in enumerate(graph.program.inputs):
        if name == "image":
            outer = add_tensor(made, made.tensors[inputs[position]].shape, TYPE.FLOAT32)
            made.operators.insert(0, one_to_one(codes, OP.QUANTIZE, outer, inputs[position]))
            inputs[position] = outer
    for position, name in enumerate(graph.program.outputs):
        if name != "features":
            outer = add_tensor(made, made.tensors[outputs[position]].shape, TYPE.FLOAT32)
            made.operators.append(one_to_one(codes, OP.DEQUANTIZE, outputs[position], outer))
            outputs[position] = outer
    made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)


def _per_channel(scale: Float, dimension: int) -> Any:
    table = schema.QuantizationParametersT()
    table.scale = np.ascontiguousarray(scale, np.float32)
    table.zeroPoint = np.zeros(scale.size, np.int64)
    table.quantizedDimension = dimension
    return table


def add_tensor(graph: Any, shape: Any, dtype: int) -> int:
    """Add a tensor without a constant to a subgraph and return its index."""
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = np.array(shape, np.int32), dtype, 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def one_to_one(codes: list[Any], kind: int, source: int, target: int) -> Any:
    """Return an operator with one input and one output, adding its code to the program's if it is new."""
    operator = schema.OperatorT()
    operator.opcodeIndex = operator_code(codes, kind)
    operator.inputs, operator.outputs = np.array([source], np.int32), np.array([target], np.int32)
    return operator
