"""Supernet → LiteRT artifacts: export, nest, check."""

from collections.abc import Sequence
from importlib.metadata import version

from common import sha256_bytes
from convert.artifacts import NewArtifact, Request, Step
from convert.gamma_signs import separate_signs
from convert.images import CheckImages
from convert.litert.check import NestedFile, check_parity, measure_accuracy
from convert.litert.export import check_float, export_float, plain_programs
from convert.litert.frontend import frontend_for, load_frontend
from convert.litert.nest import nest, nested_layouts
from convert.litert.quantize import PRECISIONS
from convert.quantized_weights import quantize_weights
from convert.slice_plan import plan_programs
from edge.bundle.litert.describe import describe_programs
from edge.bundle.litert.flatbuffer import write
from edge.bundle.manifest import Artifact
from train.checkpoint import Checkpoint

PARITY_IMAGES = 4
"""Parity is exact or broken, on any image; a few guard against a range that only some images reach."""


def convert(checkpoint: Checkpoint, request: Request, images: CheckImages, step: Step) -> list[NewArtifact]:
    """Return one artifact per precision; `step` is told what happens now, `count_steps` times.

    Raises ConvertError when the supernet cannot be converted as asked or a check fails.
    """
    spec = checkpoint.spec
    frontend = frontend_for(spec, request.frontend)
    plans, tensors = separate_signs(checkpoint.tensors, plan_programs(spec, request.widths))
    nested_layouts(plans)  # a width that cannot be nested is refused before any work
    weights = quantize_weights(tensors, plans)
    step(f"exporting with {frontend}")
    graphs = export_float(spec, tensors, plans, load_frontend(frontend))
    step("comparing every width with torch")
    float_difference = check_float(spec, tensors, graphs, images.images[0])
    artifacts = []
    for precision in request.precisions:
        step(f"{precision}: quantizing {len(plans)} programs")
        plain = plain_programs(spec, tensors, graphs, weights, precision, images.images)
        step(f"{precision}: nesting {len(plans)} programs")
        nested = NestedFile(*write(nest(plain, weights), shared=True))
        step(f"{precision}: comparing every program with its plain counterpart")
        parity = check_parity(nested, plain, images.images[:PARITY_IMAGES])
        step(f"{precision}: measuring accuracy on {len(images.labels)} labelled images")
        accuracy = measure_accuracy(graphs, nested, images.images if images.labels else [], images.labels)
        record = Artifact(
            runtime="litert",
            precision=precision,
            file=artifact_file(precision),
            bytes=len(nested.data),
            sha256=sha256_bytes(nested.data),
            programs=describe_programs(
                nested.data, ((plan.name, plan.role, plan.widths) for plan in plans), nested.roots
            ),
            runtime_version=f"ai-edge-litert {version('ai-edge-litert')}",
            parity=parity,
            accuracy=accuracy,
            provenance={
                "images": {"name": images.source, "count": len(images.images), "labelled": bool(images.labels)},
                "frontend": f"{frontend} {version(frontend)}",
                "float_max_relative_difference": float_difference,
            },
        )
        artifacts.append(NewArtifact(record, nested.data))
    return artifacts


def count_steps(programs: int, precisions: Sequence[str]) -> int:  # noqa: ARG001
    """Return how many times `convert` calls `step`."""
    return 2 + 4 * len(precisions)


def artifact_file(precision: str) -> str:
    """Return where a LiteRT artifact lies in a bundle; the default precision has the plain name."""
    return "litert/model.tflite" if precision == PRECISIONS[0] else f"litert/model_{precision}.tflite"
