"""Does every input get an answer, and always the same?

All samples are asked once more in another order and in smaller batches, and some of them twice in the
same batch. Scores that differ by more than a thousandth of their spread come from something left in
training mode: dropout that draws lots, batch normalisation that looks at the neighbours (Ioffe and
Szegedy 2015, section 3.1), a softmax over the wrong axis, or a random layer. Shares of samples, with
Wilson intervals, as if no two were of one person: what makes an answer change is drawn for each row;
beside them, how many answers change. Answers that hold NaN or infinity are counted
on every row, whatever else is measured: none is an answer, so that one is one too many.

Planted and looked for (`benchmarks/detection`): dropout of 1 % of the inputs that stays on is found
in 6 of 6 seeds, of 0.1 % too. No false alarm on 20 clean models (at most 16.1 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from audit import statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.methods.predictions import in_other_company, repeated
from audit.outputs import answered
from audit.record import Core, Guidance
from audit.subject import Subject
from audit.words import amount

TOLERANCE = 1e-3
WAYS = {"again": "asked again", "company": "in other company"}


class Determinism(Check):
    """Does every input get an answer, and always the same?"""

    id: ClassVar[str] = "behaviour.determinism"
    core: ClassVar[Core] = "stability"
    title: ClassVar[str] = "Does every input get an answer, and always the same?"
    counts_unanswered: ClassVar[bool] = True
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "deep": {"samples": 2000},
    }

    samples: int = Field(default=400, ge=8)

    def applies(self, subject: Subject) -> None:
        subject.require("judged", labels=False)

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=subject.n + 2 * min(self.samples, subject.n))

    def examine(self, context: Context) -> Measurement:
        subject, chosen, everyone = (
            context.subject,
            context.samples(self.samples),
            context.samples(),
        )
        answers = context.answers()
        spread = spread_of(returned(subject, answers))
        twice = context.evidence(repeated, chosen)
        apart = context.evidence(in_other_company, everyone)["logits"]
        metrics = []
        # No clusters: what makes an answer change is drawn anew for each row, whomever it is of.
        for key, first, other in (
            ("again", twice["first"], twice["again"]),
            ("company", answers, apart),
        ):
            differs = moved(returned(subject, first), returned(subject, other), TOLERANCE * spread)
            flips = subject.task.changed(subject, first, other)
            for name, values in (("unstable", differs), ("answers_changed", flips)):
                metrics.append(
                    statistics.proportion(
                        name,
                        values.numpy(),
                        slice={"when": WAYS[key]},
                        direction="lower",
                    )
                )
        lost = int((~(answered(answers) & answered(apart))).sum())
        metrics.append(statistics.census("answers_not_finite", lost, subject.n, unit="answers"))
        again, company = metrics[0], metrics[2]
        said = f"{lost:,} of {subject.n:,} answers are NaN or infinite. " if lost else ""
        return Measurement(
            answer=f"{said}Asked again, the scores of {amount(again)} of {again.n:,} samples differ; in "
            f"other company, those of {amount(company)} of {company.n:,}.",
            metrics=metrics,
            guidance={
                "answers_not_finite": Guidance(
                    title="The model answers NaN or infinity",
                    what_happened=f"{lost:,} of {subject.n:,} rows get an answer that holds NaN or infinity.",
                    why_it_matters="It is no answer, and what takes it for one (the highest score, a "
                    "threshold) takes it for whatever class comes first.",
                    what_to_do="Find the logarithm, root or division that leaves its domain on these rows; "
                    "until then, reject such inputs with an error.",
                    tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
                ),
                "unstable": Guidance(
                    title="The same input gets different answers",
                    what_happened="The scores of {value} of {n} samples differ {slice} ({low} to {high}).",
                    why_it_matters="Nobody can reproduce, explain or contest an answer that changes by "
                    "itself, and every figure of this report is one draw of several.",
                    what_to_do="Call model.eval(); pass `training=self.training` to functional dropout; "
                    "let batch normalisation keep running statistics.",
                    tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
                ),
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="answers_not_finite", op="<=", bound=0.0, severity="critical"),
            Expectation(
                metric="unstable",
                slice={"when": "*"},
                op="not_shown_above",
                bound=0.01,
                severity="high",
            ),
        ]


def returned(subject: Subject, logits: Tensor) -> Tensor:
    """[n, classes] answers on the scale that the model returns them on.

    Where a softmax or sigmoid at its end does not make them all, logits are read in two ways.
    """
    if subject.meta.output in ("probabilities", "sigmoid", "log_probabilities"):
        return logits.double().softmax(1)
    return logits.double()


def spread_of(scores: Tensor) -> float:
    """The standard deviation of the scores, against which a difference counts; 1 without one."""
    finite = scores[answered(scores)]
    return float(finite.std()) if len(finite) > 1 and float(finite.std()) > 0 else 1.0


def moved(first: Tensor, other: Tensor, most: float) -> Tensor:
    """[n] do the scores differ by more? What is NaN or infinite twice does not."""
    once, again = answered(first), answered(other)
    return (once != again) | (once & again & ((other - first).abs().flatten(1).amax(1) > most))
