"""What the bundle itself answers on a labelled image set: gate logits and, per width, hit, loss and confidence."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.images import ImageError
from edge.bundle.manifest import Artifact, Manifest
from edge.errors import BundleError
from edge.runtime.image_sets import ImageSet, Sample
from edge.runtime.images import Preprocessing
from edge.runtime.policy import confidence
from edge.runtime.predictions import FORMAT, Metadata, Predictions
from edge.runtime.route import GATE_LOGITS, IMAGE, LOGITS, Route, feed, real_values
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
    `progress` is called after every image. Without a gate, the gate's logits have no columns.
    """
    route = Route.of(artifact)
    preprocessing = Preprocessing.of(manifest.model, artifact.runtime)
    digest = DataDigest()
    rows: list[Outcome] = []
    for sample, image in _readable(images, preprocessing, skipped, progress):
        digest.add(sample)
        rows.append(_outcome(session, route, image, _label(sample)))
    if not rows:
        raise ImageError(f"none of the {len(images)} images in {images.name} could be read")
    return Predictions(
        metadata=Metadata(
            format=FORMAT,
            runtime=artifact.runtime,
            precision=artifact.precision,
            artifact_sha256=artifact.sha256,
            widths=list(route.bodies),
            choices=list(manifest.gate.choices) if manifest.gate else [],
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


def _outcome(session: Session, route: Route, image: Array, label: int) -> Outcome:
    tensors: dict[str, Array] = {IMAGE: image}
    gate_logits: list[float] = []
    if route.head:
        outputs = session.run(route.head.name, feed(route.head, tensors))
        gate_logits = real_values(route.head, outputs, GATE_LOGITS).tolist()
        tensors.update(outputs)
    hits, losses, confidences = [], [], []
    for body in route.bodies.values():
        logits = real_values(body, session.run(body.name, feed(body, tensors)), LOGITS)
        if not np.isfinite(logits).all():
            raise BundleError(f"{body.name} answered a logit that is not a finite number")
        hits.append(int(logits.argmax()) == label)
        losses.append(_cross_entropy(logits, label))
        confidences.append(float(confidence(logits)))
    return Outcome(gate_logits, hits, losses, confidences, label)


def _cross_entropy(logits: NDArray[np.float32], label: int) -> float:
    exact = logits.astype(np.float64)
    return float(np.log(np.exp(exact - exact.max()).sum()) + exact.max() - exact[label])
