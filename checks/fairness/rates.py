"""Groups compared by how often each answer is given, and how often it is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Context, worst_rows
from audit.checks.fairness.grouping import Findings, Members, both, picture, taken
from audit.record import LeftOut, Metric, Slice, Validity
from audit.words import number, span

Bools = NDArray[np.bool_]
FEW_NAMES = 5
SAME = 1e-9


def compare(context: Context, attribute: str, groups: Members) -> Findings:
    """Every group's rates, and the differences between them."""
    subject = context.subject
    favourable = subject.meta.favourable
    signs = subject.classes if len(subject.classes) == 2 else []
    if favourable is not None:
        signs = [favourable]
    comparison = Comparison(context, attribute, groups)
    accuracy = comparison.rate("accuracy", comparison.answers.correct, None, "higher")
    selection: list[Metric] = []
    for name in signs:
        selection = comparison.rates_of(name, name if favourable is None else "")
    if signs:
        comparison.compare_answers(signs[-1], selection)
    comparison.compare_accuracy(accuracy)
    found = comparison.told()
    shown, what = (selection, f"share answered {signs[-1]}") if signs else (accuracy, "accuracy")
    found.figures += picture(shown, what, attribute, percent=True)
    return found


class Comparison:
    """The groups by one attribute, and what is found out about them so far.

    Attributes:
        columns: of the table, by what stands above them: a metric for each group.
        sentences: of the answer, one a difference.
    """

    def __init__(self, context: Context, attribute: str, groups: Members) -> None:
        self.subject, self.answers = context.subject, context.predictions()
        self.clusters, self.groups = context.clusters(), groups
        self.where: Slice = {"attribute": attribute}
        self.attribute, self.found = attribute, Findings()
        self.columns: dict[str, list[Metric]] = {}
        self.sentences: list[str] = []

    def rate(
        self, name: str, good: Bools, base: Bools | None, direction: str, sign: str = ""
    ) -> list[Metric]:
        """One rate of every group."""
        metrics = []
        for group, own in self.groups.items():
            of = own if base is None else own[base[own]]
            metrics.append(
                statistics.proportion(
                    name,
                    good[of],
                    direction=direction,
                    slice={**self.where, "group": group, **({"class": sign} if sign else {})},
                    clusters=None if self.clusters is None else self.clusters[of],
                )
            )
        self.found.metrics += metrics
        self.columns[f"{name.replace('_', ' ')}{f' of {sign}' if sign else ''}"] = metrics
        return metrics

    def rates_of(self, name: str, sign: str) -> list[Metric]:
        """How often every group is answered `name`, and where it is and is not the label.

        Args:
            sign: what tells these rates from those of the other answer, where both are shown.
        """
        said, true = self.said(name)
        selection = self.rate("selection_rate", said, None, "none", sign)
        hits = self.rate("true_positive_rate", said, true, "higher", sign)
        self.rate("false_positive_rate", said, ~true, "lower", sign)
        lacking = [str(m.slice["group"]) for m in hits if m.n == 0]
        if lacking:
            self.found.left_out.append(
                LeftOut(
                    what=f"groups by {self.attribute}",
                    how_many=len(lacking),
                    only_worse=True,
                    why=f"no sample of {listed(lacking)} has the label {name}, so how often that is found "
                    "for them is not known",
                    metrics=["true_positive_rate"],
                )
            )
        self.found.metrics.append(
            statistics.ratio_between(
                "selection_rate_ratio",
                parts(said, self.groups),
                clusters=taken(self.clusters, self.groups),
                slice={**self.where, "class": sign} if sign else self.where,
            )
        )
        return selection

    def said(self, name: str) -> tuple[Bools, Bools]:
        """[n], [n] is it the answer, is it the label?"""
        index = self.subject.classes.index(name)
        return self.answers.predicted == index, self.answers.y == index

    def compare_answers(self, name: str, selection: list[Metric]) -> None:
        """The differences between groups in how often `name` is answered, and where it is the label."""
        classes, groups, clusters = self.subject.classes, self.groups, self.clusters
        said, true = self.said(name)
        parity = self.largest_gap("demographic_parity_difference", said)
        other = (
            "another label"
            if len(classes) > 2
            else (f"the label {next(c for c in classes if c != name)}")
        )
        bases = {f"with the label {name}": true, f"with {other}": ~true}
        odds = statistics.gap_between(
            "equalized_odds_difference",
            {base: parts(said, groups, own) for base, own in bases.items()},
            clusters=None
            if clusters is None
            else {base: parts(clusters, groups, own) for base, own in bases.items()},
            slice=self.where,
        )
        self.found.metrics += [parity, odds]
        self.found.validity += self.agreement(said, true, [parity, odds])
        told = f"{name} is the answer for {both(selection, percent=True)}"
        self.found.who["demographic_parity_difference"] = {self.attribute: f"{told}."}
        self.found.who["equalized_odds_difference"] = {
            self.attribute: worst_odds(self.attribute, groups, said, bases, name)
        }
        self.sentences += [
            f"{told}, {apart(parity)}",
            f"where the label is the same, answers differ by {gap(odds)}",
        ]

    def agreement(self, said: Bools, true: Bools, ours: list[Metric]) -> list[Validity]:
        """Does fairlearn find the same differences? The intervals are ours, the values must be its.

        What a group has no sample for has a difference with an end of ours that fairlearn has not.
        """
        from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

        theirs_of = (demographic_parity_difference, equalized_odds_difference)
        who = np.empty(len(said), dtype=object)
        for group, own in self.groups.items():
            who[own] = group
        whole = all(0 < true[own].sum() < len(own) for own in self.groups.values())
        found = []
        for metric, function in zip(ours, theirs_of, strict=True):
            if metric.value is None or not (whole or function is demographic_parity_difference):
                continue
            theirs = float(function(true, said, sensitive_features=who))
            found.append(
                Validity(
                    name=f"fairlearn's {metric.name.replace('_', ' ')} by {self.attribute}",
                    passed=abs(metric.value - theirs) < SAME,
                    detail=f"fairlearn finds {number(theirs)}",
                    metrics=[metric.name],
                    doubt="a wrong number suspected",
                )
            )
        return found

    def compare_accuracy(self, accuracy: list[Metric]) -> None:
        """The difference between groups in how often the answer is right."""
        difference = self.largest_gap("accuracy_difference", self.answers.correct)
        self.found.metrics.append(difference)
        told = f"the answer is right for {both(accuracy, percent=True)}"
        self.sentences.append(f"{told}, {apart(difference)}")
        self.found.who["accuracy_difference"] = {self.attribute: f"{told[0].upper()}{told[1:]}."}

    def largest_gap(self, name: str, good: Bools) -> Metric:
        """The largest difference between the groups' shares of `good` [n]."""
        return statistics.gap_between(
            name,
            parts(good, self.groups),
            clusters=taken(self.clusters, self.groups),
            slice=self.where,
        )

    def told(self) -> Findings:
        """All of it, with its sentence and its table."""
        self.found.said.append(
            f"By {self.attribute}: {'; '.join(self.sentences)}."
            if len(self.groups) > 1
            else f"By {self.attribute} there is nothing to compare: all are "
            f"{next(iter(self.groups))}."
        )
        self.found.tables.append(
            worst_rows(
                f"By {self.attribute}",
                ["group", "n", *self.columns],
                [
                    [group, len(own), *(column[i].value for column in self.columns.values())]
                    for i, (group, own) in enumerate(self.groups.items())
                ],
                "accuracy",
            )
        )
        return self.found


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
    """A largest difference in words, or why there is none."""
    if metric.value is None:
        return f"nobody knows how much: {metric.reason}"
    return f"up to {number(metric.value)} ({span(metric.low, metric.high)})"


def apart(metric: Metric) -> str:
    """A difference between groups in words, with its interval."""
    return f"a difference of {number(metric.value)} ({span(metric.low, metric.high)})"


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - FEW_NAMES:,} more" if len(names) > FEW_NAMES else ""
    return ", ".join(names[:FEW_NAMES]) + more
