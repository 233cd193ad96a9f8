"""How every figure of a report looks: size, fonts, colours, labels, and its way into a page or a file.

A figure is drawn once, in the light colours. In the page each of them becomes a CSS variable, so that the same figure
follows the reader's light or dark theme; in a file for slides they stay what they are.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from common import atomic_write
from common.console import one_line

PALETTE = {
    "paper": ("#ffffff", "#16191d"),
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#5f6670", "#a3abb5"),
    "grid": ("#e4e7eb", "#31363d"),
    "static": ("#0072b2", "#56b4e9"),
    "dynamic": ("#d55e00", "#ff9a57"),
    "peer": ("#007f5f", "#35c99b"),
}
"""Role → its colour on light and on dark paper. Blue, vermilion and green after Okabe & Ito, whom the colour-blind can
tell apart; their markers differ too."""
PAPER, INK, MUTED, GRID, STATIC, DYNAMIC, PEER = (light for light, _ in PALETTE.values())

WIDTH = 400
"""Of every figure, in CSS pixels. A phone of 360 pixels shows 328 of it: the smallest text is 10 pixels high there."""
PIXELS_PER_INCH = 72
"""An SVG's points are then CSS pixels."""
SLIDE_DPI = 4 * PIXELS_PER_INCH
SMALL = 12
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": SMALL,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": SMALL,
    "figure.dpi": PIXELS_PER_INCH,
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelsize": SMALL,
    "ytick.color": MUTED,
    "ytick.labelsize": SMALL,
}
"""Text stays text; a stranger's name with dollar signs is no formula."""

Offset = tuple[int, int]
OFFSETS: Sequence[Offset] = (
    *((7, -4), (-7, -4), (0, 8), (0, -17), (7, 7), (-7, 7), (7, -15), (-7, -15)),
    *((0, 22), (0, -31), (7, 21), (-7, 21), (7, -29), (-7, -29)),
)
"""Where a label may stand, from its point, in pixels, the best place first."""


@dataclass(frozen=True)
class Table:
    """Figures as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)
    """Positions of the columns that hold words; the others hold numbers."""
    links: Sequence[str] = ()
    """Names of the places in the page that the rows lead to; none for a table that leads nowhere."""


@dataclass(frozen=True)
class Chart:
    """A drawn figure with what stands for it where it cannot be seen."""

    name: str
    """Of its files and its place in the page."""
    title: str
    description: str
    """One or two sentences: what is drawn and how to read it."""
    figure: Figure
    table: Table


@contextmanager
def styled() -> Iterator[None]:
    """Draw or write figures in the report's style inside the block."""
    with matplotlib.rc_context(STYLE):
        yield


def blank(height: float, rows: int = 1, same_y: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a new figure, `height` CSS pixels high, and its axes from top to bottom, which share x and, if so, y."""
    size = WIDTH / PIXELS_PER_INCH, height / PIXELS_PER_INCH
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=True, sharey=same_y)
    return figure, list(axes[:, 0])


def label_points(
    axes: Axes, labels: Sequence[tuple[float, float, str]], taken: Sequence[tuple[float, float]]
) -> list[str]:
    """Write a text beside each point (x, y, text), where it hides no other label and the fewest points of `taken`.

    The first labels have the best places; returns the texts for which no room was left. The axes' limits and scales
    must be final.
    """
    assert isinstance(axes.figure, Figure)
    axes.figure.draw_without_rendering()  # lays the axes out
    renderer = FigureCanvasAgg(axes.figure).get_renderer()  # type: ignore[no-untyped-call]
    points = axes.transData.transform([(x, y) for x, y in taken])
    marks = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    written: list[Bbox] = []
    without_room = []
    for x, y, text in labels:
        label = axes.annotate(one_line(text), (x, y), OFFSETS[0], textcoords="offset points", fontsize=SMALL)
        label.set_in_layout(False)
        boxes = {offset: _moved(label, offset, renderer) for offset in OFFSETS}
        free = [offset for offset, box in boxes.items() if _is_free(box, axes, written)]
        if free:
            best = min(free, key=lambda offset: sum(map(boxes[offset].overlaps, marks)))
            written.append(_moved(label, best, renderer))
        else:
            label.remove()
            without_room.append(text)
    return without_room


def _moved(label: Annotation, offset: Offset, renderer: Any) -> Bbox:
    """Put a label at an offset from its point and return its box."""
    label.set_position(offset)
    label.set_horizontalalignment("left" if offset[0] > 0 else "right" if offset[0] < 0 else "center")
    return label.get_window_extent(renderer)


def _is_free(box: Bbox, axes: Axes, written: Sequence[Bbox]) -> bool:
    """Return whether a box lies within the axes and on no other label."""
    whole = axes.bbox
    inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
    return inside and not any(map(box.overlaps, written))


def inline_svg(chart: Chart) -> str:
    """Return a chart as an <svg> element for the page: CSS variables for colours, names of parts that are its own."""
    text = _written(chart.figure, "svg").decode("utf-8")
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{chart.name}-", svg)
    for role, (light, _) in PALETTE.items():
        svg = svg.replace(light, f"var(--{role})")
    return svg.replace("<svg ", f'<svg role="img" aria-labelledby="{chart.name}-title {chart.name}-text" ', 1)


def save(chart: Chart, folder: Path) -> list[Path]:
    """Write a chart as NAME.svg and NAME.png into a folder, for slides; return the two paths."""
    paths = []
    for kind in ("svg", "png"):
        path = folder / f"{chart.name}.{kind}"
        with atomic_write(path) as temporary:
            temporary.write_bytes(_written(chart.figure, kind))
        paths.append(path)
    return paths


def _written(figure: Figure, kind: str) -> bytes:
    written = io.BytesIO()
    dpi = SLIDE_DPI if kind == "png" else PIXELS_PER_INCH
    with styled():
        figure.savefig(written, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None)
    return written.getvalue()
