"""record → gl-code-quality-report.json: the findings as GitLab's code quality shows them."""

from __future__ import annotations

import json

from audit.record import AuditRecord, Finding, Severity
from audit.reports.console import plain

LEVELS: dict[Severity, str] = {
    "info": "info",
    "low": "minor",
    "medium": "major",
    "high": "critical",
    "critical": "blocker",
}
LONGEST = 1000


def render(record: AuditRecord) -> str:
    """An issue for each finding that nobody has waived; `info` where it does not gate.

    Every issue needs a file and a line, and a model has none: all stand at the first line of
    `audit.toml`.
    """
    return json.dumps([issue(f) for f in record.findings if not f.waived], indent=1) + "\n"


def issue(finding: Finding) -> dict[str, object]:
    """A finding, by the code climate format."""
    stop = "" if finding.title.endswith((".", "?")) else "."
    return {
        "description": plain(f"{finding.title}{stop} {finding.what_happened}", LONGEST),
        "check_name": finding.cause or finding.check,
        "fingerprint": finding.fingerprint,
        "severity": LEVELS[finding.severity] if finding.gates else "info",
        "location": {"path": "audit.toml", "lines": {"begin": 1}},
    }
