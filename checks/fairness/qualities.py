"""Groups compared by how good the answers are on average, whatever an answer is."""

from __future__ import annotations

from audit import statistics
from audit.checking import Context
from audit.checks.fairness.grouping import Findings, Members, both, picture, taken
from audit.record import Slice, Table
from audit.words import number, span


def compare(context: Context, attribute: str, groups: Members) -> Findings:
    """Every group's mean quality, and the largest difference between two."""
    subject, clusters = context.subject, context.clusters()
    task, answers, y = subject.task, context.answers(), subject.labels
    # Of each group among its own: a rank is one among others.
    quality = {
        group: task.quality_of(subject, answers[own], y[own]).numpy()
        for group, own in groups.items()
    }
    where: Slice = {"attribute": attribute}
    found = Findings()
    means = [
        statistics.mean(
            "quality",
            quality[group],
            direction="higher",
            edges=None if task.quality_unit else (0, 1),
            slice={"attribute": attribute, "group": group},
            clusters=None if clusters is None else clusters[own],
        )
        for group, own in groups.items()
    ]
    gap = statistics.gap_between_means(
        "quality_difference",
        quality,
        clusters=taken(clusters, groups),
        slice=where,
    )
    found.metrics += [*means, gap]
    what = task.quality
    told = both(means, percent=False)
    found.said.append(
        f"By {attribute} the {what} is {told}, a difference of {number(gap.value)} "
        f"({span(gap.low, gap.high)})."
        if told
        else f"By {attribute} there is nothing to compare: all are {next(iter(groups))}."
    )
    found.who["quality_difference"] = {attribute: f"The {what} is {told}."}
    found.tables.append(
        Table(
            title=f"By {attribute}",
            columns=["group", "n", what],
            rows=[
                [group, len(own), metric.value]
                for (group, own), metric in zip(groups.items(), means, strict=True)
            ],
        )
    )
    found.figures += picture(means, what, attribute, percent=False)
    return found
