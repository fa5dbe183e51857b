"""The report: one file, nothing from outside, everything escaped."""

import re
from html.parser import HTMLParser

from markupsafe import escape

import audit
from audit.entrypoints import reporter


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        self.ids += [v for k, v in attrs if k == "id"]


def assert_self_contained(html):
    parsed = Parsed(html)
    assert "script" not in parsed.tags
    assert not {"iframe", "object", "embed", "form", "base"} & set(parsed.tags)
    for tag, key, value in parsed.attributes:
        assert not key.startswith("on"), (tag, key)
        if key in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:")), (tag, key, value)
    assert not re.search(r"url\(\s*['\"]?(?!#)(?!data:)", html)
    assert "@import" not in html
    assert len(parsed.ids) == len(set(parsed.ids))
    return parsed


def test_report_is_one_file_under_a_megabyte(digits_record, adult_record):
    for record in (digits_record, adult_record):
        html = reporter("html").render(record)
        assert_self_contained(html)
        assert len(html.encode()) < 1_000_000


def test_hostile_names_are_shown_not_run(hostile_record):
    for record in hostile_record:
        for format_ in ("html", "markdown", "junit"):
            text = reporter(format_).render(record)
            assert "<script>" not in text
            if format_ in ("html", "markdown"):
                assert "\u202e" not in text
        html = reporter("html").render(record)
        assert_self_contained(html)
        assert "&lt;script&gt;" in html
    assert "‹U+202E›" in reporter("html").render(hostile_record[0])


def test_first_screen_says_what_a_signer_needs(adult_record):
    html = reporter("html").render(adult_record)
    top = html[html.index("<body>") : html.index('id="contents"')]
    assert escape(adult_record.verdict.reason) in top
    assert "n = 4,000" in top
    assert adult_record.subject.digest[:16] in top
    assert "Groups get the favourable answer at different rates" in top
    for word in ("met", "undecided", "failed", "broken", "not tested"):
        assert word in top
    order = ["What was not tested", "How to reproduce", "Signature"]
    places = [html.index(f">{title}</h2>") for title in order]
    assert places == sorted(places)
    assert adult_record.digest() in html[places[-1] :]


def test_every_check_that_ran_has_answer_numbers_and_method(adult_record):
    html = reporter("html").render(adult_record)
    for check in adult_record.checks:
        if check.state in ("met", "failed"):
            section = html[html.index(f'id="{check.id}"') :].split("</article>")[0]
            assert "The numbers" in section
            assert "How it was measured" in section


def test_figures_take_the_page_colours(digits_record):
    html = reporter("html").render(digits_record)
    svgs = re.findall(r"<svg.*?</svg>", html, re.S)
    assert svgs
    assert all('role="img"' in svg and "aria-label=" in svg for svg in svgs)
    assert any("currentColor" in svg for svg in svgs)


def test_notebook_shows_record_measurement_and_figures(images, digits_record):
    assert "Pass" in digits_record._repr_html_()
    html = audit.check("performance.classification").measure(images)._repr_html_()
    assert "<svg" in html
    assert "<script" not in html


def test_render_again_from_the_record_alone(digits_record, tmp_path):
    path = digits_record.save(tmp_path / "r.json")
    again = audit.AuditRecord.load(path)
    for name in ("markdown", "junit", "console"):
        assert reporter(name).render(again) == reporter(name).render(digits_record)

    def numbered(text):
        return re.sub(r"f\d+-", "f-", text)

    a, b = (numbered(reporter("html").render(r)) for r in (again, digits_record))
    assert a == b
