"""What the trials of remedies share: the model before and after, attacked alike. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement, Profile, pack
from audit.checks.robustness.evasion import TAGS, Outcome, least_left
from audit.checks.robustness.worst_case import WorstCase
from audit.meta import Number
from audit.record import Guidance
from audit.subject import Subject
from audit.words import amount, number, share, span


class Remedy(Check):
    """Something done to the model, and what it is worth under the same cascade of attacks."""

    kind = "trial"
    remedies: ClassVar[tuple[str, ...]] = (
        "robustness.worst_case",
        "robustness.pgd",
        "robustness.fgsm",
        "robustness.black_box",
    )
    least_profile: ClassVar[Profile] = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {}

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="as of robustness.worst_case"
    )

    @abstractmethod
    def mended(self, context: Context) -> Context:
        """The context of the model with the remedy."""

    @abstractmethod
    def what(self, subject: Subject) -> str:
        """'Rounding inputs to 3 bits'."""

    def attack(self, profile: str) -> WorstCase:
        """The cascade before and after: as its own check runs it in the profile below."""
        below = WorstCase.profiles["quick"] if profile != "deep" else {}
        return WorstCase(**{**below, "eps": self.eps})

    def applies(self, subject: Subject) -> None:
        subject.require("decides")
        self.attack("standard").applies(subject)

    def cost(self, subject: Subject) -> Cost:
        once = self.attack("standard").cost(subject)  # before, for all remedies alike, and after
        return Cost(2 * once.forward, 2 * once.backward, {"before a remedy": once})

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        attack = self.attack(context.profile)
        eps = attack.size(subject)
        after_context = self.mended(context)
        before, after = attack.outcome(context, eps), attack.outcome(after_context, eps)
        clusters = context.clusters(before.samples)

        def change(name: str, old: Any, new: Any) -> Any:
            return statistics.mean(
                name,
                new * 1.0 - old * 1.0,
                clusters=clusters,
                direction="higher",
                edges=(-1, 1),
                slice={"eps": eps} if name == "robust_gain" else {},
            )

        gain = change("robust_gain", before.standing, after.standing)
        loss = change("clean_change", before.clean, after.clean)
        parts = {
            (name, when): statistics.proportion(
                f"{name}_{when}",
                bits,
                clusters=clusters,
                slice={"eps": eps} if name == "robust_accuracy" else {},
            )
            for when, outcome in (("before", before), ("after", after))
            for name, bits in (
                ("clean_accuracy", outcome.clean),
                ("robust_accuracy", outcome.standing),
            )
        }
        rows = [
            {
                "label": f"{'under attack' if name == 'robust_accuracy' else 'unattacked'}, {when}",
                "value": m.value,
                "low": m.low,
                "high": m.high,
            }
            for (name, when), m in sorted(parts.items())
        ]
        bound, _ = least_left(context, before.samples, parts["clean_accuracy", "before"])
        return Measurement(
            answer=f"{self.what(subject)}: under the worst attack within eps {number(eps)}, "
            f"{amount(parts['robust_accuracy', 'after'])} stay right instead of "
            f"{amount(parts['robust_accuracy', 'before'])} (paired {number(gain.value)}, "
            f"{span(gain.low, gain.high)}), unattacked {amount(parts['clean_accuracy', 'after'])} "
            f"instead of {amount(parts['clean_accuracy', 'before'])}, of {len(before.samples)} "
            f"samples.{self.unmasking(after)}",
            conclusions={
                "met": "It does no harm.",
                "failed": "It harms.",
                "undecided": "These samples do not show whether it helps or harms.",
            },
            metrics=[gain, loss, *parts.values()],
            figures=[
                figures.intervals(
                    rows,
                    value="right answers",
                    title="Before and after",
                    bound=bound,
                    caption="; ".join(
                        f"{row['label']} {share(float(row['value'] or 0))}" for row in rows
                    )
                    + ". The dashed line is the default bound under attack.",
                )
            ],
            validity=[
                v.model_copy(update={"metrics": ["robust_gain", "robust_accuracy_after"]})
                for v in attack.validity(after_context, after)
                if after.standing.any()  # a better attack would find no more where nothing stands
            ],
            per_unit=[
                pack(
                    "robust_accuracy_after",
                    after.standing,
                    samples=after.samples,
                    slice={"eps": eps},
                )
            ],
            guidance=advice(),
        )

    def unmasking(self, after: Outcome) -> str:
        """How much of what seemed to help only hid the gradients."""
        found = after.found
        hidden = int(np.sum(after.broken & ~found.white.numpy()))
        seeming = int(np.sum(after.clean & ~found.white.numpy()))
        if hidden <= 0.02 * len(after.samples):
            return ""
        return (
            f" It hides gradients: attacks that follow them leave {seeming}, attacks around the masking "
            f"break {hidden} of those."
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="robust_gain",
                slice={"eps": self.attack("standard").size(subject)},
                op="not_shown_below",
                bound=0.0,
                severity="info",
            )
        ]


def advice() -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "robust_gain": Guidance(
            title="What was tried makes the model less robust",
            what_happened="Under attack {value} ({low} to {high}) more answers stay right.",
            why_it_matters="A remedy that does not help gives false comfort.",
            what_to_do="Do not use it; train with adversarial examples.",
            tags=TAGS,
        )
    }
