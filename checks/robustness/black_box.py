"""What can somebody do who sees only the model's answers?

Three adversaries without gradients, by what they see: examples made on a surrogate that learnt from the
model's answers (Papernot et al. 2017), asked of the model once; Square (Andriushchenko et al. 2020), which
sees scores; in profile deep HopSkipJump (Chen et al. 2020), which sees the bare decision. All under the
Linf budget of `robustness.pgd`, whose result on the same samples stands beside them: a model on which they
do better hides its gradients.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.robustness.evasion import TAGS, TOLERATED, least_left, unattacked
from audit.checks.robustness.fair_attack import (
    TRANSFER_STEPS,
    blind_cost,
    diagnosed,
    fewer_left,
    first_cost,
    learnt_cost,
    same_answer_twice,
)
from audit.checks.robustness.norm_bounded import undeclared
from audit.checks.robustness.pgd import PGD
from audit.meta import Number
from audit.producers.attacks import hop_skip_jump, transfer
from audit.record import Guidance, Metric
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.cascade import blind_search
from audit.threats.threat import default_eps, require_small_change, small_change
from audit.words import amount, number, share


class BlackBox(Check):
    """What can somebody do who sees only the model's answers?"""

    costs_as_declared: ClassVar[bool] = True
    id: ClassVar[str] = "robustness.black_box"
    causes: ClassVar[dict[str, str]] = {"*": "robustness.small_changes"}
    title: ClassVar[str] = "What can somebody do who sees only the model's answers?"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 80, "queries": 60},
        "deep": {
            "samples": 500,
            "queries": 2000,
            "decision_samples": 50,
            "evaluations": 1000,
            "iterations": 30,
        },
    }

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="as of robustness.pgd"
    )
    samples: int = Field(default=100, ge=10, description="at most this many samples are attacked")
    queries: int = Field(default=200, ge=10, description="of a sample, by who sees scores")
    decision_samples: int = Field(
        default=0, ge=0, description="attacked by who sees decisions; none but in profile deep"
    )
    iterations: int = Field(default=10, ge=1, description="of HopSkipJump")
    evaluations: int = Field(
        default=200, ge=10, description="of HopSkipJump in an iteration, at most"
    )

    def applies(self, subject: Subject) -> None:
        subject.require("decides")
        require_small_change(subject, self.eps)

    def size(self, subject: Subject) -> float:
        return default_eps(subject) if self.eps is None else self.eps

    def cost(self, subject: Subject) -> Cost:
        n, pgd = min(self.samples, subject.n), self.beside(PGD)
        threat, few = small_change(subject, self.size(subject)), min(self.decision_samples, n)
        pgd = pgd.model_copy(update={"eps": self.eps})
        first, others = blind_cost(subject, threat, self.queries, n)
        return (
            first_cost(pgd, subject, max(n, pgd.samples))
            + first
            + others
            + learnt_cost(subject, threat, n)
            + Cost(few * self.iterations * self.evaluations)
        )

    def examine(self, context: Context) -> Measurement:
        subject, eps = context.subject, self.size(context.subject)
        chosen = context.samples(self.samples)
        clean = unattacked(context, chosen)
        threat = small_change(subject, eps)
        adversaries = {
            "gradients": context.configured(PGD).attack(subject, eps),
            "a surrogate": Attack(
                "transfer", transfer, {**threat.parameters, "steps": TRANSFER_STEPS}
            ),
            "scores": blind_search(threat, self.queries, diagnosed(len(chosen))),
        }
        left = {
            sees: clean & ~attack.on(context, chosen, ["broken"])["broken"].numpy()
            for sees, attack in adversaries.items()
        }
        metrics = [self.metric(context, name, bits, chosen) for name, bits in left.items()]
        base = statistics.proportion("clean_accuracy", clean, clusters=context.clusters(chosen))
        bound, why = least_left(context, chosen, base)
        remark = undeclared(subject, self.eps)
        few = context.samples(min(self.decision_samples, len(chosen)))[: self.decision_samples]
        if len(few) and not subject.range_is_inferred and subject.whole is None:
            some = np.isin(chosen, few)
            distance = context.evidence(
                hop_skip_jump,
                few,
                ["distance"],
                iterations=self.iterations,
                evaluations=self.evaluations,
            )["distance"].numpy()
            metrics.append(self.metric(context, "decisions", clean[some] & (distance > eps), few))
        seen = {m.slice["sees"]: m for m in metrics}
        good = subject.task.good
        texts = [
            f"{amount(m)} of {m.n} by one who sees {name}"
            for name, m in seen.items()
            if name != "gradients"
        ]
        rows = [
            {"label": f"{name} (n = {m.n:,})", "value": m.value, "low": m.low, "high": m.high}
            for name, m in {"unattacked": base, **seen}.items()
        ]
        return Measurement(
            answer=f"Unattacked, {amount(base)} of {base.n} answers are {good}. Within eps {number(eps)} "
            f"there are left {'; '.join(texts)}. One who sees gradients leaves "
            f"{amount(seen['gradients'])}.",
            metrics=[*metrics, *([base])],
            expectations=[
                Expectation(
                    metric="robust_accuracy",
                    slice={"sees": sees},
                    op="not_shown_below",
                    bound=bound,
                    severity="info" if remark else "medium",
                    gates=not remark,
                    tolerates=TOLERATED,
                )
                for sees in ("a surrogate", "scores")
            ],
            validity=[
                fewer_left(
                    "black-box no better", "one who sees scores", left["gradients"], left["scores"]
                ),
                fewer_left(
                    "transfer no better",
                    "one who trains a surrogate",
                    left["gradients"],
                    left["a surrogate"],
                ),
                same_answer_twice(context, chosen),
            ],
            figures=[
                figures.intervals(
                    rows,
                    value=f"share of answers {good}",
                    bound=bound,
                    title="What is left, by what the adversary sees",
                    caption=f"unattacked {share(float(base.value or 0))}; "
                    + "; ".join(f"{name} {share(float(m.value or 0))}" for name, m in seen.items())
                    + ". The dashed line is the default bound.",
                )
            ],
            guidance={
                "robust_accuracy": Guidance(
                    title="The model can be fooled by one who {slice} only",
                    what_happened="An adversary who {slice} leaves {value} ({low} to {high}) of {n} answers "
                    f"{good}, where {amount(base)} are unattacked; the bound is {{bound}}, {why}."
                    f"{remark}",
                    why_it_matters="Keeping the weights secret does not protect the model: its answers are "
                    "enough.",
                    what_to_do="Train with adversarial examples; limit how often one caller may ask, and "
                    "return decisions, not scores.",
                    tags=TAGS,
                )
            },
        )

    def metric(
        self, context: Context, sees: str, bits: NDArray[np.bool_], samples: NDArray[np.intp]
    ) -> Metric:
        return statistics.proportion(
            "robust_accuracy", bits, clusters=context.clusters(samples), slice={"sees": sees}
        )
