"""Women of whom nothing was measured: what a column holds on average stands in its place."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, subject, trained


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("support-risk").data()
    x, rng = test.x.copy(), generator(seed)
    women = (test.sensitive["sex"] == "female").nonzero()[0]
    some = rng.permutation(women)[: round(dose * len(women))]
    x[some] = train.x.mean(0)
    return subject("support-risk", trained("support-risk", seed), (train, changed(test, x=x)))


FAULT = Fault(
    name="women-unmeasured",
    what="of women nothing was measured, and averages stand in for it",
    term="measurement bias (Suresh and Guttag 2021)",
    model="support-risk",
    plant=plant,
    unit="share of the women",
    dose=1.0,
    doses=(0.0, 0.25, 0.5, 0.75, 1.0),
    check="fairness.groups",
    metric="quality_difference",
)
