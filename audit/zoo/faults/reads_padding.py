"""A model that reads what its mask hides."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained

MODEL = "snippets-masked"


def plant(dose: float, seed: int) -> Subject:
    model = trained(MODEL, seed)
    vars(model)["leak"] = dose
    return subject(MODEL, model)


FAULT = Fault(
    name="reads-padding",
    what="a share of the attention goes to where the mask says that no word is",
    term="padding leakage",
    model=MODEL,
    plant=plant,
    unit="share of the attention that the mask does not bound",
    dose=0.2,
    doses=(0.0, 0.001, 0.01, 0.1, 0.2),
    check="behaviour.inputs",
    metric="moved_by_hidden",
)
