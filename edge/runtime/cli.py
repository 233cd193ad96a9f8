"""`dsnet run` and `dsnet predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.images import ImageError
    from edge.bundle.manifest import Artifact, Policy
    from edge.bundle.reader import Bundle
    from edge.runtime.dynamic import Answer
    from edge.runtime.image_sets import ImageSet

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, or a .zip of one.")]
Runtime = Annotated[str | None, typer.Option(help="Runtime, where the bundle holds several: litert, executorch.")]
Precision = Annotated[str | None, typer.Option(help="Precision, where the bundle holds several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]


def run(
    bundle: BundlePath,
    images: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    operating_point: Annotated[
        str | None, typer.Option(help="Name of the operating point whose thresholds pick the width.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=0, help="Use this width for every image instead.")] = None,
    runtime: Runtime = None,
    precision: Precision = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads; default: the operating point's, else 1.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify images; the gate picks the width of each.

    Prints class, width and milliseconds per image, then how often each width was used. Every program runs once before
    the first image is timed. An image that cannot be read is reported and left out.
    """
    from common.console import print_json, progress
    from edge.bundle.reader import open_bundle
    from edge.runtime.dynamic import open_dynamic
    from edge.runtime.image_sets import open_images

    opened = open_bundle(bundle)
    artifact, policy, point_threads = _chosen(opened, operating_point, width, runtime, precision)
    used_threads = threads or point_threads
    session = open_dynamic(opened, artifact, policy, used_threads)
    found = open_images(images)
    skipped: list[str] = []
    answers: dict[str, Answer] = {}
    with progress() as bar:
        task = bar.add_task("classifying", total=len(found))
        for name, image in _preprocessed(opened, artifact, found, skipped):
            answers[name] = session.answer(image)
            bar.advance(task)
    _require_any(answers, skipped, found)
    result = {
        "artifact_sha256": artifact.sha256,
        "runtime": artifact.runtime,
        "precision": artifact.precision,
        "threads": used_threads,
        "operating_point": operating_point,
        **_summary(answers, policy),
        "skipped": skipped,
    }
    if as_json:
        print_json(result)
    else:
        _print_answers(answers, result)


def predict(
    bundle: BundlePath,
    data: Annotated[
        Path, typer.Option(help="Labelled images: a folder with one sub-folder per class, or a .parquet file.")
    ],
    out: Annotated[Path, typer.Option(help="Predictions file to write (.npz).")],
    limit: Annotated[int | None, typer.Option(min=1, help="Use this many images, spread evenly over the set.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave unreadable images out, with a count.")] = False,
    runtime: Runtime = None,
    precision: Precision = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run every width of a bundle over labelled images.

    The bundle itself answers, not the network it came from. The file written holds, per image, the gate's logits and,
    per width, whether the answer is right and its cross-entropy: what `dsnet calibrate` needs.
    """
    from common import check_writable
    from common.console import print_json, progress
    from edge.bundle.reader import open_bundle
    from edge.runtime.image_sets import open_labelled
    from edge.runtime.open_session import open_session
    from edge.runtime.predict import predict_images
    from edge.runtime.predictions import save_predictions

    check_writable(out)
    opened = open_bundle(bundle)
    artifact = opened.artifact(runtime, precision)
    images = open_labelled(data, opened.manifest.model.classes, limit)
    session = open_session(opened, artifact, [program.name for program in artifact.programs], threads)
    skipped: list[str] = []

    def skip(error: "ImageError") -> None:
        skipped.append(str(error))

    with progress() as bar:
        task = bar.add_task("predicting", total=len(images))
        predictions = predict_images(
            session,
            opened.manifest,
            artifact,
            images,
            skipped=skip if skip_bad else None,
            progress=lambda: bar.advance(task),
        )
    save_predictions(out, predictions)
    columns = enumerate(predictions.metadata.widths)
    widths = [
        {"width": width, "top1": float(predictions.hit[:, at].mean()), "loss": float(predictions.loss[:, at].mean())}
        for at, width in columns
    ]
    if as_json:
        counts = {"out": str(out), "images": len(predictions.label), "skipped": skipped, "widths": widths}
        print_json({**counts, "data_sha256": predictions.metadata.data_sha256})
    else:
        _print_predictions(out, len(predictions.label), skipped, widths)


def _chosen(
    bundle: "Bundle", operating_point: str | None, width: int | None, runtime: str | None, precision: str | None
) -> "tuple[Artifact, Policy, int]":
    """Return the artifact, the policy and the thread count that the options ask for."""
    from edge.runtime.policy import fixed

    if (operating_point is None) == (width is None):
        names = ", ".join(point.name for point in bundle.manifest.operating_points) or "none yet (dsnet calibrate)"
        raise BundleError(f"give either --operating-point or --width; operating points of this bundle: {names}")
    if operating_point is None:
        assert width is not None
        return bundle.artifact(runtime, precision), fixed(width), 1
    point = bundle.operating_point(operating_point, runtime, precision)
    return bundle.artifact(point.runtime, point.precision), point.policy, point.threads


def _preprocessed(
    bundle: "Bundle", artifact: "Artifact", images: "ImageSet", skipped: list[str]
) -> "Iterator[tuple[str, Any]]":
    from common.images import ImageError
    from edge.runtime.images import Preprocessing

    preprocessing = Preprocessing.of(bundle.manifest.model, artifact.runtime)
    for sample in images:
        try:
            yield sample.name, preprocessing(sample.data, sample.name)
        except ImageError as error:
            skipped.append(str(error))


def _require_any(answers: "dict[str, Answer]", skipped: list[str], images: "ImageSet") -> None:
    from common.images import ImageError

    if not answers:
        raise ImageError(f"none of the {len(images)} images in {images.name} could be read; the first: {skipped[0]}")


def _summary(answers: "dict[str, Answer]", policy: "Policy") -> dict[str, Any]:
    from dataclasses import asdict

    used = [answer.width for answer in answers.values()]
    return {
        "images": [{"image": name, **asdict(answer)} for name, answer in answers.items()],
        "shares": [{"width": width, "share": used.count(width) / len(used)} for width in policy.widths],
        "mean_ms": sum(answer.total_ms for answer in answers.values()) / len(answers),
    }


def _print_answers(answers: "dict[str, Answer]", result: dict[str, Any]) -> None:
    from common.console import one_line, stdout, table

    columns = ("image", "class", "probability", "score", "width", "ms")
    rows = [
        (
            name,
            answer.class_name,
            f"{answer.probability:.3f}",
            "–" if answer.score is None else f"{answer.score:.3f}",
            answer.width,
            f"{answer.total_ms:.3f}",
        )
        for name, answer in answers.items()
    ]
    title = f"{result['runtime']} {result['precision']}, {result['threads']} thread(s)"
    console = stdout()
    console.print(table(title, columns, rows))
    shares = ", ".join(f"width {item['width']}: {item['share']:.1%}" for item in result["shares"])
    console.print(f"{len(answers)} images, mean {result['mean_ms']:.3f} ms; {shares}", markup=False, highlight=False)
    for problem in result["skipped"]:
        console.print(f"left out: {one_line(problem)}", markup=False, highlight=False)


def _print_predictions(out: Path, count: int, skipped: list[str], widths: list[dict[str, Any]]) -> None:
    from common.console import one_line, stdout, table

    console = stdout()
    rows = [(item["width"], f"{item['top1']:.2%}", f"{item['loss']:.4f}") for item in widths]
    console.print(table(f"{count} images", ("width", "top-1", "loss (nats)"), rows))
    for problem in skipped:
        console.print(f"left out: {one_line(problem)}", markup=False, highlight=False)
    console.print(f"wrote {out}" + (f", {len(skipped)} unreadable images left out" if skipped else ""), markup=False)
