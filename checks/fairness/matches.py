"""Groups compared by what their samples find, and by how often strangers of one group are taken for one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Context
from audit.checks.fairness import qualities
from audit.checks.fairness.grouping import Findings, Members, both, picture, taken
from audit.outputs import answered
from audit.record import LeftOut, Slice, Table
from audit.retrieval import laid, similarities
from audit.words import number, span

FALSE_MATCHES = 0.01  # of all pairs of strangers, at the threshold that groups are compared at
DRAWN = 1000  # samples of a group that others of it are held against; and of all, for the threshold
BLOCK = 1 << 12


def compare(context: Context, attribute: str, groups: Members) -> Findings:
    """Every group's mean quality, and its false matches, with the largest difference of each."""
    found = qualities.compare(context, attribute, groups)
    where: Slice = {"attribute": attribute}
    clusters = context.clusters()
    rate, level = false_matches(context, groups)
    known = {group: own[np.isfinite(rate[own])] for group, own in groups.items()}
    for group, own in known.items():
        if len(own) == 0:
            found.left_out.append(
                LeftOut(
                    what=f"{attribute} {group}",
                    how_many=len(groups[group]),
                    why="it holds one identity only, so that nobody of it can be taken for another",
                )
            )
    known = {group: own for group, own in known.items() if len(own)}
    means = [
        statistics.mean(
            "false_match_rate",
            rate[own],
            direction="lower",
            edges=(0, 1),
            slice={"attribute": attribute, "group": group},
            clusters=None if clusters is None else clusters[own],
        )
        for group, own in known.items()
    ]
    gap = statistics.gap_between_means(
        "false_match_difference",
        taken(rate, known) or {},
        clusters=taken(clusters, known),
        slice=where,
        edges=(0, 1),
    )
    found.metrics += [*means, gap]
    told = both(means, percent=True)
    if told:
        found.said.append(
            f"At the similarity ({number(level)}) where one in {1 / FALSE_MATCHES:.0f} pairs of all "
            f"strangers is taken for the same, so are, within their own group, {told}, a difference of "
            f"{number(gap.value)} ({span(gap.low, gap.high)})."
        )
    found.who["false_match_difference"] = {
        attribute: f"Within their own group {told} are taken for strangers of theirs."
    }
    found.tables.append(
        Table(
            title=f"False matches by {attribute}",
            columns=["group", "n", "false match rate"],
            rows=[
                [group, len(own), metric.value]
                for (group, own), metric in zip(known.items(), means, strict=True)
            ],
        )
    )
    found.figures += picture(means, "false match rate", attribute, percent=True)
    return found


def false_matches(context: Context, groups: Members) -> tuple[NDArray[np.float64], float]:
    """[n] share of the strangers of its own group that each sample is taken for; at which similarity.

    NaN where there is none.
    """
    subject, answers = context.subject, context.answers()
    similarity = subject.meta.similarity or "cosine"
    places = laid(answers.nan_to_num(), similarity)
    whose = subject.labels[:, 0]
    known = answered(answers)
    few = torch.from_numpy(context.samples(DRAWN))
    few = few[known[few]]
    apart = whose[few][:, None] != whose[few]
    between = similarities(places[few], places[few], similarity)[apart]
    level = float(between.double().quantile(1 - FALSE_MATCHES)) if len(between) else 1.0
    rate = np.full(len(places), np.nan)
    rng = np.random.default_rng(context.seed)
    for own in groups.values():
        kept = torch.from_numpy(own)[known[torch.from_numpy(own)]]
        against = kept[torch.from_numpy(np.sort(rng.permutation(len(kept))[:DRAWN]))]
        for part in kept.split(BLOCK):
            strangers = whose[part][:, None] != whose[against]
            over = similarities(places[part], places[against], similarity) > level
            share = (over & strangers).sum(1).double() / strangers.sum(1)
            rate[part.numpy()] = share.numpy()
    return rate, level
