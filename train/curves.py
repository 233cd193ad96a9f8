"""Accuracy against compute, drawn: what a supernet is judged by. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from common import atomic_write
from train.errors import DataError
from train.spec import SupernetSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Point = tuple[float, float]
"""Multiply-accumulates per image, and the share of images classified right, 0…1."""

MAX_JSON_BYTES = 1 << 20
LOG_RANGE = 8.0
"""Ratio of the largest compute to the smallest from which on the axis is logarithmic."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe & Ito's palette, which the colour-blind can tell apart."""
MARKERS = "osD^vP"
GREY, BASELINE = "#5f6368", "#9aa0a6"
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), "solid")
"""Line styles of the baselines."""

DS_NET = (
    (133, 70.1), (153, 70.4), (175, 70.8), (200, 71.2), (226, 71.6), (255, 72.0), (286, 72.4),
    (319, 72.7), (355, 73.0), (393, 73.3), (433, 73.6), (475, 73.9), (519, 74.1), (565, 74.6),
)  # fmt: skip
"""DS-MBNet's 14 widths as its authors released them (Li et al., CVPR 2021): million MACs, ImageNet top-1 in %."""
US_NET = ((41, 55.7), (149, 64.2), (217, 66.8), (325, 69.5), (568, 71.8))
"""US-MobileNetV1 (Yu & Huang, ICCV 2019): million MACs, ImageNet top-1 in %."""


@dataclass(frozen=True)
class Curve:
    """One network."""

    name: str
    points: tuple[Point, ...]
    """One per width, at least one; those of a static network are one."""
    gate: Point | None = None
    """Mean compute and accuracy with its gate deciding."""


class _Width(BaseModel):
    macs: float = Field(gt=0, allow_inf_nan=False)
    top1: float = Field(ge=0, le=1)


class _Dynamic(BaseModel):
    mean_macs: float = Field(gt=0, allow_inf_nan=False)
    top1: float = Field(ge=0, le=1)


class _Evaluation(BaseModel):
    widths: list[_Width] = Field(min_length=1)
    dynamic: _Dynamic | None


def load_curve(path: Path) -> Curve:
    """Return the curve of what `dsnet evaluate --json` printed, named like the file; else a DataError."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path} is larger than {MAX_JSON_BYTES} bytes; give what dsnet evaluate --json printed")
        return curve_of(path.read_bytes(), path.stem)
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} is no evaluation; give a file of what dsnet evaluate --json printed") from error


def curve_of(evaluation: str | bytes, name: str) -> Curve:
    """Return the curve of an evaluation in JSON; one that does not fit raises pydantic's ValidationError."""
    found = _Evaluation.model_validate_json(evaluation)
    gate = (found.dynamic.mean_macs, found.dynamic.top1) if found.dynamic else None
    return Curve(name, tuple((one.macs, one.top1) for one in found.widths), gate)


def published(spec: SupernetSpec) -> tuple[Curve, ...]:
    """Return the published curves that a network can be compared with: for ds_mbv1 on ImageNet's 1000 classes only."""
    if (spec.name, spec.classes) != ("ds_mbv1", 1000):
        return ()
    return tuple(
        Curve(name, tuple((millions * 1e6, percent / 100) for millions, percent in points))
        for name, points in (("DS-Net, published", DS_NET), ("US-MobileNetV1, published", US_NET))
    )


def draw(
    path_stem: Path, curves: Sequence[Curve], baselines: Sequence[Curve] = (), title: str = ""
) -> tuple[Path, ...]:
    """Draw top-1 accuracy against compute as PATH_STEM.png and PATH_STEM.svg; return the two paths.

    A curve is a line with a marker per width and a star where its gate puts it, baselines are thin and grey. The same
    curves give the same bytes.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "curves", "font.size": 10}):
        figure = _figure(curves, baselines, title)
        return tuple(_save(figure, path_stem, kind) for kind in ("png", "svg"))


def _figure(curves: Sequence[Curve], baselines: Sequence[Curve], title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), dpi=160, layout="constrained")
    axes = figure.subplots()
    drawn = []
    for curve, dashes in zip(baselines, cycle(DASHES), strict=False):
        style = {"linewidth": 1.2, "linestyle": dashes, "marker": ".", "markersize": 4, "zorder": 2}
        drawn.append((curve, _line(axes, curve, BASELINE, style)))
    for curve, colour, marker in zip(curves, cycle(COLOURS), cycle(MARKERS), strict=False):
        style = {"linewidth": 2, "marker": marker, "markersize": 5, "zorder": 3}
        drawn.append((curve, _line(axes, curve, colour, style)))
    _style(axes, [*curves, *baselines])
    axes.set_title(title, loc="left", fontweight="bold")
    _legend(figure, drawn)
    return figure


def _line(axes: "Axes", curve: Curve, colour: str, style: dict[str, Any]) -> "Line2D":
    macs, top1 = zip(*sorted(curve.points), strict=True)
    (line,) = axes.plot([x / 1e6 for x in macs], [y * 100 for y in top1], color=colour, **style)
    if curve.gate:
        x, y = curve.gate
        axes.plot(x / 1e6, y * 100, "*", color=colour, markersize=14, mec="white", zorder=4)
    return line


def _style(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Name the axes; make the compute axis logarithmic where it spans much."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    compute = [macs for curve in curves for macs, _ in _marks(curve)]
    if max(compute) >= LOG_RANGE * min(compute):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("million multiply-accumulates per image")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.grid(color="#e8eaed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(BASELINE)
    axes.tick_params(which="both", color=BASELINE, labelcolor=GREY)


def _legend(figure: "Figure", drawn: Sequence[tuple[Curve, "Line2D"]]) -> None:
    """Name the networks beside the axes, the most accurate on top as the lines are; say what a star is."""
    from matplotlib.lines import Line2D

    ordered = sorted(drawn, key=lambda entry: -max(top1 for _, top1 in entry[0].points))
    entries = [(line, curve.name) for curve, line in ordered]
    if any(curve.gate for curve, _ in drawn):
        star = Line2D([], [], linestyle="", marker="*", markersize=12, color=GREY, mec="white")
        entries.append((star, "its gate decides"))
    lines, names = zip(*entries, strict=True)
    figure.legend(lines, names, loc="outside right upper", frameon=False)


def _marks(curve: Curve) -> tuple[Point, ...]:
    return (*curve.points, curve.gate) if curve.gate else curve.points


def _save(figure: "Figure", path_stem: Path, kind: str) -> Path:
    path = path_stem.with_name(f"{path_stem.name}.{kind}")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return path
