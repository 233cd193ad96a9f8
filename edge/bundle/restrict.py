"""Artifacts with fewer widths, and the operating points that they can still serve.

A LiteRT artifact is one file, which becomes another one; its operating points are bound to that one anew. They may be,
because its programs are the same: `edge.bundle.assets` compares each, hydrated, byte for byte. An ExecuTorch artifact
stays the very file, as it holds no weights and its methods for other widths cost little: what shrinks are the weights
beside it. Its hash stays, and so does the binding of its operating points.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common import sha256_bytes
from edge.bundle.checks import artifact_widths
from edge.bundle.litert.restrict import restrict as restrict_litert
from edge.bundle.manifest import Artifact, OperatingPoint, Program, WeightsFile
from edge.bundle.nested.restrict import restrict as restrict_nested
from edge.bundle.nested.weights import open_nested_weights, weights_files
from edge.bundle.reader import Bundle
from edge.errors import BundleError


@dataclass(frozen=True)
class Part:
    """An artifact as it goes into a smaller bundle."""

    source: Artifact
    """As it was."""
    artifact: Artifact
    weights: Sequence[WeightsFile]
    files: Mapping[str, bytes] = field(repr=False)
    """Path in the bundle → content, of the artifact and its weights."""

    @property
    def records(self) -> list[Artifact | WeightsFile]:
        """Return the manifest's entries of the artifact and its weights files."""
        return [self.artifact, *self.weights]

    @property
    def is_whole(self) -> bool:
        """Return whether every width is there, and so every byte as it was."""
        return self.artifact == self.source


def take_part(bundle: Bundle, artifact: Artifact, widths: Sequence[int] | None) -> Part:
    """Return an artifact with some of its widths (None: all), every file's hash checked.

    Raises BundleError that lists the valid widths.
    """
    missing = sorted(set(widths or ()) - set(artifact_widths(artifact)))
    if missing:
        valid = ", ".join(map(str, artifact_widths(artifact)))
        raise BundleError(
            f"width {missing[0]} is not in {artifact.runtime} {artifact.precision}, which has {valid}; change --widths"
        )
    if widths is None or set(widths) == set(artifact_widths(artifact)):
        return _whole(bundle, artifact)
    kept = [_serving(program, widths) for program in artifact.programs if not set(widths).isdisjoint(program.widths)]
    return RESTRICT[artifact.runtime](bundle, artifact, kept)


def _serving(program: Program, widths: Sequence[int]) -> Program:
    return program.model_copy(update={"widths": [width for width in program.widths if width in widths]})


def misfit(point: OperatingPoint, parts: Sequence[Part]) -> str | None:
    """Return why an operating point cannot go with these parts of its bundle, as a clause, or None where it can."""
    part = part_of(point, parts)
    if part is None:
        return f"it is for {point.runtime} {point.precision}, which was not chosen"
    if part.source.sha256 != point.artifact_sha256:
        return "it holds thresholds of another bundle; run dsnet calibrate again"
    missing = sorted(set(point.widths) - set(artifact_widths(part.artifact)))
    if missing:
        return f"it uses widths {', '.join(map(str, missing))}, which were not chosen"
    return None


def part_of(point: OperatingPoint, parts: Sequence[Part]) -> Part | None:
    """Return the part of an operating point's runtime and precision."""
    owner = point.runtime, point.precision
    return next((part for part in parts if (part.artifact.runtime, part.artifact.precision) == owner), None)


def _whole(bundle: Bundle, artifact: Artifact) -> Part:
    owner = artifact.runtime, artifact.precision
    weights = [item for item in bundle.manifest.weights if (item.runtime, item.precision) == owner]
    records: list[Artifact | WeightsFile] = [artifact, *weights]
    return Part(artifact, artifact, weights, {item.file: bundle.verified_bytes(item) for item in records})


def _litert(bundle: Bundle, artifact: Artifact, kept: Sequence[Program]) -> Part:
    data, programs = restrict_litert(bundle.verified_bytes(artifact), kept)
    smaller = _with_programs(
        artifact,
        programs,
        bytes=len(data),
        sha256=sha256_bytes(data),
        provenance={**artifact.provenance, "derived_from": artifact.sha256},
    )
    return Part(artifact, smaller, (), {artifact.file: data})


def _executorch(bundle: Bundle, artifact: Artifact, kept: Sequence[Program]) -> Part:
    smaller = restrict_nested(open_nested_weights(bundle, artifact), [f"{program.name}.pte" for program in kept])
    content = {"store": smaller.store, "recipe": smaller.recipe.to_json(), "template": smaller.template}
    files = {artifact.file: bundle.verified_bytes(artifact)}
    weights = []
    for role, record in weights_files(bundle, artifact).items():
        data = files[record.file] = bytes(content[role])
        weights.append(record.model_copy(update={"bytes": len(data), "sha256": sha256_bytes(data)}))
    return Part(artifact, _with_programs(artifact, kept), weights, files)


RESTRICT: dict[str, Callable[[Bundle, Artifact, Sequence[Program]], Part]] = {
    "litert": _litert,
    "executorch": _executorch,
}
"""Runtime → how an artifact loses programs."""


def _with_programs(artifact: Artifact, programs: Sequence[Program], **changes: Any) -> Artifact:
    """Return an artifact's record with some programs alone, and what was measured of those."""
    names = {program.name for program in programs}
    widths = {width for program in programs for width in program.widths}
    measured = {
        "parity": [parity for parity in artifact.parity if parity.program in names],
        "accuracy": [accuracy for accuracy in artifact.accuracy if accuracy.width in widths],
    }
    return artifact.model_copy(update={"programs": list(programs), **measured, **changes})
