"""Checkpoint → bundle: convert for one runtime, check, and write; every hash in the bundle is right at any moment."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import atomic_write
from convert.artifacts import NewArtifact, Request
from convert.errors import ConvertError
from convert.images import CheckImages
from convert.runtimes import load_runtime, runtime_entry
from edge.bundle.checks import manifest_problems
from edge.bundle.manifest import FORMAT, Gate, Manifest, Model, Width
from edge.bundle.reader import MANIFEST_NAME, read_manifest
from edge.bundle.writer import write_manifest
from train.checkpoint import Checkpoint
from train.families import FAMILIES
from train.spec import SupernetSpec


def build_bundle(
    checkpoint: Checkpoint,
    request: Request,
    images: CheckImages,
    out: Path,
    step: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Convert a checkpoint for one runtime into the bundle at `out`: a new one, or these artifacts added or replaced.

    `step` is told what happens now. Raises ConvertError when the supernet cannot be converted as asked or a check
    fails; the bundle is then as it was before.
    """
    _check_request(checkpoint.spec, request, images)
    request = replace(request, precisions=tuple(dict.fromkeys(request.precisions)))
    manifest = _starting_manifest(checkpoint, request, out)
    new = load_runtime(request.runtime).convert(checkpoint, request, images, step)
    _write(out, manifest, new)
    return read_manifest(out)


def _check_request(spec: SupernetSpec, request: Request, images: CheckImages) -> None:
    entry, valid = runtime_entry(request.runtime), load_runtime(request.runtime).PRECISIONS
    unknown = [precision for precision in request.precisions if precision not in valid]
    if unknown or not request.precisions:
        named = ", ".join(unknown) or "(none)"
        raise ConvertError(
            f"unknown precision {named}; valid for --precision with {request.runtime}: {', '.join(valid)}"
        )
    for_transformers = entry.transformer_precisions
    if FAMILIES[spec.family].is_transformer and not set(request.precisions) <= set(for_transformers):
        raise ConvertError(
            f"{request.runtime} would quantize a transformer's activations in part only; valid for --precision with "
            f"{spec.name}: {', '.join(for_transformers)}"
        )
    if len(request.classes) != spec.classes:
        found = len(request.classes)
        raise ConvertError(f"{found} class names for a network of {spec.classes} classes; change --classes")
    if len(set(request.classes)) != len(request.classes):
        repeated = next(name for name in request.classes if request.classes.count(name) > 1)
        raise ConvertError(f"class {repeated!r} is named twice; labels are matched by name, so change --classes")
    if entry.needs_images and not images.images:
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
            spec=_plain(spec.to_dict()),
            classes=list(request.classes),
            input_size=spec.resolution,
            mean=list(spec.mean),
            std=list(spec.std),
        ),
        widths=[
            Width(
                index=width,
                name=f"{spec.name}-{width:02d}",
                path=list(spec.paths[width]),
                channels=spec.block_channels(width),
                macs=spec.macs(width),
                params=spec.params(width),
            )
            for width in range(spec.n_widths)
        ],
        gates=[Gate(kind="trunk" if spec.gates else "side", choices=list(choices)) for choices in spec.choices],
        artifacts=[],
        provenance={"checkpoint_sha256": checkpoint.sha256, "checkpoint": checkpoint.provenance},
    )


def _write(out: Path, manifest: Manifest, new: Sequence[NewArtifact]) -> None:
    """Write artifacts and manifest so that a kill between two files leaves a bundle whose every hash is right."""
    replaced = {(item.record.runtime, item.record.precision) for item in new}
    kept = manifest.model_copy(
        update={
            "artifacts": [item for item in manifest.artifacts if (item.runtime, item.precision) not in replaced],
            "weights": [item for item in manifest.weights if (item.runtime, item.precision) not in replaced],
        }
    )
    final = kept.model_copy(
        update={
            "artifacts": [*kept.artifacts, *(item.record for item in new)],
            "weights": [*kept.weights, *(weights.record for item in new for weights in item.weights)],
        }
    )
    if problems := manifest_problems(final):
        raise ConvertError(f"the conversion does not make a bundle: {'; '.join(problems)}")
    out.mkdir(parents=True, exist_ok=True)
    before: set[str] = set()
    if (out / MANIFEST_NAME).exists():
        before = _files(read_manifest(out))
        write_manifest(out, kept)
    for path, data in (file for item in new for file in item.files.items()):
        with atomic_write(out / path) as temporary:
            temporary.write_bytes(data)
    write_manifest(out, final)
    for stray in before - _files(final):
        (out / stray).unlink(missing_ok=True)


def _files(manifest: Manifest) -> set[str]:
    return {artifact.file for artifact in manifest.artifacts} | {weights.file for weights in manifest.weights}


def _plain(value: Any) -> Any:
    """Return nested tuples as lists, so that the record equals itself after a round trip through JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
