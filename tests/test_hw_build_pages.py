"""The report and the comparison in a real browser: a headless Chromium without a network."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, chromium
from page_checks import AUDIT, CONTRAST, CUT, OVERLAPS
from report_records import FIGURES, write_reports
from report_runs import cross_check, image_run, made_run, network, route, synthesise

from hw_build.comparison import write_comparison

AXE = importlib.util.find_spec("axe_playwright_python")


def required_chromium() -> str:
    """The browser's path. Without one the test is skipped, or fails where that is not allowed."""
    program = chromium()
    if program is None:
        complaint = "no Chromium on PATH: apt-get install chromium"
        if os.environ.get("NARROWGAUGE_REQUIRE_BROWSER") == "1":
            pytest.fail(complaint)
        pytest.skip(complaint)
    return program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(required_chromium()) as started:
        yield started


def test_without_a_browser_pages_are_skipped_or_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("NARROWGAUGE_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        required_chromium()
    monkeypatch.setenv("NARROWGAUGE_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        required_chromium()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    mlp, images = made_run(folder / "mlp", network()), image_run(folder / "images")
    synthesise(mlp)
    cross_check(mlp)
    route(mlp)
    for run in (mlp, images):
        run.report()
    write_comparison(write_reports(folder / "runs"), folder / "compare.html")
    return {
        "mlp": mlp.path / "made" / "report.html",
        "images": images.path / "made" / "report.html",
        "compare": folder / "compare.html",
    }


PAGES = ("mlp", "images", "compare")


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("name", PAGES)
def test_loads_offline_and_no_text_lies_on_another(
    name: str, width: int, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name], width)
    n_texts, overlaps = browser.evaluate(OVERLAPS)
    assert n_texts > 50
    assert overlaps == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.problems == []
    assert browser.fetched == [pages[name].resolve().as_uri()]


PAPER = {"mlp": 718, "images": 718, "compare": 1047}
"""Pixels between the margins of A4 at 96 a inch: upright, and lying on its side."""


def test_no_table_is_cut_on_a_wide_screen(browser: Browser, pages: dict[str, Path]) -> None:
    for name in PAGES:
        browser.open(pages[name], 1600)
        assert browser.evaluate(CUT) == [], name


@pytest.mark.parametrize("name", PAGES)
def test_print_has_every_column(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[name], PAPER[name], media="print")
    assert browser.evaluate(CUT) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= PAPER[name]
    assert browser.evaluate(OVERLAPS)[1] == []
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    browser.open(pages[name], PAPER[name], dark=True, media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == paper


def test_on_a_phone_names_stay_beside_what_is_scrolled(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["compare"], 400)
    cells = "[...document.querySelector('#runs tbody tr').cells].slice(0, 3)"
    assert browser.evaluate(f"{cells}.every(c => c.getBoundingClientRect().right <= 400)")
    browser.evaluate("document.querySelector('.scroll').scrollLeft = 300")
    assert browser.evaluate("document.querySelector('.scroll').scrollLeft") == 300
    left = browser.evaluate(f"{cells}.map(c => c.getBoundingClientRect().left)")
    assert 0 <= left[0] <= 16
    assert left[1] < left[0]


def test_no_tick_is_minus_nought(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["compare"], 1600)
    browser.evaluate(
        "(() => { const x = document.querySelector('#size .x'); x.value = 'dsp_estimated';"
        "x.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    ticks = browser.evaluate("[...document.querySelectorAll('#size text')].map(t => t.textContent)")
    assert "0" in ticks
    assert "-0" not in ticks


def test_planted_faults_are_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><body><p>one text</p><p style='margin-top:-2.2em'>another text</p>"
        "<img src='https://example.org/x.png'><script>console.error('told')</script>"
        "<script>missing()</script>"
    )
    browser.open(page, 400)
    assert len(browser.evaluate(OVERLAPS)[1]) == 1
    assert any("told" in problem for problem in browser.problems)
    assert any("missing" in problem for problem in browser.problems)
    assert "https://example.org/x.png" in browser.fetched


def axe() -> str:
    """axe-core's own script."""
    assert AXE is not None
    assert AXE.origin is not None
    return (Path(AXE.origin).parent / "axe.min.js").read_text() + ";0"


@pytest.mark.skipif(AXE is None, reason="no axe-core: make setup installs it")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_contrast_and_keyboard_pass_axe(
    name: str, dark: bool, browser: Browser, pages: dict[str, Path]
) -> None:
    for width in (400, 1600):
        browser.open(pages[name], width, dark=dark)
        browser.evaluate(axe())
        violations, undecided = browser.evaluate(AUDIT)
        assert violations == [], json.dumps(violations, indent=1)[:3000]
        # what a narrow screen has scrolled out of sight is decided on the wide one
        assert undecided == [] or width == 400
        n_texts, poor = browser.evaluate(CONTRAST)
        assert n_texts > 5
        assert poor == []


@pytest.mark.skipif(AXE is None, reason="no axe-core: make setup installs it")
def test_planted_faults_of_contrast_are_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><html lang='en'><title>t</title><main><h1 style='color:#bbb'>pale</h1>"
        "<svg width=300 height=90><rect width=300 height=40 fill='#16191d' />"
        "<text y=20 fill='#888'>good on dark</text><text y=30 fill='#333'>poor on dark</text>"
        "<text y=60 fill='#888'>poor on paper</text><text y=80>good on paper</text></svg></main>"
    )
    browser.open(page, 400)
    browser.evaluate(axe())
    violations, _ = browser.evaluate(AUDIT)
    assert "color-contrast" in [rule for rule, _ in violations]
    n_texts, poor = browser.evaluate(CONTRAST)
    assert n_texts == 4
    assert [line.split(":")[0] for line in poor] == ["poor on dark", "poor on paper"]


FOCUS = """(() => { const e = document.activeElement, s = getComputedStyle(e);
  const kind = e.getAttribute("aria-label") && e.tagName === "DIV" ? "region" : e.tagName;
  const marked = s.outlineStyle !== "none" || parseFloat(s.strokeWidth) >= 4;
  const box = e.getBoundingClientRect();
  return [kind, e === document.body || marked && box.bottom > 0 && box.top < innerHeight]; })()"""


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mlp", {"region"}),
        ("compare", {"INPUT", "SELECT", "circle", "region", "BUTTON", "A"}),
    ],
)
def test_the_tab_key_reaches_everything_and_shows_where_it_is(
    name: str, kinds: set[str], browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name], 1600)
    n_stops = browser.evaluate(
        "document.querySelectorAll('[tabindex=\"0\"], a, button, input, select').length"
    )
    seen = []
    for _ in range(n_stops):
        browser.press("Tab", 9)
        seen.append(tuple(browser.evaluate(FOCUS)))
    assert {kind for kind, _ in seen} == kinds
    assert [stop for stop in seen if not stop[1]] == []


def names(browser: Browser) -> list[str]:
    return browser.evaluate(
        "[...document.querySelectorAll('#runs tbody tr')].filter(r => !r.hidden)"
        ".map(r => r.cells[0].textContent)"
    )


def test_headers_sort_by_mouse_and_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["compare"], 1600)
    assert names(browser) == list(FIGURES)
    by_accuracy = sorted(FIGURES, key=lambda name: -(FIGURES[name][0] or 0))
    browser.evaluate("document.querySelector('[data-key=accuracy] button').click()")
    assert names(browser) == by_accuracy
    browser.evaluate("document.querySelector('[data-key=accuracy] button').focus()")
    browser.press("Enter", 13)
    # what has no accuracy stays last, whichever way
    assert names(browser) == [*reversed(by_accuracy[:-1]), by_accuracy[-1]]
    order = "document.querySelector('[data-key=accuracy]').getAttribute('aria-sort')"
    assert browser.evaluate(order) == "ascending"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("w2a2", ["middle_w2a2", "poor_w2a2"]),
        ("accuracy>0.8 lut_estimated<5000", ["small_w1a1", "middle_w2a2"]),
        ("lut_synthesised>=9900", ["large_w4a4"]),
        ("nothing_like_it", []),
    ],
)
def test_the_filter_acts_on_table_and_plots(
    text: str, left: list[str], browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["compare"], 1600)
    browser.evaluate("document.getElementById('filter').focus()")
    browser.type(text)
    assert names(browser) == left
    count = browser.evaluate("document.getElementById('count').textContent")
    assert count == f"{len(left)} of {len(FIGURES)} runs"
    assert browser.evaluate("document.querySelectorAll('#size circle').length") == len(left)


def test_points_on_the_front_are_filled_and_tell_their_figures(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["compare"], 1600)
    labels = browser.evaluate(
        "[...document.querySelectorAll('#size circle.best')].map(c => c.getAttribute('aria-label'))"
    )
    # more accuracy for fewer LUTs: only the poor one is beaten; one has no accuracy
    assert {label.split(":")[0] for label in labels} == {"small_w1a1", "middle_w2a2", "large_w4a4"}
    told = "document.querySelector('#size output').textContent"
    browser.point_at("#size circle.best")
    browser.evaluate("new Promise(requestAnimationFrame)")
    assert browser.evaluate(told) in labels
    assert "accuracy (simulated) 81.00 %" in browser.evaluate(told)
    assert browser.evaluate("document.querySelectorAll('tr.chosen').length") == 1
    browser.evaluate("document.querySelectorAll('#size circle')[1].focus()")
    assert "middle_w2a2" in browser.evaluate(told)


def test_other_axes_move_the_front(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["compare"], 1600)
    browser.evaluate(
        "(() => { const x = document.querySelector('#size .x'); x.value = 'lut_synthesised';"
        "x.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    shown = "[...document.querySelectorAll('#size circle')].map(c => runs[c.dataset.index].name)"
    assert browser.evaluate(shown) == ["small_w1a1", "large_w4a4", "poor_w2a2"]
