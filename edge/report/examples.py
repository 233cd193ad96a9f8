"""Images that the gate finds easy and hard, run through the bundle itself, as small pictures inside the page."""

import io
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from common.images import ImageError, decode
from edge.bundle.manifest import OperatingPoint
from edge.bundle.reader import Bundle
from edge.errors import ReportError
from edge.report.content import Example, Examples
from edge.runtime.dynamic import Answer, open_dynamic
from edge.runtime.image_sets import ImageSet, Sample, open_images, open_labelled
from edge.runtime.images import Preprocessing
from edge.runtime.open_session import available_runtimes

SHOWN = 8
"""Easy images, and as many hard ones."""
SIDE, QUALITY = 96, 80
"""Longest side of a thumbnail in pixels and its JPEG quality: about 3 KB each."""


@dataclass(frozen=True)
class _Scored:
    number: int
    """Position in the image set."""
    score: float
    answer: Answer


def choose_point(bundle: Bundle, name: str | None) -> OperatingPoint:
    """Return the operating point to run: the one of this name, else the one of most widths that can run here.

    Raises an EdgeError where there is none, or where the point of this name asks no gate, as no score is known then.
    """
    if name is not None:
        point = bundle.operating_point(name)
        if not point.policy.asks_gate:
            raise ReportError(f"operating point {name!r} asks no gate, so no image is easy or hard to it; name another")
        return point
    ours = {artifact.sha256 for artifact in bundle.manifest.artifacts}
    fitting = [
        point
        for point in bundle.manifest.operating_points
        if point.policy.asks_gate and point.artifact_sha256 in ours and point.runtime in available_runtimes()
    ]
    if not fitting:
        raise ReportError(
            f"{bundle.place}: no operating point that asks the gate and can run here; run dsnet calibrate, or leave "
            "out --images"
        )
    return max(fitting, key=lambda point: sum(share.share > 0 for share in point.shares))


def examples(
    bundle: Bundle,
    point: OperatingPoint,
    folder: Path,
    limit: int,
    track: Callable[[ImageSet], Iterable[Sample]] = iter,
) -> Examples:
    """Run up to `limit` images, spread evenly over the set, and return the easiest and the hardest.

    Images that cannot be read are left out and counted. `track` yields the images and may show how far it is. Raises
    ImageError when none can be read, and what opening the session raises.
    """
    images, notes = _open(folder, bundle.manifest.model.classes, limit)
    scored, unreadable = _scored(bundle, point, images, track)
    if not scored:
        raise ImageError(f"none of the {len(images)} images in {images.name} could be read")
    ordered = sorted(scored, key=lambda item: (item.score, item.number))
    shown = min(SHOWN, (len(ordered) + 1) // 2)
    easy, hard = ordered[:shown], ordered[shown:][::-1][:shown]
    classes = bundle.manifest.model.classes
    chosen = {item.number: item for item in (*easy, *hard)}
    made = {
        number: _example(chosen[number], sample, classes) for number, sample in enumerate(images) if number in chosen
    }
    if unreadable:
        notes.append(f"left out because they cannot be read: {unreadable}")
    return Examples(
        point.name,
        len(scored),
        easy=[made[item.number] for item in easy],
        hard=[made[item.number] for item in hard],
        notes=notes,
    )


def _open(folder: Path, classes: list[str], limit: int) -> tuple[ImageSet, list[str]]:
    """Return the images, with labels where they have some that fit the classes."""
    if folder.suffix == ".parquet":
        return open_labelled(folder, classes, limit), []
    try:
        return open_labelled(folder, classes, limit), []
    except ImageError as error:
        return open_images(folder, limit), [f"without true classes: {error}"]


def _scored(
    bundle: Bundle, point: OperatingPoint, images: ImageSet, track: Callable[[ImageSet], Iterable[Sample]]
) -> tuple[list[_Scored], int]:
    """Return every readable image's answer, and how many could not be read; no image is kept."""
    artifact = bundle.artifact(point.runtime, point.precision)
    session = open_dynamic(bundle, artifact, point.policy)
    preprocessing = Preprocessing.of(bundle.manifest.model, artifact.runtime)
    scored, unreadable = [], 0
    for number, sample in enumerate(track(images)):
        try:
            answer = session.answer(preprocessing(sample.data, sample.name))
        except ImageError:
            unreadable += 1
        else:
            assert answer.score is not None, "the point asks the gate"
            scored.append(_Scored(number, answer.score, answer))
    return scored, unreadable


def _example(scored: _Scored, sample: Sample, classes: list[str]) -> Example:
    answer = scored.answer
    return Example(
        name=sample.name,
        thumbnail=thumbnail(sample.data, sample.name),
        score=scored.score,
        width=answer.width,
        class_name=answer.class_name,
        probability=answer.probability,
        true_class=None if sample.label is None else classes[sample.label],
    )


def thumbnail(data: bytes, name: str) -> str:
    """Return a data URI of a small JPEG made of the pixels alone: nothing else of the file survives."""
    image = decode(data, name)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    image.info.clear()  # comments, EXIF and profiles would be written again
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{b64encode(written.getvalue()).decode('ascii')}"
