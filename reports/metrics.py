"""record → metrics.csv: every number, a row each, for spreadsheets and scripts."""

from __future__ import annotations

from audit.record import AuditRecord

# What a spreadsheet would compute rather than show.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(record: AuditRecord) -> str:
    """The rows of `AuditRecord.frame`: check, metric, slice, value, low, high, n, bound, state."""
    frame = record.frame()
    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].map(inert)
    return str(frame.to_csv(index=False))


def inert(value: object) -> object:
    """A text that no spreadsheet takes for a formula; anything else as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
