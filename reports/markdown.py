"""record → summary.md: short enough for a job's step summary."""

from __future__ import annotations

import re

from audit.judge.verdict import is_shown
from audit.record import AuditRecord
from audit.reports.console import SIGNS, WORDS, by_cause, counts_text, gate_text, plain
from audit.reports.escaping import visible
from audit.words import number

MOST = 30
ADDRESS = re.compile(
    r"\b(?:https?|ftp|mailto|xmpp):|\bwww\.", re.IGNORECASE
)  # made a link when bare


def escape(text: str, limit: int = 400) -> str:
    """Text from outside, so that nothing in it is markup."""
    shown = plain(visible(text), limit)
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*_{}\[\]()#+!|~@])", r"\\\1", shown)
    return ADDRESS.sub(lambda m: f"{m[0][:-1]}\\{m[0][-1]}", shown)


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
    for item in record.left_out:
        lines += [f"Left out: {item.how_many:,} {escape(item.what, 80)}: {escape(item.why)}.", ""]
    found = by_cause(record)
    if found:
        lines += ["### Findings", ""]
        for finding, explained in found[:MOST]:
            waived = f" *{escape(finding.waived)}*" if finding.waived else ""
            word = "" if finding.state == "failed" else f" ({WORDS[finding.state]})"
            more = (
                f" It explains: {', '.join(f'`{f.check}`' for f in explained)}."
                if explained
                else ""
            )
            shown = ", ".join(f"`{check}`" for check in finding.checks)
            lines.append(
                f"- **{finding.severity}**{word}{gate_text(finding)} {escape(finding.title, 160)} "
                f"({shown}): {escape(finding.what_happened)}{more}{waived}"
            )
        if len(found) > MOST:
            lines.append(f"- … and {len(found) - MOST} more in the report")
        lines.append("")
    lines += ["### Checks", "", "| check | state | answer |", "|---|---|---|"]
    for check in record.checks:
        said = f"{check.answer} {check.conclusion}".strip() or check.reason
        word = WORDS[check.state] if is_shown(check, record) else "trial"
        lines.append(f"| `{check.id}` | {word} | {escape(said)} |")
    lines += ["", *(f"- {escape(note)}" for note in verdict.notes)]
    for t in record.plan.thinned:
        wider = f", intervals about {number(t.wider)} times as wide" if t.wider else ""
        lines.append(f"- `{t.check}`: {t.after:,} instead of {t.before:,} {t.what}{wider}")
    lines.append(f"Record `{record.digest()[:16]}`, model `{subject.digest[:16]}`.")
    return "\n".join(lines) + "\n"
