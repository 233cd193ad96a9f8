"""What the bundle itself answers on a labelled image set: gate logits and, per width, hit, loss and confidence."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.images import ImageError
from edge.bundle.manifest import Artifact, Manifest
from edge.errors import BundleError
from edge.runtime.decisions import Way, decision_points
from edge.runtime.image_sets import ImageSet, Sample
from edge.runtime.images import Preprocessing
from edge.runtime.one_image import OneImage
from edge.runtime.policy import confidence
from edge.runtime.predictions import FORMAT, Metadata, Predictions
from edge.runtime.route import GATE_LOGITS, LOGITS, Route, real_values
from edge.runtime.session import Array, Session


@dataclass
class DataDigest:
    """SHA-256 over images in order: per image the length and bytes of its name (UTF-8), the length and bytes of the
    file, and its label; lengths and labels as 8 bytes, little-endian."""

    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, sample: Sample) -> None:
        """Add one labelled image."""
        for part in (sample.name.encode(), sample.data):
            self._hash.update(len(part).to_bytes(8, "little"))
            self._hash.update(part)
        self._hash.update((-1 if sample.label is None else sample.label).to_bytes(8, "little", signed=True))

    def hexdigest(self) -> str:
        """Return the digest of the images so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True)
class Outcome:
    """One image's row of a predictions file."""

    gate_logits: list[float]
    """Of all decision points, one after the other."""
    hits: list[bool]
    losses: list[float]
    confidences: list[float]
    label: int


def predict_images(
    session: Session,
    manifest: Manifest,
    artifact: Artifact,
    images: ImageSet,
    *,
    skipped: Callable[[ImageError], None] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Predictions:
    """Run every width of an artifact over labelled images; all its programs must be resident in `session`.

    A file that is no readable image raises ImageError; with `skipped` it is handed there instead and left out.
    `progress` is called after every image. What widths share runs once. Without a gate, its logits have no columns.
    """
    chains = Route.of(artifact).chains
    decisions = decision_points(artifact, manifest.gates)
    ways = [way for _, way in decisions], list(chains.values())
    preprocessing = Preprocessing.of(manifest.model, artifact.runtime)
    digest = DataDigest()
    rows: list[Outcome] = []
    for sample, image in _readable(images, preprocessing, skipped, progress):
        digest.add(sample)
        rows.append(_outcome(OneImage(session, image), *ways, _label(sample)))
    if not rows:
        raise ImageError(f"none of the {len(images)} images in {images.name} could be read")
    return Predictions(
        metadata=Metadata(
            format=FORMAT,
            runtime=artifact.runtime,
            precision=artifact.precision,
            artifact_sha256=artifact.sha256,
            widths=list(chains),
            decisions=[decision for decision, _ in decisions],
            data=images.name,
            data_sha256=digest.hexdigest(),
        ),
        gate_logits=np.array([row.gate_logits for row in rows], np.float32),
        hit=np.array([row.hits for row in rows], np.bool_),
        loss=np.array([row.losses for row in rows], np.float32),
        confidence=np.array([row.confidences for row in rows], np.float32),
        label=np.array([row.label for row in rows], np.int32),
    )


def _readable(
    images: ImageSet,
    preprocessing: Preprocessing,
    skipped: Callable[[ImageError], None] | None,
    progress: Callable[[], None],
) -> Iterator[tuple[Sample, Array]]:
    for sample in images:
        try:
            image = preprocessing(sample.data, sample.name)
        except ImageError as error:
            if skipped is None:
                raise
            skipped(error)
        else:
            yield sample, image
        progress()


def _label(sample: Sample) -> int:
    if sample.label is None:
        raise ImageError(f"{sample.name} has no label; predict needs a labelled image set")
    return sample.label


def _outcome(programs: OneImage, gates: Sequence[Way], answers: Sequence[Way], label: int) -> Outcome:
    """Return one image's row, for the ways to every decision point and to every width's answer."""
    gate_logits = [logit for way in gates for logit in real_values(way[-1], programs.after(*way), GATE_LOGITS).tolist()]
    hits, losses, confidences = [], [], []
    for way in answers:
        logits = real_values(way[-1], programs.after(*way), LOGITS)
        if not np.isfinite(logits).all():
            raise BundleError(f"{way[-1].name} answered a logit that is not a finite number")
        hits.append(int(logits.argmax()) == label)
        losses.append(_cross_entropy(logits, label))
        confidences.append(float(confidence(logits)))
    return Outcome(gate_logits, hits, losses, confidences, label)


def _cross_entropy(logits: NDArray[np.float32], label: int) -> float:
    exact = logits.astype(np.float64)
    return float(np.log(np.exp(exact - exact.max()).sum()) + exact.max() - exact[label])
