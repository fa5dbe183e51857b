"""Records and measurements as HTML for a notebook cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.record import AuditRecord, CheckRecord, Figure
from audit.reports.console import counts_text
from audit.reports.html import environment

if TYPE_CHECKING:
    from audit.checking import Measurement


def record(audit: AuditRecord) -> str:
    """Verdict, counts and findings."""
    return (
        environment()
        .get_template("notebook.html.j2")
        .render(
            record=audit,
            counts=counts_text(audit),
            findings=audit.findings,
            measurement=None,
        )
    )


def measurement(found: Measurement) -> str:
    """Answer, figures, metrics and validity of one check."""
    return (
        environment()
        .get_template("notebook.html.j2")
        .render(record=None, measurement=found, counts="", findings=[])
    )


def check(found: CheckRecord) -> str:
    """The same of a check's record."""
    return (
        environment()
        .get_template("notebook.html.j2")
        .render(record=None, measurement=found, counts="", findings=[])
    )


def subject(name: str, told: dict[str, list[tuple[str, str]]]) -> str:
    """What was read, what was inferred, what is missing."""
    return environment().get_template("subject.html.j2").render(name=name, told=told)


def figure(shown: Figure) -> str:
    """One figure with its caption."""
    parts = environment().get_template("parts.html.j2").module
    return str(parts.picture(shown))  # type: ignore[attr-defined]
