"""Attacks on a subject's samples. Each keeps the name that it had when it drew its first random numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.methods.attacks import (
    apgd as apgd_,
)
from audit.methods.attacks import (
    ascent,
    categories,
    minimum_norm,
    unmasking,
    word_substitution,
)
from audit.methods.attacks import (
    hop_skip_jump as hop_skip_jump_,
)
from audit.methods.attacks import (
    patch as patch_,
)
from audit.methods.attacks import (
    spatial as spatial_,
)
from audit.methods.attacks import (
    square as square_,
)
from audit.methods.attacks import (
    transfer as transfer_,
)
from audit.methods.attacks import (
    universal as universal_,
)
from audit.methods.attacks.ascent import Ascended
from audit.methods.attacks.budgets import Norm
from audit.methods.attacks.goals import Attacked, Loss
from audit.outputs import full
from audit.producers.budgets import budget, choosable, victim
from audit.subject import Subject

MOST = 1000  # samples that a surrogate learns from


def told(found: Attacked) -> dict[str, Tensor]:
    """What an attack did, as evidence: x [n, ...] and broken [n].

    Of a gradient attack loss_rose [n] and zero_gradient [n] too.
    """
    made = {"x": found.x, "broken": found.broken}
    if isinstance(found, Ascended):
        made |= {"loss_rose": found.loss_rose, "zero_gradient": found.zero_gradient}
    return made


@producer(3, private=("x",), name="audit.methods.attacks.ascent.fgsm")
def fgsm(batch: Batch, *, eps: float) -> dict[str, Tensor]:
    """One step of the full budget: x, broken, loss_rose, zero_gradient."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    return told(ascent.fgsm(model, batch.x, y, budget(subject, eps)))


@producer(3, private=("x",), name="audit.methods.attacks.ascent.pgd")
def pgd(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    restarts: int = 1,
    norm: Norm = "linf",
    random_start: bool = True,
) -> dict[str, Tensor]:
    """Projected gradient descent: x, broken, loss_rose, zero_gradient."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    return told(
        ascent.pgd(
            model,
            batch.x,
            y,
            budget(subject, eps, norm),
            steps=steps,
            restarts=restarts,
            random_start=random_start,
            seed=batch.draws,
        )
    )


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
        "broken": ascent.falls(
            model.logits, batch.x, y, free, steps=steps, step=2.5 / steps, start=start
        )
    }


@producer(3, private=("x",), name="audit.methods.attacks.apgd.apgd")
def apgd(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    loss: Loss,
    rank: int = 0,
    norm: Norm = "linf",
    margin: float = 0.0,
    restarts: int = 1,
) -> dict[str, Tensor]:
    """Auto-PGD: x, broken, loss_rose, zero_gradient.

    Args:
        margin: by how much another class must lead before the sample counts as broken.
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y, margin)
    return told(
        apgd_.apgd(
            model,
            batch.x,
            y,
            budget(subject, eps, norm),
            steps=steps,
            loss=loss,
            rank=rank,
            restarts=restarts,
            seed=batch.draws,
        )
    )


@producer(1, private=("x",), name="audit.methods.attacks.unmasking.unmasked")
def unmasked(
    batch: Batch, *, eps: float, steps: int, loss: Loss, draws: int = 1, norm: Norm = "linf"
) -> dict[str, Tensor]:
    """Auto-PGD around masked gradients: x, broken, loss_rose, zero_gradient.

    Args:
        draws: forward passes that an answer is the mean of, for a model that draws lots.
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    return told(
        unmasking.unmasked(
            model,
            batch.x,
            y,
            budget(subject, eps, norm),
            loss=loss,
            steps=steps,
            means=draws,
            seed=batch.draws,
        )
    )


@producer(4, private=("x",), name="audit.methods.attacks.search.square")
def square(batch: Batch, *, eps: float, queries: int, norm: Norm = "linf") -> dict[str, Tensor]:
    """Square: x, broken."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    return told(
        square_.square(
            model,
            batch.x,
            y,
            budget(subject, eps, norm),
            queries=queries,
            channels_last=subject.channels_last,
            seed=batch.draws,
        )
    )


@producer(1, private=("x",), name="audit.methods.attacks.search.hop_skip_jump")
def hop_skip_jump(batch: Batch, *, iterations: int, evaluations: int) -> dict[str, Tensor]:
    """HopSkipJump.

    X, and distance, in units of the input's range (for tables in its standard deviations).
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    found = hop_skip_jump_.hop_skip_jump(
        model,
        batch.x,
        y,
        bounds=budget(subject, 1.0),
        iterations=iterations,
        evaluations=evaluations,
        batch_size=subject.batch_size,
        seed=batch.draws,
    )
    return {"x": found.x, "distance": found.distance}


def surrogate(subject: Subject) -> nn.Module:
    """A small network that learnt how the subject answers at most `MOST` of its samples; made once."""

    def taught() -> nn.Module:
        x = full(subject.inputs[:MOST]).to(subject.device)
        # Its passes are nobody's alone who happens to ask first.
        with torch.no_grad(), subject.network.counting():
            parts = x.split(subject.batch_size)
            said = torch.cat([subject.logits(part).argmax(1) for part in parts])
        return transfer_.surrogate(
            x,
            said,
            len(subject.classes),
            std=subject.kind.spread(subject),
            channels_last=subject.channels_last,
        )

    return subject.derived("surrogate", taught)


@producer(1, private=("x",), name="audit.methods.attacks.transfer.transfer")
def transfer(batch: Batch, *, eps: float, steps: int, norm: Norm = "linf") -> dict[str, Tensor]:
    """PGD on a surrogate: x, broken."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    return told(
        transfer_.transfer(
            model,
            surrogate(subject),
            batch.x,
            y,
            budget(subject, eps, norm),
            steps=steps,
            seed=batch.draws,
        )
    )


@producer(1, private=("x",), name="audit.methods.attacks.minimum_norm.smallest_l2")
def smallest_l2(
    batch: Batch,
    *,
    steps: int,
    nearest: int,
    rounds: int = 0,
    refining: int = 30,
    around: bool = False,
) -> dict[str, Tensor]:
    """DeepFool, then Carlini and Wagner: x, and eps [n]."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    allowed = budget(subject, 1.0, free=True)
    found = minimum_norm.smallest_l2(
        model,
        batch.x,
        y,
        steps=steps,
        nearest=nearest,
        rounds=rounds,
        refining=refining,
        around=around,
        bounds=allowed.open(subject.kind.guessed(subject)),
    )
    return {"x": found.x, "eps": found.eps}


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
        begin = categories.recategorised(model, batch.x, y, columns, changes)
    found = minimum_norm.minimum_eps(
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


@producer(2, private=("x",), name="audit.methods.attacks.categories.recategorised")
def recategorised(batch: Batch, *, eps: float, steps: int, changes: int) -> dict[str, Tensor]:
    """The worst categories, then the worst numbers: x, broken, loss_rose, zero_gradient."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    return told(
        categories.mixed(
            model,
            batch.x,
            y,
            budget(subject, eps),
            categories=[f.columns for f in choosable(subject)],
            changes=changes,
            steps=steps,
        )
    )


@producer(1, private=("x",), name="audit.methods.attacks.patch.patch")
def patch(batch: Batch, *, area: float, places: int, steps: int) -> dict[str, Tensor]:
    """The worst patch: x, broken."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    assert subject.range is not None
    return told(
        patch_.patch(
            model,
            batch.x,
            y,
            area,
            places=places,
            steps=steps,
            bounds=subject.range,
            channels_last=subject.channels_last,
            seed=batch.draws,
        )
    )


@producer(1, private=("x",), name="audit.methods.attacks.spatial.spatial")
def spatial(batch: Batch, *, degrees: float, shift: float, grid: int) -> dict[str, Tensor]:
    """The worst rotation and shift: x, broken.

    Args:
        degrees: largest rotation either way.
        shift: largest shift either way, as a share of the picture's width and height or the series'
            length.
        grid: values tried of each, an odd number, the middle one is no change.
    """
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    moves = subject.kind.displacements(subject, degrees, shift, grid)
    return told(spatial_.spatial(model, batch.x, y, moves))


@producer(2, private=("change",), name="audit.methods.attacks.universal.universal")
def universal(batch: Batch, *, eps: float, steps: int) -> dict[str, Tensor]:
    """One change for all: change [n, ...], the same for every sample."""
    subject = batch.subject
    model, y = victim(subject, batch.x, batch.y)
    change = universal_.universal(
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
    return {"broken": universal_.shifted(model, batch.x, y, delta, bounds=bounds).broken}


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
        return word_substitution.typos(tuple(vocabulary))
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
        return word_substitution.substitutes(weight, vocabulary, words)

    return subject.derived("substitutes", near)


@producer(2, private=("x",), name="audit.methods.attacks.words.reworded")
def reworded(batch: Batch, *, kind: str, edits: int, greedy: bool = True) -> dict[str, Tensor]:
    """Words changed one after the other: x, broken.

    Args:
        greedy: false for random places and candidates, as many: what a search has to beat.
    """
    subject, x = batch.subject, batch.x
    model, y = victim(subject, x, batch.y)

    def around(texts: Tensor, rows: Tensor | None) -> Tensor:
        return subject.kind.reworded(subject, x if rows is None else x[rows], texts)

    found = word_substitution.word_substitution(
        model,
        subject.kind.texts(subject, x),
        y,
        candidates(subject, kind),
        edits=edits,
        greedy=greedy,
        blank=word_substitution.unknown(subject.kind.vocabulary(subject) or []) or 0,
        fixed=subject.kind.unwritten(subject, x),
        around=around,
        seed=batch.draws,
    )
    return told(Attacked(around(found.x, None), found.broken))
