"""`dsnet run` and `dsnet predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.images import ImageError
    from edge.bundle.manifest import Artifact, OperatingPoint
    from edge.bundle.reader import Bundle
    from edge.runtime.dynamic import Answer, PolicySource
    from edge.runtime.image_sets import ImageSet

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, or a .zip of one.")]
Runtime = Annotated[str | None, typer.Option(help="Runtime, where the bundle holds several: litert, executorch.")]
Precision = Annotated[str | None, typer.Option(help="Precision, where the bundle holds several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]


def run(
    bundle: BundlePath,
    images: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    operating_point: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Operating point whose policy picks the width; with --adaptive, several."),
    ] = None,
    width: Annotated[int | None, typer.Option(min=0, help="Use this width for every image instead.")] = None,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive",
            help="Switch to a cheaper operating point while the device is slow, among those named, else all.",
        ),
    ] = False,
    target_ms: Annotated[
        float | None,
        typer.Option(
            help="With --adaptive: mean latency to keep; default: what the first --operating-point was asked for."
        ),
    ] = None,
    runtime: Runtime = None,
    precision: Precision = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads; default: the operating point's, else 1.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify images; a policy picks the width of each.

    Prints class, width and milliseconds per image, then how often each width was used; with --adaptive also the
    switches between operating points and how often each answered (docs/adaptive.md). Every program runs once before the
    first image is timed. An image that cannot be read is reported and left out.
    """
    from common.console import print_json, progress
    from edge.bundle.reader import open_bundle
    from edge.runtime.dynamic import open_dynamic
    from edge.runtime.image_sets import open_images

    opened = open_bundle(bundle)
    if adaptive and not operating_point and target_ms is None:
        raise BundleError("--adaptive needs --target-ms, or --operating-point, the one whose latency to keep first")
    points = _points(opened, operating_point or [], adaptive, runtime, precision)
    source = _source(opened, points, width, adaptive, target_ms)
    artifact = opened.artifact(*((points[0].runtime, points[0].precision) if points else (runtime, precision)))
    used_threads = threads or (points[0].threads if points else 1)
    session = open_dynamic(opened, artifact, source, used_threads)
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
        **_summary(answers, source),
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

    The bundle itself answers, not the network it came from. The file written holds, per image, every gate's logits and,
    per width, whether the answer is right, its cross-entropy and its confidence: what `dsnet calibrate` needs.
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


def _points(
    bundle: "Bundle", names: list[str], adaptive: bool, runtime: str | None, precision: str | None
) -> "list[OperatingPoint]":
    """Return the operating points named, made sure to be of this bundle; for --adaptive without names, all that fit."""
    if adaptive and not names:
        names = [
            point.name
            for point in bundle.manifest.operating_points
            if runtime in (None, point.runtime) and precision in (None, point.precision)
        ]
    return [bundle.operating_point(name, runtime, precision) for name in dict.fromkeys(names)]


def _source(
    bundle: "Bundle", points: "list[OperatingPoint]", width: int | None, adaptive: bool, target_ms: float | None
) -> "PolicySource":
    """Return what picks the width of each image; raises BundleError for options that do not go together."""
    from edge.runtime.adaptive import AdaptivePolicy
    from edge.runtime.dynamic import Always
    from edge.runtime.policy import fixed

    valid = ", ".join(point.name for point in bundle.manifest.operating_points) or "none yet (dsnet calibrate)"
    if adaptive:
        if width is not None or len(points) < 2:
            raise BundleError(
                "--adaptive switches between two or more operating points, so give no --width and name none or several "
                f"with --operating-point; of this bundle: {valid}"
            )
        return AdaptivePolicy(points, target_ms)
    if target_ms is not None:
        raise BundleError("--target-ms is what --adaptive keeps; give both or neither")
    if len(points) > 1:
        raise BundleError("several --operating-point are for --adaptive, which switches between them; else name one")
    if bool(points) == (width is not None):
        raise BundleError(f"give either --operating-point or --width; operating points of this bundle: {valid}")
    return Always(points[0].policy, points[0].name) if width is None else Always(fixed(width))


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


def _summary(answers: "dict[str, Answer]", source: "PolicySource") -> dict[str, Any]:
    from dataclasses import asdict

    used = [answer.width for answer in answers.values()]
    points = [answer.operating_point for answer in answers.values() if answer.operating_point]
    widths = sorted({width for policy in source.policies for width in policy.widths})
    return {
        "images": [{"image": name, **asdict(answer)} for name, answer in answers.items()],
        "shares": [{"width": width, "share": used.count(width) / len(used)} for width in widths],
        "operating_points": [
            {"operating_point": name, "share": points.count(name) / len(points)} for name in dict.fromkeys(points)
        ],
        "switches": _switches(answers),
        "mean_ms": sum(answer.total_ms for answer in answers.values()) / len(answers),
    }


def _switches(answers: "dict[str, Answer]") -> list[dict[str, Any]]:
    """Return, for every image that another operating point answered than the one before, both and the slowdown."""
    return [
        {"image": name, "from": before.operating_point, "to": answer.operating_point, "slowdown": answer.slowdown}
        for before, (name, answer) in zip(answers.values(), list(answers.items())[1:], strict=False)
        if answer.operating_point != before.operating_point
    ]


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
    for switch in result["switches"]:
        line = "{image}: {from} -> {to}, the device takes {slowdown:.2f} times as long as when calibrated"
        console.print(one_line(line.format(**switch)), markup=False, highlight=False)
    if result["operating_points"]:
        named = ", ".join(f"{item['operating_point']}: {item['share']:.1%}" for item in result["operating_points"])
        console.print(f"operating points: {named}", markup=False, highlight=False)
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
