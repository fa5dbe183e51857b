"""Groups compared by values: how far off, to which side, and what is answered on average.

One value is told in the unit of its labels; of several, each in standard deviations of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Context, worst_rows
from audit.checks.fairness.grouping import Findings, Members, both, ends, picture, taken, value_of
from audit.record import Metric, Slice
from audit.words import number, span

UNIT = "units of the label"
SPREADS = "standard deviations of the label"


def compare(context: Context, attribute: str, groups: Members) -> Findings:
    """Every group's errors and answers, and the differences between them: of each value apart."""
    subject = context.subject
    answers = context.answers().double().numpy()
    errors = answers - subject.labels.reshape(answers.shape).double().numpy()
    fields = subject.task.fields(subject.meta, answers.shape[1])
    scales = subject.task.scales(subject).numpy()
    found = Findings()
    for name, at in fields.items():
        where: Slice = {"attribute": attribute}
        scale = 1.0
        if len(fields) > 1:
            where, scale = {**where, "output": name}, float(scales[at].mean())
        values = {
            "absolute_error": np.abs(errors[:, at]).mean(1) / scale,
            "bias": errors[:, at].mean(1) / scale,
            "mean_answer": answers[:, at].mean(1) / scale,
        }
        found.add(compared(context, where, groups, values))
    return found


MEASURES = (
    ("absolute_error", "lower", "error_difference"),
    ("bias", "none", "bias_difference"),
    ("mean_answer", "none", "answer_difference"),
)


def compared(
    context: Context, where: Slice, groups: Members, values: dict[str, NDArray[np.float64]]
) -> Findings:
    """What `compare` finds of one value of the answers.

    Args:
        where: the attribute, and of several values, which.
        values: [n] of each measure.
    """
    attribute, clusters = str(where["attribute"]), context.clusters()
    several = "output" in where
    unit = SPREADS if several else UNIT
    found = Findings()
    of: dict[str, list[Metric]] = {}
    told = {}
    for name, direction, difference in MEASURES:
        of[name] = [
            shown(
                statistics.mean(
                    name,
                    values[name][own],
                    unit=unit,
                    direction=direction,
                    slice={**where, "group": group},
                    clusters=None if clusters is None else clusters[own],
                ),
                values[name][own],
                unit,
            )
            for group, own in groups.items()
        ]
        gap = statistics.gap_between_means(
            difference,
            taken(values[name], groups) or {},
            clusters=taken(clusters, groups),
            slice=where,
            unit=unit,
        )
        found.metrics += [*of[name], gap]
        told[name] = f"a difference of {number(gap.value)} ({span(gap.low, gap.high)})"
    of_what = f", {where['output']}" if several else ""
    off = f"the model is off by {both(of['absolute_error'], percent=False)}"
    sides = f"it answers {two_sides(of['bias'])}"
    mean = f"its answers are on average {both(of['mean_answer'], percent=False)}"
    in_unit = f"in {unit}s" if several else "in the unit of the labels"
    found.said.append(
        f"By {attribute}{of_what}{' ' if several else ', '}{in_unit}: {off}, {told['absolute_error']}; "
        f"{sides}, {told['bias']}; {mean}, {told['mean_answer']}."
        if ends(of["bias"])
        else f"By {attribute} there is nothing to compare: all are {next(iter(groups))}."
    )
    for name, sentence in (
        ("error_difference", off),
        ("bias_difference", sides),
        ("answer_difference", mean),
    ):
        key = f"{attribute}, output {where['output']}" if several else attribute
        found.who[name] = {key: f"{sentence[0].upper()}{sentence[1:]} ({unit})."}
    found.tables.append(
        worst_rows(
            f"By {attribute}{of_what}, {in_unit}",
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
        found.figures += picture(
            of[name], f"{what}{of_what.replace(',', ' of')}", attribute, percent=False, unit=unit
        )
    return found


def shown(metric: Metric, values: NDArray[np.float64], unit: str) -> Metric:
    """A mean that has no interval (one sample, one cluster) is a value all the same."""
    if metric.value is not None or not np.isfinite(values).all():
        return metric
    return metric.model_copy(
        update={
            "value": float(values.mean()),
            "unit": unit,
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
