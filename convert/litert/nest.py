"""All programs in one file, every weight stored once: a narrow width reads a prefix of the widest one's bytes.

Constants that are prefixes of others need no work here (`Constants` stores them as views): biases, outputs-only
slices. Weights whose inputs, or kernels, are sliced too are rewritten to L-order and read through the stock DENSIFY
operator (`edge.bundle.litert.nested_layout`).
"""

from collections.abc import Mapping, Sequence

from ai_edge_litert import schema_py_generated as schema

from convert.errors import SliceError
from convert.litert.float_graph import Filter, Graph, stored
from convert.litert.quantize import OP, add_tensor, one_to_one
from convert.quantized_weights import Int8, QuantizedWeights, payload_at
from convert.slice_plan import Extent, ProgramPlan, WeightLevels, weight_levels
from edge import BundleError
from edge.bundle.litert.flatbuffer import Constants, GraphFile
from edge.bundle.litert.nested_layout import DepthwiseLayout, NestedLayout
from train.layer_specs import LayerKind

Layout = NestedLayout | DepthwiseLayout


def nest(programs: Sequence[Graph], weights: QuantizedWeights) -> GraphFile:
    """Return one file with every program, from plain programs of the same integers."""
    plans = [program.plan for program in programs]
    levels, layouts = weight_levels(plans), nested_layouts(plans)
    payloads = _payloads(programs, levels, layouts, weights)
    constants, nested = Constants(), []
    for program in programs:
        made = _over(program.own_copy(), constants)
        for place in made.filters:
            name = place.layer.name
            run, level = levels[name].place(place.layer.extent)
            if (name, run) in payloads:
                _read_nested(made, place, layouts[name][run], level, payloads[name, run])
        nested.append(made.program)
    return GraphFile(nested, constants)


def nested_layouts(plans: Sequence[ProgramPlan]) -> dict[str, list[Layout]]:
    """Return the layouts of every layer's weight: one for each run of ranges that hold one another.

    A buffer has prefixes in one order alone, so a layer between two gates, whose ranges make several runs, is stored
    once for each. A SliceError names a layer whose widths no block divides.
    """
    kinds = {piece.name: piece.layer.kind for plan in plans for piece in plan.layers}
    try:
        return {
            name: [_layout(name, kinds[name], chain) for chain in levels.chains]
            for name, levels in weight_levels(plans).items()
        }
    except BundleError as error:
        raise SliceError(str(error)) from error


def _layout(name: str, kind: LayerKind, chain: Sequence[Extent]) -> Layout:
    outs, ins, kernels = zip(*chain, strict=True)
    return DepthwiseLayout(name, outs, kernels) if kind == "depthwise" else NestedLayout(name, outs, ins)


def _payloads(
    programs: Sequence[Graph],
    levels: Mapping[str, WeightLevels],
    layouts: Mapping[str, Sequence[Layout]],
    weights: QuantizedWeights,
) -> dict[tuple[str, int], Int8]:
    """Return what is stored in nested order, by layer and run: the payload at the widest range of the run."""
    payloads = {}
    for piece in (place.layer for program in programs for place in program.filters):
        chains = levels[piece.name].chains
        run, level = levels[piece.name].place(piece.extent)
        layout = layouts[piece.name][run]
        if level == len(chains[run]) - 1 and not layout.is_plain_prefix:
            payload = payload_at(weights[piece.name], piece)
            nested = layout.store(payload if isinstance(layout, DepthwiseLayout) else stored(payload, piece))
            payloads[piece.name, run] = nested
    return payloads


def _read_nested(graph: Graph, place: Filter, layout: Layout, level: int, payload: Int8) -> None:
    """Make the filter the output of a DENSIFY over its level's prefix of `payload`."""
    subgraph = graph.program.graph
    dense = subgraph.tensors[place.weight]
    reader = graph.reader(place.weight)
    sparse = subgraph.tensors[add_tensor(subgraph, dense.shape, schema.TensorType.INT8)]
    sparse.quantization = dense.quantization
    if isinstance(layout, DepthwiseLayout):
        size, sparse.sparsity = layout.size(level), layout.sparsity(level)
    else:
        kernel = place.layer.kernel
        size, sparse.sparsity = layout.size(level, kernel * kernel), layout.sparsity(level, kernel, kernel)
    sparse.buffer = graph.constants.add(payload[:size])
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
