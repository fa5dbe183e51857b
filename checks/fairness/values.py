"""Groups compared by values: how far off, to which side, and what is answered on average."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Context, worst_rows
from audit.checks.fairness.grouping import Findings, Members, both, ends, picture, taken, value_of
from audit.record import Metric, Slice
from audit.words import number, span

UNIT = "units of the label"


def compare(context: Context, attribute: str, groups: Members) -> Findings:
    """Every group's errors and answers in the unit of the labels, and the differences between them."""
    subject, clusters = context.subject, context.clusters()
    answers = context.answers()[:, 0].double().numpy()
    errors = answers - subject.labels.double().numpy()
    where: Slice = {"attribute": attribute}
    found = Findings()
    of: dict[str, list[Metric]] = {}
    told = {}
    for name, direction, difference, values in (
        ("absolute_error", "lower", "error_difference", np.abs(errors)),
        ("bias", "none", "bias_difference", errors),
        ("mean_answer", "none", "answer_difference", answers),
    ):
        of[name] = [
            shown(
                statistics.mean(
                    name,
                    values[own],
                    unit=UNIT,
                    direction=direction,
                    slice={"attribute": attribute, "group": group},
                    clusters=None if clusters is None else clusters[own],
                ),
                values[own],
            )
            for group, own in groups.items()
        ]
        gap = statistics.gap_between_means(
            difference,
            taken(values, groups) or {},
            clusters=taken(clusters, groups),
            slice=where,
            unit=UNIT,
        )
        found.metrics += [*of[name], gap]
        told[name] = f"a difference of {number(gap.value)} ({span(gap.low, gap.high)})"
    off = f"the model is off by {both(of['absolute_error'], percent=False)}"
    sides = f"it answers {two_sides(of['bias'])}"
    mean = f"its answers are on average {both(of['mean_answer'], percent=False)}"
    found.said.append(
        f"By {attribute}, in the unit of the labels: {off}, {told['absolute_error']}; {sides}, "
        f"{told['bias']}; {mean}, {told['mean_answer']}."
        if ends(of["bias"])
        else f"By {attribute} there is nothing to compare: all are {next(iter(groups))}."
    )
    for name, sentence in (
        ("error_difference", off),
        ("bias_difference", sides),
        ("answer_difference", mean),
    ):
        found.who[name] = {attribute: f"{sentence[0].upper()}{sentence[1:]} (units of the label)."}
    found.tables.append(
        worst_rows(
            f"By {attribute}, in the unit of the labels",
            [
                "group",
                "n",
                "mean absolute error",
                "mean error (answer − label)",
                "mean answer",
            ],
            [
                [group, len(own), *(column[i].value for column in of.values())]
                for i, (group, own) in enumerate(groups.items())
            ],
            "mean absolute error",
            highest=True,
        )
    )
    for name, what in (("absolute_error", "mean absolute error"), ("bias", "mean error")):
        found.figures += picture(of[name], what, attribute, percent=False, unit=UNIT)
    return found


def shown(metric: Metric, values: NDArray[np.float64]) -> Metric:
    """A mean that has no interval (one sample, one cluster) is a value all the same."""
    if metric.value is not None or not np.isfinite(values).all():
        return metric
    return metric.model_copy(
        update={
            "value": float(values.mean()),
            "unit": UNIT,
            "reason": "",
            "estimator": "mean of one",
        }
    )


def two_sides(metrics: list[Metric]) -> str:
    """'0.3 too low for B (n = 200) and 0.2 too high for A (n = 400)'."""
    found = ends(metrics)
    return " and ".join(
        f"{number(abs(value_of(m)))} too {'high' if value_of(m) > 0 else 'low'} for "
        f"{m.slice['group']} (n = {m.n:,})"
        for m in found or ()
    )
