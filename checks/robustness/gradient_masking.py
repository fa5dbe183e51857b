"""Do the model's gradients hide how fragile it is?

A model can look robust because attacks that follow gradients find none (Athalye et al. 2018). Two
signs, on the same samples: the share whose gradient is exactly zero, and how many more answers a
search that needs no gradient flips than projected gradient descent does (Carlini et al. 2019, section
5.3), paired, with Tango's score interval. Robustness reported by gradient attacks on such a model is not
robustness.

Planted and looked for (`benchmarks/detection`): inputs rounded to steps of 0.0001 are found in 10 of 10
seeds, the logarithm of a softmax of logits times 10, cut off at 1e-9, in 6 of 6; of logits times 3 it
hides nothing from the attack, and is found in none. No false alarm on 20 clean models (at most 16.1 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from audit import statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.robustness.evasion import unattacked
from audit.checks.robustness.fair_attack import blind_cost, diagnosed, first_cost
from audit.checks.robustness.pgd import PGD
from audit.errors import NotApplicable
from audit.record import Guidance
from audit.subject import Subject
from audit.threats.cascade import blind_search
from audit.threats.threat import require_small_change
from audit.words import amount, number, span


class GradientMasking(Check):
    """Do the model's gradients hide how fragile it is?"""

    costs_as_declared: ClassVar[bool] = True
    id: ClassVar[str] = "robustness.gradient_masking"
    title: ClassVar[str] = "Do the model's gradients hide how fragile it is?"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"diagnostic_samples": 80, "queries": 60},
        "deep": {"diagnostic_samples": 500, "queries": 1000},
    }
    explained_by: ClassVar[tuple[str, ...]] = (
        "behaviour.input_scale",
        "performance.classification",
        "training.weights",
    )

    diagnostic_samples: int = Field(
        default=100, ge=10, description="that are searched without gradients, at most"
    )
    queries: int = Field(default=200, ge=10, description="of the search without gradients")

    def applies(self, subject: Subject) -> None:
        require_small_change(subject, None)

    def cost(self, subject: Subject) -> Cost:
        pgd = self.beside(PGD)
        threat, few = (
            pgd.threat(subject, pgd.size(subject)),
            min(self.diagnostic_samples, subject.n),
        )
        first, others = blind_cost(subject, threat, self.queries, few)
        return first_cost(pgd, subject, pgd.samples) + first + others

    def examine(self, context: Context) -> Measurement:
        subject, pgd = context.subject, context.configured(PGD)
        threat = pgd.threat(subject, pgd.size(subject))
        chosen = context.samples(pgd.samples)
        clean = unattacked(context, chosen)
        if not clean.any():
            raise NotApplicable("no sample is answered right, so there is nothing to break")
        found = pgd.run(context, chosen, threat.size)
        clusters = context.clusters(chosen)
        zero = statistics.proportion(
            "zero_gradient_share",
            found.gradients["zero_gradient"].numpy()[clean],
            direction="lower",
            clusters=None if clusters is None else clusters[clean],
        )
        count = min(self.diagnostic_samples, len(chosen))
        some = np.isin(chosen, context.samples(count))
        few = chosen[some]
        search = blind_search(threat, self.queries, diagnosed(count))
        black = search.on(context, few, ["broken"])["broken"].numpy() & clean[some]
        white = found.broken.numpy()[some] & clean[some]
        hidden = statistics.mean(
            "hidden_fragility",
            black * 1.0 - white * 1.0,
            clusters=context.clusters(few),
            direction="lower",
            edges=(-1, 1),
        )
        why = (
            "Robustness figures from gradient attacks on such a model are too good to be true; "
            "somebody who searches without gradients breaks it."
        )
        todo = (
            "Remove what has no gradient (rounding, thresholds, saturated softmax) or attack around "
            "it (BPDA, rescaled logits); do not count it as a defence."
        )
        tags = ["MITRE ATLAS AML.T0043", "CWE-1039", "NIST AI RMF MEASURE 2.7"]
        return Measurement(
            answer=f"{amount(zero)} of {zero.n:,} samples have a gradient of zero; a search without "
            f"gradients breaks {number(hidden.value)} ({span(hidden.low, hidden.high)}) more of "
            f"{len(few)} answers than the gradient attack does.",
            metrics=[hidden, zero],
            guidance={
                "zero_gradient_share": Guidance(
                    title="The model's gradients are masked: they vanish",
                    what_happened="{value} of {n} samples ({low} to {high}) have a gradient of zero; "
                    "the bound is {bound}.",
                    why_it_matters=why,
                    what_to_do=todo,
                    tags=tags,
                ),
                "hidden_fragility": Guidance(
                    title="The model's gradients are masked: a blind search breaks more",
                    what_happened="A search without gradients breaks {value} ({low} to {high}) more "
                    "of the answers than the gradient attack; the bound is {bound}.",
                    why_it_matters=why,
                    what_to_do=todo,
                    tags=tags,
                ),
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="zero_gradient_share", op="not_shown_above", bound=0.05, severity="high"
            ),
            Expectation(
                metric="hidden_fragility", op="not_shown_above", bound=0.05, severity="high"
            ),
        ]
