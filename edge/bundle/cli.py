"""`dsnet inspect` and `dsnet verify`."""

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
