"""Checkpoint → bundle: export, nest, check, write."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import atomic_write, sha256_bytes
from convert.errors import ConvertError
from convert.images import CheckImages
from convert.litert.check import NestedFile, check_parity, measure_accuracy
from convert.litert.export import check_float, export_float, plain_programs
from convert.litert.frontend import load_frontend
from convert.litert.nest import nest
from convert.litert.quantize import PRECISIONS, Precision
from convert.quantized_weights import quantize_weights
from convert.slice_plan import plan_programs
from edge.bundle.litert.describe import describe_programs
from edge.bundle.litert.flatbuffer import write
from edge.bundle.manifest import FORMAT, Artifact, Gate, Manifest, Model, Width
from edge.bundle.reader import MANIFEST_NAME, read_manifest
from edge.bundle.writer import add_artifact, write_manifest
from train.checkpoint import Checkpoint
from train.spec import SupernetSpec

PARITY_IMAGES = 4
"""Parity is exact or broken, on any image; a few guard against a range that only some images reach."""

Step = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to convert a checkpoint into."""

    widths: tuple[int, ...]
    precisions: tuple[Precision, ...]
    frontend: str
    classes: tuple[str, ...]


def count_steps(request: Request) -> int:
    """Return how many times `build_bundle` calls `step`."""
    return 2 + 4 * len(request.precisions)


def build_bundle(
    checkpoint: Checkpoint, request: Request, images: CheckImages, out: Path, step: Step = lambda _: None
) -> Manifest:
    """Convert a checkpoint for LiteRT into the bundle at `out`: a new one, or these artifacts added or replaced.

    `step` is told what happens now. Raises ConvertError when the supernet cannot be converted as asked or a check
    fails; the bundle is then as it was before.
    """
    spec, tensors = checkpoint.spec, checkpoint.tensors
    _check_request(spec, request, images)
    plans = plan_programs(spec, request.widths)
    weights = quantize_weights(tensors, plans)
    step(f"exporting with {request.frontend}")
    graphs = export_float(spec, tensors, plans, load_frontend(request.frontend))
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
        file = artifact_file(precision)
        _write_bytes(out / file, nested.data)
        artifacts.append(
            Artifact(
                runtime="litert",
                precision=precision,
                file=file,
                bytes=len(nested.data),
                sha256=sha256_bytes(nested.data),
                programs=describe_programs(
                    nested.data, [(plan.role, plan.width) for plan in plans], dict(nested.roots)
                ),
                runtime_version=f"ai-edge-litert {version('ai-edge-litert')}",
                parity=parity,
                accuracy=accuracy,
            )
        )
    _write_manifest(out, _manifest(checkpoint, request, images, float_difference), artifacts)
    return read_manifest(out)


def artifact_file(precision: Precision) -> str:
    """Return where a LiteRT artifact lies in a bundle; the default precision has the plain name."""
    return "litert/model.tflite" if precision == PRECISIONS[0] else f"litert/model_{precision}.tflite"


def _check_request(spec: SupernetSpec, request: Request, images: CheckImages) -> None:
    unknown = [precision for precision in request.precisions if precision not in PRECISIONS]
    if unknown or not request.precisions:
        raise ConvertError(
            f"unknown precision {', '.join(unknown) or '(none)'}; valid for --precision: {', '.join(PRECISIONS)}"
        )
    if len(request.classes) != spec.classes:
        raise ConvertError(
            f"{len(request.classes)} class names for a network of {spec.classes} classes; change --classes"
        )
    if not images.images:
        raise ConvertError("conversion needs at least one image; name a folder of images with --data")


def _manifest(checkpoint: Checkpoint, request: Request, images: CheckImages, float_difference: float) -> Manifest:
    spec = checkpoint.spec
    return Manifest(
        format=FORMAT,
        model=Model(
            name=spec.name,
            spec=_plain(asdict(spec)),
            classes=list(request.classes),
            input_size=spec.resolution,
            mean=list(spec.mean),
            std=list(spec.std),
        ),
        widths=[
            Width(index=width, name=f"{spec.name}-{width:02d}", macs=spec.macs(width), params=spec.params(width))
            for width in range(spec.n_widths)
        ],
        gate=Gate(kind="trunk", choices=list(spec.gate.choices)) if spec.gate else None,
        artifacts=[],
        provenance={
            "checkpoint_sha256": checkpoint.sha256,
            "checkpoint": checkpoint.provenance,
            "images": {"name": images.source, "count": len(images.images), "labelled": bool(images.labels)},
            "frontend": f"{request.frontend} {version(request.frontend)}",
            "float_max_relative_difference": float_difference,
        },
    )


def _write_manifest(out: Path, manifest: Manifest, artifacts: Sequence[Artifact]) -> None:
    """Write a new manifest, or add to the one there if it describes the same checkpoint."""
    if (out / MANIFEST_NAME).exists():
        there = read_manifest(out)
        if (
            there.provenance.get("checkpoint_sha256") == manifest.provenance["checkpoint_sha256"]
            and there.model == manifest.model
        ):
            for artifact in artifacts:
                add_artifact(out, artifact)
            return
    write_manifest(out, manifest.model_copy(update={"artifacts": list(artifacts)}))


def _write_bytes(path: Path, data: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _plain(value: Any) -> Any:
    """Return nested tuples as lists, so that the record equals itself after a round trip through JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
