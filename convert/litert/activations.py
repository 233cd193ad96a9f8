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
from convert.program_record import Joint, joint
from convert.quiet import quiet
from convert.slice_plan import ProgramPlan
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


def part_of(plan: ProgramPlan) -> tuple[str, str]:
    """Return which part of the network a program runs: those of one part have the same operators at other widths."""
    return plan.role, plan.cut.given.name


def share_ranges(graphs: Sequence[Graph], ranges: Sequence[Ranges]) -> list[Ranges]:
    """Return ranges that are equal in all programs of a part wherever that lets programs share bytes.

    Inputs of layers without batch norm per width (attention, an un-slimmed head, classifier) get the union over all
    widths: their filter scales do not depend on the width, so with one input scale their biases do not either.
    """
    parts: dict[tuple[str, str], list[int]] = {}
    for number, graph in enumerate(graphs):
        parts.setdefault(part_of(graph.plan), []).append(number)
    shared = list(ranges)
    for numbers in parts.values():
        free = _width_free([graphs[number] for number in numbers])
        union = {tensor: _union(ranges[number][tensor] for number in numbers) for tensor in map(tensor_name, free)}
        for number in numbers:
            shared[number] = {**ranges[number], **union}
    return shared


def share_features(graphs: Sequence[Graph], ranges: Sequence[Ranges]) -> list[Ranges]:
    """Return ranges in which features have that of the programs that give them, of all such programs, in those that
    read them too."""
    given: dict[Joint, list[dict[str, NDArray[Any]]]] = {}
    for graph, seen in zip(graphs, ranges, strict=True):
        for tensor, at in _given(graph):
            given.setdefault(at, []).append(seen[tensor])
    united = {at: _union(seen) for at, seen in given.items()}
    return [
        {**seen, **{tensor: united[at] for tensor, at in (*_read(graph), *_given(graph))}}
        for graph, seen in zip(graphs, ranges, strict=True)
    ]


def _width_free(graphs: Sequence[Graph]) -> set[int]:
    """Return the tensors that layers read whose filter scales are the same in all of these programs."""
    statistics: dict[str, set[int | None]] = {}
    for place in (place for graph in graphs for place in graph.filters):
        statistics.setdefault(place.layer.name, set()).add(place.layer.statistics)
    return {
        int(graph.reader(place.weight).inputs[0])
        for graph in graphs
        for place in graph.filters
        if len(statistics[place.layer.name]) == 1 and place.layer.after is None
    }


def _read(graph: Graph) -> list[tuple[str, Joint]]:
    """Return the tensor of the features that a program reads, and which joint they are at; empty where it has none."""
    value, tensor = graph.plan.cut.given, graph.program.graph.inputs[0]
    return [(tensor_name(int(tensor)), joint(graph.plan, value))] if graph.plan.input_name == "features" else []


def _given(graph: Graph) -> list[tuple[str, Joint]]:
    """Return the tensor of the features that a program gives, likewise."""
    value, tensor = graph.plan.cut.wanted[0], graph.program.graph.outputs[0]
    return [(tensor_name(int(tensor)), joint(graph.plan, value))] if graph.plan.output_names[0] == "features" else []


def _union(ranges: Iterable[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    seen = list(ranges)
    return {"min": np.min([one["min"] for one in seen], axis=0), "max": np.max([one["max"] for one in seen], axis=0)}


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
