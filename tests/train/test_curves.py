"""The drawing of accuracy against compute, and what is read to draw it."""

import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.train.networks import MICRO, coloured_images
from train import DataError, load_spec
from train.curves import Curve, curve_of, draw, load_curve, published
from train.evaluate import evaluate_supernet
from train.initialise import initial_tensors
from train.supernet import Supernet

OURS = Curve("ours", ((8e6, 0.5), (16e6, 0.58), (38e6, 0.6)), gate=(12e6, 0.57))
THEIRS = Curve("theirs", ((2e6, 0.4), (40e6, 0.59)))


def test_an_evaluation_becomes_a_curve() -> None:
    result = evaluate_supernet(Supernet.from_tensors(MICRO, initial_tensors(MICRO, seed=0)), coloured_images(12))
    curve = curve_of(json.dumps({"split": "test", **asdict(result)}), "micro")
    assert result.dynamic is not None
    assert curve.points == tuple((one.macs, one.top1) for one in result.widths)
    assert (curve.name, curve.gate) == ("micro", (result.dynamic.mean_macs, result.dynamic.top1))


def test_a_curve_read_from_a_file_is_named_like_it(tmp_path: Path) -> None:
    file = tmp_path / "us_net.json"
    file.write_text('{"widths": [{"macs": 5, "top1": 0.5}], "dynamic": null}')
    assert load_curve(file) == Curve("us_net", ((5, 0.5),))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"widths": [], "dynamic": null}', '{"widths": [{"macs": 0, "top1": 2}], "dynamic": null}']
)
def test_a_file_that_is_no_evaluation_is_named_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(DataError, match=r"other\.json is no evaluation; give a file of what dsnet evaluate --json"):
        load_curve(file)


def test_an_absent_file_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json is no evaluation"):
        load_curve(tmp_path / "absent.json")


def test_the_published_compute_is_that_of_the_shipped_network() -> None:
    spec = load_spec("ds_mbv1")
    ds_net, us_net = published(spec)
    ratios = [macs / spec.macs(width) for width, (macs, _) in enumerate(ds_net.points)]
    print(f"published / ours: {min(ratios):.4f} … {max(ratios):.4f}")
    assert len(ratios) == spec.n_widths
    assert all(abs(ratio - 1) < 0.01 for ratio in ratios)
    assert us_net.points[-1] == (568e6, pytest.approx(0.718))


def test_networks_that_are_not_on_imagenet_are_compared_with_nothing_published() -> None:
    assert published(load_spec("ds_mbv1_64")) == published(MICRO) == ()


def test_a_drawing_is_a_png_and_an_svg_that_name_every_network(tmp_path: Path) -> None:
    png, svg = draw(tmp_path / "figures" / "v1.2", [OURS], [THEIRS], "a title")
    assert [png.name, svg.name] == ["v1.2.png", "v1.2.svg"]
    with Image.open(png) as image:
        assert image.size == (1440, 720)
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = svg.read_text(encoding="utf-8")
    assert [name for name in ("ours", "theirs", "a title", "its gate decides") if f"<!-- {name} -->" not in text] == []


def test_the_same_curves_are_drawn_in_the_same_bytes(tmp_path: Path) -> None:
    first, second = (draw(tmp_path / name, [OURS, THEIRS]) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_without_a_gate_no_star_is_explained(tmp_path: Path) -> None:
    _, svg = draw(tmp_path / "curve", [THEIRS])
    assert "its gate decides" not in svg.read_text(encoding="utf-8")


@pytest.mark.parametrize(("smallest", "logarithmic"), [(2e6, True), (10e6, False)])
def test_compute_that_spans_much_is_drawn_on_a_logarithmic_axis(
    tmp_path: Path, smallest: float, logarithmic: bool
) -> None:
    _, svg = draw(tmp_path / "curve", [Curve("one", ((smallest, 0.4), (45e6, 0.6)))])
    text = svg.read_text(encoding="utf-8")
    ticks = [number for number in (20, 30) if f"<!-- {number} -->" in text]
    assert ticks == ([20] if logarithmic else [20, 30])
