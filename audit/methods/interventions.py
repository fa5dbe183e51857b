"""The same samples, changed in one way each: what does the model answer then?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.meta import Feature
from audit.methods.attributions import players
from audit.subject import Subject


@producer(version=2)
def swapped_parts(batch: Batch) -> dict[str, Tensor]:
    """One part of the input after the other taken from a sample of another class.

    Returns:
        answered: [n, parts] the class that the model answers then; donor: [n] the donor's class.
    """
    subject, x = batch.subject, batch.x
    assert subject.x is not None
    assert subject.y is not None
    parts = players(subject)
    labels = subject.y.to(batch.y.device)
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels, minlength=len(subject.classes))
    first = counts.cumsum(0) - counts
    # In the order of the labels, own class is one stretch: step over it.
    others = len(labels) - counts[batch.y]
    pick = (batch.uniform(0, ()).to(x.device) * others).long()
    pick = torch.where(pick >= first[batch.y], pick + counts[batch.y], pick)
    donors = order[pick]
    donor_x, donor_y = subject.x[donors.cpu()].to(x.device), labels[donors]
    answered = torch.zeros(len(x), parts.count, dtype=torch.long)
    with torch.no_grad():
        for part in range(parts.count):
            mixed = torch.where((parts.member == part).to(x.device), donor_x, x)
            answered[:, part] = subject.logits(mixed).argmax(1).cpu()
    return {"answered": answered, "donor": donor_y}


def rescalings(subject: Subject) -> list[str]:
    """Mistakes in preparing inputs that people make, as far as they make sense for the subject."""
    names = ["standardised", "times 255", "divided by 255"]
    if subject.kind == "image":
        names += ["in −1 to 1", "inverted"]
        if 3 in (subject.x.shape[1], subject.x.shape[-1]):  # type: ignore[union-attr]
            names.append("colours reversed")
    if subject.kind == "tabular" and subject.meta.features:
        names.append("units undone")
    return names


def rescale(subject: Subject, x: Tensor, name: str) -> Tensor:
    """[n, ...] inputs in the form that `rescalings` names."""
    if name == "times 255":
        return x * 255
    if name == "divided by 255":
        return x / 255
    if name == "colours reversed":
        return x.flip(1 if x.shape[1] == 3 else -1)
    if name == "standardised":
        moments = subject.moments
        if subject.kind == "tabular":
            return (x - moments.mean) / torch.where(moments.std > 0, moments.std, 1.0)
        return (x - moments.mean.mean()) / subject.x.float().std()  # type: ignore[union-attr]
    if name == "units undone":
        mean, std = torch.zeros_like(x[:1]), torch.ones_like(x[:1])
        for feature in subject.features:
            if feature.kind == "numeric" and feature.mean is not None and feature.std is not None:
                mean[0, feature.columns[0]] = feature.mean
                std[0, feature.columns[0]] = feature.std
        return x * std + mean
    low, high = subject.range or (0.0, 1.0)
    if name == "inverted":
        return low + high - x
    return 2 * (x - low) / (high - low) - 1


@producer(version=1)
def rescaled(batch: Batch, *, name: str) -> dict[str, Tensor]:
    """Logits [n, classes] (or values [n, 1]) for the inputs in another scale."""
    with torch.no_grad():
        return {"logits": batch.subject.logits(rescale(batch.subject, batch.x.float(), name)).float()}


def gaps(subject: Subject) -> list[tuple[str, str]]:
    """(feature or channel, how it is filled) for everything whose value can be missing."""
    if subject.kind == "tabular":
        return [
            (f.name, how)
            for f in subject.features
            for how in (("mean", "zero") if f.kind == "numeric" else ("most frequent", "none"))
        ]
    assert subject.x is not None
    return [
        (f"channel {c + 1}", how) for c in range(subject.x.shape[-1]) for how in ("mean", "zero")
    ]


def fill(subject: Subject, x: Tensor, feature: Feature, how: str) -> None:
    """Fill the feature's columns of `x`, in place, as users fill what is missing."""
    columns = feature.columns
    if how == "mean":
        x[..., columns] = subject.moments.mean[..., columns]
    else:
        x[..., columns] = 0.0
        if how == "most frequent":
            x[..., columns[int(subject.moments.mean[0, columns].argmax())]] = 1.0


def fillable(subject: Subject) -> Iterator[tuple[Feature, str]]:
    named = {f.name: f for f in subject.features}
    for name, how in gaps(subject):
        column = int(name.split()[-1]) - 1 if name not in named else 0
        yield named.get(name) or Feature(name=name, columns=[column]), how


@producer(version=2)
def imputed(batch: Batch) -> dict[str, Tensor]:
    """One feature (or channel) after the other taken for missing, and filled.

    Returns:
        logits: [n, gaps, classes] (or values [n, gaps, 1]), in the order of `gaps`.
    """
    subject = batch.subject
    answers = []
    with torch.no_grad():
        for feature, how in fillable(subject):
            x = batch.x.float().clone()
            fill(subject, x, feature, how)
            answers.append(subject.logits(x).float())
    return {"logits": torch.stack(answers, 1)}


@producer(version=1)
def exchanged(batch: Batch) -> dict[str, Tensor]:
    """One feature (or channel) after the other taken from another sample, drawn at random: what it told
    is gone, but nothing is missing.

    Returns:
        logits: [n, gaps, classes] (or values [n, gaps, 1]), in the order of `gaps`.
    """
    subject = batch.subject
    assert subject.x is not None
    donors = (batch.uniform(0, ()) * subject.n).long()
    other = subject.x[donors.cpu()].to(batch.x.device).float()
    answers: dict[str, Tensor] = {}
    with torch.no_grad():
        for feature, _ in fillable(subject):
            if feature.name not in answers:
                x = batch.x.float().clone()
                x[..., feature.columns] = other[..., feature.columns]
                answers[feature.name] = subject.logits(x).float()
    return {"logits": torch.stack([answers[name] for name, _ in gaps(subject)], 1)}


@producer(version=1)
def missing_at_random(batch: Batch, *, share: float) -> dict[str, Tensor]:
    """Each feature (or channel) missing with probability `share`, filled by mean or mode (MCAR).

    Returns:
        logits: [n, classes].
    """
    subject = batch.subject
    ways = [(f, how) for f, how in fillable(subject) if how in ("mean", "most frequent")]
    gone = batch.uniform(0, (len(ways),)) < share
    x = batch.x.float().clone()
    with torch.no_grad():
        for i, (feature, how) in enumerate(ways):
            filled = x.clone()
            fill(subject, filled, feature, how)
            row = gone[:, i].to(x.device).reshape(-1, *([1] * (x.ndim - 1)))
            x = torch.where(row, filled, x)
        return {"logits": subject.logits(x).float()}


@producer(version=1)
def permuted(batch: Batch, *, feature: int) -> dict[str, Tensor]:
    """Logits with one part of the input taken from another sample, drawn at random.

    Permutation importance (Breiman 2001, section 10).
    """
    subject = batch.subject
    assert subject.x is not None
    donors = (batch.uniform(0, ()) * subject.n).long()
    member = (players(subject).member == feature).to(batch.x.device)
    other = subject.x[donors.cpu()].to(batch.x.device)
    with torch.no_grad():
        return {"logits": subject.logits(torch.where(member, other, batch.x)).float()}
