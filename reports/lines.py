"""A number on a line: its value, its interval, its bound, and what it was before."""

from __future__ import annotations

import math

from markupsafe import Markup

from audit.judge.policy import above
from audit.record import ExpectationResult, Metric
from audit.reports.escaping import reveal
from audit.words import number, slice_text, span

HEIGHT = 22
MUST = {
    ">=": "must be at least",
    "<=": "must be at most",
    "not_shown_below": "must not fall below",
    "not_shown_above": "must not exceed",
    "not_worse_than_baseline": "must be no worse than",
}


def number_text(
    metric: Metric, expected: ExpectationResult | None = None, before: float | None = None
) -> str:
    """'0.111 (0.0518–0.248); must be at most 0.1; before 0.09'."""
    if metric.value is None:
        return f"undefined: {metric.reason}"
    unit = f" {metric.unit}" if metric.unit else ""
    text = f"{number(metric.value)}{unit}"
    if metric.low is not None and metric.high is not None:
        text += f" ({span(metric.low, metric.high)})"
    if expected is not None:
        text += f"; {MUST[expected.op]} {number(expected.bound)}"
    return text + (f"; before {number(before)}" if before is not None else "")


SHORT = {">=": "≥", "not_shown_below": "≥", "<=": "≤", "not_shown_above": "≤"}


def number_short(
    metric: Metric, expected: ExpectationResult | None = None, before: float | None = None
) -> str:
    """The same in as few characters as can be: '0.111 (0.0518–0.248), ≤ 0.1, before 0.09'."""
    text = number_text(metric)
    if expected is not None:
        text += f", {SHORT.get(expected.op, 'before')} {number(expected.bound)}"
        before = None if expected.op not in SHORT else before
    return text + (f", before {number(before)}" if before is not None else "")


def name_text(metric: Metric) -> str:
    """'equalized odds difference, attribute sex'."""
    where = f", {slice_text(metric.slice)}" if metric.slice else ""
    return f"{metric.name.replace('_', ' ')}{where}"


def number_line(
    metric: Metric,
    expected: ExpectationResult | None = None,
    before: float | None = None,
    width: int = 160,
) -> Markup:
    """The number drawn on a line; nothing where there is no number.

    A dot is the value, the bar its 95 % interval, the dashed stroke the bound, the ring the value of the
    last audit. It needs no style sheet: all that is drawn has the colour of the text.
    """
    given = [metric.value, metric.low, metric.high, before, expected.bound if expected else None]
    known = [v for v in given if v is not None and math.isfinite(v)]
    if metric.value is None or not math.isfinite(metric.value):
        return Markup("")
    low, high = ends(metric, known)

    def at(value: float) -> float:
        return round(6 + (width - 12) * min(max((value - low) / (high - low), 0.0), 1.0), 1)

    middle = HEIGHT / 2
    parts = [
        f'<line x1="6" x2="{width - 6}" y1="{middle}" y2="{middle}" stroke="currentColor" '
        'stroke-opacity=".3"/>'
    ]
    if expected is not None and math.isfinite(expected.bound):
        x = at(expected.bound)
        wrong = (x, width - 6) if not above(expected.op) else (6, x)
        parts += [
            f'<rect x="{wrong[0]}" width="{max(0.0, round(wrong[1] - wrong[0], 1))}" y="{middle - 7}" '
            'height="14" fill="currentColor" fill-opacity=".12"/>',
            f'<line x1="{x}" x2="{x}" y1="1" y2="{HEIGHT - 1}" stroke="currentColor" '
            'stroke-width="1.5" stroke-dasharray="3 2"/>',
        ]
    if metric.low is not None and metric.high is not None:
        parts.append(
            f'<line x1="{at(metric.low)}" x2="{at(metric.high)}" y1="{middle}" y2="{middle}" '
            'stroke="currentColor" stroke-width="4" stroke-opacity=".55"/>'
        )
    if before is not None:
        parts.append(
            f'<circle cx="{at(before)}" cy="{middle}" r="4.5" fill="none" stroke="currentColor" '
            'stroke-width="1.5"/>'
        )
    parts.append(f'<circle cx="{at(metric.value)}" cy="{middle}" r="4" fill="currentColor"/>')
    label = reveal(f"{name_text(metric)}: {number_text(metric, expected, before)}")
    return Markup(
        '<svg class="line" role="img" width="{}" height="{}" viewBox="0 0 {} {}" aria-label="{}">{}</svg>'
    ).format(width, HEIGHT, width, HEIGHT, label, Markup("".join(parts)))


def ends(metric: Metric, known: list[float]) -> tuple[float, float]:
    """From where to where the line goes: over all that a share can be, else over what is known."""
    low, high = metric.edges or (None, None)
    if low == 0 and high == 1:
        return 0.0, 1.0
    values = [*known, 0.0]
    least, most = min(values), max(values)
    if math.isclose(least, most):
        return least - 0.5, most + 0.5
    room = 0.08 * (most - least)
    return least - (room if least < 0 else 0.0), most + room
