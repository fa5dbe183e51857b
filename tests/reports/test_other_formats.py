"""junit.xml against the common schema, summary.md within its limits."""

from pathlib import Path

import pytest
from lxml import etree

import audit
from audit.entrypoints import reporter
from audit.judge import CheckExpectation, Policy, judge
from audit.record import AuditRecord, CheckRecord

SCHEMA = etree.XMLSchema(file=str(Path(__file__).parent.parent / "schemas" / "junit-10.xsd"))


def junit(record: AuditRecord):
    root = etree.fromstring(reporter("junit").render(record).encode())
    SCHEMA.assertValid(root)
    return root


def test_a_case_for_each_expectation(adult_record):
    root = junit(adult_record)
    expected = 1 + sum(max(1, len(c.expectations)) for c in adult_record.checks)
    assert len(root.findall(".//testcase")) == expected
    gating = sum(
        e.state == "failed" and e.severity in ("high", "critical")
        for c in adult_record.checks
        for e in c.expectations
    )
    assert int(root.get("failures")) == len(root.findall(".//failure")) == gating
    assert "not tested" in root.find(".//testsuite[@name='interpretability.gradcam']//skipped").get(
        "message"
    )


@pytest.mark.parametrize(
    ("bound", "severity", "element"),
    [
        (0.2, "high", None),
        (0.99, "high", "failure"),
        (0.85, "high", "error"),
        (0.85, "low", "skipped"),
    ],
)
def test_outcomes_map_to_elements(adult_record, bound, severity, element):
    expect = CheckExpectation(
        check="performance.classification", metric="accuracy", bound=bound, severity=severity
    )
    root = junit(judge(adult_record, Policy(expect=[expect])))
    case = next(c for c in root.iter("testcase") if c.get("name").startswith("accuracy"))
    assert [child.tag for child in case] == ([element] if element else [])


def test_a_crash_is_an_error(adult_record):
    record = adult_record.model_copy(deep=True)
    record.checks.append(
        CheckRecord(
            id="x.y",
            kind="question",
            title="?",
            state="broken",
            why="raised",
            reason="a\x00b <boom>",
        )
    )
    root = junit(judge(record, Policy()))
    assert "boom" in root.find(".//testsuite[@name='x.y']//error").get("message")
    assert int(root.get("errors")) == 1 + len(root.xpath("//testsuite[@name!='x.y']//error"))


def test_summary_is_short_and_names_the_findings(adult_record):
    text = reporter("markdown").render(adult_record)
    assert len(text) < 20_000
    assert text.startswith("## ? Audit of adult-mlp: inconclusive")
    assert "**medium**" in text
    for check in adult_record.checks:
        assert check.id in text


def test_reporters_are_found_by_name():
    with pytest.raises(audit.AuditError, match="there are"):
        reporter("docx")


@pytest.mark.parametrize(
    ("word", "element"),
    [
        ("pass", None),
        ("fail", "failure"),
        ("inconclusive", "error"),
    ],
)
def test_an_audit_that_is_not_passed_is_no_green_file(adult_record, word, element):
    record = adult_record.model_copy(deep=True)
    record.checks = []
    record.verdict = record.verdict.model_copy(update={"word": word})
    case = junit(record).find(".//testcase[@name='verdict']")
    assert [child.tag for child in case] == ([element] if element else [])
