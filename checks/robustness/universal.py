"""Is there one change that fools the model on most inputs?

One Linf change within eps is searched by gradient ascent on one batch of samples (Shafahi et al. 2020;
Moosavi-Dezfooli et al. 2017) and tried on others, which it has not seen; beside it, a random change of
the same size. Who finds such a change needs no access to the single input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.robustness.evasion import TAGS, unattacked
from audit.checks.robustness.fair_attack import WEAK, doubtful, same_answer_twice
from audit.checks.robustness.pgd import PGD
from audit.errors import NotApplicable
from audit.meta import Number
from audit.record import Guidance
from audit.words import amount, share

if TYPE_CHECKING:
    from audit.subject import Subject

FEWEST = 20


class Universal(Check):
    """Is there one change that fools the model on most inputs?"""

    id: ClassVar[str] = "robustness.universal"
    title: ClassVar[str] = "Is there one change that fools the model on most inputs?"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 60, "steps": 20},
        "deep": {"samples": 2000, "steps": 200},
    }

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="as of robustness.pgd"
    )
    samples: int = Field(default=500, ge=20, description="that the change is tried on, at most")
    steps: int = Field(default=60, ge=1, description="of the search, on one batch")

    def applies(self, subject: Subject) -> None:
        PGD(eps=self.eps).applies(subject)
        if not subject.kind.common_unit:
            raise NotApplicable("one change of all rows is a change of units, not an attack")
        if subject.n < 2 * FEWEST:
            raise NotApplicable(
                f"{subject.n} samples are too few to search on some and try on others"
            )

    def batch(self, subject: Subject) -> int:
        """Samples that the change is searched on, at most."""
        return min(subject.batch_size, self.samples)

    def cost(self, subject: Subject) -> Cost:
        batch = min(self.batch(subject), subject.n // 2)
        return Cost(
            forward=batch * self.steps + 2 * min(self.samples, subject.n),
            backward=batch * self.steps,
        )

    def examine(self, context: Context) -> Measurement:
        from audit.methods.attacks.universal import shifted, universal

        subject = context.subject
        attack = PGD(eps=self.eps)
        eps = attack.size(subject)
        most = self.batch(subject)
        chosen = context.samples(min(subject.n, self.samples + most))
        fit = chosen[:: max(2, len(chosen) // most)][:most]
        held = np.setdiff1d(chosen, fit)
        clean = unattacked(context, held)
        if clean.sum() < FEWEST:
            raise NotApplicable(
                f"only {int(clean.sum())} samples of the other half are answered right"
            )
        held = held[clean]
        clusters = context.clusters(held)
        broken = {}
        for name, steps in (("fooled_by_one", self.steps), ("fooled_by_noise", 0)):
            made = context.evidence(universal, fit, ["change"], eps=eps, steps=steps)["change"][0]
            flat = made.flatten().tolist()
            broken[name] = context.evidence(shifted, held, eps=eps, change=flat)["broken"].numpy()
        fooled, noise = (
            statistics.proportion(
                name, bits, direction="lower", clusters=clusters, slice={"eps": eps}
            )
            for name, bits in broken.items()
        )
        rows = [
            {"label": label, "value": m.value, "low": m.low, "high": m.high}
            for label, m in (("the change that was searched", fooled), ("a random one", noise))
        ]
        return Measurement(
            answer=f"One change of each value by at most eps {eps:.3g}, found on {len(fit)} samples, "
            f"flips {amount(fooled)} of {len(held):,} right answers to others; a random change of that "
            f"size flips {amount(noise)}.",
            metrics=[fooled, noise],
            validity=[
                doubtful(
                    "better than chance",
                    broken["fooled_by_one"].mean() >= broken["fooled_by_noise"].mean() - 0.02,
                    f"the search flips {share(float(fooled.value or 0))}, chance "
                    f"{share(float(noise.value or 0))}",
                    WEAK,
                ),
                same_answer_twice(context, held),
            ],
            figures=[
                figures.intervals(
                    rows,
                    value="right answers flipped",
                    title="One change for all",
                    caption=f"The searched change flips {share(float(fooled.value or 0))}, a random one "
                    f"{share(float(noise.value or 0))}.",
                )
            ],
            guidance={
                "fooled_by_one": Guidance(
                    title="One and the same change fools the model on most inputs",
                    what_happened="It flips {value} ({low} to {high}) of {n} right answers; the bound is "
                    "{bound}.",
                    why_it_matters="Such a change can be printed on a sticker or played as a noise: nobody "
                    "has to see the input first.",
                    what_to_do="Train with adversarial examples; watch for inputs that differ from others "
                    "by the same pattern.",
                    tags=TAGS,
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        attack = PGD(eps=self.eps)
        _, gates = attack.gate(subject)
        return [
            Expectation(
                metric="fooled_by_one",
                slice={"eps": attack.size(subject)},
                op="not_shown_above",
                bound=0.5,
                severity="medium" if gates else "info",
                gates=gates,
            )
        ]
