"""The training data can be recognised."""

from __future__ import annotations

from audit.zoo.faults import Fault
from audit.zoo.faults.memorised_labels import plant

# The same model, asked another question.


FAULT = Fault(
    name="memorised-members",
    what="some training labels are random and learnt by heart: members are told from others",
    term="membership leakage (Yeom et al. 2018; Carlini et al. 2022)",
    model="digits-mlp",
    plant=plant,
    unit="share of training labels drawn at random",
    dose=0.4,
    doses=(0.0, 0.05, 0.1, 0.2, 0.3, 0.4),
    check="privacy.membership",
    metric="membership_auc",
)
