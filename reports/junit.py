"""record → junit.xml: a test case per expectation."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from audit.policy import fingerprint, gating, speaks
from audit.record import AuditRecord
from audit.words import number, slice_text

# What XML 1.0 cannot hold.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)


def render(record: AuditRecord) -> str:
    """Failed is a failure; a crash or a gating inconclusive an error; the rest passes or is skipped.

    Valid against the JUnit schema that Jenkins publishes.
    """
    seconds = record.timing.get("checks", {})
    root = ElementTree.Element("testsuites", name="audit")
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for check in record.checks:
        suite = ElementTree.SubElement(root, "testsuite", name=check.id)
        count = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        spoken = speaks(check, record)
        if not check.expectations or not spoken:
            case = ElementTree.SubElement(suite, "testcase", classname=check.id, name="measured")
            count["tests"] += 1
            if check.outcome == "error":
                add(case, "error", check.reason)
                count["errors"] += 1
            elif check.outcome in ("not_applicable", "skipped"):
                add(case, "skipped", f"{check.outcome.replace('_', ' ')}: {check.reason}")
                count["skipped"] += 1
            elif not spoken:
                add(case, "skipped", "a trial: nothing has failed that it would mend")
                count["skipped"] += 1
        findings = {f.fingerprint: f for f in check.findings}
        for expectation in check.expectations if spoken else ():
            where = f"{{{slice_text(expectation.slice)}}}" if expectation.slice else ""
            name = f"{expectation.metric}{where} {expectation.op} {number(expectation.bound)}"
            case = ElementTree.SubElement(
                suite, "testcase", classname=check.id, name=clean(f"{name} [{expectation.severity}]")
            )
            count["tests"] += 1
            if expectation.outcome == "not_applicable":
                add(case, "skipped", expectation.reason)
                count["skipped"] += 1
            elif expectation.outcome in ("failed", "inconclusive"):
                finding = findings.get(fingerprint(check.id, expectation))
                text = finding.what_happened if finding else expectation.reason
                if expectation.waived:
                    add(case, "skipped", f"{expectation.waived}: {text}")
                    count["skipped"] += 1
                elif expectation.outcome == "failed":
                    add(case, "failure", text)
                    count["failures"] += 1
                elif gating(expectation.severity, record.policy.fail_on):
                    add(case, "error", f"inconclusive: {text}")
                    count["errors"] += 1
                else:
                    add(case, "skipped", f"inconclusive: {text}")
                    count["skipped"] += 1
        for key, value in count.items():
            suite.set(key, str(value))
        suite.set("time", f"{seconds.get(check.id, 0.0):.3f}")
        for key in totals:
            totals[key] += count[key]
    for key, value in totals.items():
        root.set(key, str(value))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def add(case: ElementTree.Element, kind: str, message: str) -> None:
    child = ElementTree.SubElement(case, kind, message=clean(message))
    child.text = clean(message)
