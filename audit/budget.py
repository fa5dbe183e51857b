"""What an audit may cost, as the user says it. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from audit.errors import AuditError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])\s*")


@dataclass(frozen=True)
class Budget:
    """What an audit may cost: seconds, or passes where those are given."""

    seconds: float | None = None
    passes: int | None = None


def parse_budget(text: str) -> Budget:
    """'90s', '10m', '1h30m', or '1240 passes' as a record names them.

    Raises:
        AuditError: it is neither, or nothing.
    """
    given = str(text).strip().lower().replace(",", "")
    passes = re.fullmatch(r"(\d+)\s*pass(?:es)?", given)
    if passes and int(passes[1]):
        return Budget(passes=int(passes[1]))
    if not TIME.sub("", given):
        seconds = sum(float(n) * UNITS[unit] for n, unit in TIME.findall(given))
        if seconds:
            return Budget(seconds=seconds)
    raise AuditError(
        f"--budget {text}: give a time above zero, as 90s, 10m or 1h30m, or passes, as '1240 passes'."
    )
