"""How well does the model predict the next token?

The mean negative log-probability of the tokens that do come next (cross entropy, in nats), its exponential
(perplexity: Jelinek et al. 1977), and how often the likeliest token is the one that comes, held against
the frequencies of single tokens: those of the training texts where they are given, else of the texts
themselves, which only makes them harder to beat. And the same at the first,
the middle and the last third of the texts: positions that were never trained are answered at random.
Tokens of one text are not independent: intervals are over texts.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.record import Core, Guidance, Metric, Slice
from audit.subject import Subject
from audit.words import amount, number, span

LEAST = 0.01  # nats by which the frequencies must be beaten: to repeat them is no gain
THIRDS = ("first", "middle", "last")
TAGS = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]


class NextToken(Check):
    """How well does the model predict the next token?"""

    id: ClassVar[str] = "performance.next_token"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "How well does the model predict the next token?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("predicts_next")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        odds = context.answers().double().numpy()  # [n, 2, t − 1]
        judged = subject.labels.numpy() >= 0
        row, at = judged.nonzero()
        own, other = odds[:, 0][judged], odds[:, 1][judged]
        lost = ~np.isfinite(own)
        surprise = np.where(lost, np.nanmax(np.where(lost, np.nan, -own), initial=0.0), -own)
        after = subject.inputs[:, 1:].numpy()[judged]
        plain = -np.log(frequencies(context)[after])
        clusters = context.clusters()
        groups = row if clusters is None else clusters[row]

        def mean(
            name: str, values: NDArray[np.float64], kept: NDArray[np.bool_], where: Slice
        ) -> Metric:
            return statistics.mean(
                name,
                values[kept],
                clusters=groups[kept],
                direction="lower" if name == "cross_entropy" else "higher",
                unit="nats",
                slice=where,
            )

        everything = np.ones(len(own), dtype=bool)
        entropy = mean("cross_entropy", surprise, everything, {})
        gain = mean("gain_over_frequencies", plain - surprise, everything, {})
        accuracy = statistics.proportion("accuracy", (own > other) & ~lost, clusters=groups)
        third = np.minimum(3 * at // judged.sum(1).clip(1)[row], 2)
        parts = [
            mean(what, values, third == i, {"third": name})
            for what, values in (
                ("cross_entropy", surprise),
                ("gain_over_frequencies", plain - surprise),
            )
            for i, name in enumerate(THIRDS)
            if (third == i).any()
        ]
        ends = [
            np.exp(v) if v is not None else None for v in (entropy.value, entropy.low, entropy.high)
        ]
        said = (
            f" {lost.sum():,} answers are NaN or infinite, and count as the worst."
            if lost.any()
            else ""
        )
        return Measurement(
            answer=f"The perplexity is {number(ends[0])} ({span(ends[1], ends[2])}; {len(own):,} tokens of "
            f"{subject.n:,} texts); the likeliest token is the one that comes in {amount(accuracy)}. "
            f"Knowing only how frequent each token is has a perplexity of "
            f"{number(float(np.exp(plain.mean())))}.{said}",
            metrics=context.resting(
                [
                    entropy,
                    gain,
                    accuracy,
                    entropy.model_copy(
                        update={
                            "name": "perplexity",
                            "value": ends[0],
                            "low": ends[1],
                            "high": ends[2],
                            "unit": "",
                            "estimator": "exponential of the cross entropy and of the ends of its interval",
                        }
                    ),
                    *parts,
                ],
                groups,
            ),
            guidance={
                "gain_over_frequencies": Guidance(
                    title="The model is hardly better than the frequencies of tokens",
                    what_happened="Each token is {value} less surprising to it ({low} to {high}) than to who "
                    "only knows how frequent tokens are.",
                    why_it_matters="A model that does not beat them has learnt no language.",
                    what_to_do="Check that the tokens are numbered as in training, and that the model's "
                    "scores at a token are for the next one.",
                    tags=TAGS,
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="gain_over_frequencies", op=">=", bound=LEAST, severity="high"),
            Expectation(
                metric="gain_over_frequencies",
                slice={"third": "*"},
                op="not_shown_below",
                bound=LEAST,
                severity="high",
            ),
        ]


def frequencies(context: Context) -> NDArray[np.float64]:
    """[vocabulary] share of each token among those that come next, each counted once more (Laplace)."""
    subject = context.subject
    texts = subject.training if subject.training_n else subject.samples
    size = int(max(texts.inputs.max(), subject.inputs.max())) + 1
    due = texts.inputs[:, 1:].numpy()
    if texts.labels is not None:  # padding is nobody's next token
        due = due[texts.labels.numpy() >= 0]
    counts = np.bincount(due.ravel(), minlength=size) + 1.0
    return np.asarray(counts / counts.sum())
