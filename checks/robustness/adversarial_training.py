"""Would a few epochs of adversarial training help?

A copy of the model is trained on for a few epochs on its training data, each batch replaced by its PGD
examples within eps (Madry et al. 2018), and then attacked by the same cascade on the same samples as
before. A short trial says whether the way is promising, not how far it leads.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.robustness.remedy import Remedy
from audit.errors import NotApplicable
from audit.meta import Number
from audit.methods.remedies import Training, fine_tuned
from audit.producers.budgets import budget
from audit.subject import Subject


class AdversarialTraining(Remedy):
    """Would a few epochs of adversarial training help?"""

    id: ClassVar[str] = "robustness.adversarial_training"
    title: ClassVar[str] = "Would a few epochs of adversarial training help?"
    least_profile = "deep"

    epochs: int = Field(default=5, ge=1)
    steps: int = Field(default=7, ge=1, description="of PGD for each batch")
    learning_rate: Annotated[Number, Field(gt=0)] = 1e-3
    training_samples: int = Field(default=5000, ge=10, description="at most so many are trained on")

    def applies(self, subject: Subject) -> None:
        super().applies(subject)
        subject.require("has_probabilities")
        subject.require_training_data()
        if subject.format in ("torchscript", "torch.export"):
            raise NotApplicable("the model is a program, which is not trained on here")
        if not any(p.is_floating_point() for p in subject.core.parameters()):
            raise NotApplicable("the model has no weights to train")

    def cost(self, subject: Subject) -> Cost:
        cascade = super().cost(subject)
        n = min(self.training_samples, subject.training_n)
        passes = n * self.epochs * (self.steps + 1)
        return Cost(cascade.forward + passes, cascade.backward + passes, cascade.shared)

    def what(self, subject: Subject) -> str:
        return f"Training on for {self.epochs} epochs with adversarial examples"

    def mended(self, context: Context) -> Context:
        subject = context.subject
        allowed = budget(subject, self.attack(context.profile).size(subject))
        how = Training(allowed, self.steps, self.epochs, self.learning_rate)
        return context.variant("trained on", fine_tuned(subject, how, self.training_samples))
