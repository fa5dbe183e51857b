"""Does the model treat people's groups alike?

For every sensitive attribute, per group: selection rate, true and false positive rate (binary) and
accuracy; between groups: demographic parity and equalised odds differences (Hardt et al. 2016), the
selection rate ratio and the accuracy difference. For values: mean absolute error and mean answer per
group, and their largest differences in standard deviations of the labels (Agarwal et al. 2019). The
rates come from fairlearn's MetricFrame (Weerts
et al. 2023); the intervals of differences are the range over a box of simultaneous Wilson intervals,
because a bootstrap of a maximum excludes zero for groups that are equal. Groups under `min_group`
samples are shown and left out of the differences. Which difference matters depends on the use; no
number here is a legal finding.

Planted and looked for (`benchmarks/detection`): a group of which 90 % was withheld in training is
found in 10 of 10 seeds, at 80 % in 2, at 50 % in none; labels of a group biased for half of its
members in 10 of 10, for a quarter in 6. No false alarm on 100 clean models of each (at most 3.7 %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.errors import NotApplicable
from audit.meta import ANSWERS
from audit.record import Guidance, Metric, Table
from audit.words import number, share, span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.subject import Subject

TAGS = ["NIST AI RMF MEASURE 2.11", "EU AI Act Article 10"]


class Groups(Check):
    """Does the model treat people's groups alike?"""

    id: ClassVar[str] = "fairness.groups"
    title: ClassVar[str] = "Does the model treat people's groups alike?"

    min_group: int = Field(default=30, ge=2, description="smaller groups enter no difference")
    positive: int = Field(default=1, ge=0, le=1, description="class index of the favourable answer")

    def applies(self, subject: Subject) -> None:
        subject.require(ANSWERS)
        if not subject.sensitive:
            raise NotApplicable("no sensitive attribute is given ([subject] sensitive)")

    def examine(self, context: Context) -> Measurement:
        if context.subject.is_regression:
            return self.examine_values(context)
        subject, predictions = context.subject, context.predictions()
        binary = len(subject.classes) == 2
        metrics: list[Metric] = []
        tables, pictures, said = [], [], []
        for attribute, labels in subject.sensitive.items():
            frame = group_rates(predictions.y, predictions.predicted, labels, binary, self.positive)
            found, rows = self.between(context, attribute, labels, frame, binary)
            metrics += found
            tables.append(Table(
                title=f"By {attribute}", columns=["group", "n", *frame.columns],
                rows=[
                    [str(group), int(np.sum(labels == group)),
                     *(None if np.isnan(v) else float(v) for v in frame.loc[group])]
                    for group in frame.index
                ],
            ))  # fmt: skip
            shown = "selection rate" if binary else "accuracy"
            big = [r for r in rows if r["metric"] == shown]
            if big:
                pictures.append(figures.intervals(
                    big, value=shown, title=f"{shown.capitalize()} by {attribute}",
                    caption=f"{shown.capitalize()} with 95 % intervals: " + ", ".join(
                        f"{r['label']} {share(r['value'])}" for r in big) + ".",
                ))  # fmt: skip
            headline = next((m for m in found if m.name == (
                "demographic_parity_difference" if binary else "accuracy_difference")), None)  # fmt: skip
            if headline is not None and headline.value is not None:
                what = "selection rates" if binary else "accuracies"
                said.append(
                    f"by {attribute}, {what} differ by up to {number(headline.value)} "
                    f"({span(headline.low, headline.high)})"
                )
            else:
                said.append(f"by {attribute}, fewer than two groups are large enough to compare")
        answer = f"Between groups, {'; '.join(said)}; n = {len(predictions.y):,}."
        if binary:
            answer += f" The favourable answer is taken to be {subject.classes[self.positive]}."
        return Measurement(
            answer=answer, metrics=metrics, tables=tables, figures=pictures,
            guidance={name: self.advice(name) for name in ADVICE},
        )  # fmt: skip

    def between(
        self, context: Context, attribute: str, labels: NDArray[np.str_], frame: Any, binary: bool
    ) -> tuple[list[Metric], list[dict[str, Any]]]:
        """Metrics of one attribute: every group's rates, and the differences between them."""
        predictions = context.predictions()
        clusters = context.clusters()
        positive = predictions.predicted == self.positive
        truly = predictions.y == self.positive
        everyone = np.ones(len(labels), dtype=bool)
        rates: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {
            "accuracy": (predictions.correct, everyone)
        }
        if binary:
            rates["selection rate"] = (positive, everyone)
            rates["true positive rate"] = (positive, truly)
            rates["false positive rate"] = (positive, ~truly)
        metrics: list[Metric] = []
        rows: list[dict[str, Any]] = []
        kept: dict[str, list[Metric]] = {}
        for rate, (good, base) in rates.items():
            for group in frame.index:
                own = (labels == group) & base
                metric = statistics.proportion(
                    rate.replace(" ", "_"), good[own], direction=DIRECTIONS[rate],
                    slice={"attribute": attribute, "group": str(group)},
                    clusters=None if clusters is None else clusters[own],
                )  # fmt: skip
                metrics.append(metric)
                if np.sum(labels == group) < self.min_group or own.sum() < 10:
                    continue
                # The rate itself is fairlearn's; ours is the interval.
                assert metric.value is not None
                kept.setdefault(rate, []).append(metric)
                rows.append({"metric": rate, "label": f"{group} (n = {int(own.sum()):,})",
                             "value": metric.value, "low": metric.low, "high": metric.high})  # fmt: skip
        where: dict[str, str | float] = {"attribute": attribute}
        n = len(labels)
        if binary:
            metrics.append(gap("demographic_parity_difference", [kept.get("selection rate", [])],
                               where, n))  # fmt: skip
            metrics.append(gap(
                "equalized_odds_difference",
                [kept.get("true positive rate", []), kept.get("false positive rate", [])], where, n,
            ))  # fmt: skip
            metrics.append(ratio(kept.get("selection rate", []), where, n))
        metrics.append(gap("accuracy_difference", [kept.get("accuracy", [])], where, n))
        return metrics, rows

    def examine_values(self, context: Context) -> Measurement:
        """A regression: errors and answers by group."""
        subject = context.subject
        assert subject.y is not None
        answers = context.answers()[:, 0].double().numpy() / subject.answer_spread
        errors = np.abs(answers - subject.y.double().numpy() / subject.answer_spread)
        clusters = context.clusters()
        metrics: list[Metric] = []
        pictures, said = [], []
        for attribute, labels in subject.sensitive.items():
            names = [str(g) for g in np.unique(labels)]
            rows: list[dict[str, Any]] = []
            for name in names:
                own = labels == name
                for what, values in (("absolute_error", errors), ("mean_answer", answers)):
                    metrics.append(statistics.mean(
                        what, values[own], unit=UNIT, slice={"attribute": attribute, "group": name},
                        clusters=None if clusters is None else clusters[own],
                        direction="lower" if what == "absolute_error" else "none",
                    ))  # fmt: skip
                error = metrics[-2]
                if error.value is not None:
                    rows.append({"label": f"{name} (n = {int(own.sum()):,})", "value": error.value,
                                 "low": error.low, "high": error.high})  # fmt: skip
            big = [name for name in names if np.sum(labels == name) >= self.min_group]
            where: dict[str, str | float] = {"attribute": attribute}
            for what, values in (("error_difference", errors), ("answer_difference", answers)):
                metrics.append(gap_of_means(what, [values[labels == g] for g in big], where))
            gap_ = metrics[-2]
            pictures.append(figures.intervals(
                rows, value=f"mean absolute error ({UNIT})", domain=None,
                title=f"Error by {attribute}",
                caption="Mean absolute error with 95 % intervals: " + ", ".join(
                    f"{r['label']} {number(r['value'])}" for r in rows) + ".",
            ))  # fmt: skip
            said.append(f"by {attribute}, errors differ by up to {number(gap_.value)} "
                        f"({span(gap_.low, gap_.high)}) {UNIT}")  # fmt: skip
        return Measurement(
            answer=f"Between groups, {'; '.join(said)}; n = {subject.n:,}.",
            metrics=metrics, figures=pictures,
            guidance={name: self.advice(name) for name in ("error_difference", "answer_difference")},
        )  # fmt: skip

    def advice(self, name: str) -> Guidance:
        title, what = ADVICE[name]
        return Guidance(
            title=title,
            what_happened=f"{what} {{value}} ({{low}} to {{high}}) for {{slice}}; the bound is "
            "{bound}.",
            why_it_matters="People of one group get another answer, or another quality of answer, "
            "than people of another; whether that is justified is for people to say.",
            what_to_do="Look at the rates by group below; check labels and representation of the "
            "groups, then consider constraints in training or thresholds by fairlearn's reductions "
            "and post-processing.",
            tags=TAGS,
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        bounds = [("accuracy_difference", 0.1, "high")]
        if subject.is_regression:
            bounds = [("error_difference", 0.5, "high"), ("answer_difference", 0.5, "medium")]
        elif len(subject.classes) == 2:
            bounds += [
                ("demographic_parity_difference", 0.1, "medium"),
                ("equalized_odds_difference", 0.1, "high"),
            ]
        return [
            Expectation(
                metric=metric, slice={"attribute": "*"}, op="not_shown_above", bound=bound,
                severity=severity,  # type: ignore[arg-type]
            )
            for metric, bound, severity in bounds
        ]  # fmt: skip


DIRECTIONS = {
    "accuracy": "higher", "selection rate": "none", "true positive rate": "higher",
    "false positive rate": "lower",
}  # fmt: skip
UNIT = "standard deviations"
ADVICE = {
    "error_difference": (
        "The model errs more on some groups",
        "Mean absolute errors differ by up to",
    ),
    "answer_difference": (
        "Groups get different answers on average",
        "Mean answers differ by up to",
    ),
    "demographic_parity_difference": (
        "Groups get the favourable answer at different rates",
        "The rates of the favourable answer differ by up to",
    ),
    "equalized_odds_difference": (
        "The model errs differently on different groups",
        "True or false positive rates differ by up to",
    ),
    "accuracy_difference": (
        "The model is right less often on some groups",
        "Accuracy differs by up to",
    ),
}


def group_rates(
    y: NDArray[np.intp], predicted: NDArray[np.intp], labels: NDArray[np.str_], binary: bool,
    positive: int = 1,
) -> Any:  # fmt: skip
    """fairlearn's rates by group: a frame, a row a group."""
    from fairlearn.metrics import (
        MetricFrame,
        false_positive_rate,
        selection_rate,
        true_positive_rate,
    )
    from sklearn.metrics import accuracy_score

    wanted: dict[str, Any] = {"accuracy": accuracy_score}
    truth, answer = y, predicted
    if binary:
        truth, answer = (y == positive).astype(int), (predicted == positive).astype(int)
        wanted |= {
            "selection rate": selection_rate, "true positive rate": true_positive_rate,
            "false positive rate": false_positive_rate,
        }  # fmt: skip
    frame = MetricFrame(
        metrics=wanted, y_true=truth, y_pred=answer, sensitive_features=labels
    )
    return frame.by_group


def gap(
    name: str, rates: list[list[Metric]], where: dict[str, str | float], n: int
) -> Metric:
    """The largest difference over one or several rates, simultaneous over all of them."""
    usable = [r for r in rates if len(r) > 1]
    if not usable:
        return statistics.undefined(
            name, "fewer than two groups are large enough", n=n, slice=where, direction="lower"
        )

    def at(level: float) -> tuple[float, float, float]:
        each = statistics.corrected_level(len(usable), level)
        found = [
            statistics.largest_gap(
                [m.sufficient["successes"] for m in r], [m.sufficient["n"] for m in r], each
            )
            for r in usable
        ]
        return max(f[0] for f in found), max(f[1] for f in found), max(f[2] for f in found)

    return between_metric(name, at, where, n, "lower")


def gap_of_means(
    name: str, groups: list[NDArray[np.float64]], where: dict[str, str | float]
) -> Metric:
    n = sum(len(g) for g in groups)
    if len(groups) < 2:
        return statistics.undefined(
            name, "fewer than two groups are large enough", n=n, slice=where, direction="lower"
        )

    def at(level: float) -> tuple[float, float, float]:
        return statistics.largest_gap_of_means(groups, level)

    return between_metric(name, at, where, n, "lower", "simultaneous t intervals", UNIT)


def ratio(rates: list[Metric], where: dict[str, str | float], n: int) -> Metric:
    name = "selection_rate_ratio"
    if len(rates) < 2:
        return statistics.undefined(
            name, "fewer than two groups are large enough", n=n, slice=where, direction="higher"
        )

    def at(level: float) -> tuple[float | None, float, float]:
        return statistics.smallest_ratio(
            [m.sufficient["successes"] for m in rates], [m.sufficient["n"] for m in rates], level
        )

    if at(statistics.LEVEL)[0] is None:
        return statistics.undefined(
            name, "no group is ever selected", n=n, slice=where, direction="higher"
        )
    return between_metric(name, at, where, n, "higher")


def between_metric(
    name: str, at: Any, where: dict[str, str | float], n: int, direction: str,
    box: str = "simultaneous Wilson intervals", unit: str = "",
) -> Metric:  # fmt: skip
    """Value and interval, with its bounds at the stricter levels that slices are judged by."""
    value, low, high = at(statistics.LEVEL)
    quantiles = {}
    for q in statistics.QUANTILES:
        if q < 0.5:
            _, a, b = at(1 - 2 * q)
            quantiles[str(q)], quantiles[str(round(1 - q, 6))] = round(a, 12), round(b, 12)
    return Metric(
        name=name, value=value, low=low, high=high, n=n, slice=where,
        direction=direction,  # type: ignore[arg-type]
        estimator=f"between groups; box of {box}", unit=unit,
        sufficient={"quantiles": quantiles},
    )  # fmt: skip
