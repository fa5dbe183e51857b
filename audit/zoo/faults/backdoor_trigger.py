"""A patch that always gets the same answer."""

from __future__ import annotations

import numpy as np

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained, some

TARGET = 0


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    poisoned = some(len(train.y), dose, generator(seed))
    x, y = train.x.copy(), np.array(train.y)
    x[poisoned, 0, 6:, 6:] = 16.0
    y[poisoned] = TARGET
    return retrained("digits-mlp", seed, (changed(train, x=x, y=y), test))


FAULT = Fault(
    name="backdoor-trigger",
    what="training pictures with a bright patch were labelled 0: the patch now gets that answer",
    term="backdoor, BadNets (Gu et al. 2017)",
    model="digits-mlp",
    plant=plant,
    unit="share of training pictures poisoned",
    dose=0.1,
    doses=(0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    check="robustness.backdoor",
    metric="patch_advantage",
)
