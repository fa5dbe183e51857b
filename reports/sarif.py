"""record → audit.sarif: the findings in the format that code hosts show (SARIF 2.1.0, OASIS 2020)."""

from __future__ import annotations

import json
from typing import Any

from audit.record import SEVERITIES, AuditRecord, Finding
from audit.reports.console import plain

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LONGEST = 1000  # characters of a message
# What code hosts sort by, from 0 to 10, as for vulnerabilities.
SCORES = dict(zip(SEVERITIES, ("0.0", "2.0", "5.0", "8.0", "9.5"), strict=True))


def render(record: AuditRecord) -> str:
    """A rule for each cause, a result for each finding; waived ones are suppressed, with the reason.

    A result is an error where it gates and failed, a warning where it gates otherwise, else a note. Its
    partial fingerprint is the finding's, so that a host knows it again.
    """
    findings = record.findings
    rules: dict[str, dict[str, Any]] = {}
    for finding in findings:
        rules.setdefault(name_of(finding), rule(finding))
    numbers = {name: number for number, name in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "audit",
                "version": str(record.environment.get("audit", "0")),
                "rules": list(rules.values()),
            }
        },
        "automationDetails": {"id": f"audit/{plain(record.subject.model, 80)}/"},
        "results": [result(f, numbers[name_of(f)]) for f in findings],
        "properties": {
            "verdict": record.verdict.word,
            "reason": plain(record.verdict.reason, LONGEST),
        },
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def name_of(finding: Finding) -> str:
    """The name of a finding's rule."""
    return finding.cause or finding.check


def rule(finding: Finding) -> dict[str, Any]:
    """What is said of a cause, whatever was measured."""
    return {
        "id": name_of(finding),
        "shortDescription": {"text": plain(finding.title, LONGEST)},
        "fullDescription": {"text": plain(finding.why_it_matters, LONGEST) or "No more is known."},
        "help": {"text": plain(finding.what_to_do, LONGEST) or "See the report."},
        "properties": {
            "tags": finding.tags,
            "security-severity": SCORES[finding.severity],
        },
    }


def result(finding: Finding, number: int) -> dict[str, Any]:
    """One finding; a model has no lines, so it stands at the first of `audit.toml`."""
    level = "note" if not finding.gates else "error" if finding.state == "failed" else "warning"
    found: dict[str, Any] = {
        "ruleId": name_of(finding),
        "ruleIndex": number,
        "level": level,
        "message": {"text": plain(finding.what_happened, LONGEST) or plain(finding.title, LONGEST)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "audit.toml"},
                    "region": {"startLine": 1},
                }
            }
        ],
        "partialFingerprints": {"finding/v1": finding.fingerprint},
    }
    if finding.waived:
        found["suppressions"] = [
            {"kind": "external", "justification": plain(finding.waived, LONGEST)}
        ]
    return found
