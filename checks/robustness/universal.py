"""Is there one change that fools the model on most inputs?

One Linf change within eps is searched by gradient ascent on one batch of samples (Shafahi et al. 2020;
Moosavi-Dezfooli et al. 2017) and tried on others, which it has not seen; beside it, a random change of
the same size. Who finds such a change needs no access to the single input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement, Profile, asked_sizes
from audit.checks.robustness.evasion import TAGS, unattacked
from audit.checks.robustness.fair_attack import WEAK, doubtful, same_answer_twice
from audit.checks.robustness.norm_bounded import undeclared
from audit.errors import NotApplicable
from audit.meta import Number
from audit.producers.attacks import shifted, universal
from audit.record import Guidance, Metric, Slice
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.threat import default_eps, require_small_change
from audit.words import amount, share

FEWEST = 20


class Universal(Check):
    """Is there one change that fools the model on most inputs?"""

    costs_as_declared: ClassVar[bool] = True
    id: ClassVar[str] = "robustness.universal"
    causes: ClassVar[dict[str, str]] = {"*": "robustness.small_changes"}
    title: ClassVar[str] = "Is there one change that fools the model on most inputs?"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    least_profile: ClassVar[Profile] = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 60, "steps": 20},
        "deep": {"samples": 2000, "steps": 200},
    }

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="as of robustness.pgd"
    )
    samples: int = Field(default=500, ge=20, description="that the change is tried on, at most")
    steps: int = Field(default=60, ge=1, description="of the search, on one batch")
    also: list[Annotated[Number, Field(gt=0)]] = Field(
        default=[], description="other eps that are measured too"
    )

    def applies(self, subject: Subject) -> None:
        require_small_change(subject, self.eps)
        if not subject.kind.common_unit:
            raise NotApplicable("one change of all rows is a change of units, not an attack")
        if subject.n < 2 * FEWEST:
            raise NotApplicable(
                f"{subject.n} samples are too few to search on some and try on others"
            )

    def size(self, subject: Subject) -> float:
        return default_eps(subject) if self.eps is None else self.eps

    def sizes(self, subject: Subject) -> list[float]:
        """What is measured, the size that is judged first."""
        return list(dict.fromkeys([self.size(subject), *self.also]))

    def asking(self, slices: Sequence[Slice]) -> Check:
        found = asked_sizes(slices, "eps")
        return self.model_copy(update={"also": sorted({*self.also, *found})}) if found else self

    def batch(self, subject: Subject) -> int:
        """Samples that the change is searched on, at most."""
        return min(subject.batch_size, self.samples)

    def cost(self, subject: Subject) -> Cost:
        batch = min(self.batch(subject), subject.n // 2)
        sizes = len(self.sizes(subject))
        return Cost(
            forward=sizes * (batch * self.steps + 2 * min(self.samples, subject.n)),
            backward=sizes * batch * self.steps,
        )

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        eps, *others = self.sizes(subject)
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

        def flipped(size: float) -> dict[str, NDArray[np.bool_]]:
            """[held] which answers the searched change flips, and which a random one."""
            found = {}
            for name, steps in (("fooled_by_one", self.steps), ("fooled_by_noise", 0)):
                search = Attack("universal", universal, {"eps": size, "steps": steps})
                flat = search.on(context, fit, ["change"])["change"][0].flatten().tolist()
                trial = Attack("trial", shifted, {"eps": size, "change": flat})
                found[name] = trial.on(context, held)["broken"].numpy()
            return found

        def told(size: float, broken: dict[str, NDArray[np.bool_]]) -> list[Metric]:
            return [
                statistics.proportion(
                    name, bits, direction="lower", clusters=clusters, slice={"eps": size}
                )
                for name, bits in broken.items()
            ]

        broken = flipped(eps)
        fooled, noise = told(eps, broken)
        more = [metric for size in others for metric in told(size, flipped(size))]
        rows = [
            {"label": label, "value": m.value, "low": m.low, "high": m.high}
            for label, m in (("the change that was searched", fooled), ("a random one", noise))
        ]
        return Measurement(
            answer=f"One change of each value by at most eps {eps:.3g}, found on {len(fit)} samples, "
            f"flips {amount(fooled)} of {len(held):,} right answers to others; a random change of that "
            f"size flips {amount(noise)}.",
            metrics=[fooled, noise, *more],
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
        gates = not undeclared(subject, self.eps)
        return [
            Expectation(
                metric="fooled_by_one",
                slice={"eps": self.size(subject)},
                op="not_shown_above",
                bound=0.5,
                severity="medium" if gates else "info",
                gates=gates,
            )
        ]
