"""Changes of a text's words: typing errors, and words put in the place of others."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.methods.attacks.goals import goal, margin
from audit.subject import Subject

Kind = Literal["typos", "substitutions"]
UNKNOWN = ("<unk>", "[UNK]", "<oov>", "<UNK>", "UNK")
CANDIDATES = 8  # words that may take the place of one
MARKS = 16  # of a family of equals, those that stand for one another
PLACES = 6  # of a text, those that matter most, are tried for each edit
ROWS = 4096  # texts answered at once
WORDS = 512  # compared with all others at once
_substitutes: WeakKeyDictionary[Subject, Tensor] = WeakKeyDictionary()


def is_special(word: str) -> bool:
    """Is it a mark of the tokeniser, not a word?"""
    return not word or (word[0], word[-1]) in (("<", ">"), ("[", "]")) or word in UNKNOWN


def unknown(vocabulary: list[str]) -> int | None:
    return next((vocabulary.index(u) for u in UNKNOWN if u in vocabulary), None)


def one_edit_away(vocabulary: tuple[str, ...]) -> Callable[[str], set[int]]:
    """word → the words of the vocabulary, the first of many, that one letter inserted, left out,
    replaced, or swapped with its neighbour makes of it.
    """
    words = [(number_, word) for number_, word in enumerate(vocabulary) if not is_special(word)]
    known: dict[str, list[int]] = defaultdict(list)
    for number_, word in words:
        known[word].append(number_)
    replaced: dict[tuple[int, str], list[int]] = defaultdict(list)  # by what one letter leaves
    longer: dict[str, list[int]] = defaultdict(list)
    for number_, word in words:
        holes = [word[:i] + word[i + 1 :] for i in range(len(word))]
        for i, hole in enumerate(holes):
            replaced[i, hole].append(number_)
        for hole in known.keys() & holes:
            longer[hole].append(number_)

    def edited(word: str) -> set[int]:
        found = set(longer.get(word, ())[:CANDIDATES])
        for i in range(len(word)):
            hole = word[:i] + word[i + 1 :]
            others = (b for b in replaced[i, hole] if vocabulary[b] != word)
            swapped = word[:i] + word[i : i + 2][::-1] + word[i + 2 :]
            found.update(islice(others, CANDIDATES), known.get(hole, ())[:CANDIDATES])
            found.update(known.get(swapped, ())[:CANDIDATES] if swapped != word else ())
        return found

    return edited


@functools.lru_cache(maxsize=4)
def typos(vocabulary: tuple[str, ...]) -> Tensor:
    """[words, CANDIDATES] what a typing error makes of each word: another word of the vocabulary one
    edit away, the word in another case, of a punctuation mark another one, or the unknown word; itself
    where there is no more.
    """
    near: dict[int, set[int]] = defaultdict(set)
    alike: dict[str, list[int]] = defaultdict(list)  # the same but for case; marks, all of them
    for number_, word in enumerate(vocabulary):
        if not is_special(word):
            alike[word.casefold() if any(c.isalnum() for c in word) else ""].append(number_)
    for family in alike.values():
        for a in family:
            near[a].update(b for b in family[:MARKS] if b != a)
    edited = one_edit_away(vocabulary)
    lost = unknown(list(vocabulary))
    table = torch.arange(len(vocabulary))[:, None].repeat(1, CANDIDATES)
    for number_, word in enumerate(vocabulary):
        if is_special(word):
            continue
        first = [] if lost is None or len(word) < 2 else [lost]
        found = (first + sorted(near[number_] | edited(word)))[:CANDIDATES]
        table[number_, : len(found)] = torch.tensor(found, dtype=torch.long)
    return table


def substitutes(subject: Subject, vocabulary: list[str]) -> Tensor:
    """[words, CANDIDATES] the words nearest to each in the model's own embedding; itself for those that
    the data do not hold.

    Raises:
        NotApplicable: the model embeds no words.
    """
    if subject in _substitutes:
        return _substitutes[subject]
    weight = next(
        (
            m.weight
            for m in subject.core.modules()
            if isinstance(m, nn.Embedding) and m.num_embeddings >= len(vocabulary)
        ),
        None,
    )
    if weight is None:
        raise NotApplicable("the model has no embedding of the vocabulary to find near words in")
    unit = nn.functional.normalize(weight[: len(vocabulary)].float().cpu(), dim=1)
    special = torch.tensor([is_special(w) for w in vocabulary])
    table = torch.arange(len(vocabulary))[:, None].repeat(1, min(CANDIDATES, len(vocabulary) - 1))
    for words in subject.inputs.unique().long().split(WORDS):
        near = unit[words] @ unit.T
        near[:, special] = -2
        near[torch.arange(len(words)), words] = -2
        table[words] = near.topk(table.shape[1], 1).indices
    table[special] = torch.arange(len(vocabulary))[special][:, None]
    _substitutes[subject] = table
    return table


def candidates(subject: Subject, kind: Kind) -> Tensor:
    """[words, CANDIDATES] what may take each word's place.

    Raises:
        NotApplicable: no vocabulary is known, or no candidate.
    """
    vocabulary = subject.meta.input.vocabulary
    if vocabulary is None:
        raise NotApplicable("the words are not known ([subject.input] vocabulary)")
    if len(vocabulary) <= int(subject.inputs.max()):
        raise NotApplicable(
            f"the vocabulary has {len(vocabulary)} words and the data hold the number "
            f"{int(subject.inputs.max())}"
        )
    return typos(tuple(vocabulary)) if kind == "typos" else substitutes(subject, vocabulary)


@producer(version=2, private=("x",))
def reworded(batch: Batch, *, kind: Kind, edits: int, greedy: bool = True) -> dict[str, Tensor]:
    """Change one word after the other, where and as it hurts most (Li et al. 2019; Jin et al. 2020).

    The words that matter most are those without which the true class loses most; of their candidates
    the one that hurts most is taken. No place is changed twice.

    Args:
        edits: words that may be changed.
        greedy: false for random places and candidates, as many: what a search has to beat.

    Returns:
        x [n, length], broken [n].
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)
    table = candidates(subject, kind).to(batch.x.device)
    changeable = (table != torch.arange(len(table), device=table.device)[:, None]).any(1)
    blank = unknown(subject.meta.input.vocabulary or []) or 0

    def lead(texts: Tensor, rows: Tensor) -> Tensor:
        """[m, options] margins of options [m, options, length]."""
        m, options = texts.shape[:2]
        at = rows.repeat_interleave(options)
        flat = texts.flatten(0, 1)
        parts = [
            margin(aim.logits(flat[i : i + ROWS], at[i : i + ROWS]), aim.y[at[i : i + ROWS]])
            for i in range(0, len(flat), ROWS)
        ]
        return torch.cat(parts).reshape(m, options)

    with torch.no_grad():
        x = batch.x.clone()
        length = x.shape[1]
        best = margin(aim.logits(x), aim.y)
        free = changeable[x]
        for edit in range(edits):
            rows = ((best <= 0) & free.any(1)).nonzero()[:, 0]
            if len(rows) == 0:
                break
            here, open_ = x[rows], free[rows]
            if greedy:
                without = here[:, None].repeat(1, length, 1)
                index = torch.arange(length, device=x.device)
                without[:, index, index] = blank
                weight = lead(without, rows)
            else:
                weight = batch.uniform(edit, (length,))[rows]
            weight = torch.where(open_, weight, -torch.inf)
            count = PLACES if greedy else 1
            order = weight.topk(min(count, length), 1).indices
            words = table[here.gather(1, order)]
            if not greedy:
                pick = batch.uniform(edits + edit, (1, CANDIDATES))[rows][:, :, : table.shape[1]]
                words = words.gather(2, pick.argmax(2, keepdim=True))
            options = here[:, None, None].repeat(1, words.shape[1], words.shape[2], 1)
            places = order[:, :, None, None].expand(*words.shape, 1)
            options.scatter_(3, places, words[..., None])
            found = lead(options.flatten(1, 2), rows)
            # A place that may not be changed offers nothing.
            held = ~open_.gather(1, order)[:, :, None].expand_as(words).flatten(1)
            found = found.masked_fill(held, -torch.inf)
            value, which = found.max(1)
            taken = options.flatten(1, 2)[torch.arange(len(rows)), which]
            better = value > best[rows] if greedy else torch.isfinite(value)
            x[rows] = torch.where(better[:, None], taken, here)
            best[rows] = torch.where(better, value, best[rows])
            spot = order.gather(1, (which // words.shape[2])[:, None])
            free[rows] = open_.scatter(1, spot, False)
        return {"x": x, "broken": best > 0}
