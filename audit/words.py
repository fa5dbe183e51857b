"""Numbers as a reader wants them: three digits, intervals, counts out of ten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.record import Metric


def number(value: float | None) -> str:
    """Three significant digits, without a trailing exponent where it can be helped."""
    if value is None:
        return "undefined"
    if value != 0 and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.2e}".replace("-", "−")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def span(low: float | None, high: float | None) -> str:
    """An interval: '0.36–0.46'; with 'to' where a dash could be taken for a minus."""
    between = " to " if low is not None and low < 0 else "–"
    return f"{number(low)}{between}{number(high)}"


def share(value: float) -> str:
    """A proportion in percent; never '100 %' or '0 %' for what is not."""
    percent = 100 * value
    if 99.95 <= percent < 100 or 0 < percent < 0.05:
        return "over 99.9 %" if percent > 50 else "under 0.1 %"
    return f"{percent:.0f} %" if percent == round(percent) else f"{percent:.1f} %"


def amount(metric: Metric) -> str:
    """A proportion with its interval: '98.0 % (96.5 %–98.9 %)'."""
    if metric.value is None or metric.low is None or metric.high is None:
        return "an undefined share"
    return f"{share(metric.value)} ({share(metric.low)}–{share(metric.high)})"


def value_text(metric: Metric) -> str:
    """'0.41 (0.36–0.46), n = 500', with the unit."""
    if metric.value is None:
        return f"undefined: {metric.reason}"
    unit = f" {metric.unit}" if metric.unit else ""
    if metric.low is None or metric.high is None:
        return f"{number(metric.value)}{unit}, n = {metric.n:,}"
    return f"{number(metric.value)} ({span(metric.low, metric.high)}){unit}, n = {metric.n:,}"


def slice_text(slice_: dict[str, str | float]) -> str:
    """'group a, eps 0.03': a slice as a sentence names it."""
    return ", ".join(
        f"{k} {number(v) if isinstance(v, (int, float)) else v}" for k, v in slice_.items()
    )


def count(n: int, noun: str, plural: str = "") -> str:
    """'1 bound', '2 bounds'."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def out_of_ten(value: float) -> str:
    """'6 of 10', rounded; 'hardly any' and 'nearly all' at the ends."""
    tenths = round(10 * value)
    if tenths == 0:
        return "none" if value == 0 else "fewer than 1 of 20"
    if tenths == 10:
        return "all" if value == 1 else "more than 19 of 20"
    return f"{tenths} of 10"


def evidence_notes(evidence: Mapping[str, Any]) -> list[str]:
    """What is to be said of evidence that was kept, in sentences.

    Args:
        evidence: of a record's timing.
    """
    notes = []
    if damaged := evidence.get("damaged", 0):
        made = "; it was" if damaged == 1 else "; they were"
        files = count(damaged, "file")
        notes.append(f"{files} of evidence did not hold what was kept there{made} made again.")
    if rejected := evidence.get("rejected", []):
        notes.append(
            f"Evidence in the folder is not what the model gives ({', '.join(rejected)}); all of it was made "
            "again. Somebody else may write there."
        )
    if why := evidence.get("unwritable", ""):
        notes.append(f"Evidence could not be kept in the folder ({why}); the next run starts anew.")
    return notes
