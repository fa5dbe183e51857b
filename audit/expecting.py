"""What is expected of a metric: a bound on it, where nothing is measured yet or any more."""

from __future__ import annotations

from pydantic import Field

from audit.meta import Number, parse_number
from audit.record import Operator, Part, Severity, Slice


class Expectation(Part):
    """A bound on a metric.

    It is met when the whole interval is on the right side of the bound, failed when all of it is on
    the wrong one, else undecided. An undecided one blocks a pass where its interval reaches further
    beyond the bound than `tolerates`. By default that is 0 for '>=' and '<=', and for
    'not_shown_below' and 'not_shown_above' the size of the bound (of a metric without a unit: at
    least .1).
    """

    metric: str
    slice: Slice = Field(default_factory=dict, description='"*" as a value matches every slice')
    op: Operator = ">="
    bound: Number = Field(allow_inf_nan=False)
    severity: Severity = "high"
    gates: bool = Field(default=True, description="false: it is told, and gates at no severity")
    tolerates: Number | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="how far beyond its bound, in the metric's unit, an undecided one may reach "
        "without blocking a pass",
    )


def same_slice(a: Slice, b: Slice) -> bool:
    """Is what was measured, `a`, the slice that is asked for, `b`?

    Numbers are compared to nine digits, and `b` may write them as "8/255"; '*' in `b` matches all.
    """
    if a.keys() != b.keys():
        return False
    for key, value in b.items():
        other = a[key]
        if value == "*":
            continue
        if isinstance(other, (int, float)):
            value = parse_number(value, plain=True)
        if isinstance(value, (int, float)) and isinstance(other, (int, float)):
            if abs(value - other) > 1e-9 * max(1.0, abs(value)):
                return False
        elif str(value) != str(other):
            return False
    return True
