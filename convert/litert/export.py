"""Step 1, export: float graphs of every program, each checked against torch.

Then plain programs of the shared integers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert.errors import ParityError
from convert.fold import Tensors
from convert.litert.activations import observe, share_ranges, tensor_name
from convert.litert.float_graph import Graph, bind, with_width
from convert.litert.frontend import Frontend
from convert.litert.interpreter import run_program
from convert.litert.quantize import quantize_int8, quantize_weights_only
from convert.quantized_weights import QuantizedWeights
from convert.slice_plan import ProgramPlan
from convert.static_module import StaticProgram, static_module
from edge.bundle.litert.flatbuffer import write
from train.spec import SupernetSpec

FLOAT_TOLERANCE = 1e-4
"""|LiteRT − torch| / max|torch| that any output may have.

Both sum the same float32 products in another order: √(a few thousand terms) ·
2⁻²⁴ ≈ 4e-6 per layer, and some thirty layers follow one another."""
ROUNDING_MARGIN = 4
"""Deep networks may amplify rounding beyond that, untrained ones a hundredfold. Then LiteRT may differ from torch by as
many times what torch's own float32 differs from its float64: each is one draw of the same rounding errors."""

Image = NDArray[np.float32]


def export_float(spec: SupernetSpec, tensors: Tensors, plans: Sequence[ProgramPlan], frontend: Frontend) -> list[Graph]:
    """Return the float graph of every program.

    The front end runs once per role, on the widest program, and for every program of a transformer.
    """
    graphs: list[Graph] = []
    exported: dict[str, Graph] = {}
    for plan in sorted(plans, key=lambda plan: -1 if plan.width is None else -plan.width):
        if plan.role not in exported or plan.attends:
            data = frontend(static_module(spec, plan, tensors), plan.input_shape)
            exported[plan.role] = bind(data, plan, tensors, spec.bn_epsilon)
            graphs.append(exported[plan.role])
        else:
            graphs.append(with_width(exported[plan.role], plan, tensors, spec.bn_epsilon))
    by_name = {graph.plan.name: graph for graph in graphs}
    return [by_name[plan.name] for plan in plans]


def check_float(spec: SupernetSpec, tensors: Tensors, graphs: Sequence[Graph], image: Image) -> float:
    """Compare every float graph with torch on one image; return the largest relative difference.

    One above FLOAT_TOLERANCE, and above what rounding explains (ROUNDING_MARGIN), is a ParityError.
    """
    worst, features = 0.0, None
    for graph in graphs:
        (name,) = graph.program.inputs
        sample = image if name == "image" else features
        assert sample is not None  # plans begin with the prefix
        (found,) = run_program(write(graph.file, shared=False)[0], graph.plan.name, [{name: sample}])
        module = static_module(spec, graph.plan, tensors)
        expected = _outputs(module, sample)
        difference = max(map(_difference, (found[output] for output in graph.program.outputs), expected))
        if not difference <= FLOAT_TOLERANCE:
            limit = ROUNDING_MARGIN * max(map(_difference, expected, _outputs(module.double(), sample)))
            if not difference <= limit:
                raise ParityError(
                    f"program {graph.plan.name}: the float graph's outputs differ from torch's by {difference:.2e} "
                    f"(limit {max(FLOAT_TOLERANCE, limit):.1e}); try another --frontend"
                )
        worst = max(worst, difference)
        features = found.get("features", features)
    return worst


@torch.no_grad()
def _outputs(module: StaticProgram, sample: Image) -> list[NDArray[Any]]:
    """Return what a program computes from an NHWC input, in its own precision; features NHWC."""
    given = torch.from_numpy(sample).permute(0, 3, 1, 2).to(next(module.parameters()).dtype)
    answer = module(given)
    answers = answer if isinstance(answer, tuple) else (answer,)
    return [(one.permute(0, 2, 3, 1) if one.ndim == 4 else one).numpy() for one in answers]


def _difference(found: NDArray[Any], reference: NDArray[Any]) -> float:
    return float(np.abs(found - reference).max() / max(float(np.abs(reference).max()), 1e-30))


def plain_programs(
    spec: SupernetSpec,
    tensors: Tensors,
    graphs: Sequence[Graph],
    weights: QuantizedWeights,
    precision: str,
    images: Sequence[Image],
) -> list[Graph]:
    """Return every program as a plain static graph of the shared integers.

    Int8 measures activation ranges on `images`.
    """
    if precision == "wi8":
        return [quantize_weights_only(graph, weights, tensors, spec.bn_epsilon) for graph in graphs]
    first = graphs[0]
    if first.plan.role == "prefix":
        prefix_ranges = observe(first, [{"image": image} for image in images])
        samples = float_features(first, images)
        tails = list(graphs[1:])
        ranges = [observe(tail, samples) for tail in tails]
        features = prefix_ranges[tensor_name(int(first.program.graph.outputs[0]))]
        heads = [quantize_int8(first, prefix_ranges, weights, tensors, spec.bn_epsilon)]
    else:
        sampled = [{"image": image} for image in images]
        tails = [graph for graph in graphs if graph.plan.role == "net"]
        heads = [
            quantize_int8(gate, observe(gate, sampled), weights, tensors, spec.bn_epsilon)
            for gate in graphs
            if gate.plan.role == "gate"
        ]
        ranges = [observe(tail, sampled) for tail in tails]
        features = ranges[-1][tensor_name(int(tails[0].program.graph.inputs[0]))]
    shared = share_ranges(tails, ranges, features)
    bodies = [quantize_int8(tail, r, weights, tensors, spec.bn_epsilon) for tail, r in zip(tails, shared, strict=True)]
    return heads + bodies


def float_features(prefix: Graph, images: Sequence[Image]) -> list[Mapping[str, NDArray[Any]]]:
    """Return what the float prefix hands to the tails for each image, as named tail inputs."""
    outputs = run_program(write(prefix.file, shared=False)[0], prefix.plan.name, [{"image": image} for image in images])
    return [{"features": output["features"]} for output in outputs]
