"""The same samples, changed in one way each: what does the model answer then?"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.inputs import unpadded
from audit.meta import Feature
from audit.methods.screening import missed
from audit.outputs import full
from audit.subject import Subject


@producer(version=2)
def swapped_parts(batch: Batch) -> dict[str, Tensor]:
    """One part of the input after the other taken from a sample of another class.

    Returns:
        answered: [n, parts] the class that the model answers then; donor: [n] the donor's class.
    """
    subject, x = batch.subject, batch.x
    parts = subject.kind.parts(subject)
    labels = subject.labels.to(batch.y.device)
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels, minlength=len(subject.classes))
    first = counts.cumsum(0) - counts
    # In the order of the labels, own class is one stretch: step over it.
    others = len(labels) - counts[batch.y]
    pick = (batch.uniform(0, ()).to(x.device) * others).long()
    pick = torch.where(pick >= first[batch.y], pick + counts[batch.y], pick)
    donors = order[pick]
    donor_x, donor_y = subject.inputs[donors.cpu()].to(x.device), labels[donors]
    answered = torch.zeros(len(x), parts.count, dtype=torch.long)
    with torch.no_grad():
        for part in range(parts.count):
            mixed = torch.where((parts.member == part).to(x.device), donor_x, x)
            answered[:, part] = subject.logits(mixed).argmax(1).cpu()
    return {"answered": answered, "donor": donor_y}


@producer(version=2)
def rescaled(batch: Batch, *, name: str) -> dict[str, Tensor]:
    """The inputs in another scale.

    Returns:
        logits: [n, classes] (or values [n, 1]); refused: [n] the model does not take such inputs.
    """
    subject, n = batch.subject, len(batch.x)
    other = subject.kind.rescalings(subject)[name](subject, full(batch.x))
    with torch.no_grad():
        try:
            return {
                "logits": subject.logits(other).float(),
                "refused": torch.zeros(n, dtype=torch.bool),
            }
        except (
            ArithmeticError,
            LookupError,
            RuntimeError,
            ValueError,
        ):  # a code that is none, for one
            width = subject.logits(batch.x[:1]).shape[1]
            return {"logits": torch.zeros(n, width), "refused": torch.ones(n, dtype=torch.bool)}


def fill(subject: Subject, x: Tensor, feature: Feature, how: str) -> None:
    """Fill the feature's columns of `x`, in place, as users fill what is missing."""
    columns, mean = feature.columns, subject.moments.mean
    at = subject.kind.values_of(x, columns)
    if how == "mean":
        x[at] = mean[at].expand_as(x[at])
    else:
        x[at] = 0.0
        if how == "most frequent":
            x[..., columns[int(mean[0, columns].argmax())]] = 1.0


@producer(version=3)
def imputed(batch: Batch) -> dict[str, Tensor]:
    """One feature (or channel) after the other taken for missing, and filled.

    Returns:
        changed: [n, ways] is the answer another? In the order of `screening.missed`.
    """
    subject = batch.subject
    found = []
    with torch.no_grad():
        known = subject.logits(batch.x).float()
        for feature, how in missed(subject):
            x = full(batch.x).clone()
            fill(subject, x, feature, how)
            answers = subject.logits(unpadded(subject, batch.x, x)).float()
            found.append(subject.task.changed(subject, known, answers))
    return {"changed": torch.stack(found, 1)}


@producer(version=2)
def exchanged(batch: Batch) -> dict[str, Tensor]:
    """One feature (or channel) after the other taken from another sample, drawn at random.

    What it told is gone, but nothing is missing.

    Returns:
        changed: [n, ways] is the answer another? In the order of `screening.missed`.
    """
    subject = batch.subject
    donors = (batch.uniform(0, ()) * subject.n).long()
    other = full(subject.inputs[donors.cpu()]).to(batch.x.device)
    found: dict[str, Tensor] = {}
    ways = missed(subject)
    with torch.no_grad():
        known = subject.logits(batch.x).float()
        for feature, _ in ways:
            if feature.name not in found:
                x = full(batch.x).clone()
                at = subject.kind.values_of(x, feature.columns)
                x[at] = other[at]
                answers = subject.logits(unpadded(subject, batch.x, x)).float()
                found[feature.name] = subject.task.changed(subject, known, answers)
    return {"changed": torch.stack([found[feature.name] for feature, _ in ways], 1)}


@producer(version=1)
def missing_at_random(batch: Batch, *, share: float) -> dict[str, Tensor]:
    """Each feature (or channel) missing with probability `share`, filled by mean or mode (MCAR).

    Returns:
        logits: [n, classes].
    """
    subject = batch.subject
    ways = [
        (f, how) for f, how in subject.kind.fillings(subject) if how in ("mean", "most frequent")
    ]
    gone = batch.uniform(0, (len(ways),)) < share
    x = full(batch.x).clone()
    with torch.no_grad():
        for i, (feature, how) in enumerate(ways):
            kept = x[..., feature.columns]
            fill(subject, x, feature, how)
            row = gone[:, i].to(x.device).reshape(-1, *([1] * (x.ndim - 1)))
            x[..., feature.columns] = torch.where(row, x[..., feature.columns], kept)
        return {"logits": subject.logits(unpadded(subject, batch.x, x)).float()}


@producer(version=1)
def permuted(batch: Batch, *, feature: int) -> dict[str, Tensor]:
    """Logits with one named feature taken from another sample, drawn at random.

    Permutation importance (Breiman 2001, section 10).
    """
    subject = batch.subject
    donors = (batch.uniform(0, ()) * subject.n).long()
    member = torch.zeros(batch.x.shape[1:], dtype=torch.bool, device=batch.x.device)
    member[..., subject.features[feature].columns] = True
    other = subject.inputs[donors.cpu()].to(batch.x.device)
    with torch.no_grad():
        return {"logits": subject.logits(torch.where(member, other, batch.x)).float()}


@producer(version=1)
def exchanged_input(batch: Batch, *, name: str) -> dict[str, Tensor]:
    """Logits with one of several inputs taken from another sample, drawn at random."""
    subject = batch.subject
    donors = (batch.uniform(0, ()) * subject.n).long()
    other = subject.inputs[donors.cpu()].to(batch.x.device)
    with torch.no_grad():
        changed = subject.kind.exchanged(subject, batch.x, name, other)
        return {"logits": subject.logits(changed).float()}


@producer(version=1)
def scrambled_input(batch: Batch, *, name: str) -> dict[str, Tensor]:
    """Logits with something else where a mask hides what one of several inputs holds."""
    subject = batch.subject
    with torch.no_grad():
        changed = subject.kind.scrambled(subject, batch.x, name, batch.uniform)
        return {"logits": subject.logits(changed).float()}
