"""What an audit may cost, as the user says it. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from audit.errors import AuditError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = {"mb": 10**6, "gb": 10**9, "mib": 1 << 20, "gib": 1 << 30}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([mg]i?b)")
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
    if seconds := seconds_of(given):
        return Budget(seconds=seconds)
    raise AuditError(
        f"--budget {text}: give a time above zero, as 90s, 10m or 1h30m, or passes, as '1240 passes'."
    )


def seconds_of(text: str) -> float:
    """'90s', '10m' or '1h30m' in seconds; 0 where it is no time."""
    given = text.strip().lower()
    if TIME.sub("", given):
        return 0.0
    return sum(float(n) * UNITS[unit] for n, unit in TIME.findall(given))


def bytes_of(text: str) -> int:
    """'800MB', '4 GB' or '4GiB' in bytes; 0 where it is no size."""
    size = SIZE.fullmatch(text.strip().lower())
    return round(float(size[1]) * SIZES[size[2]]) if size else 0
