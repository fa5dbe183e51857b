"""Does the model survive eight-bit arithmetic?

Weights of linear, convolutional and recurrent layers rounded to int8 with one scale a tensor, inputs
of linear and convolutional layers to uint8 with one scale a batch: the arithmetic of dynamic
quantisation (Jacob et al. 2018; Krishnamoorthi 2018), simulated in floating point, so that the result
does not hang on a machine's kernels. On the same samples: the paired loss of accuracy (for values: of
minus the absolute error in standard deviations) with Tango's score interval (Student t for values)
and McNemar's exact test, and how many answers change.

Planted and looked for (`benchmarks/detection`): one unit with weights 300 times too large is found
in 10 of 10 seeds, 100 times in 2, 30 times in none. No false alarm on 100 clean models (at most
3.7 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from audit import statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.methods.quantisation import quantisable
from audit.producers.quantisation import predict_int8
from audit.record import Guidance
from audit.subject import Subject
from audit.words import amount, number, span


class Quantisation(Check):
    """Does the model survive eight-bit arithmetic?"""

    id: ClassVar[str] = "deployment.quantisation"
    causes: ClassVar[dict[str, str]] = {"*": "deployment.quantisation"}
    title: ClassVar[str] = "Does the model survive eight-bit arithmetic?"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 500},
        "deep": {"samples": 20000},
    }

    samples: int = Field(default=2000, ge=20)

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        if not quantisable(subject.core):
            raise NotApplicable("the network has no linear, convolutional or recurrent layer")

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=min(self.samples, subject.n))

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels[chosen]
        float_ = context.answers(chosen)
        int8 = context.evidence(predict_int8, chosen)["logits"]
        before, after = (subject.task.quality_of(subject, z, y).numpy() for z in (float_, int8))
        loss = statistics.mean(
            "loss",
            before - after,
            clusters=clusters,
            direction="lower",
            **subject.task.quality_change,
        )
        flips = statistics.proportion(
            "answers_changed",
            subject.task.changed(subject, float_, int8).numpy(),
            clusters=clusters,
            direction="lower",
        )
        test = ""
        if subject.task.decides:
            lost, gained, p = statistics.mcnemar(before, after)
            test = f" {lost} right answers are lost and {gained} gained (McNemar p = {number(p)})."
        return Measurement(
            answer=f"In eight bits the model loses {number(loss.value)} "
            f"({span(loss.low, loss.high)}); {amount(flips)} of {len(chosen):,} answers "
            f"change.{test}",
            metrics=[loss, flips],
            guidance={
                "loss": Guidance(
                    title="The model does not survive eight-bit arithmetic",
                    what_happened="Quantised to int8 it loses {value} ({low} to {high}); the bound "
                    "is {bound}.",
                    why_it_matters="On a phone or a small board it would be another, worse model "
                    "than the one audited here.",
                    what_to_do="Look for weights far out in a layer; use one scale a channel, clip or "
                    "equalise outliers, or train with quantisation in the loop.",
                    tags=["NIST AI RMF MEASURE 2.5"],
                ),
                "answers_changed": Guidance(
                    title="Eight-bit arithmetic changes answers",
                    what_happened="{value} of {n} answers change ({low} to {high}); the bound is "
                    "{bound}.",
                    why_it_matters="Even where accuracy holds, single people get another answer than "
                    "the audited model would give.",
                    what_to_do="Audit the quantised model itself before it is deployed.",
                    tags=["NIST AI RMF MEASURE 2.5"],
                ),
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="loss", op="not_shown_above", bound=0.02, severity="high"),
            Expectation(
                metric="answers_changed", op="not_shown_above", bound=0.05, severity="medium"
            ),
        ]
