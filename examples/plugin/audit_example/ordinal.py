"""Grades: classes in an order, where a near miss is better than a far one."""

from typing import ClassVar

from audit.decision import Classification, scored_classes
from audit.outputs import decided
from audit.statistics import mean
from audit.words import number


class Ordinal(Classification):
    """One of several grades. An answer is worth 1 if it is right, 0 if it is as far off as can be."""

    quality: ClassVar[str] = "agreement"
    tiny_width: ClassVar[int] = 5

    def read(self, scores, asked):
        return scored_classes(scores, asked) if asked.meta.task == self.name else None

    def quality_of(self, subject, answers, y):
        off = (decided(answers) - y).abs().double()
        return 1 - off / (len(subject.classes) - 1)

    def mean_quality(self, subject, answers, y, *, clusters, prefix, where):
        return mean(
            f"{prefix}agreement",
            self.quality_of(subject, answers, y).numpy(),
            clusters=clusters,
            edges=(0, 1),
            direction="higher",
            slice=where,
        )

    def told_change(self, before, after):
        return f"agreement goes from {number(before.value)} to {number(after.value)}"
