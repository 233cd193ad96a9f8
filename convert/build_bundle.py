"""Checkpoint → bundle: convert for every runtime asked for, then write all of it or nothing."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import atomic_write
from convert.errors import ConvertError
from convert.images import CheckImages
from convert.litert.artifacts import NewArtifact, litert_artifacts
from convert.litert.frontend import check_frontend
from convert.litert.quantize import PRECISIONS, Precision
from edge.bundle.checks import manifest_problems
from edge.bundle.manifest import FORMAT, Gate, Manifest, Model, Width
from edge.bundle.reader import MANIFEST_NAME, read_manifest
from edge.bundle.writer import write_manifest
from train.checkpoint import Checkpoint
from train.spec import SupernetSpec


@dataclass(frozen=True)
class Request:
    """What to convert a checkpoint into."""

    widths: tuple[int, ...]
    precisions: tuple[Precision, ...]
    frontend: str
    classes: tuple[str, ...]
    replace: bool = False
    """Whether a bundle of another network may be replaced."""


def build_bundle(
    checkpoint: Checkpoint,
    request: Request,
    images: CheckImages,
    out: Path,
    step: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Convert a checkpoint for LiteRT into the bundle at `out`: a new one, or these artifacts added or replaced.

    `step` is told what happens now. Raises ConvertError when the supernet cannot be converted as asked or a check
    fails; the bundle is then as it was before.
    """
    _check_request(checkpoint.spec, request, images)
    precisions = tuple(dict.fromkeys(request.precisions))
    manifest = _starting_manifest(checkpoint, request, out)
    new = litert_artifacts(checkpoint, request.widths, precisions, request.frontend, images, step)
    _write(out, manifest, new)
    return read_manifest(out)


def _check_request(spec: SupernetSpec, request: Request, images: CheckImages) -> None:
    unknown = [precision for precision in request.precisions if precision not in PRECISIONS]
    if unknown or not request.precisions:
        named = ", ".join(unknown) or "(none)"
        raise ConvertError(f"unknown precision {named}; valid for --precision: {', '.join(PRECISIONS)}")
    if len(request.classes) != spec.classes:
        found = len(request.classes)
        raise ConvertError(f"{found} class names for a network of {spec.classes} classes; change --classes")
    if len(set(request.classes)) != len(request.classes):
        repeated = next(name for name in request.classes if request.classes.count(name) > 1)
        raise ConvertError(f"class {repeated!r} is named twice; labels are matched by name, so change --classes")
    check_frontend(request.frontend)
    if not images.images:
        raise ConvertError("conversion needs at least one image; name a folder of images with --data")


def _starting_manifest(checkpoint: Checkpoint, request: Request, out: Path) -> Manifest:
    """Return the manifest to add artifacts to: the one at `out` if it is of the same network, else a new one."""
    fresh = _new_manifest(checkpoint, request)
    if not (out / MANIFEST_NAME).exists():
        return fresh
    there = read_manifest(out)
    if there.provenance.get("checkpoint_sha256") == checkpoint.sha256 and there.model == fresh.model:
        return there
    if not request.replace:
        raise ConvertError(
            f"{out} is a bundle of another network or other classes; choose a new --out, or --replace it"
        )
    return fresh


def _new_manifest(checkpoint: Checkpoint, request: Request) -> Manifest:
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
            Width(
                index=width,
                name=f"{spec.name}-{width:02d}",
                channels=_channels(spec, width),
                macs=spec.macs(width),
                params=spec.params(width),
            )
            for width in range(spec.n_widths)
        ],
        gate=Gate(kind="trunk" if spec.gate else "side", choices=list(spec.choices)) if spec.choices else None,
        artifacts=[],
        provenance={"checkpoint_sha256": checkpoint.sha256, "checkpoint": checkpoint.provenance},
    )


def _channels(spec: SupernetSpec, width: int) -> list[int]:
    """Return the output channels of the stem and of every block."""
    return [layer.out_channels[width] for layer in (spec.stem_layer, *(block.pointwise for block in spec.blocks))]


def _write(out: Path, manifest: Manifest, new: Sequence[NewArtifact]) -> None:
    """Write artifacts and manifest so that a kill between two files leaves a bundle whose every hash is right."""
    replaced = {(item.record.runtime, item.record.precision) for item in new}
    kept = [artifact for artifact in manifest.artifacts if (artifact.runtime, artifact.precision) not in replaced]
    final = manifest.model_copy(update={"artifacts": [*kept, *(item.record for item in new)]})
    if problems := manifest_problems(final):
        raise ConvertError(f"the conversion does not make a bundle: {'; '.join(problems)}")
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST_NAME).exists():
        write_manifest(out, manifest.model_copy(update={"artifacts": kept}))
    for item in new:
        with atomic_write(out / item.record.file) as temporary:
            temporary.write_bytes(item.data)
    write_manifest(out, final)
    for stray in set((out / "litert").glob("*.tflite")) - {out / artifact.file for artifact in final.artifacts}:
        stray.unlink()


def _plain(value: Any) -> Any:
    """Return nested tuples as lists, so that the record equals itself after a round trip through JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
