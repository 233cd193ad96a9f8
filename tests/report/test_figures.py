"""What the figures draw."""

import dataclasses

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from edge.report import figures
from edge.report.content import Section, Sizes
from edge.report.drawing import DYNAMIC, PAPER, Chart
from edge.report.gather import Gathered
from edge.report.peers import Peer
from tests.report.cases import Files


@pytest.fixture(scope="module")
def section(written: Files) -> Section:
    return Gathered(written.bundle, written.latency, [written.predictions]).sections()[0]


def texts(chart: Chart) -> list[str]:
    """Return every text of a figure."""
    return [found.get_text() for found in chart.figure.findobj(Text) if isinstance(found, Text) and found.get_text()]


def tradeoff(section: Section, *peers: Peer) -> Chart:
    chart = figures.tradeoff(section, peers)
    assert chart
    return chart


def diamond_fill(chart: Chart) -> object:
    (fill,) = {str(line.get_markerfacecolor()) for line in chart.figure.axes[0].lines if line.get_marker() == "D"}
    return fill


def test_operating_points_widths_and_peers_are_named_where_they_stand(section: Section) -> None:
    peer = Peer(name="A peer", accuracy=0.65, mean_ms=2.0)
    assert {"balanced-phone", "A peer", "0", "1"} <= set(texts(tradeoff(section, peer)))


def test_axes_say_what_they_measure_and_in_what_unit(section: Section) -> None:
    assert {"mean latency of one image, ms", "top-1 accuracy"} <= set(texts(tradeoff(section)))
    assert "one image, ms" in texts(figures.latency(section))


def test_intervals_are_drawn_around_the_held_out_figures(section: Section) -> None:
    (container,) = tradeoff(section).figure.axes[0].containers
    _, _, bars = container
    drawn = sorted(round(float(value), 9) for bar in bars for end in bar.get_segments()[0] for value in end)
    assert drawn == sorted([1.9, 0.61, 2.3, 0.61, 2.1, 0.57, 2.1, 0.65])


def test_a_point_judged_on_the_images_it_was_fitted_to_is_hollow_and_explained(section: Section) -> None:
    (point,) = section.points
    fitted = dataclasses.replace(section, points=[dataclasses.replace(point, held_out=None)])
    unseen = dataclasses.replace(section, points=[dataclasses.replace(point, held_out=None, seen=False)])
    assert [diamond_fill(tradeoff(found)) for found in (section, fitted, unseen)] == [DYNAMIC, PAPER, DYNAMIC]
    said = ["hollow" in tradeoff(found).description for found in (section, fitted, unseen)]
    assert said == [False, True, False]


@pytest.mark.parametrize("count", [4, 30])
def test_labels_hide_no_other_label_and_those_without_room_are_counted(section: Section, count: int) -> None:
    (point,) = section.points
    crowd = [
        dataclasses.replace(point, point=point.point.model_copy(update={"name": f"point-{number}"}))
        for number in range(count)
    ]
    chart = tradeoff(dataclasses.replace(section, points=crowd))
    figure: Figure = chart.figure
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.findobj(Annotation) if isinstance(text, Annotation)]
    overlapping = sum(int(one.overlaps(other)) for at, one in enumerate(boxes) for other in boxes[:at])
    outside = sum(not (figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1) for box in boxes)
    without_room = count + len(section.widths) - len(boxes)
    assert (overlapping, outside) == (0, 0)
    assert (f"{without_room} names found no room" in chart.description) == (without_room > 0)
    assert without_room == 0 or count == 30, without_room


def test_distant_peers_make_the_latency_axis_logarithmic(section: Section) -> None:
    far, near = (Peer(name="A peer", accuracy=0.65, mean_ms=ms) for ms in (60.0, 3.0))
    assert [tradeoff(section, peer).figure.axes[0].get_xscale() for peer in (far, near)] == ["log", "linear"]


def test_bars_show_the_share_of_each_width(section: Section) -> None:
    chart = figures.shares(section)
    assert chart
    (point,) = section.points
    heights = [bar.get_height() for bar in chart.figure.axes[0].patches]
    assert heights == pytest.approx([share.share for share in point.evaluation.shares])


def test_many_operating_points_are_drawn_up_to_a_bound_and_all_in_the_table(section: Section) -> None:
    many = dataclasses.replace(section, points=[*section.points] * (figures.MAX_ROWS + 3))
    chart = figures.shares(many)
    assert chart
    assert len(chart.figure.axes) == figures.MAX_ROWS
    assert "3 more operating points are in the table" in chart.description
    assert len(chart.table.rows) == 2 * (figures.MAX_ROWS + 3)


def test_sizes_are_compared_with_a_plain_file_for_each_width() -> None:
    chart = figures.sharing([Sizes("litert", "int8", 2_000_000, (1_000_000, 1_500_000))])
    assert {"2 MB", "1.5 MB", "2.5 MB", "2 plain files"} <= set(texts(chart))
    assert chart.table.rows == [("litert int8", "2,000,000", "1,500,000", "2,500,000", "80.0%")]


def test_sizes_without_plain_files_are_shown_alone() -> None:
    chart = figures.sharing([Sizes("coreml", "fp16", 2_000_000, (), "they cannot be made here")])
    assert len(chart.figure.axes[0].patches) == 1
