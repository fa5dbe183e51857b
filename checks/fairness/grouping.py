"""People by group, and what is found out about each attribute's groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import figures
from audit.record import Figure, LeftOut, Metric, Table, Validity
from audit.words import number, share

Members = dict[str, NDArray[np.intp]]  # group → indices of its samples
MOST_SHOWN = 40  # in a figure; the table holds all


@dataclass
class Findings:
    """What one attribute, or all of them, came to.

    Attributes:
        said: a sentence an attribute.
        who: metric → attribute → whom it is about, in a sentence.
    """

    metrics: list[Metric] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    validity: list[Validity] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    who: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        for name in ("metrics", "tables", "figures", "left_out", "validity", "said"):
            getattr(self, name).extend(getattr(other, name))
        for metric, told in other.who.items():
            self.who.setdefault(metric, {}).update(told)


def members(labels: NDArray[np.str_]) -> Members:
    """The samples of every group, in one pass."""
    names, inverse = np.unique(labels, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(names) + 1))
    return {str(g): order[a:b] for g, a, b in zip(names, starts, starts[1:], strict=False)}


def taken(values: NDArray[Any] | None, groups: Members) -> dict[str, NDArray[Any]] | None:
    """Each group's part of the values, where there are any."""
    return None if values is None else {group: values[own] for group, own in groups.items()}


def ends(metrics: list[Metric]) -> tuple[Metric, Metric] | None:
    """The groups with the lowest and the highest value; None where fewer than two have one."""
    measured = [m for m in metrics if m.value is not None]
    if len(measured) < 2:
        return None
    low = min(measured, key=value_of)
    return low, max((m for m in measured if m is not low), key=value_of)


def value_of(metric: Metric) -> float:
    """The value of a metric that is known to have one."""
    assert metric.value is not None
    return metric.value


def one(metric: Metric, *, percent: bool) -> str:
    """'9.0 % of Female (n = 1,320)', or '0.31 for Female (n = 1,320)'."""
    told = f"{share(value_of(metric))} of" if percent else f"{number(metric.value)} for"
    return f"{told} {metric.slice['group']} (n = {metric.n:,})"


def both(metrics: list[Metric], *, percent: bool) -> str:
    """The two ends, in words; '' where there are not two."""
    found = ends(metrics)
    if found is None:
        return ""
    return " and ".join(one(m, percent=percent) for m in found)


def picture(
    metrics: list[Metric], what: str, attribute: str, *, percent: bool, unit: str = ""
) -> list[Figure]:
    """The groups' values with their intervals, the lowest first."""
    shown = sorted((m for m in metrics if m.low is not None), key=value_of)
    if not shown:
        return []
    of = ""
    if len(shown) > MOST_SHOWN:
        of = f" The lowest and the highest {MOST_SHOWN // 2} of {len(shown):,} groups."
        shown = shown[: MOST_SHOWN // 2] + shown[-(MOST_SHOWN // 2) :]
    rows = [
        {
            "label": f"{m.slice['group']} (n = {m.n:,})",
            "value": m.value,
            "low": m.low,
            "high": m.high,
        }
        for m in shown
    ]
    said = ", ".join(
        f"{m.slice['group']} {share(value_of(m)) if percent else number(m.value)}" for m in shown
    )
    return [
        figures.intervals(
            rows,
            value=f"{what}{f' ({unit})' if unit else ''}",
            domain=(0, 1) if percent else None,
            title=f"{what[0].upper()}{what[1:]} by {attribute}",
            caption=f"{what[0].upper()}{what[1:]} with 95 % intervals: {said}.{of}",
        )
    ]
