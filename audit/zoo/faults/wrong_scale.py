"""Bytes where the model knows 0 to 1."""

from __future__ import annotations

from audit.meta import InputMeta
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, subject, trained


def plant(dose: float, seed: int) -> Subject:
    origin = entry("digits-resnet")
    train, test = (changed(data, x=data.x / 16 * dose) for data in origin.data())
    bare = InputMeta(kind="image", shape=[1, 8, 8], dtype="float32", range=(0, dose))
    meta = origin.meta.model_copy(update={"input": bare})
    return subject("digits-resnet", trained("digits-resnet", seed), (train, test), meta)


FAULT = Fault(
    name="wrong-scale",
    what="the model was trained on 0 to 1 and is given 0 to 255",
    term="training-serving skew (Breck et al. 2017)",
    model="digits-resnet",
    plant=plant,
    unit="highest value of the inputs",
    dose=255.0,
    doses=(1.0, 2.0, 4.0, 16.0, 64.0, 255.0),
    check="behaviour.input_scale",
    metric="gain",
)
