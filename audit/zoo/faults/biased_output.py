"""One output of several, learnt from labels that are too low for a group."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, retrained

OUTPUT = 1  # unemployment


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("community-figures").data()
    y = train.y.copy()
    group = train.sensitive["black_share"] == "highest third"
    y[group, OUTPUT] -= dose * y[:, OUTPUT].std()
    return retrained("community-figures", seed, (changed(train, y=y), test))


FAULT = Fault(
    name="biased-output",
    what="in training, unemployment was recorded too low where more people are black",
    term="measurement bias (Suresh and Guttag 2021)",
    model="community-figures",
    plant=plant,
    unit="standard deviations that the labels of one output are too low",
    dose=2.0,
    doses=(0.0, 0.5, 1.0, 1.5, 2.0),
    check="fairness.groups",
    metric="bias_difference",
)
