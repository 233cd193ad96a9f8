"""Step 3, check: the nested file against plain static files of the same integers, and against the float network."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import ParityError
from convert.litert.export import Image
from convert.litert.float_graph import Graph
from convert.litert.interpreter import run_program
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
    features: Sequence[Sample] = [{} for _ in images]
    for graph in plain:
        name = graph.plan.name
        file, _ = write(graph.file, shared=False)
        if hydrate_program(nested.data, name) != file:
            raise ParityError(f"program {name}: hydration does not give back the plain file byte for byte")
        inputs = _inputs(graph, images, features)
        expected = run_program(file, name, inputs)
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
        features = _features(graph, expected, features)
    return results


def measure_accuracy(
    floats: Sequence[Graph], nested: NestedFile, images: Sequence[Image], labels: Sequence[int]
) -> list[Accuracy]:
    """Return top-1 per width of the float network and of the nested file on labelled images."""
    if not images:
        return []
    truth = np.asarray(labels)
    float_files = [(graph, write(graph.file, shared=False)[0], None) for graph in floats]
    nested_files = [(graph, nested.data, nested.roots[graph.plan.name]) for graph in floats]
    results = []
    for (width, expected), (_, found) in zip(
        _answers(float_files, images), _answers(nested_files, images), strict=True
    ):
        results.append(
            Accuracy(
                width=width,
                images=len(images),
                float_top1=float((expected == truth).mean()),
                artifact_top1=float((found == truth).mean()),
            )
        )
    return results


def _answers(
    files: Iterable[tuple[Graph, bytes, int | None]], images: Sequence[Image]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each width and the class it gives every image; the programs come in order, what every image runs first."""
    features: Sequence[Sample] = [{} for _ in images]
    for graph, data, root in files:
        inputs = _inputs(graph, images, features)
        outputs = run_program(data, graph.plan.name, inputs, root, num_threads=os.cpu_count() or 1)
        features = _features(graph, outputs, features)
        if graph.plan.width is not None:
            yield graph.plan.width, np.array([output["logits"].argmax() for output in outputs])


def _features(graph: Graph, outputs: Sequence[Sample], before: Sequence[Sample]) -> Sequence[Sample]:
    """Return what the tails read once this program has run: a prefix's features, or what was there."""
    return [{"features": output["features"]} for output in outputs] if graph.plan.role == "prefix" else before


def _inputs(graph: Graph, images: Sequence[Image], features: Sequence[Sample]) -> list[Sample]:
    return [*features] if graph.plan.role == "tail" else [{"image": image} for image in images]
