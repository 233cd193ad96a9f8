"""Activation ranges and the int8 graph, by Google's ai-edge-quantizer.

Only weights, scales and biases are ours (see `quantize`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import quantizer, recipe
from ai_edge_quantizer.calibrator import CalibrationMode
from numpy.typing import NDArray

from convert.errors import ExportError
from convert.litert.float_graph import Graph
from convert.quiet import quiet
from edge.bundle.litert.flatbuffer import Constants, write

Ranges = dict[str, dict[str, NDArray[Any]]]
"""Tensor name → {"min": [1], "max": [1]}; tensor names are `tensor_name(index)`."""
Float = NDArray[np.float32]
DEAD = 1e-6
"""A tensor whose values span less than this was zero on all images: an activation that never fired."""
DEAD_SPAN = np.float32(255 * 2.0**-12)
"""The range that it gets. With the quantizer's own (1e-9) XNNPACK cannot express the layer's requantization, and the
runtime corrupts its heap over that."""


def tensor_name(index: int) -> str:
    """Return the name under which a graph's tensor is calibrated."""
    return f"t{index}"


def observe(graph: Graph, inputs: Iterable[Mapping[str, Float]]) -> Ranges:
    """Run a float graph over inputs and return the range of every activation (moving averages of minima and maxima)."""
    samples = {graph.plan.name: [dict(sample) for sample in inputs]}
    mode = CalibrationMode.CALIBRATION_PROFILER_BASED
    with quiet():
        ranges: Ranges = _quantizer(graph).calibrate(samples, num_threads=1, mode=mode)
    return {name: _alive(seen) for name, seen in ranges.items()}


def _alive(seen: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if float(np.max(seen["max"] - seen["min"])) >= DEAD:
        return seen
    return {**seen, "max": seen["max"] + DEAD_SPAN}


def share_ranges(graphs: Sequence[Graph], ranges: Sequence[Ranges], features: Mapping[str, Any]) -> list[Ranges]:
    """Return the tails' ranges with equal quantization wherever that lets programs share bytes.

    The features must be quantized as the prefix wrote them. Inputs of layers without batch norm per width (attention,
    an un-slimmed head, classifier) get the union over all widths: their filter scales do not depend on the width, so
    with one input scale their biases do not either.
    """
    shared = {int(graph.program.graph.inputs[0]) for graph in graphs}
    (features_index,) = shared
    statistics: dict[str, set[int | None]] = {}
    for place in (place for graph in graphs for place in graph.filters):
        statistics.setdefault(place.layer.name, set()).add(place.layer.statistics)
    width_free = {
        int(graph.reader(place.weight).inputs[0])
        for graph in graphs
        for place in graph.filters
        if len(statistics[place.layer.name]) == 1 and place.layer.after is None
    }
    union = {
        tensor_name(index): {
            "min": np.min([seen[tensor_name(index)]["min"] for seen in ranges], axis=0),
            "max": np.max([seen[tensor_name(index)]["max"] for seen in ranges], axis=0),
        }
        for index in width_free
    }
    return [{**seen, **union, tensor_name(features_index): dict(features)} for seen in ranges]


def quantize_activations(graph: Graph, ranges: Ranges) -> Graph:
    """Return the graph in int8 throughout, inputs and outputs included.

    Its filters still hold the quantizer's own integers.
    """
    with quiet():
        data = (
            _quantizer(graph).quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
        )
    model = schema.ModelT.InitFromPackedBuf(bytes(data), 0)
    quantized = model.subgraphs[0]
    place = {tensor.name.decode(): index for index, tensor in enumerate(quantized.tensors)}
    filters = tuple(
        replace(f, weight=place[tensor_name(f.weight)], bias=place[tensor_name(f.bias)]) for f in graph.filters
    )
    if len(quantized.operators) != len(graph.program.graph.operators):
        raise ExportError(
            f"program {graph.plan.name}: ai-edge-quantizer left some operators in float; try another --frontend"
        )
    constants = Constants(
        [np.zeros(0, np.uint8) if b.data is None else np.asarray(b.data, np.uint8) for b in model.buffers]
    )
    program = replace(graph.program, graph=quantized, codes=model.operatorCodes)
    return Graph(graph.plan, program, constants, filters)


def _quantizer(graph: Graph) -> Any:
    for index, tensor in enumerate(graph.program.graph.tensors):
        tensor.name = tensor_name(index).encode()
    data, _ = write(graph.file, shared=False, tensor_names=True)
    return quantizer.Quantizer(data, recipe.static_wi8_ai8())
