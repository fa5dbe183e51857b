"""What the attribution checks share: whether an explanation can be believed. No check itself.

A picture that looks right proves nothing: an edge detector makes one too. So every method must
change when the model's weights are drawn anew (Adebayo et al. 2018; signed maps, whose correlation
hides nothing), tell what matters better than a map made without the model, and, where it promises
to, account for the whole answer.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.methods.screening import players
from audit.record import Explained, Figure, Guidance, Metric, State, Table, Validity
from audit.subject import Subject
from audit.words import number, share, span

RANDOMISATION_SEED = 1
SIMILAR = 0.5
COMPLETE_WITHIN = 0.05
# Forward passes for a sample: parts put in and taken out by the explanation and by the map without the
# model, the ends between them, and the answer that is explained, of the model and of the random one.
TRUST_TESTS = 2 * 2 * 7 + 2 + 2
COMPLETE_SHARE = 0.9
MOST_FEATURES = 30
FEWEST, SHOWN = 8, 4  # samples that every method is asked of at least, and that the report shows
TAGS = ["NIST AI RMF MEASURE 2.9", "EU AI Act Article 13"]


class Attribution(Check):
    """An attribution method. A subclass says which producer of `audit.producers.attributions`."""

    samples: int = Field(default=64, ge=8, description="how many samples are explained")
    output: str = Field(
        default="",
        description="of an answer of several values, the one that is explained, by its name; that whose "
        "labels are spread widest, unless said",
    )

    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 16},
        "deep": {"samples": 256},
    }
    name: ClassVar[str]
    promises_completeness: ClassVar[bool] = False

    def applies(self, subject: Subject) -> None:
        subject.require("judged", labels=False)
        subject.require_continuous_inputs()

    @abstractmethod
    def attribute(
        self, context: Context, samples: NDArray[np.intp], randomised: int
    ) -> dict[str, Any]:
        """Evidence: players [n, players], and map, error, fidelity, gain where there are."""

    def own_metrics(self, found: dict[str, Any], context: Context) -> list[Metric]:
        """Metrics that only this method has."""
        return []

    def examine(self, context: Context) -> Measurement:
        chosen = context.samples(self.samples)
        clusters = context.clusters(chosen)
        found = self.attribute(context, chosen, 0)
        other = self.attribute(context, chosen, RANDOMISATION_SEED)
        field = "map" if "map" in found else "players"
        alike, undefined = rank_correlation(
            found[field].flatten(1).numpy(), other[field].flatten(1).numpy()
        )
        similarity = statistics.mean(
            "randomisation_similarity", alike, clusters=clusters, direction="lower", edges=(-1, 1)
        )
        advantage = statistics.mean(
            "gain_over_model_free",
            (found["gain"] - found["model_free_gain"]).numpy(),
            clusters=clusters,
            direction="higher",
            edges=(-2, 2),
        )
        gain = statistics.mean(
            "insertion_minus_deletion",
            found["gain"].numpy(),
            clusters=clusters,
            direction="higher",
            edges=(-1, 1),
        )
        metrics = [similarity, gain, advantage, *self.own_metrics(found, context)]
        validity = [self.changes(similarity, undefined, len(chosen)), self.beats(advantage, found)]
        if self.promises_completeness:
            errors, must = found["error"].numpy(), self.complete()
            complete = statistics.proportion(
                "complete_share", errors <= COMPLETE_WITHIN, clusters=clusters
            )
            metrics.append(complete)
            validity.insert(
                0,
                Validity(
                    name="completeness",
                    passed=decided(complete, must, above=True),
                    detail=f"the parts add up to the answer within {share(COMPLETE_WITHIN)} on "
                    f"{share(float(complete.value or 0))} of {len(chosen)} samples "
                    f"({share(must)} must; median error {number(float(np.median(errors)))})",
                    metrics=["importance"],
                ),
            )
        importance, tables, pictures = self.shown(context, chosen, found, other)
        metrics += importance
        answer = (
            f"{self.lead(context, found)} With random weights in the model its maps correlate by "
            f"{number(similarity.value)} ({span(similarity.low, similarity.high)}) with the real ones; "
            f"n = {len(chosen)}."
        )
        return Measurement(
            answer=answer,
            metrics=metrics,
            validity=validity,
            tables=tables,
            figures=pictures,
            explained=self.gallery(context, chosen, found),
            guidance={name: self.advice(name) for name in ADVICE},
            conclusions=CONCLUSIONS,
        )

    def complete(self) -> float:
        """The share of samples on which the parts must add up to the answer, as so many can show it.

        Of what the check asks for: data that hold fewer samples leave it undecided.
        """
        return statistics.decidable(COMPLETE_SHARE, self.samples)

    def changes(self, similarity: Metric, undefined: int, n: int) -> Validity:
        constant = f"; {undefined} constant maps count as 0" if undefined else ""
        return Validity(
            name="weights randomised",
            passed=decided(similarity, SIMILAR, above=False),
            detail=f"signed rank correlation with the maps of a model with random weights "
            f"{number(similarity.value)} ({span(similarity.low, similarity.high)}, at "
            f"most {SIMILAR} may be){constant}",
            metrics=["importance"],
        )

    def beats(self, advantage: Metric, found: dict[str, Any]) -> Validity:
        free = float(found["model_free_gain"].mean())
        return Validity(
            name="better than without the model",
            passed=decided(advantage, 0.0, above=True),
            detail="insertion minus deletion exceeds that of a map of how unusual each part is "
            f"({number(free)}) by {number(advantage.value)} ({span(advantage.low, advantage.high)}"
            f"; must exceed 0)",
            metrics=["importance"],
        )

    def lead(self, context: Context, found: dict[str, Any]) -> str:
        parts = players(context.subject)
        if parts.grid is None:
            order = np.argsort(-found["players"].abs().mean(0).numpy())[:3]
            names = ", ".join(parts.names[i] for i in order)
            return (
                f"{self.name} says that {names} move {self.explained(context, 'the answers')} most."
            )
        each = self.explained(context, "each answer")
        return f"{self.name} explains {each} by {parts.count} parts of the input."

    def explained(self, context: Context, whole: str) -> str:
        """What is explained: of several values, which."""
        return context.subject.task.explained_name(context.subject, self.output) or whole

    def shown(
        self,
        context: Context,
        chosen: NDArray[np.intp],
        found: dict[str, Any],
        other: dict[str, Any],
    ) -> tuple[list[Metric], list[Table], list[Figure]]:
        """Importance of named features, or pictures of a few samples."""
        subject = context.subject
        parts = players(subject)
        clusters = context.clusters(chosen)
        if parts.grid is None:
            strength = np.abs(found["players"].numpy())
            unit = subject.task.explained_unit
            order = np.argsort(-strength.mean(0))[:MOST_FEATURES]
            metrics = [
                statistics.mean(
                    "importance",
                    strength[:, i],
                    clusters=clusters,
                    slice={"feature": parts.names[i]},
                    unit=unit,
                )
                for i in order
            ]
            rows = [
                {"label": str(m.slice["feature"]), "value": m.value, "low": m.low, "high": m.high}
                for m in metrics
                if m.value is not None
            ]
            title = "How much each feature moves the answer"
            caption = (
                f"Mean absolute attribution by {self.name} over {len(chosen)} samples, in {unit}, "
                f"with 95 % intervals; {rows[0]['label']} first, {rows[-1]['label']} last."
            )
            return (
                metrics,
                [],
                [
                    figures.intervals(
                        rows,
                        value=f"mean absolute attribution ({unit})",
                        title=title,
                        caption=caption,
                        domain=None,
                    )
                ],
            )
        if not context.examples:
            return [], [], []
        return [], [], [self.pictures(context, chosen, found, other)]

    def pictures(
        self,
        context: Context,
        chosen: NDArray[np.intp],
        found: dict[str, Any],
        other: dict[str, Any],
    ) -> Figure:
        subject = context.subject
        sheet, said = [], []
        low, high = subject.range or (0.0, 1.0)
        for i in range(min(4, len(chosen))):
            x = subject.inputs[chosen[i]].float().numpy()
            sheet.append(
                [
                    figures.grey_or_rgb(subject.kind.tile(subject, x), low, high),
                    figures.signed_colours(self.drawn(subject, found, i)),
                    figures.signed_colours(self.drawn(subject, other, i)),
                ]
            )
            if told := subject.task.told_target(subject, int(found["target"][i])):
                said.append(told)
        axes = f" {subject.kind.axes}" if subject.kind.axes else ""
        return figures.tiles(
            sheet,
            title="Input, explanation, explanation of a model with random weights",
            caption=f"{len(sheet)} samples, one a row{', answered ' if said else ''}"
            f"{', '.join(said)}. Orange speaks for the answer, blue against it. The last two columns "
            f"must differ.{axes}",
        )

    def gallery(
        self, context: Context, chosen: NDArray[np.intp], found: dict[str, Any]
    ) -> list[Explained]:
        """A few samples and their maps: the same samples whatever the method."""
        subject = context.subject
        if not context.examples or players(subject).grid is None:
            return []
        low, high = subject.range or (0.0, 1.0)
        place = {int(sample): i for i, sample in enumerate(chosen)}
        shown = []
        for sample, said in telling(context):
            if (i := place.get(sample)) is None:
                continue
            x = subject.inputs[sample].float().numpy()
            told = subject.task.told_target(subject, int(found["target"][i]))
            shown.append(
                Explained(
                    sample=sample,
                    said=", ".join(filter(None, (told, said))),
                    input=figures.picture(
                        figures.grey_or_rgb(subject.kind.tile(subject, x), low, high)
                    ),
                    map=figures.picture(figures.signed_colours(self.drawn(subject, found, i))),
                )
            )
        return shown

    def drawn(self, subject: Subject, found: dict[str, Any], i: int) -> NDArray[np.float64]:
        """[h, w] of one sample's map."""
        if "map" not in found:
            parts = subject.kind.parts(subject)
            assert parts.grid is not None
            values = found["players"][i].numpy().reshape(parts.grid)
            return np.asarray(subject.kind.drawn_map(subject, values))
        return np.asarray(subject.kind.drawn_map(subject, found["map"][i].numpy()))

    def advice(self, name: str) -> Guidance:
        title, what = ADVICE[name]
        return Guidance(
            title=title.format(self.name),
            what_happened=what,
            why_it_matters="A person who is shown such an explanation trusts something that is not "
            "about this model.",
            what_to_do="Show another method's explanation whose tests hold, or none.",
            tags=TAGS,
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        wanted = [
            Expectation(
                metric="randomisation_similarity",
                op="not_shown_above",
                bound=SIMILAR,
                severity="info",
            ),
            Expectation(
                metric="gain_over_model_free", op="not_shown_below", bound=0.0, severity="info"
            ),
        ]
        if self.promises_completeness:
            wanted.append(
                Expectation(
                    metric="complete_share",
                    op="not_shown_below",
                    bound=self.complete(),
                    severity="info",
                )
            )
        return wanted


def telling(context: Context) -> list[tuple[int, str]]:
    """(sample, how sure and right its answer is) of few: the surest, the least sure, and one that is wrong.

    They are drawn from the samples that every method is asked of, however few it is asked.
    """
    subject, few = context.subject, context.samples(FEWEST)
    answers = context.answers(few)
    if not subject.task.decides or subject.labels is None or answers.ndim != 2:
        return [(int(sample), "") for sample in few[:SHOWN]]
    sure = answers.double().softmax(1).amax(1).numpy()
    right = subject.task.good_before(subject, answers, subject.labels[few])
    order = sorted(range(len(few)), key=lambda i: (bool(right[i]), -float(sure[i])))
    picked = dict.fromkeys([order[-1], *reversed(order[:2]), *order[::-1]])
    return [
        (int(few[i]), f"{share(float(sure[i]))} sure, {'right' if right[i] else 'wrong'}")
        for i in list(picked)[:SHOWN]
    ]


ADVICE = {
    "randomisation_similarity": (
        "The explanations by {} hardly depend on the model",
        "With the weights drawn anew the maps still correlate by {value} ({low} to {high}) with the "
        "real ones; the bound is {bound}.",
    ),
    "gain_over_model_free": (
        "The explanations by {} are no better than a map made without the model",
        "Ranking the parts by them beats ranking them by how unusual they are by {value} ({low} to "
        "{high}); the bound is {bound}.",
    ),
    "complete_share": (
        "The explanations by {} do not add up to the answer",
        "The parts add up on {value} of the samples ({low} to {high}); the bound is {bound}.",
    ),
}


CONCLUSIONS: dict[State, str] = {
    "met": "This explanation passed all reliability tests.",
    "failed": "Do not rely on this explanation: it failed on {failed}.",
    "undecided": "Whether this explanation is reliable is undecided: more samples are needed for "
    "{undecided}.",
}


def decided(metric: Metric, bound: float, *, above: bool) -> bool | None:
    """Is the whole interval on the right side of the bound? None where it straddles it.

    The rule of the expectations on the same numbers: evidence and state cannot disagree.
    """
    if metric.low is None or metric.high is None:
        return None
    if metric.low >= bound if above else metric.high <= bound:
        return True
    return False if (metric.high < bound if above else metric.low > bound) else None


def rank_correlation(
    a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], int]:
    """Spearman correlation of each row of `a` with that of `b`, signed.

    Returns:
        ([n], 0 where a map is constant; how many are).
    """
    from scipy.stats import rankdata

    ranks = [rankdata(m, axis=1) for m in (a, b)]
    centred = [r - r.mean(1, keepdims=True) for r in ranks]
    norm = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result = (centred[0] * centred[1]).sum(1) / norm
    constant = norm == 0
    result[constant] = 0.0
    return result, int(constant.sum())
