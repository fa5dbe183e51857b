"""Can somebody tell who was in the training data?

A membership inference attack that needs no more than the model's answer and the true label: the
log-odds of the true class (Carlini et al. 2022, section V; for values, minus the absolute error), held
against one threshold for all (Yeom et al. 2018). Members are training samples, non-members the
evaluation samples. The area under the ROC curve has DeLong's interval; the share of members found at
1 % false accusations says what an accuser who must be sure could do (Carlini et al. 2022, section
IV), its interval with the threshold's uncertainty: few non-members do not tell where 1 % lies. It is a
lower bound: an attacker with shadow models finds more.

That says something of the model only where members and non-members are alike without it: somebody who
never asks the model, and sees the inputs alone, must not tell them apart (Das et al. 2024, blind
baselines; Meeus et al. 2024). Where such a guesser does (columns swapped, features shifted, another
year), nothing is concluded. Forecasts are rightly tried on a later time: there it is not asked then.

Planted and looked for (`benchmarks/detection`): a network that has learnt 40 % of random labels by
heart is found in 6 of 6 seeds, 30 % in 3, 20 % in 1, 10 % in none. No false alarm on 20 clean models
(at most 16.1 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.record import Figure, Guidance, Metric, Validity
from audit.scores import log_odds
from audit.subject import Subject
from audit.words import amount, number, share, span

MOST_VALUES = 4096  # of a sample, drawn at random, that it sees
MOST_ROWS = 1000  # of each kind, that a guesser without the model learns from and is tried on
RATES = (0.01, 0.05, 0.1, 0.2, 0.5)


class Membership(Check):
    """Can somebody tell who was in the training data?"""

    id: ClassVar[str] = "privacy.membership"
    causes: ClassVar[dict[str, str]] = {"*": "privacy.membership"}
    title: ClassVar[str] = "Can somebody tell who was in the training data?"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {"deep": {"samples": 20000}}
    explained_by: ClassVar[tuple[str, ...]] = (
        "behaviour.input_scale",
        "performance.classification",
        "generalisation.gap",
    )

    samples: int = Field(default=2000, ge=50, description="training samples, at most")

    def applies(self, subject: Subject) -> None:
        subject.require("supervised")
        subject.require_training_data()

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=min(self.samples, subject.training_n))

    def examine(self, context: Context) -> Measurement:
        likeness = alike(context, self.samples)
        if context.subject.task.forecasts and likeness.passed is False:
            raise NotApplicable(
                "training and evaluation samples are told apart without the model, as those of another "
                "time are"
            )
        members = self.score(context.subject, *context.training_answers(self.samples))
        others = self.score(context.subject, context.answers(), context.subject.labels)
        area = statistics.auroc("membership_auc", members, others, direction="lower")
        metrics, rows = [area], []
        for rate in RATES:
            metric = found_at(members, others, rate)
            metrics.append(metric)
            rows.append(
                {
                    "false positive rate": rate,
                    "members found": metric.value,
                    "low": metric.low,
                    "high": metric.high,
                    "series": "measured",
                }
            )
            rows.append(
                {
                    "false positive rate": rate,
                    "members found": rate,
                    "low": rate,
                    "high": rate,
                    "series": "by guessing",
                }
            )
        sure = metrics[1]
        why = (
            "Whether a person's record was used can itself be a secret (a clinic's patients), and "
            "what can be recognised can often be extracted."
        )
        todo = (
            "Train for less time or with more regularisation; where a guarantee is needed, with "
            "differential privacy (Abadi et al. 2016)."
        )
        tags = ["MITRE ATLAS AML.T0024.000", "NIST AI RMF MEASURE 2.10", "GDPR Article 5"]
        return Measurement(
            answer=f"A training sample looks more familiar than a new one in "
            f"{share(float(area.value or 0))} of all pairs (chance: 50 %); somebody who may accuse "
            f"1 % wrongly finds {amount(sure)} of {sure.n:,} members.",
            metrics=metrics,
            validity=[likeness],
            figures=drawn(rows, metrics),
            guidance=advice(area, why, todo, tags),
        )

    def score(self, subject: Subject, logits: Tensor, y: Tensor) -> NDArray[np.float64]:
        """[n] how familiar each sample is."""
        if not subject.task.has_classes:
            return subject.task.quality_of(subject, logits, y).numpy()
        answers, true, sample = subject.task.flat(logits.double(), y)
        odds, counts = torch.zeros(len(y), dtype=torch.double), sample.bincount(minlength=len(y))
        return (odds.index_add_(0, sample, log_odds(answers, true)) / counts).numpy()

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="membership_auc", op="not_shown_above", bound=0.6, severity="medium"
            ),
            Expectation(metric="membership_auc", op="not_shown_above", bound=0.7, severity="high"),
            Expectation(
                metric="members_found",
                slice={"false_positive_rate": 0.01},
                op="not_shown_above",
                bound=0.1,
                severity="high",
            ),
        ]


def advice(area: Metric, why: str, todo: str, tags: list[str]) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "membership_auc": Guidance(
            title="The model gives away who was in its training data",
            what_happened=f"The area under the ROC curve is {number(area.value)} "
            f"({span(area.low, area.high)}); 0.5 is chance, the bound {{bound}}.",
            why_it_matters=why,
            what_to_do=todo,
            tags=tags,
        ),
        "members_found": Guidance(
            title="Some people can be said with confidence to be in the training data",
            what_happened="For {slice}, {value} of {n} members are found ({low} to {high}); "
            "the bound is {bound}.",
            why_it_matters=why,
            what_to_do=todo,
            tags=tags,
        ),
    }


def drawn(rows: list[dict[str, Any]], metrics: list[Metric]) -> list[Figure]:
    """Members found against false accusations."""
    return [
        figures.curve(
            rows,
            x="false positive rate",
            y="members found",
            series="series",
            title="Members found, against false accusations",
            caption="Share of members found: "
            + ", ".join(
                f"{share(m.value or 0)} at {share(r)}"
                for m, r in zip(metrics[1:], RATES, strict=True)
            )
            + " false accusations.",
        )
    ]


def found_at(members: NDArray[np.float64], others: NDArray[np.float64], rate: float) -> Metric:
    """The share of members above the threshold that a share `rate` of the others exceeds.

    The threshold is an order statistic of the others: the interval takes it at both ends of what it
    may be, each with half of the level (Bonferroni), and Wilson's interval there.
    """
    ordered, n = np.sort(others), len(others)

    def share_above(at: float) -> float:
        return float((members > at).sum())

    point = share_above(float(np.quantile(others, 1 - rate, method="higher")))
    from scipy.stats import beta

    ranks = np.arange(n)  # of ordered[i], a share Beta(n - i, i + 1) of all others lies above
    quantiles = {}
    for q in statistics.QUANTILES:
        tail = min(q, 1 - q) / 2 if q != 0.5 else 0.5
        if q == 0.5:
            quantiles[str(q)] = point / len(members)
            continue
        within = beta.cdf(rate, n - ranks, ranks + 1)  # how surely no more than `rate` lies above
        fit = np.flatnonzero(within >= 1 - tail) if q < 0.5 else np.flatnonzero(within > tail)
        if q < 0.5:
            hits = share_above(ordered[fit[0]]) if len(fit) else 0.0
        else:
            hits = (
                share_above(ordered[max(int(fit[0]) - 1, 0)])
                if len(fit)
                else share_above(ordered[-1])
            )
        ends = statistics.wilson(hits, len(members), 1 - 2 * tail)
        quantiles[str(q)] = ends[0] if q < 0.5 else ends[1]
    return Metric(
        name="members_found",
        value=point / len(members),
        low=quantiles["0.025"],
        high=quantiles["0.975"],
        n=len(members),
        direction="lower",
        slice={"false_positive_rate": rate},
        edges=(0, 1),
        estimator="share; Wilson interval at both ends of the threshold's",
        sufficient={"quantiles": {q: round(v, 12) for q, v in quantiles.items()}},
    )


BLIND = 0.6


def halves(clusters: NDArray[Any] | None, n: int) -> NDArray[np.bool_]:
    """[n] half of the samples; whoever comes more than once is in one half alone."""
    order = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    return order % 2 == 0


def alike(context: Context, most: int) -> Validity:
    """Can members be told from others by the inputs alone, without the model?

    A forest tries, and is judged on rows that it has not seen.
    """
    training = context.training
    parts = [(part, part.samples(min(most, MOST_ROWS))) for part in (training, context)]
    width = context.subject.inputs[0].numel()
    drawn = np.random.default_rng(context.seed).permutation(width)[:MOST_VALUES]
    x = [
        part.subject.inputs[rows].flatten(1)[:, np.sort(drawn)].double().numpy()
        for part, rows in parts
    ]
    seen = [halves(part.clusters(rows), len(rows)) for part, rows in parts]
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(60, min_samples_leaf=5, random_state=context.seed)
    forest.fit(
        np.concatenate([rows[s] for rows, s in zip(x, seen, strict=True)]),
        np.repeat([1, 0], [s.sum() for s in seen]),
        np.repeat([1 / s.sum() for s in seen], [s.sum() for s in seen]),
    )
    old, new = (forest.predict_proba(rows[~s])[:, 1] for rows, s in zip(x, seen, strict=True))
    blind = statistics.auroc("blind_auc", old, new)
    return Validity(
        name="members are like others",
        passed=not (blind.low is not None and blind.low > BLIND),
        detail="from the inputs alone, without the model, training and evaluation samples are told apart "
        f"in {share(float(blind.value or 0))} of all pairs ({span(blind.low, blind.high)}; chance: 50 %)",
        doubt="training and evaluation inputs differ",
    )
