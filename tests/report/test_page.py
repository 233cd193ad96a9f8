"""The page as text: whole, from strangers' names to figures, and the same for the same content."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from edge.report.content import Report
from edge.report.examples import choose_point, examples
from edge.report.gather import Gathered
from edge.report.page import Page
from edge.report.peers import Peer
from edge.report.sizes import sizes
from tests.report.cases import Files

HOSTILE = '</text><script>alert("1")</script>\x07$x$'
PEER = Peer(name="A peer", accuracy=0.65, mean_ms=2.0)


def report_of(files: Files) -> Report:
    """Return a report with everything in it."""
    bundle = files.bundle
    gathered = Gathered(bundle, files.latency, [files.predictions])
    return Report(
        manifest=bundle.manifest,
        sections=gathered.sections(),
        sizes=sizes(bundle),
        peers=[PEER],
        examples=examples(bundle, choose_point(bundle, None), files.images, 12),
        left_out=gathered.left_out(),
        sources=gathered.sources(),
    )


@pytest.fixture(scope="module")
def report(written: Files) -> Report:
    return report_of(written)


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page.of(report)


@pytest.fixture(scope="module")
def html(page: Page) -> str:
    return page.html()


@pytest.fixture(scope="module")
def elements(html: str) -> "Elements":
    return Elements(html)


class Elements(HTMLParser):
    """Collects the names and the attributes of all elements, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def all(self, name: str) -> list[str | None]:
        return [value for found, value in self.attributes if found == name]


def test_every_figure_of_every_section_is_there(page: Page, elements: Elements) -> None:
    names = [chart.name for chart in page.charts]
    assert names == [
        "tradeoff-1",
        "shares-1",
        "latency-1",
        "tradeoff-2",
        "shares-2",
        "latency-2",
        "switching-2",
        "sizes",
    ]
    assert [name for name in names if name not in elements.all("id")] == []


def test_a_figure_has_a_name_and_a_description_for_those_who_cannot_see_it(elements: Elements) -> None:
    labels = [str(label).split() for label in elements.all("aria-labelledby")]
    assert len(labels) == elements.names.count("svg") == 8
    assert [part for label in labels for part in label if part not in elements.all("id")] == []


def test_no_two_parts_have_the_same_name(elements: Elements) -> None:
    names = list(map(str, elements.all("id")))
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_the_page_forbids_itself_all_but_its_own_styles_and_pictures(elements: Elements) -> None:
    (policy,) = [str(content) for content in elements.all("content") if "default-src" in str(content)]
    assert "default-src 'none'" in policy
    assert "script" not in elements.names
    links = [*elements.all("src"), *elements.all("href"), *elements.all("xlink:href")]
    assert [link for link in links if not str(link).startswith(("data:image/jpeg;", "#"))] == []


def test_the_page_holds_no_colour_that_a_theme_cannot_change(html: str) -> None:
    assert re.findall(r"#[0-9a-f]{6}\b", html[html.index("<body>") :]) == []


def test_an_overview_leads_to_every_section(elements: Elements) -> None:
    links = [str(link) for link in elements.all("href") if str(link).startswith("#run-")]
    assert links == ["#run-1", "#run-2"]
    assert {link.removeprefix("#") for link in links} <= set(elements.all("id"))


def test_the_same_content_gives_the_same_bytes(report: Report, html: str) -> None:
    assert Page.of(report).html() == html


def test_a_point_is_shown_with_its_intervals_and_the_best_single_width(elements: Elements) -> None:
    text = " ".join(elements.text.split())
    assert "balanced-phone 61.00% (57.0%–65.0%) 2.1 (1.9–2.3)" in text
    assert "mean ≤ 2.5 ms held-out images (400)" in text


def test_doubts_are_on_the_page(elements: Elements) -> None:
    assert "fixed work took longer; let the device cool down" in elements.text
    assert "operating point fast: no run of litert int8 on local" in elements.text


def test_names_from_strangers_are_text_and_nothing_else(report: Report) -> None:
    model = report.manifest.model.model_copy(update={"name": HOSTILE})
    run = report.sections[0].run.model_copy(update={"device": HOSTILE, "environment": {HOSTILE: HOSTILE}})
    assert report.examples
    example = dataclasses.replace(report.examples.easy[0], name=HOSTILE, class_name=HOSTILE, true_class=HOSTILE)
    hostile = dataclasses.replace(
        report,
        manifest=report.manifest.model_copy(update={"model": model}),
        sections=[dataclasses.replace(report.sections[0], run=run, left_out=[HOSTILE])],
        peers=[PEER.model_copy(update={"name": HOSTILE, "note": HOSTILE})],
        examples=dataclasses.replace(report.examples, easy=[example], notes=[HOSTILE]),
        left_out=[HOSTILE],
        sources=[(HOSTILE, "0" * 64)],
    )
    html = Page.of(hostile).html()
    assert "script" not in Elements(html).names
    assert "\x07" not in html
    assert "$x$" in Elements(html).text


def test_a_section_without_accuracy_shows_latency_alone(report: Report) -> None:
    unknown = [dataclasses.replace(width, accuracy=None) for width in report.sections[0].widths]
    bare = dataclasses.replace(report.sections[0], widths=unknown, points=[], images=None)
    page = Page.of(dataclasses.replace(report, sections=[bare], peers=[], examples=None))
    assert [chart.name for chart in page.charts] == ["latency-1", "sizes"]
    assert "Easy and hard images" not in page.html()
