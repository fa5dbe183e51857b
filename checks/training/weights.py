"""Are the weights sound numbers?

Looks at every tensor of the model and runs nothing: NaN or Inf anywhere, weight matrices that are
all zero or constant (never trained, or lost on the way), and weights beyond `largest` (training that
ran away). A count of all tensors, not a sample: the interval is the number itself.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from audit import statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.meta import Number
from audit.record import Guidance, Table
from audit.subject import Subject
from audit.words import number

STATISTICS = ("running_mean", "running_var")
TAGS = ["NIST AI RMF MEASURE 2.5"]


class Weights(Check):
    """Are the weights sound numbers?"""

    id: ClassVar[str] = "training.weights"
    title: ClassVar[str] = "Are the weights sound numbers?"
    needs_data: ClassVar[bool] = False

    largest: Number = Field(default=1e4, gt=0, description="no weight should lie beyond ±this")

    def examine(self, context: Context) -> Measurement:
        tensors = context.subject.core.state_dict()
        faults: dict[str, list[str]] = {name: [] for name in GUIDANCE}
        rows: list[list[str | float | int | bool | None]] = []
        floats = 0
        for raw, tensor in tensors.items():
            name = raw.replace("/", ".")
            if not tensor.is_floating_point() or tensor.numel() == 0:
                continue
            floats += 1
            found = self.faults_of(name, tensor)
            for fault in found:
                faults[fault].append(name)
            if found:
                words = ", ".join(f.replace("_tensors", "").replace("_", " ") for f in found)
                rows.append([name, str(list(tensor.shape)), words])
        metrics = [
            statistics.census(fault, len(names), floats, unit="tensors")
            for fault, names in faults.items()
        ]
        first = f"; the first is {rows[0][0]} ({rows[0][2]})" if rows else ""
        answer = (
            f"Of {floats} tensors {len(rows)} hold NaN or Inf, nothing but one constant, or values "
            f"beyond ±{number(self.largest)}{first}."
        )
        guidance = {
            fault: Guidance(
                title=title,
                what_happened=f"{{value}} of {{n}} tensors {what}: "
                + ", ".join(faults[fault][:5])
                + (", …" if len(faults[fault]) > 5 else "")
                + ".",
                why_it_matters=why,
                what_to_do=todo,
                tags=TAGS,
            )
            for fault, (title, what, why, todo) in GUIDANCE.items()
        }
        tables = (
            [Table(title="Tensors at fault", columns=["tensor", "shape", "fault"], rows=rows[:100])]
            if rows
            else []
        )
        return Measurement(
            answer=answer,
            metrics=metrics,
            tables=tables,
            guidance=guidance,
            conclusions={"met": "The weights are sound."},
        )

    def faults_of(self, name: str, tensor: Tensor) -> list[str]:
        values = tensor.detach().float()
        if not bool(torch.isfinite(values).all()):
            return ["non_finite_tensors"]
        low, high = float(values.min()), float(values.max())
        found = []
        if tensor.ndim >= 2 and tensor.numel() > 1:
            if low == high == 0:
                found.append("all_zero_tensors")
            elif low == high:
                found.append("constant_tensors")
        if max(-low, high) > self.largest and not name.endswith(STATISTICS):
            found.append("exploding_tensors")
        return found

    def expectations(self, subject: Subject) -> list[Expectation]:
        severities = {
            "non_finite_tensors": "critical",
            "all_zero_tensors": "high",
            "constant_tensors": "medium",
            "exploding_tensors": "high",
        }
        return [
            Expectation(metric=metric, op="<=", bound=0, severity=severity)
            for metric, severity in severities.items()
        ]


GUIDANCE = {
    "non_finite_tensors": (
        "Some weights are not numbers",
        "hold NaN or Inf",
        "One NaN makes every answer that depends on it meaningless.",
        "Go back to a checkpoint before the divergence; lower the learning rate or clip gradients.",
    ),
    "all_zero_tensors": (
        "Some weight matrices are all zero",
        "are all zero",
        "The layer passes nothing on: it was never trained, or its weights were lost.",
        "Check initialisation and how the file was written and renamed.",
    ),
    "constant_tensors": (
        "Some weight matrices hold one value only",
        "hold a single value",
        "All units of the layer compute the same thing.",
        "Check the initialisation: units that start equal stay equal.",
    ),
    "exploding_tensors": (
        "Some weights are enormous",
        "hold weights beyond the bound",
        "Answers swing wildly with tiny changes of the input; training ran away.",
        "Lower the learning rate, clip gradients, add weight decay; go back to an earlier checkpoint.",
    ),
}
