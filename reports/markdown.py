"""record → summary.md: short enough for a job's step summary."""

from __future__ import annotations

import re

from audit.policy import speaks
from audit.record import AuditRecord
from audit.reports.console import SIGNS, counts_text, findings_by_severity, plain
from audit.reports.escaping import visible

MOST = 30


def escape(text: str, limit: int = 400) -> str:
    """Text from outside, so that nothing in it is markup."""
    shown = plain(visible(text), limit)
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~@])", r"\\\1", shown)


def render(record: AuditRecord) -> str:
    """Verdict, what was audited, findings by severity, every check's answer in one table."""
    verdict, subject = record.verdict, record.subject
    lines = [
        f"## {SIGNS[verdict.word]} Audit of {escape(subject.model, 80)}: {verdict.word}",
        "",
        escape(verdict.reason),
        "",
        f"{subject.n:,} samples, profile {record.policy.profile}, gate at {record.policy.fail_on}. "
        f"{counts_text(record)}.",
        "",
    ]
    found = findings_by_severity(record)
    if found:
        lines += ["### Findings", ""]
        for check_id, finding in found[:MOST]:
            waived = f" *{escape(finding.waived)}*" if finding.waived else ""
            word = "" if finding.outcome == "failed" else " (not settled)"
            lines.append(
                f"- **{finding.severity}**{word} {escape(finding.title, 160)} "
                f"(`{check_id}`): {escape(finding.what_happened)}{waived}"
            )
        if len(found) > MOST:
            lines.append(f"- … and {len(found) - MOST} more in the report")
        lines.append("")
    lines += ["### Checks", "", "| check | outcome | answer |", "|---|---|---|"]
    for check in record.checks:
        said = check.answer if check.answer and check.outcome != "error" else check.reason
        word = check.outcome.replace("_", " ") if speaks(check, record) else "trial"
        lines.append(f"| `{check.id}` | {word} | {escape(said)} |")
    lines += ["", *(f"- {escape(note)}" for note in verdict.notes)]
    lines.append(f"Record `{record.digest()[:16]}`, model `{subject.digest[:16]}`.")
    return "\n".join(lines) + "\n"
