"""How often are the labels of a sample right?

The share of labels that are right, held against the constant answer (of each label, whatever is more
frequent), micro and macro F1, and the share of samples on which every label is right (Sokolova and
Lapalme 2009, section 3; Zhang and Zhou 2014, section II-B). For each label: how often it is found, how
often it is true where it is said, and whether its score tells samples that have it from those that have
not (area under the ROC curve, DeLong et al. 1988). And the outputs are renamed as fits one half of the
samples best (Kuhn 1955): if that helps on the other half, labels are mixed up. Labels of one sample are no
independent samples: intervals are over samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, pack
from audit.outputs import answered
from audit.record import Core, Figure, Guidance, Metric, Severity, Table
from audit.subject import Subject
from audit.words import amount, number, share, span

# Of a label that is rare a sound model may say less than half; that it finds none is another thing.
FOUND: tuple[tuple[float, Severity], ...] = ((0.5, "medium"), (0.1, "high"))
MOST_SHOWN = 40  # labels in the figure; the table holds all


class Multilabel(Check):
    """How often are the labels of a sample right?"""

    id: ClassVar[str] = "performance.multilabel"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "How often are the labels of a sample right?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("several_labels")

    def examine(self, context: Context) -> Measurement:
        subject, answers = context.subject, context.answers()
        y = subject.labels.numpy().astype(bool)
        scored = answered(answers).numpy()
        said = (answers > 0).numpy() & scored[:, None]
        right = (said == y) & scored[:, None]
        clusters = context.clusters()
        n, k = y.shape
        constant = y.mean(0) > 0.5
        labels_right = statistics.mean(
            "label_accuracy", right.mean(1), clusters=clusters, direction="higher", edges=(0, 1)
        )
        gain = statistics.mean(
            "gain_over_constant",
            right.mean(1) - (constant[None] == y).mean(1),
            clusters=clusters,
            direction="higher",
            edges=(-1, 1),
        )
        exact = statistics.proportion("exact_match", right.all(1), clusters=clusters)
        scores = f1(said, y, clusters, context.seed)
        z = answers.double().numpy()
        told = [
            told_apart(name, z[:, i], y[:, i], scored, clusters)
            for i, name in enumerate(subject.classes)
        ]
        lost = f" {(~scored).sum():,} answers are NaN or infinite, and count as wrong." * bool(
            (~scored).any()
        )
        tags = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]
        return Measurement(
            answer=f"Of the {k:,} labels of a sample {share(float(labels_right.value or 0))} are right "
            f"({share(labels_right.low or 0.0)}–{share(labels_right.high or 1.0)}; {n:,} samples); a "
            f"constant answer has {share(float((constant[None] == y).mean()))} right. Micro F1 is "
            f"{number(scores[0].value)} ({span(scores[0].low, scores[0].high)}), macro F1 "
            f"{number(scores[1].value)} ({span(scores[1].low, scores[1].high)}). Every label is right "
            f"on {amount(exact)} of the samples.{lost}",
            metrics=[
                labels_right,
                gain,
                renaming_gain(context, said, y),
                exact,
                *scores,
                *told,
                *found(subject.classes, said, y, clusters),
            ],
            tables=[by_label(subject.classes, said, y, told)],
            figures=self.picture(told),
            per_unit=[pack("exact_match", right.all(1))],
            guidance={
                "gain_over_constant": Guidance(
                    title="The model is hardly better than a constant answer",
                    what_happened="Saying of each label whatever is more frequent is right on "
                    f"{share(float((constant[None] == y).mean()))} of the labels; the model gains "
                    "{value} over that ({low} to {high}).",
                    why_it_matters="A model that does not beat a constant has learnt nothing that its "
                    "users could rely on.",
                    what_to_do="Check that the labels stand in the order of the model's outputs, and "
                    "that preprocessing matches the training; for rare labels look at macro F1.",
                    tags=tags,
                ),
                "renaming_gain": Guidance(
                    title="Labels are mixed up between the model and the data",
                    what_happened="With its outputs renamed {value} more of a sample's labels would be "
                    "right ({low} to {high}), on samples that the renaming was not fitted to.",
                    why_it_matters="The model may know its task, and says the wrong names.",
                    what_to_do="Compare the order of the labels in training and in the data.",
                    tags=tags,
                ),
                "recall": Guidance(
                    title="The model misses most of a label: {slice}",
                    what_happened="Of the samples with the {slice} it finds {value} ({low} to {high}; "
                    "n = {n}); the bound is {bound}.",
                    why_it_matters="A good share of right labels hides it: most samples lack a rare label.",
                    what_to_do="Lower that label's threshold, weigh its loss, or add examples.",
                    tags=tags,
                ),
                "auroc": Guidance(
                    title="The model does not tell a label: {slice}",
                    what_happened="A sample with the {slice} scores higher than one without it in "
                    "{value} of all pairs ({low} to {high}; n = {n}); 0.5 is chance.",
                    why_it_matters="Whatever is said of that label is a guess.",
                    what_to_do="Check that label's examples and its place among the outputs; add "
                    "examples where it is rare.",
                    tags=tags,
                ),
            },
        )

    def picture(self, told: list[Metric]) -> list[Figure]:
        shown = sorted((m for m in told if m.low is not None), key=lambda m: float(m.value or 0))
        if not shown:
            return []
        of = f" The lowest {MOST_SHOWN} of {len(shown):,} labels." * (len(shown) > MOST_SHOWN)
        rows = [
            {"label": str(m.slice["label"]), "value": m.value, "low": m.low, "high": m.high}
            for m in shown[:MOST_SHOWN]
        ]
        return [
            figures.intervals(
                rows,
                value="area under the ROC curve",
                domain=(0, 1),
                title="How well each label is told",
                caption="Area under the ROC curve with 95 % intervals, 0.5 is chance. Lowest: "
                f"{rows[0]['label']} {number(shown[0].value)}.{of}",
            )
        ]

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="gain_over_constant", op=">=", bound=0.0, severity="high"),
            Expectation(
                metric="auroc",
                slice={"label": "*"},
                op="not_shown_below",
                bound=0.5,
                severity="medium",
            ),
            Expectation(metric="renaming_gain", op="not_shown_above", bound=0.02, severity="high"),
            *(
                Expectation(
                    metric="recall",
                    slice={"label": "*"},
                    op="not_shown_below",
                    bound=bound,
                    severity=severity,
                )
                for bound, severity in FOUND
            ),
        ]


def found(
    names: Sequence[str],
    said: NDArray[np.bool_],
    y: NDArray[np.bool_],
    clusters: NDArray[Any] | None,
) -> list[Metric]:
    """Of the samples that have each label, on how many it is said."""
    return [
        statistics.proportion(
            "recall",
            said[y[:, i], i],
            slice={"label": name},
            clusters=None if clusters is None else clusters[y[:, i]],
        )
        for i, name in enumerate(names)
    ]


def renaming_gain(context: Context, said: NDArray[np.bool_], y: NDArray[np.bool_]) -> Metric:
    """What other names for the outputs would gain in right labels, fitted on the other half."""
    first = np.random.default_rng(context.seed).permutation(len(y)) % 2 == 0
    gains = np.zeros(len(y))
    for half in (first, ~first):
        own, true = said[half].astype(float), y[half].astype(float)
        alike = own.T @ true + (1 - own).T @ (1 - true)  # [answered, true]
        _, names = linear_sum_assignment(alike + 1e-3 * np.eye(y.shape[1]), maximize=True)
        # Output i is called after label names[i].
        renamed = (said[~half] == y[~half][:, names]).mean(1)
        gains[~half] = renamed - (said[~half] == y[~half]).mean(1)
    return statistics.mean(
        "renaming_gain", gains, clusters=context.clusters(), direction="lower", edges=(-1, 1)
    )


def told_apart(
    name: str,
    z: NDArray[np.float64],
    y: NDArray[np.bool_],
    scored: NDArray[np.bool_],
    clusters: NDArray[Any] | None,
) -> Metric:
    """How well the scores [n] of a label tell samples that have it."""
    has, has_not = y & scored, ~y & scored
    found = statistics.auroc(
        "auroc",
        z[has],
        z[has_not],
        clusters=None if clusters is None else (clusters[has], clusters[has_not]),
    )
    return found.model_copy(update={"slice": {"label": name}})


def f1(
    said: NDArray[np.bool_], y: NDArray[np.bool_], clusters: NDArray[Any] | None, seed: int
) -> list[Metric]:
    """Micro and macro F1 of what is said [n, labels] of what is so [n, labels]."""
    hits, calls = (said & y).astype(float), said.astype(float) + y

    def counted(index: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = np.stack([np.bincount(row, minlength=len(y)) for row in index]).astype(float)
        return weights @ hits, weights @ calls

    def micro(index: NDArray[np.intp]) -> NDArray[np.float64]:
        found, called = counted(index)
        with np.errstate(invalid="ignore"):
            return np.asarray(2 * found.sum(1) / called.sum(1))

    def macro(index: NDArray[np.intp]) -> NDArray[np.float64]:
        found, called = counted(index)
        known = called > 0
        return np.asarray(
            np.where(known, 2 * found / np.where(known, called, 1), 0).sum(1)
            / np.maximum(known.sum(1), 1)
        )

    return [
        statistics.bootstrap(name, of, len(y), clusters=clusters, seed=seed, draws=1000)
        for name, of in (("micro_f1", micro), ("macro_f1", macro))
    ]


def by_label(
    classes: Sequence[str], said: NDArray[np.bool_], y: NDArray[np.bool_], told: Sequence[Metric]
) -> Table:
    """How often each label is found, and true where it is said.

    Args:
        said, y: [n, labels]. told: how well its scores tell each label.
    """
    hits = said & y
    return Table(
        title="By label",
        columns=["label", "n with it", "found", "true where said", "F1", "AUROC"],
        rows=[
            [
                name,
                int(y[:, i].sum()),
                ratio(hits[:, i].sum(), y[:, i].sum()),
                ratio(hits[:, i].sum(), said[:, i].sum()),
                ratio(2 * hits[:, i].sum(), said[:, i].sum() + y[:, i].sum()),
                told[i].value,
            ]
            for i, name in enumerate(classes)
        ],
    )


def ratio(part: float, whole: float) -> float | None:
    """A share; None of nothing."""
    return float(part / whole) if whole else None
