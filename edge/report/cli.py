"""`dsnet report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.bundle.reader import Bundle
    from edge.report.content import Examples


def report(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, or a .zip of one.")],
    latency: Annotated[Path, typer.Option(help="Latency table; every run of the bundle in it gets a section.")],
    predictions: Annotated[
        list[Path], typer.Option(help="Predictions (dsnet predict writes them); repeat it for several artifacts.")
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    images: Annotated[
        Path | None, typer.Option(help="Images, labelled or not: the easiest and the hardest are shown.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Run this many of the images, spread evenly over them.")
    ] = 500,
    operating_point: Annotated[
        str | None, typer.Option(help="Operating point for the images; default: the one that uses most widths.")
    ] = None,
    peers: Annotated[Path | None, typer.Option(help="Other networks to compare with, a JSON list.")] = None,
    slowdowns: Annotated[
        Path | None,
        typer.Option(help="Slowdowns of a device to simulate switching with, a JSON list; default: a made-up stretch."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder to write every figure to as well, as SVG and PNG for slides.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as machine-readable JSON.")] = False,
) -> None:
    """Write what is known of a bundle as one HTML page: accuracy, latency, widths, sizes.

    The page needs no network and no script, follows light and dark themes and fits a phone. Accuracy of operating
    points comes from held-out images where calibration had enough of them; every doubt about a number is on the page.
    """
    from common import atomic_write, check_writable
    from common.console import print_json
    from edge.bundle.reader import open_bundle
    from edge.report.adaptive import load_slowdowns
    from edge.report.content import Report
    from edge.report.drawing import save
    from edge.report.gather import Gathered
    from edge.report.page import Page
    from edge.report.peers import load_peers
    from edge.report.sizes import sizes

    check_writable(out)
    if figures:
        check_writable(figures / "figure")
    opened = open_bundle(bundle)
    gathered = Gathered(opened, latency, predictions, load_slowdowns(slowdowns) if slowdowns else None)
    page = Page.of(
        Report(
            manifest=opened.manifest,
            sections=gathered.sections(),
            sizes=sizes(opened),
            peers=load_peers(peers) if peers else [],
            examples=_examples(opened, images, operating_point, limit) if images else None,
            left_out=gathered.left_out(),
            sources=gathered.sources(),
        )
    )
    html = page.html()
    with atomic_write(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    written = [path for chart in page.charts for path in save(chart, figures)] if figures else []
    if as_json:
        files = {"out": str(out), "bytes": len(html.encode()), "figures": [str(path) for path in written]}
        print_json({**files, "left_out": list(page.report.left_out)})
        return
    typer.echo(f"wrote {out}: {len(html.encode()):,} bytes, {len(page.charts)} figures")
    if figures:
        typer.echo(f"wrote {len(written)} files for slides to {figures}")


def _examples(bundle: "Bundle", images: Path, name: str | None, limit: int) -> "Examples":
    from common.console import progress
    from edge.report.examples import choose_point, examples

    point = choose_point(bundle, name)
    with progress() as bar:
        return examples(bundle, point, images, limit, lambda found: bar.track(found, description="running images"))
