"""The figures of a report: what is drawn, with the same numbers as a table."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, ScalarFormatter

from common.console import one_line
from edge.bundle.describe import limit_text
from edge.report.content import DynamicPoint, Section, Sizes, StaticWidth
from edge.report.drawing import (
    DYNAMIC,
    INK,
    MUTED,
    PAPER,
    PEER,
    SMALL,
    STATIC,
    Chart,
    Table,
    blank,
    label_points,
    styled,
)
from edge.report.peers import Peer

LOG_RANGE = 8.0
"""Ratio of the slowest to the fastest from which on the latency axis is logarithmic."""
MAX_ROWS = 16
"""Operating points in one figure; the table beside it has all of them."""
NAMED_WIDTHS = 16
"""Up to so many widths are named in the figure, else the first and the last."""
SHOWN_SHARE = 0.05
SPREAD = (5, 25, 50, 75, 95)
"""Percentiles of the latency that are drawn."""


@styled()
def tradeoff(section: Section, peers: Sequence[Peer]) -> Chart | None:
    """Return accuracy against mean latency: single widths with their Pareto front, operating points, peers."""
    widths = [width for width in section.widths if width.accuracy is not None]
    if not widths:
        return None
    figure, (axes,) = blank(320)
    front = [(width.latency.mean_ms, width.accuracy or 0) for width in section.front]
    everything = [(width.latency.mean_ms, width.accuracy or 0) for width in widths]
    axes.plot(*zip(*front, strict=True), "-", color=STATIC, linewidth=1.5, zorder=2)
    axes.plot(*zip(*everything, strict=True), "o", color=STATIC, markersize=5, mec=PAPER, zorder=3)
    for point in section.points:
        _mark_point(axes, point)
    for peer in peers:
        axes.plot(peer.mean_ms, peer.accuracy, "s", color=PEER, markersize=6, zorder=3)
    bars = [spot for point in section.points for spot in _along_bars(point)]
    dynamic = [(point.mean_ms.value, point.accuracy.value, point.point.name) for point in section.points]
    others = [(peer.mean_ms, peer.accuracy, peer.name) for peer in peers]
    named = [*dynamic, *others]
    hollow = any(point.flattered for point in section.points)
    _latency_axis(axes, [x for x, _, _ in named] + [x for x, _ in everything])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set(xlabel="mean latency of one image, ms", title="top-1 accuracy")
    axes.margins(0.08, 0.12)
    spots = [*_along(front), *bars, *everything, *((x, y) for x, y, _ in named)]
    without_room = label_points(axes, [*named, *_width_labels(widths)], spots)
    return Chart(
        name=f"tradeoff-{section.key}",
        title="Accuracy against latency",
        description="Blue circles are single widths, named by their numbers; the line joins those that no other beats. "
        "Orange diamonds are operating points, where each image gets its own width; bars are 95% intervals."
        + (" A hollow one was judged on the images it was fitted to." if hollow else "")
        + (" Green squares are peers." if peers else "")
        + (f" {len(without_room)} names found no room; all are in the numbers." if without_room else ""),
        figure=figure,
        table=Table(("what", "mean ms", "top-1"), [*_static_rows(widths), *_dynamic_rows(section), *_peer_rows(peers)]),
    )


@styled()
def shares(section: Section) -> Chart | None:
    """Return how often each operating point uses each width: a histogram each."""
    points = section.points[:MAX_ROWS]
    if not points:
        return None
    figure, rows = blank(44 + 72 * len(points), len(points))
    for axes, point in zip(rows, points, strict=True):
        used = {share.width: share.share for share in point.evaluation.shares if share.share > 0}
        bars = axes.bar(list(used), list(used.values()), width=0.8, color=DYNAMIC)
        texts = [f"{share:.0%}" if share >= SHOWN_SHARE else "" for share in used.values()]
        axes.bar_label(bars, texts, padding=1, fontsize=SMALL - 2)
        axes.set_title(f"{point.point.name}: {_limits(point)}")
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(left=False, labelleft=False)
    last = max(width.index for width in section.widths)
    rows[-1].set(xlabel="width, narrow → wide", xlim=(-0.6, last + 0.6), ylim=(0, 1.35 * _largest_share(points)))
    rows[-1].set_xticks(range(0, last + 1, 1 + last // NAMED_WIDTHS))
    more = len(section.points) - len(points)
    return Chart(
        name=f"shares-{section.key}",
        title="Which widths answer",
        description="Share of the images that each width answers, one row for each operating point."
        + (f" {more} more operating points are in the table." if more else ""),
        figure=figure,
        table=Table(
            ("operating point", "width", "images"), list(chain.from_iterable(map(_share_rows, section.points)))
        ),
    )


@styled()
def latency(section: Section) -> Chart:
    """Return the latency distribution of every width."""
    count = len(section.widths)
    figure, (axes,) = blank(60 + 21 * max(count, 4))
    spreads = [np.percentile(width.samples_ms, SPREAD) for width in section.widths]
    for row, (low, first, middle, third, high) in enumerate(spreads):
        axes.plot((low, high), (row, row), color=STATIC, linewidth=1.2, solid_capstyle="butt")
        axes.plot((first, third), (row, row), color=STATIC, linewidth=7, solid_capstyle="butt")
        axes.plot(middle, row, "|", color=PAPER, markersize=8, markeredgewidth=1.6)
        axes.annotate(
            f"{middle:.3g}", (high, row), (5, 0), textcoords="offset points", va="center", fontsize=SMALL, color=INK
        )
    axes.set_yticks(range(count), [f"width {width.index}" for width in section.widths])
    axes.set(ylim=(count - 0.4, -0.6), xlabel="one image, ms")
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
    return Chart(
        name=f"latency-{section.key}",
        title="Latency of each width",
        description="Of all timed runs the thick bar holds the middle half, the thin line 90%; the number is the "
        "median in milliseconds, gate included.",
        figure=figure,
        table=Table(
            ("width", "runs", "p50 ms", "p90 ms", "p99 ms", "mean ms", "first ms"),
            list(map(_latency_row, section.widths)),
        ),
    )


@styled()
def sharing(sizes: Sequence[Sizes]) -> Chart:
    """Return the bytes of every artifact against those of plain files for its widths."""
    bars = list(chain.from_iterable(map(_size_bars, sizes)))
    figure, (axes,) = blank(48 + 30 * len(bars))
    drawn = axes.barh(range(len(bars)), [size / 1e6 for _, size, _ in bars], height=0.62, color=[c for _, _, c in bars])
    axes.bar_label(drawn, [f"{size / 1e6:.3g} MB" for _, size, _ in bars], padding=4, fontsize=SMALL)
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.set(ylim=(len(bars) - 0.4, -0.6), xlabel="megabytes")
    axes.margins(x=0.18)
    axes.grid(visible=False, axis="y")
    axes.tick_params(left=False)
    return Chart(
        name="sizes",
        title="One set of weights for all widths",
        description="Blue: the artifact that is shipped, with every width. Grey: the widest width alone, and a plain "
        "file for each width.",
        figure=figure,
        table=Table(
            ("artifact", "shared bytes", "widest alone", "sum of plain files", "shared / sum"),
            list(map(_size_row, sizes)),
        ),
    )


def _mark_point(axes: Axes, point: DynamicPoint) -> None:
    """Draw a diamond with its intervals: hollow where nothing but the images it was fitted to tells."""
    x, y = point.mean_ms, point.accuracy
    axes.errorbar(
        x.value,
        y.value,
        xerr=([x.value - x.low], [x.high - x.value]),
        yerr=([y.value - y.low], [y.high - y.value]),
        fmt="D",
        color=DYNAMIC,
        mfc=PAPER if point.flattered else DYNAMIC,
        markersize=6,
        elinewidth=1.2,
        capsize=2.5,
        zorder=4,
    )


def _along(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points on a line, close enough for labels to keep off it."""
    xs, ys = zip(*line, strict=True)
    corners = np.arange(len(line))
    steps = np.linspace(0, len(line) - 1, 8 * len(line))
    return list(zip(np.interp(steps, corners, xs).tolist(), np.interp(steps, corners, ys).tolist(), strict=True))


def _along_bars(point: DynamicPoint) -> list[tuple[float, float]]:
    """Return points on the two error bars."""
    x, y = point.mean_ms, point.accuracy
    return [*_along([(x.low, y.value), (x.high, y.value)]), *_along([(x.value, y.low), (x.value, y.high)])]


def _latency_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the latency axis logarithmic where it spans much."""
    if min(values) > 0 and max(values) >= LOG_RANGE * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())


def _width_labels(widths: Sequence[StaticWidth]) -> list[tuple[float, float, str]]:
    named = widths if len(widths) <= NAMED_WIDTHS else [widths[0], widths[-1]]
    return [(width.latency.mean_ms, width.accuracy or 0, str(width.index)) for width in named]


def _largest_share(points: Sequence[DynamicPoint]) -> float:
    return max(share.share for point in points for share in point.evaluation.shares)


def _limits(point: DynamicPoint) -> str:
    return ", ".join(map(limit_text, point.point.limits))


def _static_rows(widths: Sequence[StaticWidth]) -> list[tuple[str, ...]]:
    return [(f"width {width.index}", f"{width.latency.mean_ms:.4g}", f"{width.accuracy:.2%}") for width in widths]


def _dynamic_rows(section: Section) -> list[tuple[str, ...]]:
    return [(p.point.name, f"{p.mean_ms.value:.4g}", f"{p.accuracy.value:.2%}") for p in section.points]


def _peer_rows(peers: Sequence[Peer]) -> list[tuple[str, ...]]:
    return [(one_line(peer.name), f"{peer.mean_ms:.4g}", f"{peer.accuracy:.2%}") for peer in peers]


def _share_rows(point: DynamicPoint) -> list[tuple[str, ...]]:
    return [(point.point.name, str(share.width), f"{share.share:.1%}") for share in point.evaluation.shares]


def _latency_row(width: StaticWidth) -> tuple[str, ...]:
    found = width.latency
    times = found.p50_ms, found.p90_ms, found.p99_ms, found.mean_ms, found.first_run_ms
    return (f"{width.index} ({one_line(width.name)})", str(found.runs), *(f"{ms:.4g}" for ms in times))


def _size_bars(sizes: Sizes) -> list[tuple[str, int, str]]:
    """Return the bars of one artifact: label, bytes, colour."""
    bars = [(f"{sizes.runtime} {sizes.precision}", sizes.shared_bytes, STATIC)]
    if sizes.single_bytes:
        bars.append(("widest alone", sizes.single_bytes[-1], MUTED))
        bars.append((f"{len(sizes.single_bytes)} plain files", sum(sizes.single_bytes), MUTED))
    return bars


def _size_row(sizes: Sizes) -> tuple[str, ...]:
    name, shared = f"{sizes.runtime} {sizes.precision}", f"{sizes.shared_bytes:,}"
    if not sizes.single_bytes:
        return name, shared, "–", "–", "–"
    total = sum(sizes.single_bytes)
    return name, shared, f"{sizes.single_bytes[-1]:,}", f"{total:,}", f"{sizes.shared_bytes / total:.1%}"
