"""record → junit.xml: a test case per expectation."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from audit.judge.findings import fingerprint
from audit.judge.policy import Policy
from audit.judge.verdict import blocks, is_shown
from audit.record import AuditRecord, ExpectationResult, Verdict
from audit.reports.console import WORDS
from audit.words import number, slice_text

# What XML 1.0 cannot hold.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return FORBIDDEN.sub("�", text)


def render(record: AuditRecord) -> str:
    """A test for each expectation, which fails where it gates and failed; and one for the verdict.

    An error: what gates and is broken, or undecided beyond what it tolerates; an inconclusive verdict.
    What is told and does not gate is skipped, with the reason. Valid against the JUnit schema that
    Jenkins publishes.
    """
    root = ElementTree.Element("testsuites", name="audit")
    suites = [verdict_suite(record)]
    findings = {m.fingerprint: m.what_happened for f in record.findings for m in f.members}
    policy = Policy(fail_on=record.policy.fail_on)
    seconds = record.timing.get("checks", {})
    for check in record.checks:
        suite = Suite(check.id, seconds.get(check.id, 0.0))
        spoken = is_shown(check, record)
        if not check.expectations or not spoken:
            kind, text = "", ""
            if check.why in ("raised", "not_importable"):
                kind, text = "error", check.reason
            elif not spoken:
                kind, text = "skipped", "a trial: nothing has failed that it would mend"
            elif check.state == "untested":
                kind, text = "skipped", f"not tested: {check.reason}"
            suite.case("measured", kind, text)
        for e in check.expectations if spoken else ():
            where = f"{{{slice_text(e.slice)}}}" if e.slice else ""
            told = findings.get(fingerprint(check.id, e)) or e.reason
            suite.case(
                f"{e.metric}{where} {e.op} {number(e.bound)} [{e.severity}]",
                *element(e, told, policy),
                e.cause,
            )
        suites.append(suite)
    for suite in suites:
        root.append(suite.element())
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(suite.counts[key] for suite in suites)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def element(e: ExpectationResult, told: str, policy: Policy) -> tuple[str, str]:
    """What a test of it is marked with ('' where it passes), and the text."""
    if e.state == "met":
        return "", ""
    if e.waived:
        return "skipped", f"{e.waived}: {told}"
    if e.state == "failed" and policy.gates(e):
        return "failure", told
    asked = e.source != "default"
    if (policy.gates(e) and (e.state == "broken" or blocks(e))) or (
        asked and e.state == "untested"
    ):
        return "error", f"{WORDS[e.state]}: {told}"
    gate = "" if policy.gates(e) else ", below the gate"
    return "skipped", f"{WORDS[e.state]}{gate}: {told}"


ELEMENT: dict[Verdict, str] = {"pass": "", "fail": "failure", "inconclusive": "error"}


def verdict_suite(record: AuditRecord) -> Suite:
    """The verdict is a test of its own: an audit that is not passed is no green file."""
    suite = Suite("audit", record.timing.get("seconds", 0.0))
    word = record.verdict.word
    suite.case("verdict", ELEMENT[word], f"{word}: {record.verdict.reason}")
    return suite


class Suite:
    """One `testsuite`, counted as it grows."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        self.cases: list[ElementTree.Element] = []
        self.counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}

    def case(self, name: str, kind: str, text: str, cause: str = "") -> None:
        made = ElementTree.Element("testcase", classname=clean(self.name), name=clean(name))
        self.counts["tests"] += 1
        if kind:
            child = ElementTree.SubElement(made, kind, message=clean(text))
            child.text = clean(text)
            if cause:  # what several tests share that one weakness fails
                child.set("type", clean(cause))
            self.counts[PLURAL[kind]] += 1
        self.cases.append(made)

    def element(self) -> ElementTree.Element:
        made = ElementTree.Element("testsuite", name=clean(self.name))
        made.extend(self.cases)
        for key, value in self.counts.items():
            made.set(key, str(value))
        made.set("time", f"{self.seconds:.3f}")
        return made


PLURAL = {"failure": "failures", "error": "errors", "skipped": "skipped"}
