"""The exported float graph of one program, every filter tied to its layer; and the same graph at another width.

A front end is run once per role, on the widest program: at other widths the same operators run on fewer channels,
so their graphs are made by swapping constants and channel counts. That is sound only for operators whose channel
arithmetic is known: SPREADING lists them; a smaller kernel may take the place of a larger one where the operator itself
pads its input. Programs of transformers have other operators, and are exported width by width. Anything else is refused
by name.
"""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from convert.errors import ExportError
from convert.fold import Tensors, fold
from convert.slice_plan import LayerSlice, ProgramPlan
from edge.bundle.litert.flatbuffer import Constants, GraphFile, Program

OP = schema.BuiltinOperator
PADDING = schema.Padding
FILTERED = {OP.CONV_2D, OP.DEPTHWISE_CONV_2D}
PASS_THROUGH = {OP.LOGISTIC, OP.RELU, OP.RELU6, OP.HARD_SWISH, OP.PAD, OP.MEAN, OP.AVERAGE_POOL_2D, OP.MAX_POOL_2D}
ELEMENTWISE = {OP.MUL, OP.ADD}
FLATTENING = {OP.RESHAPE}
SPREADING = FILTERED | PASS_THROUGH | ELEMENTWISE | FLATTENING
LAYER_NORM = {OP.SQUARED_DIFFERENCE, OP.RSQRT, OP.SUB}
ATTENTION = {OP.TRANSPOSE, OP.BATCH_MATMUL, OP.FULLY_CONNECTED, OP.SOFTMAX}
# The operator versions that LiteRT's op_version.cc asks for int8 tensors, per-channel ones included; PAD's for float32.
VERSIONS = {OP.QUANTIZE: 1, OP.DEQUANTIZE: 5, OP.DENSIFY: 1, OP.PAD: 1}


@dataclass(frozen=True)
class Filter:
    """Where one layer's constants sit in a graph."""

    layer: LayerSlice
    weight: int
    """Tensor index of the filter: OHWI, depthwise 1HWC."""
    bias: int


@dataclass(frozen=True)
class Graph:
    """One program: a graph over its own constants, and its filters in the order they run."""

    plan: ProgramPlan
    program: Program
    constants: Constants
    filters: tuple[Filter, ...]

    @property
    def file(self) -> GraphFile:
        """Return the graph as a file of one program."""
        return GraphFile([self.program], self.constants)

    def reader(self, tensor: int) -> Any:
        """Return the operator that reads a constant tensor."""
        return next(operator for operator in self.program.graph.operators if tensor in operator.inputs)

    def own_copy(self) -> "Graph":
        """Return a graph that can be changed without changing this one."""
        program = replace(self.program, graph=deepcopy(self.program.graph), codes=list(self.program.codes))
        return replace(self, program=program, constants=Constants(list(self.constants.data)))


def bind(exported: bytes, plan: ProgramPlan, tensors: Tensors, epsilon: float) -> Graph:
    """Tie every filter of an exported graph to its layer by content: the exporter saw the same folded values."""
    model = schema.ModelT.InitFromPackedBuf(exported, 0)
    if len(model.subgraphs) != 1:
        raise ExportError(f"program {plan.name}: the front end gave {len(model.subgraphs)} subgraphs instead of 1")
    graph = model.subgraphs[0]
    _pad_pools_with_zeros(model)
    _check_operators(model, plan)
    constants = Constants(
        [np.zeros(0, np.uint8) if b.data is None else np.asarray(b.data, np.uint8) for b in model.buffers]
    )
    _own_constants(graph, constants)
    waiting: dict[bytes, list[LayerSlice]] = {}
    for layer in plan.layers:
        waiting.setdefault(stored(fold(tensors, layer, epsilon)[0], layer).tobytes(), []).append(layer)
    filters = []
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode not in FILTERED:
            continue
        weight, bias = int(operator.inputs[1]), int(operator.inputs[2])
        candidates = waiting.get(constants.data[graph.tensors[weight].buffer].tobytes(), [])
        if not candidates:
            raise ExportError(
                f"program {plan.name}: filter {weight} of shape {list(graph.tensors[weight].shape)} matches no layer"
            )
        filters.append(Filter(candidates.pop(0), weight, bias))
    missing = [layer.name for layers in waiting.values() for layer in layers]
    if missing:
        raise ExportError(f"program {plan.name}: the exported graph lacks the layers {', '.join(missing)}")
    program = Program(plan.name, graph, [plan.input_name], list(plan.output_names), model.operatorCodes)
    return with_width(Graph(plan, program, constants, tuple(filters)), plan, tensors, epsilon)


def with_width(widest: Graph, plan: ProgramPlan, tensors: Tensors, epsilon: float) -> Graph:
    """Return the same graph with another program's constants and channel counts; `plan` must have the same layers."""
    counterpart = {old.name: layer for old, layer in zip(widest.plan.layers, plan.layers, strict=True)}
    made = widest.own_copy()
    graph, constants = made.program.graph, made.constants
    filters = []
    for old in widest.filters:
        layer = counterpart[old.layer.name]
        if layer.kernel != old.layer.kernel and widest.reader(old.weight).builtinOptions.padding != PADDING.SAME:
            raise ExportError(
                f"program {plan.name}: layer {layer.name} is padded for its widest kernel; this graph cannot serve "
                "narrower ones, try another --frontend"
            )
        weight, bias = fold(tensors, layer, epsilon)
        for index, array in ((old.weight, stored(weight, layer)), (old.bias, bias)):
            tensor = graph.tensors[index]
            tensor.shape = np.array(array.shape, np.int32)
            constants.data[tensor.buffer] = np.frombuffer(array.tobytes(), np.uint8)
        filters.append(Filter(layer, old.weight, old.bias))
    if not plan.attends:
        _spread_channels(graph, made.program.codes, plan)
    return Graph(plan, replace(made.program, name=plan.name), constants, tuple(filters))


def stored(weight: NDArray[Any], layer: LayerSlice) -> NDArray[Any]:
    """Return an OIHW weight as LiteRT stores it: OHWI, or 1HWC for depthwise."""
    return np.ascontiguousarray(weight.transpose((1, 2, 3, 0) if layer.layer.kind == "depthwise" else (0, 2, 3, 1)))


def operator_code(codes: list[Any], kind: int) -> int:
    """Return the index of a kind of operator in a program's codes, which it is added to if it is new."""
    for number, code in enumerate(codes):
        if code.builtinCode == kind:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), VERSIONS[kind]
    codes.append(code)
    return len(codes) - 1


def _pad_pools_with_zeros(model: Any) -> None:
    """Replace the -inf around what a max pool reads by zeros, after a ReLU the same to the bit: int8 has no -inf."""
    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]
    made_by = {int(index): operator for operator in graph.operators for index in operator.outputs}
    pools = [operator for operator in graph.operators if codes[operator.opcodeIndex] == OP.MAX_POOL_2D]
    for pool in pools:
        padding = made_by.get(int(pool.inputs[0]))
        if padding is None or codes[padding.opcodeIndex] != OP.PADV2:
            continue
        if _is_rectified(made_by.get(int(padding.inputs[0])), codes):
            padding.opcodeIndex = operator_code(model.operatorCodes, OP.PAD)
            padding.inputs = padding.inputs[:2]
            padding.builtinOptionsType, padding.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
            codes = [code.builtinCode for code in model.operatorCodes]


def _is_rectified(operator: Any, codes: Sequence[int]) -> bool:
    """Return whether an operator gives no negative values."""
    if operator is None:
        return False
    fused = getattr(operator.builtinOptions, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
    return codes[operator.opcodeIndex] in (OP.RELU, OP.RELU6) or fused in (
        schema.ActivationFunctionType.RELU,
        schema.ActivationFunctionType.RELU6,
    )


def _check_operators(model: Any, plan: ProgramPlan) -> None:
    names = {value: name for name, value in vars(OP).items() if isinstance(value, int)}
    used = {model.operatorCodes[operator.opcodeIndex].builtinCode for operator in model.subgraphs[0].operators}
    valid = SPREADING | LAYER_NORM | ATTENTION if plan.attends else SPREADING
    unknown = sorted(names.get(code, str(code)) for code in used - valid)
    if unknown:
        allowed = ", ".join(sorted(names[code] for code in valid))
        raise ExportError(
            f"program {plan.name}: operators {', '.join(unknown)} are not understood (valid: {allowed}); "
            "try another --frontend"
        )


def _own_constants(graph: Any, constants: Constants) -> None:
    """Give every operator constant tensors of its own: exporters share equal ones, whose integers may differ later."""
    taken: set[int] = set()
    for operator in graph.operators:
        operator.inputs = np.array(operator.inputs, np.int32)
        for position, index in enumerate(operator.inputs):
            if index < 0:  # an input that the operator does without
                continue
            tensor = graph.tensors[index]
            if not constants.data[tensor.buffer].size:
                continue
            if index in taken:
                tensor = copy(tensor)
                graph.tensors.append(tensor)
                operator.inputs[position] = len(graph.tensors) - 1
            taken.add(int(index))
            tensor.buffer = constants.add(constants.data[tensor.buffer])


def _spread_channels(graph: Any, codes: list[Any], plan: ProgramPlan) -> None:
    """Set the last dimension of every activation: the program's own of its input, then, in execution order, from the
    filters' output channels."""
    tensors = graph.tensors
    given = tensors[graph.inputs[0]]
    given.shape = np.array([*given.shape[:-1], plan.input_shape[1]], np.int32)
    for operator in graph.operators:
        code = codes[operator.opcodeIndex].builtinCode
        output = tensors[operator.outputs[0]]
        if code in FLATTENING:
            if int(np.prod(output.shape)) != int(np.prod(tensors[operator.inputs[0]].shape)):
                raise ExportError(
                    f"program {plan.name}: a reshape depends on the width; this graph cannot serve other widths"
                )
            continue
        if code == OP.CONV_2D:
            channels = int(tensors[operator.inputs[1]].shape[0])
        elif code == OP.DEPTHWISE_CONV_2D:
            channels = int(tensors[operator.inputs[1]].shape[3])
        else:
            sources = operator.inputs if code in ELEMENTWISE else operator.inputs[:1]
            channels = max(int(tensors[index].shape[-1]) for index in sources)
        output.shape = np.array([*output.shape[:-1], channels], np.int32)
