"""Step 3, check: the nested file against plain static files of the same integers, and against the float network."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import ParityError
from convert.litert.export import Image, runner_of
from convert.litert.float_graph import Graph
from convert.litert.interpreter import run_program
from convert.program_inputs import run_in_order, run_widths
from convert.slice_plan import ProgramPlan
from edge.bundle.litert.flatbuffer import write
from edge.bundle.litert.hydrate import hydrate_program
from edge.bundle.manifest import Accuracy, Parity

Sample = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NestedFile:
    """A nested LiteRT file and the root offset of each of its programs."""

    data: bytes
    roots: Mapping[str, int]


def check_parity(nested: NestedFile, plain: Sequence[Graph], images: Sequence[Image]) -> list[Parity]:
    """Compare every nested program with its plain counterpart.

    Outputs must be identical, and so must the bytes of the plain file that hydration makes from the nested one.
    Anything else is a ParityError that names the program and the difference.
    """
    results: list[Parity] = []
    files = {graph.plan.name: write(graph.file, shared=False)[0] for graph in plain}
    plans = [graph.plan for graph in plain]
    for plan, inputs, expected in run_in_order(
        plans, images, lambda plan, given: run_program(files[plan.name], plan.name, given)
    ):
        name = plan.name
        if hydrate_program(nested.data, name) != files[name]:
            raise ParityError(f"program {name}: hydration does not give back the plain file byte for byte")
        found = run_program(nested.data, name, inputs, nested.roots[name])
        difference = max(
            float(np.abs(f[key].astype(np.float64) - e[key]).max())
            for e, f in zip(expected, found, strict=True)
            for key in e
        )
        if difference != 0:
            raise ParityError(
                f"program {name}: nested outputs differ from the plain model's by {difference:g}; they must be equal"
            )
        results.append(Parity(program=name, max_abs_difference=difference, images=len(inputs)))
    return results


def measure_accuracy(
    floats: Sequence[Graph], nested: NestedFile, images: Sequence[Image], labels: Sequence[int]
) -> list[Accuracy]:
    """Return top-1 per width of the float network and of the nested file on labelled images."""
    if not images:
        return []
    plans = [graph.plan for graph in floats]
    threads, truth = os.cpu_count() or 1, np.asarray(labels)

    def run_nested(plan: ProgramPlan, given: Sequence[Sample]) -> Sequence[Sample]:
        return run_program(nested.data, plan.name, given, nested.roots[plan.name], num_threads=threads)

    expected, found = (
        {width: _classes(outputs) for width, outputs in run_widths(plans, images, run)}
        for run in (runner_of(floats, threads), run_nested)
    )
    return [
        Accuracy(
            width=width,
            images=len(images),
            float_top1=float((expected[width] == truth).mean()),
            artifact_top1=float((found[width] == truth).mean()),
        )
        for width in sorted(expected)
    ]


def _classes(outputs: Sequence[Sample]) -> NDArray[np.intp]:
    return np.array([output["logits"].argmax() for output in outputs])
