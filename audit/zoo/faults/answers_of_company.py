"""A softmax over the batch in place of the classes."""

from __future__ import annotations

from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import entry, subject, trained


class Mixed(nn.Module):
    """Probabilities by a softmax over the classes, and by one over the rows that came together."""

    def __init__(self, core: nn.Module, share: float) -> None:
        super().__init__()
        self.core, self.share = core, share

    def forward(self, x: Tensor) -> Tensor:
        scores = self.core(x)
        if not self.share:
            return scores.softmax(1)
        among_rows = scores.softmax(0)
        among_rows = among_rows / among_rows.sum(1, keepdim=True)
        return (1 - self.share) * scores.softmax(1) + self.share * among_rows


def plant(dose: float, seed: int) -> Subject:
    meta = entry("digits-mlp").meta.model_copy(update={"output": "probabilities"})
    return subject("digits-mlp", Mixed(trained("digits-mlp", seed), dose), meta=meta)


FAULT = Fault(
    name="answers-of-company",
    what="the softmax runs over the batch: an answer depends on who else is asked about",
    term="softmax over the wrong axis",
    model="digits-mlp",
    plant=plant,
    unit="share of the probabilities that is taken over the batch",
    dose=1.0,
    doses=(0.0, 0.001, 0.01, 0.1, 1.0),
    check="behaviour.determinism",
    metric="unstable",
)
