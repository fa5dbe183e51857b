"""Groups compared by how often each answer is given, and how often it is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Context, worst_rows
from audit.checks.fairness.grouping import Findings, Members, both, picture, taken
from audit.record import LeftOut, Metric, Slice
from audit.words import number, span

Bools = NDArray[np.bool_]
FEW_NAMES = 5


def compare(context: Context, attribute: str, groups: Members) -> Findings:
    """Every group's rates, and the differences between them."""
    subject, clusters = context.subject, context.clusters()
    answers = context.predictions()
    favourable = subject.meta.favourable
    signs = subject.classes if len(subject.classes) == 2 else []
    if favourable is not None:
        signs = [favourable]
    where: Slice = {"attribute": attribute}
    found = Findings()
    columns: dict[str, list[Metric]] = {}

    def rate(
        name: str, good: Bools, base: Bools | None, direction: str, sign: str = ""
    ) -> list[Metric]:
        """One rate of every group."""
        metrics = []
        for group, own in groups.items():
            of = own if base is None else own[base[own]]
            metrics.append(
                statistics.proportion(
                    name,
                    good[of],
                    direction=direction,
                    slice=place(attribute, group, sign),
                    clusters=None if clusters is None else clusters[of],
                )
            )
        found.metrics += metrics
        columns[f"{name.replace('_', ' ')}{f' of {sign}' if sign else ''}"] = metrics
        return metrics

    def place(attribute: str, group: str, sign: str) -> Slice:
        own: Slice = {"attribute": attribute, "group": group}
        return {**own, "class": sign} if sign else own

    accuracy = rate("accuracy", answers.correct, None, "higher")
    sentences = []
    selection: list[Metric] = []
    for name in signs:
        sign = name if favourable is None else ""
        index = subject.classes.index(name)
        said, true = answers.predicted == index, answers.y == index
        selection = rate("selection_rate", said, None, "none", sign)
        hits = rate("true_positive_rate", said, true, "higher", sign)
        rate("false_positive_rate", said, ~true, "lower", sign)
        lacking = [str(m.slice["group"]) for m in hits if m.n == 0]
        if lacking:
            found.left_out.append(
                LeftOut(
                    what=f"groups by {attribute}",
                    how_many=len(lacking),
                    only_worse=True,
                    why=f"no sample of {listed(lacking)} has the label {name}, so how often that is found "
                    "for them is not known",
                    metrics=["true_positive_rate"],
                )
            )
        found.metrics.append(
            statistics.ratio_between(
                "selection_rate_ratio",
                parts(said, groups),
                clusters=taken(clusters, groups),
                slice={**where, "class": sign} if sign else where,
            )
        )
    if signs:
        name = signs[-1]
        index = subject.classes.index(name)
        said, true = answers.predicted == index, answers.y == index
        parity = statistics.gap_between(
            "demographic_parity_difference",
            parts(said, groups),
            clusters=taken(clusters, groups),
            slice=where,
        )
        other = (
            "another label"
            if len(subject.classes) > 2
            else (f"the label {next(c for c in subject.classes if c != name)}")
        )
        bases = {f"with the label {name}": true, f"with {other}": ~true}
        odds = statistics.gap_between(
            "equalized_odds_difference",
            {base: parts(said, groups, own) for base, own in bases.items()},
            clusters=None
            if clusters is None
            else {base: parts(clusters, groups, own) for base, own in bases.items()},
            slice=where,
        )
        found.metrics += [parity, odds]
        told = f"{name} is the answer for {both(selection, percent=True)}"
        sentences.append(f"{told}, {apart(parity)}")
        found.who["demographic_parity_difference"] = {attribute: f"{told}."}
        found.who["equalized_odds_difference"] = {
            attribute: worst_odds(attribute, groups, said, bases, name)
        }
        sentences.append(f"where the label is the same, answers differ by {gap(odds)}")
    difference = statistics.gap_between(
        "accuracy_difference",
        parts(answers.correct, groups),
        clusters=taken(clusters, groups),
        slice=where,
    )
    found.metrics.append(difference)
    told = f"the answer is right for {both(accuracy, percent=True)}"
    sentences.append(f"{told}, {apart(difference)}")
    found.who["accuracy_difference"] = {attribute: f"{told[0].upper()}{told[1:]}."}
    found.said.append(
        f"By {attribute}: {'; '.join(sentences)}."
        if len(groups) > 1
        else f"By {attribute} there is nothing to compare: all are {next(iter(groups))}."
    )
    found.tables.append(
        worst_rows(
            f"By {attribute}",
            ["group", "n", *columns],
            [
                [group, len(own), *(column[i].value for column in columns.values())]
                for i, (group, own) in enumerate(groups.items())
            ],
            "accuracy",
        )
    )
    shown, what = (selection, f"share answered {signs[-1]}") if signs else (accuracy, "accuracy")
    found.figures += picture(shown, what, attribute, percent=True)
    return found


def parts(
    values: NDArray[Any], groups: Members, base: Bools | None = None
) -> dict[str, NDArray[Any]]:
    """Each group's values, of its samples within the base."""
    return {g: values[own if base is None else own[base[own]]] for g, own in groups.items()}


def worst_odds(
    attribute: str, groups: Members, said: Bools, bases: dict[str, Bools], name: str
) -> str:
    """The rate that differs most between groups, in a sentence."""
    told, largest = "", -1.0
    for base, own in bases.items():
        metrics = [
            statistics.proportion("", part, slice={"attribute": attribute, "group": g})
            for g, part in parts(said, groups, own).items()
        ]
        measured = [m.value for m in metrics if m.value is not None]
        if len(measured) > 1 and max(measured) - min(measured) > largest:
            largest = max(measured) - min(measured)
            told = f"Of samples {base}, {name} is the answer for {both(metrics, percent=True)}."
    return told or "Fewer than two groups have samples of one label."


def gap(metric: Metric) -> str:
    if metric.value is None:
        return f"nobody knows how much: {metric.reason}"
    return f"up to {number(metric.value)} ({span(metric.low, metric.high)})"


def apart(metric: Metric) -> str:
    return f"a difference of {number(metric.value)} ({span(metric.low, metric.high)})"


def listed(names: list[str]) -> str:
    more = f" and {len(names) - FEW_NAMES:,} more" if len(names) > FEW_NAMES else ""
    return ", ".join(names[:FEW_NAMES]) + more
