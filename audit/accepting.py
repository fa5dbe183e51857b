"""What a check hands over is looked at where it arrives: what is wrong with it costs that check alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from audit.checking import Measurement
from audit.meta import describe_errors
from audit.record import CheckRecord, Metric

MOST_METRICS = 20_000
MOST_CELLS = 100_000  # of all tables
MOST_FIGURES = 100
MOST_CHARACTERS = 5_000_000  # of it all, written down
FIELDS = (
    "answer",
    "metrics",
    "validity",
    "tables",
    "figures",
    "explained",
    "per_unit",
    "guidance",
    "left_out",
    "conclusions",
)


class Unacceptable(Exception):
    """What was handed over is no measurement."""


def accepted(record: CheckRecord, measurement: Measurement) -> CheckRecord:
    """A check's record with what it measured, every part of which is what it says it is.

    Numbers that are not finite are left to the judge, who names them.

    Raises:
        Unacceptable: a part is none; says which, and why.
    """
    found = {name: getattr(measurement, name) for name in FIELDS}
    try:
        checked = CheckRecord.model_validate({**dict(record), **plain(found)})
    except ValidationError as error:
        raise Unacceptable(describe_errors(error, "")) from None
    for metric in checked.metrics:
        if metric.n < 0:
            raise Unacceptable(f"{metric.name} is measured on {metric.n} samples")
        if upside_down(metric):
            raise Unacceptable(
                f"{metric.name} = {metric.value} lies outside its interval ({metric.low}, {metric.high})"
            )
    for what, size, most in sizes(checked):
        if size > most:
            raise Unacceptable(f"it hands over {size:,} {what}; {most:,} are taken")
    return checked


def plain(value: Any) -> Any:
    """Models as dictionaries, so that each field is looked at anew."""
    if isinstance(value, BaseModel):
        return {key: plain(part) for key, part in value}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def upside_down(metric: Metric) -> bool:
    """Does the interval not hold the value?"""
    if metric.value is None:
        return False
    slack = 1e-9 * max(1.0, abs(metric.value))
    below = metric.low is not None and metric.low > metric.value + slack
    above = metric.high is not None and metric.high < metric.value - slack
    return below or above


def sizes(record: CheckRecord) -> list[tuple[str, int, int]]:
    """What there is of each, and how much of it is taken."""
    cells = sum(len(table.columns) * len(table.rows) for table in record.tables)
    return [
        ("metrics", len(record.metrics), MOST_METRICS),
        ("cells of tables", cells, MOST_CELLS),
        ("figures", len(record.figures), MOST_FIGURES),
        ("characters", len(record.model_dump_json()), MOST_CHARACTERS),
    ]
