"""The figure of adaptive switching: what the device did, what images took, which operating point answered."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from edge.report.adaptive import Simulation
from edge.report.content import Section
from edge.report.drawing import DYNAMIC, INK, MUTED, SMALL, STATIC, Chart, Table, blank, styled
from edge.runtime.simulate import SimulatedImage

Floats = NDArray[np.float64]

STRETCHES = 150
"""Means over equal stretches of time are drawn, at most so many."""
ROWS = 10
"""Stretches in the table."""


@styled()
def switching(section: Section) -> Chart | None:
    """Return slowdown, latency and operating point over time; None where nothing was simulated."""
    if section.simulation is None:
        return None
    found = section.simulation
    names = _ladder(found)
    figure, (slowdown, latency, point) = blank(330 + 16 * len(names), 3, same_y=False)
    times, values = _means(found.images, STRETCHES)
    slowdown.plot(times, values["slowdown"], color=MUTED, linewidth=1.6)
    slowdown.set(title="slowdown of the device")
    slowdown.margins(y=0.2)
    _draw_latency(latency, found, times, values)
    point.step(
        [image.at_s for image in found.images], [names.index(image.point.name) for image in found.images], color=DYNAMIC
    )
    point.set(title="operating point", xlabel="time, s", ylim=(-0.5, len(names) - 0.5))
    point.set_yticks(range(len(names)), names)
    trace = "a recorded trace" if found.recorded else "a made-up stretch"
    return Chart(
        name=f"switching-{section.key}",
        title="Switching while the device slows down",
        description=f"A simulation of AdaptivePolicy with {trace} of slowdowns, 30 images per second: "
        f"{_switches(found.images)} switches. "
        f"Dashed: the target, the mean latency of {found.dearest.name} as calibrated.",
        figure=figure,
        table=_table(found.images),
    )


def _draw_latency(axes: Axes, found: Simulation, times: Floats, values: dict[str, Floats]) -> None:
    """Draw the latency with switching, the target, and what the dearest point alone would have taken."""
    target_ms = found.dearest.expected_mean_ms
    alone = target_ms * values["slowdown"]
    axes.plot(times, alone, color=STATIC, linewidth=1.2)
    axes.plot(times, values["ms"], color=DYNAMIC, linewidth=1.6)
    axes.axhline(target_ms, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    peak = int(alone.argmax())
    axes.annotate(
        f"always {found.dearest.name}",
        (times[peak], alone[peak]),
        (0, 5),
        textcoords="offset points",
        ha="center",
        fontsize=SMALL,
        color=INK,
    )
    axes.set(title="mean latency, ms")
    axes.margins(y=0.3)


def _ladder(found: Simulation) -> list[str]:
    """Return the names of the points that answered, from the cheapest to the dearest."""
    points = {image.point.name: image.point.expected_mean_ms for image in found.images}
    return sorted(points, key=points.__getitem__)


def _switches(images: Sequence[SimulatedImage]) -> int:
    return sum(one.point.name != other.point.name for one, other in pairwise(images))


def _means(images: Sequence[SimulatedImage], stretches: int) -> tuple[Floats, dict[str, Floats]]:
    """Return the middles of equal stretches of time, in seconds, and the means of what happened in each."""
    at_s = np.array([image.at_s for image in images])
    edges = np.linspace(0, at_s[-1], min(stretches, len(images) // 10) + 1)
    counts, _ = np.histogram(at_s, edges)
    there = counts > 0
    sums = {
        name: np.histogram(at_s, edges, weights=[getattr(image, name) for image in images])[0]
        for name in ("ms", "slowdown")
    }
    return ((edges[1:] + edges[:-1]) / 2)[there], {name: total[there] / counts[there] for name, total in sums.items()}


def _table(images: Sequence[SimulatedImage]) -> Table:
    times, values = _means(images, ROWS)
    at_s = [image.at_s for image in images]
    rows = [
        (images[int(np.searchsorted(at_s, time))].point.name, f"{time:.1f}", f"{slowdown:.3f}", f"{ms:.4g}")
        for time, slowdown, ms in zip(times, values["slowdown"], values["ms"], strict=True)
    ]
    return Table(("operating point", "at s", "slowdown", "mean ms around"), rows)
