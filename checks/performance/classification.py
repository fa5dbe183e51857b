"""How often is the model right?

Accuracy, balanced accuracy (mean recall over the classes) and macro F1 on all evaluation samples,
with the recall of each class. Wilson intervals for shares, BCa bootstrap for the others. The
accuracy is set against the best constant answer, the share of the most frequent class. And the
outputs are renamed as fits one half of the samples best (Kuhn 1955): if that helps on the other half,
classes are mixed up. Definitions: Sokolova and Lapalme 2009, section 3; Brodersen et al. 2010 for
balanced accuracy.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, pack, worst_rows
from audit.record import Core, Guidance, Metric
from audit.subject import Subject
from audit.words import amount, count, share


class Classification(Check):
    """How often is the model right?"""

    id: ClassVar[str] = "performance.classification"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "How often is the model right?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("classifies")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        predictions = context.predictions()
        y, predicted = predictions.y, predictions.predicted
        k = len(subject.classes)
        clusters = predictions.clusters
        accuracy = statistics.proportion("accuracy", predictions.correct, clusters=clusters)
        majority = float(np.bincount(y, minlength=k).max() / len(y))
        gain = statistics.mean(
            "gain_over_constant",
            predictions.correct * 1.0 - (y == np.bincount(y, minlength=k).argmax()),
            clusters=clusters,
            direction="higher",
            edges=(-1, 1),
        )
        metrics: list[Metric] = [accuracy, gain, renaming_gain(context)]
        metrics += means_over_classes(context, k)
        if predictions.unit != "samples" and clusters is not None:
            metrics = context.resting(metrics, clusters)
        answered = predictions.answered
        good = subject.task.good_before(subject, context.answers(), subject.labels)
        table = confusion(y[answered], predicted[answered], k)
        with np.errstate(invalid="ignore"):
            normalised = table / table.sum(1, keepdims=True)
        shown = [i for i in range(k) if table[i].sum() > 0]
        names = [subject.classes[i] for i in shown]
        confused, pictures = worst_confusion(names, table, shown), []
        if k <= 20:
            pictures.append(
                figures.matrix(
                    figures.pair_matrix(
                        names, normalised[np.ix_(shown, shown)], "answered", "true"
                    ),
                    x="answered",
                    y="true",
                    value="share",
                    title="Which class is taken for which",
                    caption=f"Confusion matrix of {len(names)} classes; each row shows how the "
                    f"{predictions.unit} of one true class were answered. {confused}",
                )
            )
        answer = (
            f"The model is right on {amount(accuracy)} of {predictions.counted}; answering always the "
            f"most frequent class would be right on {share(majority)}."
        )
        if not answered.all():
            answer += f" {(~answered).sum():,} answers are NaN or infinite, and count as wrong."
        return Measurement(
            answer=answer,
            metrics=metrics,
            tables=[
                worst_rows(
                    "Recall by class",
                    ["class", "n", "recall", "low", "high"],
                    [
                        recall_of(predictions.correct, clusters, name, y == i)
                        for i, name in enumerate(subject.classes)
                    ],
                    "recall",
                )
            ],
            figures=pictures,
            per_unit=[pack(subject.task.share_good, good)],
            guidance=advice(majority, predictions.unit, confused),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="gain_over_constant", op=">=", bound=0.0, severity="high"),
            Expectation(metric="renaming_gain", op="not_shown_above", bound=0.02, severity="high"),
        ]


def means_over_classes(context: Context, k: int) -> list[Metric]:
    """Balanced accuracy and macro F1: every class counts the same, however rare."""
    predictions = context.predictions()
    y, predicted = predictions.y, predictions.predicted
    right, answered = predictions.correct, predictions.answered

    def recalls(index: NDArray[np.intp]) -> NDArray[np.float64]:
        hits, total = per_class(y[index], k, right[index]), per_class(y[index], k)
        with np.errstate(invalid="ignore"):
            return np.nanmean(hits / total, 1)

    def macro_f1(index: NDArray[np.intp]) -> NDArray[np.float64]:
        hits = per_class(y[index], k, right[index])
        total = per_class(y[index], k) + per_class(predicted[index], k, answered[index])
        with np.errstate(invalid="ignore"):
            return np.nanmean(np.where(total > 0, 2 * hits / total, np.nan), 1)

    return [
        statistics.bootstrap(
            name, statistic, len(y), clusters=predictions.clusters, seed=context.seed, draws=1000
        )
        for name, statistic in (("balanced_accuracy", recalls), ("macro_f1", macro_f1))
    ]


def recall_of(
    right: NDArray[np.bool_], clusters: NDArray[Any] | None, name: str, own: NDArray[np.bool_]
) -> list[str | float | int | bool | None]:
    """A class's row of the table; [n] which samples are its own."""
    if not own.any():
        return [name, 0, None, None, None]
    recall = statistics.proportion(
        "recall",
        right[own],
        clusters=None if clusters is None else clusters[own],
    )
    return [name, int(own.sum()), recall.value, recall.low, recall.high]


def advice(majority: float, unit: str, confused: str) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "gain_over_constant": Guidance(
            title="The model is hardly better than a constant answer",
            what_happened="Answering always the most frequent class is right on "
            f"{share(majority)} of the {unit}; the model gains {{value}} over that "
            "({low} to {high}).",
            why_it_matters="A model that does not beat a constant has learnt nothing that "
            "its users could rely on.",
            what_to_do="Check that labels, class order and preprocessing of the evaluation "
            "data match the training, then the training itself.",
            tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"],
        ),
        "renaming_gain": Guidance(
            title="Classes are mixed up between the model and the data",
            what_happened="With its outputs renamed the model would gain {value} ({low} to "
            f"{{high}}) in accuracy on {unit} that the renaming was not fitted to. {confused}",
            why_it_matters="The model may know its task, and says the wrong names.",
            what_to_do="Compare the order of the classes in training and in [subject] "
            "classes: sorted by name here, as they came there?",
            tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"],
        ),
        "accuracy": Guidance(
            title="The model is wrong too often",
            what_happened=f"It is right on {{value}} of {{n}} {unit} ({{low}} to {{high}}); the "
            "bound is {bound}.",
            why_it_matters="Every wrong answer is a decision somebody may act on.",
            what_to_do="See which classes are confused below; more or cleaner examples of "
            "those help most.",
            tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"],
        ),
    }


def renaming_gain(context: Context) -> Metric:
    """What accuracy would gain from other names for the outputs, fitted on the other half."""
    from scipy.optimize import linear_sum_assignment

    predictions, k = context.predictions(), len(context.subject.classes)
    y, said, answered = predictions.y, predictions.predicted, predictions.answered
    # Units of one sample are in one half.
    first = np.random.default_rng(context.seed).permutation(context.subject.n) % 2 == 0
    first = first[predictions.sample]
    renamed = said.copy()
    for half in (first, ~first):
        chosen = half & answered
        table = confusion(said[chosen], y[chosen], k)  # [answered, true]
        _, names = linear_sum_assignment(table + 1e-3 * np.eye(k), maximize=True)
        other = ~half & answered
        renamed[other] = names[said[other]]
    return statistics.mean(
        "renaming_gain",
        (renamed == y) * 1.0 - predictions.correct,
        clusters=predictions.clusters,
        direction="lower",
        edges=(-1, 1),
    )


def confusion(first: NDArray[np.intp], second: NDArray[np.intp], k: int) -> NDArray[np.float64]:
    """[n] and [n] class indices → counts [k, k] of their pairs."""
    return np.bincount(first * k + second, minlength=k * k).reshape(k, k).astype(np.float64)


def per_class(
    classes: NDArray[np.intp], k: int, good: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """[b, n] class indices → counts [b, k], of the good ones alone where these are given."""
    cells = classes + np.arange(len(classes))[:, None] * k
    kept = cells.ravel() if good is None else cells[good]
    return np.bincount(kept, minlength=len(classes) * k).reshape(-1, k).astype(np.float64)


def worst_confusion(names: list[str], table: NDArray[np.float64], shown: list[int]) -> str:
    """The pair of classes that is confused most often, in a sentence."""
    wrong = table[np.ix_(shown, shown)].copy()
    np.fill_diagonal(wrong, 0)
    if wrong.sum() == 0:
        return "Nothing was confused."
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    return f"Most often confused: {names[i]} answered as {names[j]}, {count(int(wrong[i, j]), 'time')}."
