"""Supernet → ExecuTorch artifacts: export, nest, check."""

from collections.abc import Sequence
from importlib.metadata import version

import torch
from torch import Tensor

from common import sha256_bytes
from convert.artifacts import NewArtifact, Request, Step, bundle_path, weights_of
from convert.executorch.check import check_parity, measure_accuracy
from convert.executorch.lower import Task, lower_all
from convert.executorch.measure import measure
from convert.executorch.nest import Source, nest
from convert.fold import Tensors
from convert.gamma_signs import separate_signs
from convert.images import CheckImages
from convert.program_record import program_record
from convert.quantized_weights import quantize_weights
from convert.slice_plan import ProgramPlan, plan_programs
from convert.static_module import static_module
from edge.bundle.executorch.pte import merge, methods
from edge.bundle.manifest import Artifact
from train.checkpoint import Checkpoint

PRECISIONS = ("fp32", "int8")
PARITY_IMAGES = 4
"""Parity is exact or broken, on any image; a few guard against a range that only some images reach."""


def convert(checkpoint: Checkpoint, request: Request, images: CheckImages, step: Step) -> list[NewArtifact]:
    """Return one artifact per precision; `step` is told what happens now, `count_steps` times.

    Raises ConvertError when the supernet cannot be converted as asked or a check fails.
    """
    plans = plan_programs(checkpoint.spec, request.widths)
    pictures = [torch.from_numpy(image).permute(0, 3, 1, 2).contiguous() for image in images.images]
    return [_artifact(checkpoint, plans, precision, pictures, images, step) for precision in request.precisions]


def count_steps(programs: int, precisions: Sequence[str]) -> int:
    """Return how many times `convert` calls `step`."""
    return (programs + 3) * len(precisions)


def _artifact(
    checkpoint: Checkpoint,
    plans: Sequence[ProgramPlan],
    precision: str,
    pictures: Sequence[Tensor],
    images: CheckImages,
    step: Step,
) -> NewArtifact:
    spec, weights = checkpoint.spec, None
    tensors: Tensors = checkpoint.tensors
    floats = {plan.name: static_module(spec, plan, tensors) for plan in plans}
    samples, joints = measure(plans, floats, pictures if precision == "int8" else pictures[:1])
    if precision == "int8":
        plans, tensors = separate_signs(tensors, plans)
        weights = quantize_weights(tensors, plans)
    else:
        joints = {}
    step(f"{precision}: lowering {len(plans)} programs")
    files = lower_all(
        Task(spec, tensors, samples, weights, joints), plans, lambda: step(f"{precision}: lowering programs")
    )
    nested, program = nest(plans, files, Source(tensors, spec.bn_epsilon, weights)), merge(files)
    step(f"{precision}: comparing every program with its stock file")
    stock = {plan.name: file for plan, file in zip(plans, files, strict=True)}
    parity = check_parity(program, nested, plans, stock, pictures[:PARITY_IMAGES])
    step(f"{precision}: measuring accuracy on {len(images.labels)} labelled images")
    record = Artifact(
        runtime="executorch",
        precision=precision,
        file=bundle_path("executorch", "model", precision, "pte", PRECISIONS[0]),
        bytes=len(program),
        sha256=sha256_bytes(program),
        programs=[program_record(plan, joints) for plan in plans],
        runtime_version=f"executorch {version('executorch')}",
        parity=parity,
        accuracy=measure_accuracy(plans, floats, stock, pictures, images.labels),
        provenance={
            "images": {"name": images.source, "count": len(images.images), "labelled": bool(images.labels)},
            "exporter": f"executorch {version('executorch')}, torch {version('torch')}",
            "delegates": methods(program),
        },
    )
    return NewArtifact(record, program, weights_of(record, nested, PRECISIONS[0]))
