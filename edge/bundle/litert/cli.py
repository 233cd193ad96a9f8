"""`dsnet hydrate`."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer


def hydrate(
    bundle: Annotated[Path, typer.Argument(help="Bundle: a folder or a .zip of it.", show_default=False)],
    widths: Annotated[
        str, typer.Option("--widths", help="Widths to rebuild: all, or indices such as 3 or 0,3.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="The plain file to write.", show_default=False)],
    runtime: Annotated[str, typer.Option("--runtime", help="Runtime: litert.")] = "litert",
    precision: Annotated[str | None, typer.Option("--precision", help="Precision, if the bundle has several.")] = None,
    monolithic: Annotated[
        bool,
        typer.Option("--monolithic", help="One width as a single program net_NN, image → logits, without the gate."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a plain static file for chosen widths of a bundle.

    The file holds the gate's program and the chosen widths' as signatures, with ordinary weights: it loads fast, and
    any LiteRT tool reads it.
    """
    from common import atomic_write, check_writable, sha256_bytes
    from common.console import print_json
    from edge.bundle.litert.hydrate import hydrate as hydrate_programs
    from edge.bundle.litert.hydrate import hydrate_monolithic
    from edge.bundle.reader import open_bundle
    from edge.errors import BundleError

    if runtime != "litert":
        raise BundleError(f"unknown runtime {runtime!r}; valid for --runtime: litert")
    check_writable(out)
    opened = open_bundle(bundle)
    artifact = opened.artifact(runtime, precision)
    served = {program.width: program for program in artifact.programs if program.width is not None}
    chosen = _chosen(widths, served)
    heads = [program.name for program in artifact.programs if program.role in ("prefix", "gate")]
    nested = opened.verified_bytes(artifact)
    if monolithic:
        if len(chosen) != 1:
            raise BundleError(f"--monolithic makes one width of {len(chosen)} a program; name it with --widths")
        body = served[chosen[0]]
        if body.role == "tail":
            data = hydrate_monolithic(nested, ("prefix", body.name), f"net_{chosen[0]:02d}")
        else:
            data = hydrate_programs(nested, [body.name])
    else:
        data = hydrate_programs(nested, [*heads, *(served[width].name for width in chosen)])
    with atomic_write(out) as temporary:
        temporary.write_bytes(data)
    if as_json:
        print_json({"file": str(out), "bytes": len(data), "sha256": sha256_bytes(data), "widths": chosen})
    else:
        print(f"{out}: {len(data):,} bytes, widths {', '.join(map(str, chosen))}")


def _chosen(text: str, served: Collection[int]) -> list[int]:
    from common import parse_widths
    from edge.errors import BundleError

    chosen = parse_widths(text) or tuple(sorted(served))
    missing = [width for width in chosen if width not in served]
    if missing:
        valid = ", ".join(map(str, sorted(served)))
        raise BundleError(f"--widths {text}: width {missing[0]} is not in this bundle, which has {valid}")
    return list(chosen)
