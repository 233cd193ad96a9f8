"""The simulation of adaptive switching, and its figure."""

import json
from pathlib import Path

import pytest

from edge.bundle.manifest import Share
from edge.errors import CalibrationError, ReportError
from edge.report.adaptive import load_slowdowns, made_up, simulation
from edge.report.adaptive_figure import switching
from edge.report.content import Section
from edge.report.gather import Gathered
from tests.report.cases import QUICK, Files


def section(files: Files, device: str) -> Section:
    sections = Gathered(files.bundle, files.latency, [files.predictions]).sections()
    return next(found for found in sections if found.run.device == device)


def test_a_slow_device_gets_the_cheaper_point_and_the_dearer_one_again_later(written: Files) -> None:
    found = section(written, "tablet").simulation
    assert found
    answered = [image.point.name for image in found.images]
    assert [answered[0], answered[-1]] == ["balanced-tablet", "balanced-tablet"]
    slow = [image.point.name for image in found.images if image.slowdown > 1.9]
    assert slow.count("quick-tablet") / len(slow) > 0.9


def test_the_made_up_device_slows_down_to_the_peak_and_recovers() -> None:
    trace = made_up(1.8)
    assert (trace[0], max(trace), trace[-1]) == (1.0, 1.8, 1.0)


def test_recorded_slowdowns_take_the_place_of_made_up_ones(written: Files) -> None:
    points = [point.point for point in section(written, "tablet").points]
    found = simulation(points, [1.0] * 200)
    assert (found.recorded, len(found.images)) == (True, 200)
    assert {image.point.name for image in found.images} == {"balanced-tablet"}


def test_one_point_cannot_be_switched(written: Files) -> None:
    phone = section(written, "phone")
    assert (phone.simulation, switching(phone)) == (None, None)


def test_points_that_do_not_say_what_their_widths_take_are_named(files: Files) -> None:
    old = {**QUICK, "shares": [Share(width=0, share=1.0)]}
    files.add_point("quick-tablet", "tablet", **old)
    tablet = section(files, "tablet")
    assert tablet.simulation is None
    assert any(
        "switching between operating points is not simulated: operating point quick" in why for why in tablet.left_out
    )


def test_the_figure_shows_slowdown_latency_and_the_points_over_time(written: Files) -> None:
    chart = switching(section(written, "tablet"))
    assert chart
    titles = [axes.get_title(loc="left") for axes in chart.figure.axes]
    assert titles == ["slowdown of the device", "mean latency, ms", "operating point"]
    names = [label.get_text() for label in chart.figure.axes[-1].get_yticklabels()]
    assert names == ["quick-tablet", "balanced-tablet"]
    assert "a made-up stretch" in chart.description


def test_points_of_several_devices_are_refused(written: Files) -> None:
    phone, tablet = (section(written, device).points[0].point for device in ("phone", "tablet"))
    with pytest.raises(CalibrationError, match="differ in device"):
        simulation([phone, tablet])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1.0] * 99, "at least 100 items"),
        ([1.0] * 99 + [0], "greater than 0"),
        ([1.0] * 99 + [1001], "less than or equal to 1000"),
        ({"slowdowns": [1.0]}, "valid list"),
    ],
)
def test_other_slowdowns_are_refused_in_one_line(tmp_path: Path, content: object, problem: str) -> None:
    path = tmp_path / "slowdowns.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ReportError, match=problem) as refused:
        load_slowdowns(path)
    assert "\n" not in str(refused.value)
