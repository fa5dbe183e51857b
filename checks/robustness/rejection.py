"""Would it help to refuse answers with a small margin?

An answer whose logit leads the next by less than a threshold is refused; the threshold refuses a given
share of right unattacked answers, set on half of the samples and measured on the other. The attack knows
of it: Auto-PGD must make another class lead by the threshold (on the cross-entropy and the difference of
logits), so that harm is an answer that is wrong and accepted. Coverage is the share of answers that is
given at all.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.robustness.evasion import TAGS
from audit.checks.robustness.fair_attack import fewer_left, no_zero_gradient, same_answer_twice
from audit.checks.robustness.remedy import Remedy
from audit.errors import NotApplicable
from audit.meta import Number
from audit.producers.attacks import apgd, square
from audit.record import Figure, Guidance, Metric, Slice
from audit.subject import Subject
from audit.threats.threat import default_eps, require_small_change
from audit.words import amount, number, share, span

FEWEST = 20
QUERIES = 100


class Rejection(Check):
    """Would it help to refuse answers with a small margin?"""

    costs_as_declared: ClassVar[bool] = True
    id: ClassVar[str] = "robustness.rejection"
    title: ClassVar[str] = "Would it help to refuse answers with a small margin?"
    kind = "trial"
    remedies: ClassVar[tuple[str, ...]] = Remedy.remedies
    least_profile = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {"deep": {"samples": 1000, "steps": 100}}

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="as of robustness.worst_case"
    )
    refused: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.1, description="share of right unattacked answers that may be refused"
    )
    samples: int = Field(default=200, ge=40)
    steps: int = Field(default=20, ge=2)

    def applies(self, subject: Subject) -> None:
        subject.require("has_probabilities")
        require_small_change(subject, self.eps)

    def size(self, subject: Subject) -> float:
        return default_eps(subject) if self.eps is None else self.eps

    def cost(self, subject: Subject) -> Cost:
        held = min(self.samples, subject.n) // 2  # the other half sets the threshold
        passes = held * self.steps * 2
        return Cost(forward=passes + held * QUERIES, backward=passes)

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        eps = self.size(subject)
        chosen = context.samples(self.samples)
        y = subject.labels.numpy()
        scores = np.sort(context.answers().double().numpy(), axis=1)
        lead = scores[:, -1] - scores[:, -2]
        right = context.predictions().correct
        set_on, held = chosen[::2], chosen[1::2]
        threshold = self.threshold(lead[set_on][right[set_on]])
        clusters = context.clusters(held)
        without, _ = self.harmed(context, held, 0.0)
        with_, flat = self.harmed(context, held, threshold)
        blind = context.evidence(square, held, ["broken"], eps=eps, queries=QUERIES)[
            "broken"
        ].numpy()
        given = lead[held] >= threshold
        # What is wrong and accepted unattacked is harm already.
        with_ |= given & ~right[held]

        def metric(name: str, bits: NDArray[np.bool_], direction: str = "lower") -> Metric:
            where: Slice = {"eps": eps} if name.startswith("harm") else {}
            return statistics.proportion(
                name, bits, clusters=clusters, direction=direction, slice=where
            )

        coverage = metric("coverage", given, "higher")
        before, after = metric("harm_before", without), metric("harm_after", with_)
        gain = statistics.mean(
            "harm_avoided",
            without * 1.0 - with_ * 1.0,
            clusters=clusters,
            direction="higher",
            edges=(-1, 1),
            slice={"eps": eps},
        )
        accepted = statistics.proportion(
            "accuracy_of_answers_given",
            (y[held] == context.predictions().predicted[held])[given],
            clusters=None if clusters is None else clusters[given],
        )
        return Measurement(
            answer=f"Refusing answers that lead by less than {number(threshold)} gives {amount(coverage)} "
            f"of the unattacked answers. An attack that knows of it, within eps {number(eps)}, gets "
            f"{amount(after)} wrong answers accepted instead of {amount(before)} (paired "
            f"{number(gain.value)} fewer, {span(gain.low, gain.high)}), of {len(held)} samples.",
            metrics=[gain, before, after, coverage, accepted],
            figures=[picture(before, after, coverage, accepted)],
            validity=[
                no_zero_gradient(flat[right[held]]),
                fewer_left(
                    "black-box no better",
                    "a search without gradients, nothing refused,",
                    ~without,
                    ~blind,
                ),
                same_answer_twice(context, held),
            ],
            guidance={
                "harm_avoided": Guidance(
                    title="Refusing answers with a small margin does harm",
                    what_happened="{value} ({low} to {high}) fewer wrong answers are accepted.",
                    why_it_matters="A remedy that does not help gives false comfort.",
                    what_to_do="Train with adversarial examples first.",
                    tags=TAGS,
                )
            },
        )

    def threshold(self, leads: NDArray[np.float64]) -> float:
        """The lead that so many of the right unattacked answers fall short of, as may be refused.

        Raises:
            NotApplicable: too few are right.
        """
        if len(leads) < FEWEST:
            raise NotApplicable(f"only {len(leads)} answers are right: no threshold follows")
        return float(np.quantile(leads, self.refused))

    def harmed(
        self, context: Context, held: NDArray[np.intp], threshold: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """[held] can an attack get a wrong answer accepted, and has it no gradient?"""
        broken = np.zeros(len(held), dtype=bool)
        for loss in ("ce", "dlr"):
            found = context.evidence(
                apgd,
                held,
                ["broken", "zero_gradient"],
                eps=self.size(context.subject),
                steps=self.steps,
                loss=loss,
                margin=threshold,
            )
            broken |= found["broken"].numpy()
        return broken, found["zero_gradient"].numpy()

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="harm_avoided",
                slice={"eps": self.size(subject)},
                op="not_shown_below",
                bound=0.0,
                severity="info",
            )
        ]


def picture(before: Metric, after: Metric, coverage: Metric, accepted: Metric) -> Figure:
    """What an attack does with and without refusals, and what they cost."""
    rows = [
        {"label": label, "value": m.value, "low": m.low, "high": m.high}
        for label, m in (
            ("harm, nothing refused", before),
            ("harm, with refusals", after),
            ("answers given", coverage),
            ("right of those", accepted),
        )
    ]
    return figures.intervals(
        rows,
        value="share of samples",
        title="With and without refusals",
        caption="; ".join(f"{r['label']} {share(float(r['value'] or 0))}" for r in rows) + ".",
    )
