"""Attacks on a subject's samples. Each keeps the name that it had when it drew its first random numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.inputs import Move
from audit.methods import attacks
from audit.methods.attacks.budgets import Bounds, Budget
from audit.outputs import full
from audit.producers.budgets import budget, choosable, victim
from audit.producers.of_methods import attack
from audit.subject import Subject

MOST = 1000  # samples that a surrogate learns from
FOUND = ("x", "broken")
CLIMBED = (*FOUND, "loss_rose", "zero_gradient")

fgsm = attack(attacks.ascent.fgsm, 3, *CLIMBED)
pgd = attack(attacks.ascent.pgd, 3, *CLIMBED)
apgd = attack(attacks.apgd.apgd, 3, *CLIMBED)
# `draws`: forward passes that an answer is the mean of, for a model that draws lots.
unmasked = attack(attacks.unmasking.unmasked, 1, *CLIMBED, means=lambda _, draws=1: draws)
square = attack(attacks.square.square, 4, *FOUND, name="audit.methods.attacks.search.square")


def unit(batch: Batch) -> Budget:
    """The bounds of inputs, and the unit that the smallest change is told in."""
    return budget(batch.subject, 1.0)


# x, and distance [n], in units of the input's range (for tables in its standard deviations).
hop_skip_jump = attack(
    attacks.hop_skip_jump.hop_skip_jump,
    1,
    "x",
    "distance",
    name="audit.methods.attacks.search.hop_skip_jump",
    bounds=unit,
)


def surrogate(subject: Subject) -> nn.Module:
    """A small network that learnt how the subject answers at most `MOST` of its samples; made once."""

    def taught() -> nn.Module:
        x = full(subject.inputs[:MOST]).to(subject.device)
        # Its passes are nobody's alone who happens to ask first.
        with torch.no_grad(), subject.network.counting():
            parts = x.split(subject.batch_size)
            said = torch.cat([subject.logits(part).argmax(1) for part in parts])
        return attacks.transfer.surrogate(
            x,
            said,
            len(subject.classes),
            std=subject.kind.spread(subject),
            channels_last=subject.channels_last,
        )

    return subject.derived("surrogate", taught)


transfer = attack(
    attacks.transfer.transfer, 1, *FOUND, learnt=lambda batch: surrogate(batch.subject)
)


def anywhere(batch: Batch) -> Budget:
    """The bounds of inputs for an adversary of no budget; none where they were guessed."""
    subject = batch.subject
    return budget(subject, 1.0, free=True).open(subject.kind.guessed(subject))


smallest_l2 = attack(
    attacks.minimum_norm.smallest_l2,
    1,
    "x",
    "eps",
    bounds=anywhere,
    rounds=lambda _, rounds=0: rounds,  # DeepFool alone, unless more is asked for
)


@producer(3, private=("x",), name="audit.methods.attacks.minimum_norm.minimum_eps")
def minimum_eps(
    batch: Batch,
    *,
    highest: float,
    halvings: int,
    steps: int,
    around: bool = False,
    changes: int = 0,
) -> dict[str, Tensor]:
    """Bisection with Auto-PGD: x, and eps [n].

    Args:
        changes: categories of a table's row that are others, the worst, before the numbers move.
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    begin = None
    if changes:
        columns = [f.columns for f in choosable(subject)]
        begin = attacks.categories.recategorised(model, batch.x, y, columns, changes)
    found = attacks.minimum_norm.minimum_eps(
        model,
        batch.x,
        y,
        highest,
        halvings=halvings,
        steps=steps,
        around=around,
        begin=begin,
        bounds=budget(subject, 1.0),
        seed=batch.draws,
    )
    return {"x": found.x, "eps": found.eps}


recategorised = attack(
    attacks.categories.mixed,
    3,
    *CLIMBED,
    name="audit.methods.attacks.categories.recategorised",
    categories=lambda batch: [f.columns for f in choosable(batch.subject)],
)


def shown(batch: Batch) -> Bounds:
    """The range of a picture's values."""
    assert batch.subject.range is not None
    return batch.subject.range


patch = attack(attacks.patch.patch, 1, *FOUND, bounds=shown)


def moves(batch: Batch, degrees: float, shift: float, grid: int) -> list[Move]:
    """Rotations and shifts.

    Args:
        degrees: largest rotation either way.
        shift: largest shift either way, as a share of the picture's width and height or the series'
            length.
        grid: values tried of each, an odd number, the middle one is no change.
    """
    return batch.subject.kind.displacements(batch.subject, degrees, shift, grid)


spatial = attack(attacks.spatial.spatial, 1, *FOUND, moves=moves)


@producer(2, private=("change",), name="audit.methods.attacks.universal.universal")
def universal(batch: Batch, *, eps: float, steps: int) -> dict[str, Tensor]:
    """One change for all: change [n, ...], the same for every sample."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    change = attacks.universal.universal(
        model, batch.x, y, budget(subject, eps), steps=steps, seed=batch.draws
    )
    return {"change": change.expand_as(batch.x).clone()}


@producer(1, name="audit.methods.attacks.universal.shifted")
def shifted(batch: Batch, *, eps: float, change: list[float]) -> dict[str, Tensor]:
    """What a given change does: broken.

    Args:
        change: the values of one sample's change, in a row.
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    delta = torch.tensor(change, device=batch.x.device).reshape(1, *batch.x.shape[1:])
    bounds = budget(subject, eps)
    return {"broken": attacks.universal.shifted(model, batch.x, y, delta, bounds=bounds).broken}


def candidates(subject: Subject, kind: str) -> Tensor:
    """[words, candidates] what may take each word's place.

    Args:
        kind: 'typos' or 'substitutions'.

    Raises:
        NotApplicable: no vocabulary is known, no candidate, or the model embeds no words.
    """
    vocabulary = subject.kind.vocabulary(subject)
    if vocabulary is None:
        raise NotApplicable("the words are not known ([subject.input] vocabulary)")
    texts = subject.kind.texts(subject, subject.inputs)
    if len(vocabulary) <= int(texts.max()):
        raise NotApplicable(
            f"the vocabulary has {len(vocabulary)} words and the data hold the number "
            f"{int(texts.max())}"
        )
    if kind == "typos":
        return attacks.word_substitution.typos(tuple(vocabulary))
    weight = next(
        (
            module.weight
            for module in subject.core.modules()
            if isinstance(module, nn.Embedding) and module.num_embeddings >= len(vocabulary)
        ),
        None,
    )
    if weight is None:
        raise NotApplicable("the model has no embedding of the vocabulary to find near words in")

    def near() -> Tensor:
        words = texts.unique().long()
        return attacks.word_substitution.substitutes(weight, vocabulary, words)

    return subject.derived("substitutes", near)


@producer(3, private=("x",), name="audit.methods.attacks.words.reworded")
def reworded(batch: Batch, *, kind: str, edits: int, greedy: bool = True) -> dict[str, Tensor]:
    """Words changed one after the other: x, broken, and after how many edits.

    Args:
        greedy: false for random places and candidates, as many: what a search has to beat.
    """
    subject, x = batch.subject, batch.x
    model, y = victim(subject, x, batch.y)

    def around(texts: Tensor, rows: Tensor | None) -> Tensor:
        return subject.kind.reworded(subject, x if rows is None else x[rows], texts)

    found = attacks.word_substitution.word_substitution(
        model,
        subject.kind.texts(subject, x),
        y,
        candidates(subject, kind),
        edits=edits,
        greedy=greedy,
        blank=attacks.word_substitution.unknown(subject.kind.vocabulary(subject) or []) or 0,
        fixed=subject.kind.unwritten(subject, x),
        around=around,
        seed=batch.draws,
    )
    return {"x": around(found.x, None), "broken": found.broken, "edits": found.edits}


@producer(2, name="audit.methods.attacks.ascent.free_pgd")
def free_pgd(batch: Batch, *, steps: int) -> dict[str, Tensor]:
    """PGD with the budget removed.

    A diagnostic of the attack, not a threat. A sound gradient attack that may change everything leaves
    nothing right (Carlini et al. 2019, 3.1): broken.
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    start = batch.uniform(0, batch.x.shape[1:])
    free = budget(subject, 0.0, free=True)
    return {
        "broken": attacks.ascent.falls(
            model.logits, batch.x, y, free, steps=steps, step=2.5 / steps, start=start
        )
    }
