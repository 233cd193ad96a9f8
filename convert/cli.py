"""`dsnet convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from edge.bundle.manifest import Artifact
    from train.checkpoint import Checkpoint


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Supernet, a .safetensors file.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="Bundle folder; created, or given more artifacts.", show_default=False)
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Images to measure activation ranges on; with class sub-folders, accuracy too. Core ML needs none.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[str, typer.Option("--runtime", help="Target runtime: litert, executorch or coreml.")] = "litert",
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            help="litert: int8 (static), wi8 (int8 weights, float arithmetic); executorch: int8, fp32; coreml: fp16, "
            "fp32, int8 (weights); repeatable. Transformers: wi8; fp32; all.  [default: int8, for coreml fp16; for "
            "transformers wi8, fp32, fp16]",
            show_default=False,
        ),
    ] = None,
    widths: Annotated[str, typer.Option("--widths", help="Widths to ship: all, or indices such as 0,4,9,13.")] = "all",
    frontend: Annotated[
        str | None,
        typer.Option(
            "--frontend",
            help="LiteRT: exporter of the float graph, onnx2tf or litert-torch.  [default: onnx2tf, for transformers "
            "litert-torch]",
            show_default=False,
        ),
    ] = None,
    deployment_target: Annotated[
        str,
        typer.Option(
            "--deployment-target",
            help="Core ML: oldest system, iOS16, iOS17, iOS18 or iOS26 (macOS alike); from iOS18 on one package "
            "can hold all programs.",
        ),
    ] = "iOS18",
    image_input: Annotated[
        str,
        typer.Option("--image-input", help="Core ML: tensor (normalised float32), or pixels (an RGB image)."),
    ] = "tensor",
    author: Annotated[str, typer.Option("--author", help="Core ML: the packages' author.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Core ML: the packages' licence.")] = "",
    description: Annotated[str, typer.Option("--description", help="Core ML: the packages' short description.")] = "",
    images: Annotated[
        int, typer.Option("--images", min=1, max=100_000, help="How many images of --data to use, spread evenly.")
    ] = 200,
    noise: Annotated[
        bool, typer.Option("--noise", help="Use noise instead of --data: for the latency of untrained networks.")
    ] = False,
    classes: Annotated[
        Path | None, typer.Option("--classes", help="Text file with one class name per line.", show_default=False)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a bundle of another network at --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest's artifacts as JSON.")] = False,
) -> None:
    """Convert a supernet to a bundle: one set of weights for all widths.

    Every width's weights are ranges of one shared payload. The conversion checks itself: each program's output is
    identical to that of a plain static model, or, for Core ML, every file to what coremltools writes; else it fails.
    """
    from common import check_writable, parse_widths
    from common.console import print_json, progress, stdout
    from convert.artifacts import Request
    from convert.build_bundle import build_bundle
    from convert.coreml.options import CoreMlOptions
    from convert.errors import ConvertError
    from convert.images import load_check_images, noise_images
    from convert.runtimes import load_runtime, runtime_entry
    from convert.slice_plan import plan_programs
    from edge.bundle.checks import artifact_bytes
    from edge.bundle.reader import MANIFEST_NAME
    from train.checkpoint import load_checkpoint

    target = runtime_entry(runtime)
    if (data is not None and noise) or (data is None and not noise and target.needs_images):
        raise ConvertError("name the images to calibrate on: either --data FOLDER or --noise")
    if frontend is not None and runtime != "litert":
        raise ConvertError(f"--frontend is for litert, not {runtime}; leave it out")
    coreml = CoreMlOptions(deployment_target, image_input, author, licence, description)  # type: ignore[arg-type]
    if coreml != CoreMlOptions() and runtime != "coreml":
        options = "--deployment-target, --image-input, --author, --licence and --description"
        raise ConvertError(f"{options} are for coreml, not {runtime}; leave them out")
    supernet = load_checkpoint(checkpoint)
    check_writable(out / MANIFEST_NAME)
    names = class_names(supernet, classes, data)
    chosen = parse_widths(widths) or tuple(range(supernet.spec.n_widths))
    precisions = tuple(precision or [target.default_for(supernet.spec)])
    request = Request(chosen, runtime, precisions, names, frontend, coreml, replace)
    programs = len(plan_programs(supernet.spec, chosen))
    sample = (
        load_check_images(data, supernet.spec, names, images)
        if data
        else noise_images(supernet.spec, min(images, 16), seed=0)
    )
    with progress() as bar:
        steps = load_runtime(runtime).count_steps(programs, request.precisions)
        task = bar.add_task("convert", total=steps)
        manifest = build_bundle(
            supernet, request, sample, out, lambda text: bar.update(task, advance=1, description=text)
        )
    if as_json:
        print_json([artifact.model_dump(mode="json") for artifact in manifest.artifacts])
        return
    for artifact in manifest.artifacts:
        size, programs = artifact_bytes(manifest, artifact), len(artifact.programs)
        typer.echo(f"{artifact.runtime} {artifact.precision}: {size:,} bytes for {programs} programs")
        for found in artifact_tables(artifact):
            stdout().print(found)


def class_names(supernet: "Checkpoint", classes: Path | None, data: Path | None) -> tuple[str, ...]:
    """Return the class names: from --classes, else the training record, else the data's sub-folders, else numbers."""
    from convert.errors import ConvertError
    from convert.images import class_folders

    expected = supernet.spec.classes
    if classes is not None:
        if not classes.is_file():
            raise ConvertError(f"no file {classes} for --classes; it holds one class name per line")
        try:
            lines = classes.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise ConvertError(
                f"{classes} is not a text file in UTF-8; --classes holds one class name per line"
            ) from None
        return tuple(line.strip() for line in lines if line.strip())
    recorded = supernet.provenance.get("classes")
    if isinstance(recorded, list) and len(recorded) == expected:
        return tuple(str(name) for name in recorded)
    folders = sorted(entry.name for entry in class_folders(data)) if data is not None and data.is_dir() else []
    return tuple(folders) if len(folders) == expected else tuple(str(number) for number in range(expected))


def artifact_tables(artifact: "Artifact") -> "Iterator[Table]":
    """Yield what the conversion's own checks found: of every program, and, on labelled images, of every width."""
    from common.console import table

    differences = {entry.program: f"{entry.max_abs_difference:g}" for entry in artifact.parity}
    programs = [(program.name, differences.get(program.name, "–")) for program in artifact.programs]
    yield table("Outputs against plain models", ("program", "largest difference"), programs)
    rows = [
        (
            entry.width,
            f"{100 * entry.float_top1:.2f}",
            f"{100 * entry.artifact_top1:.2f}",
            f"{100 * (entry.artifact_top1 - entry.float_top1):+.2f}",
        )
        for entry in artifact.accuracy
    ]
    if rows:
        title = f"Top-1 in percent on {artifact.accuracy[0].images} images"
        yield table(title, ("width", "float", artifact.precision, "change"), rows)
