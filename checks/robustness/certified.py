"""How much robustness is proven, and how much is only not disproven?

Attacks bound a model's robustness from above; this bounds it from below, on the same samples under the
same Linf budget: interval bounds and linear relaxations (CROWN, Zhang et al. 2018), of hidden layers too
where that is affordable, prove that no change at all within eps moves the answer. What is true lies
between: certified ≤ true ≤ empirical, drawn on one axis. The proof is of the network as it is; of one
that was not trained to be proven it is usually far below what attacks suggest. Networks with recurrence,
attention or tokens are refused by the name of the layer. Sums are those of single precision, whose
rounding is not bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import (
    Check,
    Context,
    Cost,
    Expectation,
    Measurement,
    Profile,
    asked_sizes,
    pack,
)
from audit.checks.robustness.evasion import TAGS
from audit.checks.robustness.worst_case import WorstCase
from audit.checks.robustness.worst_case_l2 import WorstCaseL2
from audit.meta import Number
from audit.producers.budgets import choosable
from audit.producers.certificates import boundable, certified_eps, multiplications
from audit.record import Figure, Guidance, Slice, Validity
from audit.subject import Subject
from audit.threats.cascade import REACH
from audit.words import amount, number, share

SMALLEST = 2.0**-6  # times eps: where the axis begins


class Certified(Check):
    """How much robustness is proven, and how much is only not disproven?"""

    id: ClassVar[str] = "robustness.certified"
    title: ClassVar[str] = "How much robustness is proven, and how much is only not disproven?"
    least_profile: ClassVar[Profile] = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 10, "effort": 1e8, "per_octave": 1},
        "deep": {"samples": 500, "per_octave": 32, "effort": 1e10},
    }

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="as of the attacks: [subject.input] eps, or their default"
    )
    samples: int = Field(default=50, ge=10, description="of those that are attacked, at most")
    effort: Number = Field(
        default=1e9,
        ge=0,
        description="multiplications that linear bounds of hidden layers may take for "
        "a sample at one budget",
    )
    per_octave: int = Field(
        default=4,
        ge=1,
        description="steps of a doubling, in the search for the largest proven budget",
    )

    also: list[Annotated[Number, Field(gt=0)]] = Field(
        default=[], description="other eps that are measured too"
    )

    attack_class: ClassVar[type[WorstCase | WorstCaseL2]] = WorstCase

    def attack(self, subject: Subject, context: Context | None = None) -> WorstCase | WorstCaseL2:
        """The cascade that gives the other side, as its own check runs it, and the smallest change.

        Of categories nothing is proven: where its own check sets some, nothing is shared with it, and no
        more samples are attacked than are proven.
        """
        cascade = (
            context.configured(self.attack_class) if context else self.beside(self.attack_class)
        )
        alone = {"eps": self.eps, "changes": 0, "smallest_change": True}
        if self.alone(subject):
            alone["samples"] = min(cascade.samples, self.samples)
        return cascade.model_copy(
            update={k: v for k, v in alone.items() if k in type(cascade).model_fields}
        )

    def alone(self, subject: Subject) -> bool:
        """Does the cascade's own check change what nothing is proven of?"""
        return "changes" in self.attack_class.model_fields and bool(choosable(subject))

    def asking(self, slices: Sequence[Slice]) -> Check:
        found = asked_sizes(slices, "eps")
        return self.model_copy(update={"also": sorted({*self.also, *found})}) if found else self

    def applies(self, subject: Subject) -> None:
        subject.require("decides")
        self.attack(subject).applies(subject)
        boundable(subject)

    def cost(self, subject: Subject) -> Cost:
        attack = self.attack(subject)
        other = attack.cost(subject)  # the other side: what an attack leaves
        proofs = multiplications(subject, self.per_octave, self.effort)
        return Cost(
            forward=other.forward + min(self.samples, subject.n),
            backward=other.backward + round(min(self.samples, subject.n) * proofs),
            shared={}
            if self.alone(subject)
            else {attack.id: self.beside(self.attack_class).cost(subject)},
        )

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        attack = self.attack(subject, context)
        eps = attack.size(subject)
        empirical = attack.outcome(context, eps)
        chosen = context.samples(min(self.samples, len(empirical.samples)))
        some = np.isin(empirical.samples, chosen)
        smallest, clean = attack.smallest(context, empirical)[some], empirical.clean[some]
        clusters = context.clusters(chosen)
        proven = (
            context.evidence(
                certified_eps,
                chosen,
                highest=max([REACH * eps, *self.also]),
                per_octave=self.per_octave,
                at=eps,
                norm=attack.norm,
                effort=self.effort,
            )["eps"]
            .double()
            .numpy()
        )
        holds = proven >= eps * (1 - 1e-6)  # single precision
        certified = statistics.proportion(
            "certified_accuracy", holds, clusters=clusters, slice={"eps": eps}
        )
        others = [
            statistics.proportion(
                "certified_accuracy",
                proven >= at * (1 - 1e-6),
                clusters=clusters,
                slice={"eps": at},
            )
            for at in self.also
            if at != eps
        ]
        median = statistics.bootstrap(
            "median_certified_eps",
            lambda index: np.median(proven[index], axis=1),
            len(proven),
            clusters=clusters,
            seed=context.seed,
            draws=1000,
            direction="higher",
            edges=None,
        )
        robust = statistics.proportion(
            "robust_accuracy", empirical.standing[some], clusters=clusters, slice={"eps": eps}
        )
        base = statistics.proportion("clean_accuracy", clean, clusters=clusters)
        contradictions = int(((proven > smallest) & clean).sum())
        left = float(robust.value or 0)
        return Measurement(
            answer=f"{attack.change(subject, eps)} provably leaves {amount(certified)} of "
            f"{len(chosen):,} answers right, where {amount(base)} are without a change and the attacks "
            f"leave {share(left)}. What is true lies between. Half of the samples are proven up to "
            f"{number(median.value)}.",
            metrics=[certified, base, robust, median, *others],
            validity=[
                Validity(
                    name="no attack breaks what is proven",
                    passed=contradictions == 0,
                    detail=f"{contradictions} of {len(chosen)} samples were broken within the budget that "
                    "was proven for them",
                )
            ],
            figures=[self.sandwich(proven, smallest, clean, eps, clusters)],
            per_unit=[pack("certified_accuracy", holds, samples=chosen, slice={"eps": eps})],
            guidance={
                "certified_accuracy": Guidance(
                    title="Little of the robustness is proven",
                    what_happened=f"{attack.change(subject, eps)} provably leaves {{value}} ({{low}} to "
                    f"{{high}}) of {{n}} answers right, where {amount(base)} are without a change; the bound "
                    f"is {{bound}}. Half of the samples are proven up to {number(median.value)}.",
                    why_it_matters="What attacks did not break may be broken by the next one; what is "
                    "proven cannot be.",
                    what_to_do="Train with bounds (Gowal et al. 2018), or say that robustness was tested "
                    "and not proven.",
                    tags=TAGS,
                )
            },
        )

    def sandwich(
        self,
        proven: NDArray[np.float64],
        smallest: NDArray[np.float64],
        clean: NDArray[np.bool_],
        eps: float,
        clusters: NDArray[np.str_] | None,
    ) -> Figure:
        """Accuracy that is proven and that attacks leave, against the budget."""
        rows = []
        for at in eps * np.geomspace(SMALLEST, REACH, 17):
            for series, good in (
                ("attacks leave at most", (smallest > at) & clean),
                ("proven at least", proven >= at),
            ):
                m = statistics.proportion("r", good, clusters=clusters)
                rows.append(
                    {"eps": at, "accuracy": m.value, "low": m.low, "high": m.high, "series": series}
                )
        here = [float((proven >= eps).mean()), float(((smallest > eps) & clean).mean())]
        return figures.curve(
            rows,
            x="eps",
            y="accuracy",
            series="series",
            log=True,
            asked=eps,
            title="Between proof and attack: the true robust accuracy lies between the lines",
            caption=f"Without a change {share(float(clean.mean()))} are right; at eps {number(eps)}, "
            f"{share(here[0])} are proven right and attacks leave {share(here[1])} (dotted line).",
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="certified_accuracy",
                slice={"eps": self.attack(subject).size(subject)},
                op="not_shown_below",
                bound=0.1,
                severity="info",
                gates=self.attack(subject).gate(subject)[1],
            )
        ]
