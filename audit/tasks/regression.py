"""A number or several, held against numbers."""

from __future__ import annotations

from torch import Tensor

from audit.outputs import VALUES, values_of
from audit.scores import standard_errors, width
from audit.tasks import Asked, Reading
from audit.values import Valued, counted, extents

# Standard errors by which exponentials must come closer than what they are made of, and than a constant.
CLOSER, USEFUL = 2.5, 1.0


class Regression(Valued):
    """A number, or several that stand for different things."""

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        labels = asked.labels
        form = asked.meta.output if asked.meta.output in VALUES else "value"
        values = values_of(scores, form)
        if asked.meta.task == self.name:
            return Reading(form, "the task is regression")
        if labels.several:
            return self.read_several(values, asked)
        if asked.meta.output == form and width(values) == 1:
            return Reading(form, f'the output is "{form}"')
        if width(values) != 1 or labels.truths or (labels.two and labels.whole):
            return None
        return Reading(form, "one output, and labels that are not classes")

    def read_several(self, values: Tensor, asked: Asked) -> Reading | None:
        """As many values as the labels hold, and no row of yes and no."""
        form = asked.meta.output
        if form is None and set(asked.labels.values) <= {0.0, 1.0}:
            return None
        if asked.labels.one_hot or extents(values) != extents(asked.labels):
            return None
        return Reading(
            form or "value",
            f"{counted(extents(values))} a sample, and labels of as many that are not all 0 and 1",
        )

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        values = values_of(scores, reading.output)
        if asked.y is None or asked.y.ndim > 1 or width(values) != 1:
            return None
        return nearer(values, asked.y)

    def doubted(self, told: str, scores: Tensor, reading: Reading, asked: Asked) -> str:
        """Are they the logarithms of what the labels hold? That is never guessed."""
        y = asked.y
        if asked.meta.output is not None or y is None or y.ndim > 1 or width(scores) != 1:
            return ""
        as_they_are, raised = ((y - v.double().flatten()).abs() for v in (scores, scores.exp()))
        if float(y.min()) < 0 or nearer(scores.exp(), y) < USEFUL:
            return ""
        if standard_errors(as_they_are - raised) < CLOSER:
            return ""
        return (
            f"The model returns {told}, whose exponentials come closer to the labels than they do "
            'themselves; under [subject] write output = "log_value" ("log_rate" where they are counts that '
            'are expected), or output = "value" to have them judged as they are.'
        )


def nearer(values: Tensor, y: Tensor) -> float:
    """How much nearer to labels [n] than the best constant, in standard errors, absolute or squared."""
    said, y = values.double().reshape(len(y)), y.double()
    return max(
        standard_errors((y - y.median()).abs() - (y - said).abs()),
        standard_errors((y - y.mean()).square() - (y - said).square()),
    )
