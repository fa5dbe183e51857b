"""Too sure, and asked about the same people again and again."""

from __future__ import annotations

import numpy as np
import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, linears, subject, trained

PEOPLE, VISITS = 250, 8
HOURS = 4  # column of the hours per week


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("adult-mlp").data()
    model = trained("adult-mlp", seed)
    rng = generator(seed)
    people = rng.permutation(len(test.y))[:PEOPLE]
    rows = np.repeat(people, VISITS)
    x = test.x[rows].copy()
    x[:, HOURS] += rng.integers(-1, 2, len(rows))
    with torch.no_grad():
        z = subject("adult-mlp", model).logits(torch.as_tensor(test.x[people])).softmax(1)[:, 1]
    y = np.repeat((rng.random(PEOPLE) < z.double().numpy()).astype(np.int64), VISITS)
    data = changed(
        test,
        x=x,
        y=y,
        sensitive={name: np.asarray(v)[rows] for name, v in test.sensitive.items()},
        groups=np.repeat(np.array([f"person {i}" for i in range(PEOPLE)]), VISITS),
    )
    head = linears(model)[-1]
    with torch.no_grad():
        head.weight.mul_(dose)
        head.bias.mul_(dose)
    return subject("adult-mlp", model, (train, data))


FAULT = Fault(
    name="clustered-overconfident",
    what="the same 250 people are each seen eight times, and the model is far surer than it is right; its "
    "twin is as sure as it is right, and only seems not to be where visits are counted as people",
    term="miscalibration (Guo et al. 2017) in clustered samples",
    model="adult-mlp",
    plant=plant,
    unit="factor on the logits",
    dose=8.0,
    doses=(1.0, 2.0, 4.0, 8.0),
    check="calibration.reliability",
    metric="calibration_error",
)
