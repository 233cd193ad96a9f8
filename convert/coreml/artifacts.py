"""Supernet → Core ML artifacts: export, nest, check."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from common import sha256_bytes
from convert.artifacts import NewArtifact, Request, Step, bundle_path, weights_of
from convert.coreml.check import check_rebuilt
from convert.coreml.export import Exporter
from convert.coreml.nest import Source, masters, nest
from convert.coreml.options import PRECISIONS, CoreMlOptions, Precision
from convert.coreml.shared_int8 import Substitute, Substitutes, half_scale
from convert.fold import Tensors
from convert.gamma_signs import separate_signs
from convert.images import CheckImages
from convert.nested_store import NestedFiles
from convert.program_record import program_record
from convert.quantized_weights import QuantizedWeights, payload_at, quantize_weights, scale_at
from convert.slice_plan import ProgramPlan, plan_programs
from convert.static_module import StaticProgram, static_module
from edge.bundle.coreml.index import FORMAT, Index, PackagePart
from edge.bundle.coreml.multifunction import FIRST_VERSION
from edge.bundle.coreml.package import Package, model_of
from edge.bundle.manifest import Artifact
from train.checkpoint import Checkpoint


def convert(checkpoint: Checkpoint, request: Request, images: CheckImages, step: Step) -> list[NewArtifact]:  # noqa: ARG001
    """Return one artifact per precision; `step` is told what happens now, `count_steps` times.

    Raises ConvertError when the supernet cannot be converted as asked or a check fails. No image is looked at: no
    activation is quantized, and nothing runs Core ML here.
    """
    plans = plan_programs(checkpoint.spec, request.widths)
    return [
        _artifact(checkpoint, plans, precision, request.classes, request.coreml, step)  # type: ignore[arg-type]
        for precision in request.precisions
    ]


def count_steps(programs: int, precisions: Sequence[str]) -> int:
    """Return how many times `convert` calls `step`."""
    return (programs + 2) * len(precisions)


def _artifact(
    checkpoint: Checkpoint,
    plans: Sequence[ProgramPlan],
    precision: Precision,
    classes: Sequence[str],
    options: CoreMlOptions,
    step: Step,
) -> NewArtifact:
    spec, weights = checkpoint.spec, None
    tensors = masters(checkpoint.tensors, plans, precision)
    if precision == "int8":
        plans, tensors = separate_signs(tensors, plans)
        weights = quantize_weights(tensors, plans)
    exporter = Exporter(spec, precision, options, _user_metadata(checkpoint, precision, classes))
    packages: dict[str, Package] = {}
    for plan in plans:
        step(f"{precision}: {plan.name} through coremltools")
        module = static_module(spec, plan, tensors)
        packages[plan.name] = exporter.package(plan, module, _substitutes(module, weights, tensors))
    step(f"{precision}: nesting {len(plans)} packages")
    nested = nest(plans, list(packages.values()), Source(tensors, spec.bn_epsilon, precision, weights))
    step(f"{precision}: comparing rebuilt packages with coremltools'")
    default = plans[0].name
    merged = exporter.multifunction(packages, default) if _version(packages) >= FIRST_VERSION else None
    check_rebuilt(nested, packages, merged, default)
    return _new_artifact(plans, precision, options, nested, _index(packages, merged, options, nested))


def _substitutes(module: StaticProgram, weights: QuantizedWeights | None, tensors: Tensors) -> Substitutes:
    """Return the shared integers and this width's scales for every convolution of a program, in int8."""
    if weights is None:
        return {}
    return {
        f"{name}.weight": Substitute(
            np.ascontiguousarray(payload_at(weights[piece.name], piece)),
            half_scale(scale_at(weights[piece.name], tensors, piece, module.epsilon)),
        )
        for name, piece in module.pieces.items()
    }


def _user_metadata(checkpoint: Checkpoint, precision: Precision, classes: Sequence[str]) -> dict[str, str]:
    """Return what every package carries about itself: which network it is, and the names of its classes."""
    spec = checkpoint.spec
    model = {
        "name": spec.name,
        "precision": precision,
        "checkpoint_sha256": checkpoint.sha256,
        "input_size": spec.resolution,
        "mean": spec.mean,
        "std": spec.std,
        "widths": spec.n_widths,
        "gates": spec.choices,
        "paths": spec.paths,
    }
    return {"dsnet.model": _json(model), "dsnet.classes": _json(list(classes))}


def _index(
    packages: Mapping[str, Package], merged: Package | None, options: CoreMlOptions, nested: NestedFiles
) -> Index:
    return Index(
        format=FORMAT,
        deployment_target=options.target,
        specification_version=_version(packages),
        image_input=options.image_input,
        functions=list(packages),
        all_functions=None if merged is None else [_part(path, content) for path, content in merged.items()],
        recipe_sha256=sha256_bytes(nested.recipe.to_json()),
    )


def _part(path: str, content: bytes) -> PackagePart:
    return PackagePart(path=path, bytes=len(content), sha256=sha256_bytes(content))


def _version(packages: Mapping[str, Package]) -> int:
    return model_of(next(iter(packages.values()))).version


def _new_artifact(
    plans: Sequence[ProgramPlan],
    precision: Precision,
    options: CoreMlOptions,
    nested: NestedFiles,
    index: Index,
) -> NewArtifact:
    data = (_json(index.model_dump(mode="json")) + "\n").encode()
    record = Artifact(
        runtime="coreml",
        precision=precision,
        file=bundle_path("coreml", "index", precision, "json", PRECISIONS[0]),
        bytes=len(data),
        sha256=sha256_bytes(data),
        programs=[program_record(plan, {}) for plan in plans],
        runtime_version=f"coremltools {version('coremltools')}, not run: Core ML runs on Apple's systems alone",
        parity=[],
        provenance={
            "exporter": f"coremltools {version('coremltools')}, torch {version('torch')}",
            "deployment_target": options.target,
            "image_input": options.image_input,
        },
    )
    return NewArtifact(record, data, weights_of(record, nested, PRECISIONS[0]))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
