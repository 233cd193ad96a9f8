"""Step 1, export: float graphs of every program, each checked against torch.

Then plain programs of the shared integers.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convert.errors import ParityError
from convert.fold import Tensors
from convert.litert.activations import observe, part_of, share_features, share_ranges
from convert.litert.float_graph import Graph, bind, with_width
from convert.litert.frontend import Frontend
from convert.litert.interpreter import run_program
from convert.litert.quantize import quantize_int8, quantize_weights_only
from convert.program_inputs import Run, run_in_order
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

    The front end runs once for programs of one part of the network, on the widest of them, and for every program of a
    transformer.
    """
    graphs: dict[str, Graph] = {}
    exported: dict[tuple[str, str], Graph] = {}
    for plan in sorted(plans, key=_weights, reverse=True):
        part = part_of(plan)
        if part not in exported or plan.attends:
            data = frontend(static_module(spec, plan, tensors), plan.input_shape)
            exported[part] = graphs[plan.name] = bind(data, plan, tensors, spec.bn_epsilon)
        else:
            graphs[plan.name] = with_width(exported[part], plan, tensors, spec.bn_epsilon)
    return [graphs[plan.name] for plan in plans]


def check_float(spec: SupernetSpec, tensors: Tensors, graphs: Sequence[Graph], image: Image) -> float:
    """Compare every float graph with torch on one image; return the largest relative difference.

    One above FLOAT_TOLERANCE, and above what rounding explains (ROUNDING_MARGIN), is a ParityError.
    """
    worst = 0.0
    for plan, (given,), (found,) in run_in_order([graph.plan for graph in graphs], [image], runner_of(graphs)):
        module, sample = static_module(spec, plan, tensors), given[plan.input_name]
        expected = _outputs(module, sample)
        difference = max(map(_difference, (found[output] for output in plan.output_names), expected))
        if not difference <= FLOAT_TOLERANCE:
            limit = ROUNDING_MARGIN * max(map(_difference, expected, _outputs(module.double(), sample)))
            if not difference <= limit:
                raise ParityError(
                    f"program {plan.name}: the float graph's outputs differ from torch's by {difference:.2e} "
                    f"(limit {max(FLOAT_TOLERANCE, limit):.1e}); try another --frontend"
                )
        worst = max(worst, difference)
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
    plans = [graph.plan for graph in graphs]
    by_name = {graph.plan.name: graph for graph in graphs}
    runs = run_in_order(plans, images, runner_of(graphs))
    observed = [observe(by_name[plan.name], inputs) for plan, inputs, _ in runs]
    shared = share_features(graphs, share_ranges(graphs, observed))
    return [quantize_int8(graph, r, weights, tensors, spec.bn_epsilon) for graph, r in zip(graphs, shared, strict=True)]


def runner_of(graphs: Sequence[Graph], num_threads: int = 1) -> Run[NDArray[Any]]:
    """Return what runs plain graphs, each as a file of its own."""
    files = {graph.plan.name: write(graph.file, shared=False)[0] for graph in graphs}
    return lambda plan, inputs: run_program(files[plan.name], plan.name, inputs, num_threads=num_threads)


def _weights(plan: ProgramPlan) -> int:
    return sum(prod(piece.extent) for piece in plan.layers)
