"""Metrics as a data frame, and what a name finds among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from audit.entrypoints import reporter
from audit.errors import NotThere
from audit.expecting import same_slice
from audit.record import CheckRecord, Figure, Metric, Slice
from audit.words import slice_text

if TYPE_CHECKING:
    import pandas as pd

MEASURED = ("metric", "slice", "value", "low", "high", "n", "unit")
JUDGED = ("check", *MEASURED[:-1], "bound", "state")


class Pictures(list[Figure]):
    """Figures that show themselves in a notebook, one under the other."""

    def _repr_html_(self) -> str:
        shown: Callable[[Figure], str] = reporter("notebook").figure
        return "".join(map(shown, self))


def measured(metrics: Iterable[Metric]) -> pd.DataFrame:
    """A row a metric: metric, slice (in words, '' overall), value, low, high, n, unit."""
    import pandas as pd

    rows = [
        (m.name, slice_text(m.slice), m.value, m.low, m.high, m.n, m.unit or "") for m in metrics
    ]
    return typed(pd.DataFrame(rows, columns=list(MEASURED)))


def judged(checks: Iterable[CheckRecord]) -> pd.DataFrame:
    """A row a metric and expectation: check, metric, slice, value, low, high, n, bound, state.

    A metric of which nothing is expected has no bound and no state; an expectation whose metric was not
    measured has no value.
    """
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for check in checks:
        open_ = list(check.expectations)
        for m in check.metrics:
            own = [e for e in open_ if e.metric == m.name and same_slice(m.slice, e.slice)]
            head = (check.id, m.name, slice_text(m.slice), m.value, m.low, m.high, m.n)
            rows += [(*head, e.bound, e.state) for e in own] or [(*head, None, "")]
            open_ = [e for e in open_ if e not in own]
        rows += [
            (check.id, e.metric, slice_text(e.slice), None, None, None, 0, e.bound, e.state)
            for e in open_
        ]
    return typed(pd.DataFrame(rows, columns=list(JUDGED)))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats, so that nothing measured is NaN and no column is of objects."""
    numbers = [name for name in ("value", "low", "high", "bound") if name in frame]
    return frame.astype({name: "float64" for name in numbers} | {"n": "int64"})


def metric_among(metrics: Sequence[Metric], name: str, slice_: Slice, of: str = "") -> Metric:
    """The metric of a name and slice.

    Raises:
        NotThere: there is none; it names what there is.
    """
    named = [m for m in metrics if m.name == name]
    if not named:
        raise NotThere.among("metric", name, (m.name for m in metrics), of)
    for metric in named:
        if same_slice(metric.slice, slice_):
            return metric
    slices = "; ".join(
        ", ".join(f"{k}={v!r}" for k, v in m.slice.items()) or "overall" for m in named
    )
    asked = ", ".join(f"{k}={v!r}" for k, v in slice_.items()) or "overall"
    raise NotThere(f"{name} was not measured for {asked}{of}; it was for {slices}.")
