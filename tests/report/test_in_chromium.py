"""The report in a real browser: complete, silent, without a network, in both themes and on a phone."""

from pathlib import Path

import pytest

from edge.report.page import Page
from tests.report.cases import Files
from tests.report.chromium import Chromium
from tests.report.test_page import report_of

PHONE, DESKTOP = 360, 1280
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
INK = "getComputedStyle(document.querySelector('.chart svg text')).fill"
SMALLEST = """Math.min(...[...document.querySelectorAll('.chart svg text')].map(
    text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
SEEN = """[...document.querySelectorAll('figure.chart')].filter(figure => {
    const box = figure.querySelector('svg').getBoundingClientRect();
    return box.width > 200 && box.height > 50 && box.right <= innerWidth;
}).map(figure => figure.id)"""
PICTURES = "[...document.images].map(image => image.naturalWidth > 0)"


@pytest.fixture(scope="module")
def page(written: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(Page.of(report_of(written)).html(), encoding="utf-8")
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_is_silent_asks_for_nothing_and_fits(browser: Chromium, page: Path, width: int, theme: str) -> None:
    browser.look(width, theme)
    visit = browser.visit(page)
    assert visit.requests == [page.as_uri()]
    assert visit.complaints == []
    assert browser.ask(TOO_WIDE) == 0
    assert browser.ask(SEEN) == [
        *("tradeoff-1", "shares-1", "latency-1"),
        *("tradeoff-2", "shares-2", "latency-2", "switching-2"),
        "sizes",
    ]
    assert set(browser.ask(PICTURES)) == {True}


def test_nothing_is_too_wide_for_a_phone_when_everything_is_unfolded(browser: Chromium, page: Path) -> None:
    browser.look(PHONE)
    browser.visit(page)
    browser.ask("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert browser.ask(TOO_WIDE) == 0


def test_the_text_of_figures_is_readable_on_a_phone(browser: Chromium, page: Path) -> None:
    browser.look(PHONE)
    browser.visit(page)
    assert browser.ask(SMALLEST) >= 8


def test_page_and_figures_follow_the_readers_theme(browser: Chromium, page: Path) -> None:
    seen = []
    for theme in ("light", "dark"):
        browser.look(DESKTOP, theme)
        browser.visit(page)
        seen.append((browser.ask(BACKGROUND), browser.ask(INK)))
    (light_paper, light_ink), (dark_paper, dark_ink) = seen
    assert light_paper == "rgb(255, 255, 255)"
    assert dark_paper != light_paper
    assert dark_ink != light_ink


def test_a_page_that_asks_and_complains_would_be_noticed(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "noisy.html"
    path.write_text('<img src="absent.png"><script>console.error("oh"); absent()</script>')
    visit = browser.visit(path)
    assert visit.requests == [path.as_uri(), (tmp_path / "absent.png").as_uri()]
    assert any("oh" in complaint for complaint in visit.complaints)
    assert any("Uncaught" in complaint for complaint in visit.complaints)


def test_the_pages_own_policy_refuses_what_slips_in(browser: Chromium, page: Path, tmp_path: Path) -> None:
    path = tmp_path / "slipped.html"
    slipped = '<script>document.title = "taken"</script><img src="http://192.0.2.1/spy.png"></main>'
    path.write_text(page.read_text(encoding="utf-8").replace("</main>", slipped), encoding="utf-8")
    visit = browser.visit(path)
    refused = [complaint for complaint in visit.complaints if "Content Security Policy" in complaint]
    assert len(refused) == 2, visit.complaints
    assert browser.ask("document.title") != "taken"
