"""The report: one file, nothing from outside, everything escaped."""

import datetime
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
from markupsafe import escape

import audit
from audit import statistics
from audit.config import read_config
from audit.entrypoints import reporter
from audit.judge import Policy, judge
from audit.outcomes import pack, unpack
from audit.record import ExpectationResult, ReportRecord
from audit.reports.front import gallery_of
from audit.reports.html import to_copy
from audit.reports.lines import number_line


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
    about = ReportRecord(purpose="grants credit <b>", owner="Ada", version="1.2", contact="ada@x")
    record = adult_record.model_copy(update={"report": about})
    adult_record = record
    html = reporter("html").render(record)
    top = html[html.index("<body>") : html.index('id="contents"')]
    assert escape(adult_record.verdict.reason) in top
    assert "n = 4,000" in top
    assert adult_record.subject.digest[:16] in top
    assert "Groups get the favourable answer at different rates" in top
    for told in ("grants credit &lt;b&gt;", "Ada", "1.2", "ada@x", record.timing["date"][:10]):
        assert told in top
    assert top.count('<li><span class="area">') == len({c.id.split(".")[0] for c in record.checks})
    assert "reject" in top
    assert record.digest()[:16] in top
    assert "&lt;" not in html[html.index("@page") : html.index("</style>")]
    for word in ("met", "undecided", "failed", "broken", "not tested"):
        assert word in top
    order = [">Decision ", ">Findings</h2>", ">What was not tested</h2>", ">How to reproduce</h2>"]
    places = [html.index(title) for title in order]
    assert places == sorted(places)
    assert record.digest() in html[places[-1] :]


def test_page_one_names_five_causes_and_says_how_many_more_there_are(adult_record):
    record = adult_record.model_copy(deep=True)
    (first, *_), n = record.findings, 9
    record.findings = [first.model_copy(update={"fingerprint": f"f{i}"}) for i in range(n)]
    html = reporter("html").render(record)
    top = html[: html.index('id="contents"')]
    assert top.count('href="#finding-') == 5
    assert f"{n - 5} more" in top
    assert html.count('id="finding-') == n
    record.findings = []
    assert "Nothing is wrong or open" in reporter("html").render(record)


def test_a_number_is_drawn_with_its_interval_bound_and_what_it_was_before():
    metric = statistics.proportion("share", np.arange(100) < 40)
    bound = ExpectationResult(metric="share", op="<=", bound=0.3, severity="high", state="failed")
    drawn = number_line(metric, bound, before=0.2, width=112)
    root = ElementTree.fromstring(drawn)
    value = [c.get("cx") for c in root.iter("circle")]
    assert value == ["26.0", "46.0"]  # before, and now: 6 + 100 * share
    wrong = next(root.iter("rect"))
    assert (wrong.get("x"), wrong.get("width")) == ("36.0", "70.0")
    assert root.get("aria-label") == ("share: 0.4 (0.309–0.498); must be at most 0.3; before 0.2")
    assert number_line(statistics.undefined("share", "no row")) == ""


def test_explanations_stand_side_by_side_on_the_same_samples(digits_record):
    methods = [c for c in digits_record.checks if c.explained]
    assert len(methods) >= 3
    assert len({tuple(e.sample for e in c.explained) for c in methods}) == 1
    assert all(" sure, " in e.said for c in methods for e in c.explained)
    record = digits_record.model_copy(deep=True)
    first = record.check(methods[0].id)
    first.validity[0].passed = False
    html = reporter("html").render(record)
    table = html[html.index('class="scroll gallery"') :].split("</table>")[0]
    assert table.count("<img") == len(first.explained) * (len(methods) + 1)
    sizes = set(re.findall(r'width="(\d+)" height="(\d+)"', table))
    assert sizes == {("96", "96")}  # square digits, however coarse the map
    assert f"<s>{first.id.split('.')[1].replace('_', ' ')}</s>" in table
    assert f"failed: {first.validity[0].name}" in table
    first.explained = first.explained[:1]
    rows = gallery_of(record.checks).rows
    assert sorted(maps[0] == "" for _, _, maps in rows) == [False, *[True] * (len(rows) - 1)]
    assert len(rows) == len(methods[1].explained)
    assert gallery_of([first]) is None


def test_a_name_in_the_running_head_ends_no_style_sheet(adult_record):
    record = adult_record.model_copy(deep=True)
    record.subject.model = 'a"; } </style><script>alert(1)</script>'
    html = reporter("html").render(record)
    assert_self_contained(html)
    assert html.count("</style>") == 1


def test_what_is_copied_from_a_card_is_a_config_that_is_read(adult_record, tmp_path):
    check = adult_record.check("fairness.groups")
    lines = to_copy(check, check.expectations[0])
    tomorrow = datetime.date.today() + datetime.timedelta(1)
    path = tmp_path / "audit.toml"
    path.write_text(lines.replace("2000-01-01", tomorrow.isoformat()))
    config = read_config(path)
    assert config.expect[0].slice == check.expectations[0].slice
    assert config.waive[0].cause == check.expectations[0].cause


def test_what_has_changed_since_the_baseline_is_told(adult_record):
    worse = adult_record.model_copy(deep=True)
    check = worse.check("performance.classification")
    bits = unpack(check.per_unit[0])
    bits[:400] = False
    check.per_unit[0] = pack(check.per_unit[0].metric, bits)
    found = judge(worse, Policy(), baseline=adult_record)
    compared = found.compared
    assert [c.check for c in compared.changes if c.beyond_chance] == ["performance.classification"]
    titles = [f.title for f in found.findings if f.fingerprint in compared.new]
    assert titles == [f"Worse than the baseline: {check.title}"]
    assert not compared.gone
    html = reporter("html").render(found)
    top = html[: html.index('id="contents"')]
    assert "1 new, 0 gone" in top
    assert html.count("▼ worse") == 1
    back = judge(adult_record, Policy(), baseline=found)
    assert back.compared.gone == titles


def test_every_check_that_ran_has_answer_numbers_and_method(adult_record):
    html = reporter("html").render(adult_record)
    for check in adult_record.checks:
        if check.state in ("met", "failed"):
            section = html[html.index(f'id="{check.id}"') :].split("</article>")[0]
            assert "The numbers, and how they were measured" in section


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
