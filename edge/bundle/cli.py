"""`dsnet inspect`, `dsnet verify`, `dsnet hydrate` and `dsnet android-assets`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a .zip of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON instead of text for people.")]


def inspect(bundle: BundlePath, as_json: AsJson = False) -> None:
    """Show what a bundle holds: widths, artifacts, operating points.

    Reads and checks the manifest alone; the weights stay untouched. `dsnet verify` checks those.
    """
    from common.console import print_json, stdout
    from edge.bundle.describe import tables
    from edge.bundle.reader import open_bundle

    manifest = open_bundle(bundle).manifest
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    for table in tables(manifest):
        stdout().print(table)


def verify(bundle: BundlePath, as_json: AsJson = False) -> None:
    """Check a bundle: hashes, programs, tensors, operating points, parity.

    Prints one line per claim and exits with status 1 if any fails. Parity is run anew: every program must give the
    same bits from its nested weights as from a plain file made of them.
    """
    from common.console import one_line, print_json
    from edge.bundle.verify import verify as checks

    found = []
    for check in checks(bundle):
        found.append(check)
        if not as_json:
            typer.echo(f"{check.outcome}  {one_line(check.claim)}: {one_line(check.detail)}")
    failed = any(check.outcome == "fail" for check in found)
    if as_json:
        print_json({"passed": not failed, "checks": [asdict(check) for check in found]})
    raise typer.Exit(1 if failed else 0)


def hydrate(
    bundle: BundlePath,
    widths: Annotated[
        str, typer.Option("--widths", help="Widths to rebuild: all, or indices such as 3 or 0,3.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The plain file to write; a folder for packages and --as programs.")
    ],
    runtime: Annotated[str | None, typer.Option(help="Runtime, if the bundle has several.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precision, if the bundle has several.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="litert: tflite, or monolithic (one width as one program net_NN, without gates). executorch: pte "
            "(self-contained), ptd (weights in a file beside it), or programs (one .pte per program). coreml: "
            "mlpackage (a function per program, from iOS18 on), or packages (one per program).  "
            "[default: the first that can be]",
            show_default=False,
        ),
    ] = None,
    operating_points: Annotated[
        bool, typer.Option("--operating-points", help="coreml: put the bundle's operating points into the metadata.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a plain static file for chosen widths of a bundle.

    The file holds every program that the chosen widths run, with ordinary weights: the runtime's own tools read it.
    """
    from common import check_writable, parse_widths, sha256_bytes
    from common.console import print_json
    from edge.bundle.checks import artifact_widths
    from edge.bundle.plain_files import FOLDERS, FORMS, plain_files, write_files
    from edge.bundle.reader import open_bundle

    opened = open_bundle(bundle)
    artifact = opened.artifact(runtime, precision)
    is_folder = (form or FORMS[artifact.runtime][0]) in FOLDERS
    check_writable(out / "file" if is_folder else out)
    chosen = list(parse_widths(widths) or artifact_widths(artifact))
    files = plain_files(opened, artifact, chosen, form, out, operating_points)
    write_files(files)
    if as_json:
        written = [
            {"file": str(path), "bytes": len(data), "sha256": sha256_bytes(data)} for path, data in files.items()
        ]
        print_json({"files": written, "widths": chosen})
        return
    for path, data in files.items():
        typer.echo(f"{path}: {len(data):,} bytes")
    typer.echo(f"widths {', '.join(map(str, chosen))} of {artifact.runtime} {artifact.precision}")


def android_assets(
    bundle: BundlePath,
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write; one that this command wrote before is replaced.")
    ],
    runtime: Annotated[
        list[str] | None, typer.Option(help="litert or executorch; may be repeated. Default: all that there are.")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="May be repeated. Default: all that there are.")] = None,
    widths: Annotated[str, typer.Option("--widths", help="Widths to keep: all, or indices such as 3 or 0,3.")] = "all",
    as_json: AsJson = False,
) -> None:
    """Write the assets of an Android app: a bundle with the widths that it is to have.

    Operating points go along where all of their widths do. Every width that is left is compared with the original
    one, and the bytes with those of a plain file for each width.
    """
    from common import parse_widths
    from common.console import one_line, print_json, progress
    from edge.bundle.assets import choose_artifacts, write_assets
    from edge.bundle.checks import artifact_widths
    from edge.bundle.reader import open_bundle

    opened, kept = open_bundle(bundle), parse_widths(widths)
    artifacts = choose_artifacts(opened, runtime or [], precision or [])
    with progress() as bar:
        total = sum(len(artifact_widths(artifact)) if kept is None else len(kept) for artifact in artifacts)
        task = bar.add_task("comparing widths", total=total)
        assets = write_assets(opened, artifacts, kept, out, lambda text: bar.update(task, advance=1, description=text))
    if as_json:
        print_json({"out": str(out), "bytes": assets.bytes, "separate_bytes": assets.separate_bytes, **asdict(assets)})
        return
    for name, size in assets.files.items():
        typer.echo(f"{out / name}: {size:,} bytes")
    for sizes in assets.artifacts:
        listed = ", ".join(map(str, sizes.widths))
        typer.echo(
            f"{sizes.runtime} {sizes.precision}, widths {listed}: {sizes.bytes:,} bytes; "
            f"separate models: {sizes.separate_bytes:,}"
        )
    typer.echo(f"in all {assets.bytes:,} bytes; separate models: {assets.separate_bytes:,}")
    typer.echo(f"operating points: {', '.join(assets.operating_points) or 'none'}")
    for name, reason in assets.left_out.items():
        typer.echo(f"operating point {name} left out: {one_line(reason)}")
