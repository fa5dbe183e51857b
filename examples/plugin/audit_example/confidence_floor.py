"""How often is the model too unsure to act on?

The share of samples whose confidence lies below `floor`, with its Wilson interval.
"""

from typing import ClassVar

from audit import Check, Expectation, Measurement
from audit.statistics import proportion


class ConfidenceFloor(Check):
    """How often is the model too unsure to act on?"""

    id: ClassVar[str] = "custom.confidence_floor"
    title: ClassVar[str] = "How often is the model too unsure to act on?"

    floor: float = 0.5

    def applies(self, subject):
        subject.require("has_probabilities")

    def examine(self, context):
        unsure = context.predictions().confidence < self.floor
        share = proportion("unsure", unsure, direction="lower", clusters=context.clusters())
        return Measurement(answer=f"{share.value:.1%} of {share.n} answers.", metrics=[share])

    def expectations(self, subject):
        return [Expectation(metric="unsure", op="<=", bound=0.2, severity="medium")]
