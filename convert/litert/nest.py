"""All programs in one file, every weight stored once: a narrow width reads a prefix of the widest one's bytes.

Constants that are prefixes of others need no work here (`Constants` stores them as views): biases, outputs-only
slices. Weights whose inputs are sliced too are rewritten to L-order and read through the stock DENSIFY operator
(`edge.bundle.litert.nested_layout`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from convert.errors import SliceError
from convert.litert.float_graph import Filter, Graph, stored
from convert.litert.quantize import OP, add_tensor, one_to_one
from convert.quantized_weights import Int8, QuantizedWeights
from convert.slice_plan import ProgramPlan, WeightLevels, weight_levels
from edge import BundleError
from edge.bundle.litert.flatbuffer import Constants, GraphFile
from edge.bundle.litert.nested_layout import NestedLayout, depthwise_sparsity


def nest(programs: Sequence[Graph], weights: QuantizedWeights) -> GraphFile:
    """Return one file with every program, from plain programs of the same integers."""
    plans = [program.plan for program in programs]
    levels, layouts = weight_levels(plans), nested_layouts(plans)
    payloads: dict[str, Int8] = {}
    constants, nested = Constants(), []
    for program in programs:
        made = _over(program.own_copy(), constants)
        for place in made.filters:
            level = levels[place.layer.name]
            depthwise = place.layer.layer.kind == "depthwise"
            if len(level.out_channels) == 1 or (layouts[place.layer.name].is_plain_prefix and not depthwise):
                continue
            if place.layer.name not in payloads:
                payloads[place.layer.name] = _payload(place, weights, layouts)
            _read_nested(made, place, layouts[place.layer.name], level, payloads[place.layer.name])
        nested.append(made.program)
    return GraphFile(nested, constants)


def nested_layouts(plans: Sequence[ProgramPlan]) -> dict[str, NestedLayout]:
    """Return the layout of every layer's weight; a SliceError names a layer whose widths no block divides."""
    try:
        return {
            name: NestedLayout(name, level.out_channels, level.in_channels)
            for name, level in weight_levels(plans).items()
        }
    except BundleError as error:
        raise SliceError(str(error)) from error


def _payload(place: Filter, weights: QuantizedWeights, layouts: Mapping[str, NestedLayout]) -> Int8:
    """Return a layer's widest payload in nested order: channel-major for depthwise, else L-order."""
    payload = weights[place.layer.name].payload
    if place.layer.layer.kind == "depthwise":
        return np.ascontiguousarray(payload).reshape(-1)
    return layouts[place.layer.name].store(stored(payload, place.layer))


def _read_nested(graph: Graph, place: Filter, layout: NestedLayout, levels: WeightLevels, payload: Int8) -> None:
    """Make the filter the output of a DENSIFY over its level's prefix of `payload`."""
    subgraph = graph.program.graph
    dense = subgraph.tensors[place.weight]
    reader = graph.reader(place.weight)
    level = levels.index(place.layer.out_channels, place.layer.in_channels)
    kernel = place.layer.kernel
    sparse = subgraph.tensors[add_tensor(subgraph, dense.shape, schema.TensorType.INT8)]
    sparse.quantization = dense.quantization
    if place.layer.layer.kind == "depthwise":
        sparse.sparsity = depthwise_sparsity(place.layer.out_channels, kernel, kernel)
    else:
        sparse.sparsity = layout.sparsity(level, kernel, kernel)
    sparse.buffer = graph.constants.add(payload[: layout.size(level, kernel * kernel)])
    dense.buffer = 0
    densify = one_to_one(graph.program.codes, OP.DENSIFY, len(subgraph.tensors) - 1, place.weight)
    densify.builtinOptionsType, densify.builtinOptions = schema.BuiltinOptions.DensifyOptions, schema.DensifyOptionsT()
    subgraph.operators.insert(subgraph.operators.index(reader), densify)


def _over(graph: Graph, constants: Constants) -> Graph:
    """Return the graph with its constants moved into a pool that all programs use."""
    for tensor in graph.program.graph.tensors:
        if tensor.buffer:
            tensor.buffer = constants.add(graph.constants.data[tensor.buffer])
    return Graph(graph.plan, graph.program, constants, graph.filters)
