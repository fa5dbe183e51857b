"""The report in a real Chromium: axe-core finds nothing, it prints, it fits a phone, CSP may drop it."""

import os
import re
import shutil
from pathlib import Path

import pytest

from audit.entrypoints import reporter
from audit.errors import AuditError
from audit.selftesting import selftest

from ..conftest import IN_CI

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

if BROWSER is None and not IN_CI:
    pytest.skip("no chromium here (CI installs one)", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    assert BROWSER, "CI must bring a browser"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, digits_record, adult_record, hostile_record):
    folder = tmp_path_factory.mktemp("pages")
    named = {
        "digits": digits_record,
        "adult": adult_record,
        "images": hostile_record[0],
        "table": hostile_record[1],
    }
    for name, record in named.items():
        (folder / f"{name}.html").write_text(reporter("html").render(record), encoding="utf-8")
    tested = selftest(["nan-weights", "overconfident"])
    (folder / "selftest.html").write_text(
        reporter("html").render_selftest(tested), encoding="utf-8"
    )
    return folder


def opened(browser, path: Path, **options):
    page = browser.new_page(java_script_enabled=True, **options)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["digits", "adult", "images", "table", "selftest"])
def test_axe_finds_no_violation(browser, pages, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, pages / f"{name}.html", color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    page.close()


@pytest.mark.parametrize("name", ["digits", "adult", "images", "table", "selftest"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_never_scrolls_sideways(browser, pages, name, width):
    page = opened(browser, pages / f"{name}.html", viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_nothing_is_fetched_and_nothing_runs(browser, pages):
    page = browser.new_page()
    asked, said = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("dialog", lambda d: said.append(d.message) or d.dismiss())
    page.on("console", lambda m: said.append(m.text))
    for name in ("images", "table"):
        page.goto((pages / f"{name}.html").as_uri())
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert len([u for u in asked if u.startswith("file:")]) == 2
    assert not said
    page.close()


def test_verdict_is_on_the_first_screen_of_a_phone(browser, pages):
    page = opened(browser, pages / "adult.html", viewport={"width": 360, "height": 740})
    box = page.locator(".verdict").bounding_box()
    assert box["y"] + box["height"] < 740
    assert page.evaluate("getComputedStyle(document.querySelector('.word')).fontSize") == "32px"
    page.close()


def test_readable_without_javascript_and_styles(browser, pages):
    text = (pages / "adult.html").read_text(encoding="utf-8")
    bare = pages / "bare.html"
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"style-src 'none'; script-src 'none'\">"
    bare.write_text(text.replace("<head>", f"<head>{policy}", 1), encoding="utf-8")
    page = browser.new_page(java_script_enabled=False, viewport={"width": 800, "height": 900})
    page.goto(bare.as_uri())
    assert page.locator(".verdict .word").inner_text().strip().endswith("Inconclusive")
    sizes = page.locator("svg").evaluate_all("all => all.map(s => s.getBoundingClientRect().width)")
    assert sizes
    assert all(20 < width < 900 for width in sizes)
    page.close()


@pytest.mark.parametrize("name", ["digits", "adult"])
def test_page_one_fits_one_screen(browser, pages, name):
    page = opened(browser, pages / f"{name}.html", viewport={"width": 1280, "height": 900})
    box = page.locator(".signed").bounding_box()
    assert box["y"] + box["height"] <= 900
    page.close()


@pytest.mark.parametrize("name", ["digits", "adult"])
def test_a_few_pages_are_printed(browser, pages, tmp_path, name):
    page = opened(browser, pages / f"{name}.html")
    content = page.pdf(format="A4")
    page.close()
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 3


@pytest.mark.parametrize("name", ["digits", "adult"])
def test_no_word_of_a_figure_is_small_on_a_phone(browser, pages, name):
    page = opened(browser, pages / f"{name}.html", viewport={"width": 390, "height": 844})
    sizes = page.locator("figure svg text").evaluate_all(
        "all => all.filter(t => t.textContent.trim()).map(t => [t.textContent,"
        " parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b)])"
    )
    assert sizes
    assert not [(text, size) for text, size in sizes if size < 10.9]
    page.close()


def test_a_pdf_is_the_printed_page(adult_record, monkeypatch):
    from audit.reports import pdf

    few, all_ = pdf.render(adult_record), pdf.render(adult_record, full=True)
    assert few.startswith(b"%PDF")
    few_pages, all_pages = (len(re.findall(rb"/Type\s*/Page\b", made)) for made in (few, all_))
    assert few_pages <= 3 < all_pages
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(AuditError, match="none is installed"):
        pdf.render(adult_record)


def test_what_is_met_can_be_hidden(browser, pages):
    page = opened(browser, pages / "adult.html")
    shown = "document.querySelectorAll('article')"
    count = f"[...{shown}].filter(a => a.offsetHeight > 0).map(a => a.className)"
    assert "met" in page.evaluate(count)
    page.check("#only-open")
    left = page.evaluate(count)
    assert left
    assert "met" not in left
    page.close()


def test_printing_all_of_it_opens_the_folds(browser, pages, adult_record, tmp_path):
    full = pages / "full.html"
    full.write_text(reporter("html").render(adult_record, full=True), encoding="utf-8")
    page = opened(browser, full)
    page.pdf(path=tmp_path / "r.pdf", format="A4")
    page.close()
    if shutil.which("pdftotext") is None:
        content = (tmp_path / "r.pdf").read_bytes()
        assert len(re.findall(rb"/Type\s*/Page\b", content)) > 5
        return
    os.system(f"pdftotext -layout {tmp_path / 'r.pdf'} {tmp_path / 'r.txt'}")
    text = (tmp_path / "r.txt").read_text()
    for words in (
        "All numbers, with 95 % intervals",
        "Bounds, and how they were judged",
        "Decision",
    ):
        assert words in text


def test_keyboard_reaches_findings_and_folds(browser, pages):
    page = opened(browser, pages / "adult.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the findings"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.close()
