"""Changes of a text's words: typing errors, and words put in the place of others."""

from __future__ import annotations

import functools
from collections import defaultdict

import torch
from torch import Tensor, nn

from audit.draws import Draws
from audit.methods.attacks.goals import Attacked, Model, Victim, margin

UNKNOWN = ("<unk>", "[UNK]", "<oov>", "<UNK>", "UNK")
CANDIDATES = 8  # words that may take the place of one
MARKS = 16  # of a family of equals, those that stand for one another
PLACES = 6  # of a text, those that matter most, are tried for each edit
ROWS = 4096  # texts answered at once
WORDS = 512  # compared with all others at once


def is_special(word: str) -> bool:
    """Is it a mark of the tokeniser, not a word?"""
    return not word or (word[0], word[-1]) in (("<", ">"), ("[", "]")) or word in UNKNOWN


def unknown(vocabulary: list[str]) -> int | None:
    return next((vocabulary.index(u) for u in UNKNOWN if u in vocabulary), None)


def one_edit_apart(a: str, b: str) -> bool:
    """Does one letter inserted, left out, replaced, or swapped with its neighbour make b of a?"""
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    start = next(
        (i for i, (p, q) in enumerate(zip(a, b, strict=False)) if p != q), min(len(a), len(b))
    )
    left, right = a[start:], b[start:]
    if len(a) != len(b):
        return left[1:] == right or left == right[1:]
    return left[1:] == right[1:] or (left[:2] == right[:2][::-1] and left[2:] == right[2:])


@functools.lru_cache(maxsize=4)
def typos(vocabulary: tuple[str, ...]) -> Tensor:
    """[words, CANDIDATES] what a typing error makes of each word: another word of the vocabulary one
    edit away, the word in another case, of a punctuation mark another one, or the unknown word; itself
    where there is no more.
    """
    holes: dict[str, list[int]] = defaultdict(list)  # words by themselves with one letter left out
    for number_, word in enumerate(vocabulary):
        if not is_special(word):
            for hole in {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}:
                holes[hole].append(number_)
    near: dict[int, set[int]] = defaultdict(set)
    alike: dict[str, list[int]] = defaultdict(list)  # the same but for case; marks, all of them
    for number_, word in enumerate(vocabulary):
        if not is_special(word):
            alike[word.casefold() if any(c.isalnum() for c in word) else ""].append(number_)
    for family in alike.values():
        for a in family:
            near[a].update(b for b in family[:MARKS] if b != a)
    for sharing in holes.values():
        for a in sharing:
            near[a].update(b for b in sharing if one_edit_apart(vocabulary[a], vocabulary[b]))
    lost = unknown(list(vocabulary))
    table = torch.arange(len(vocabulary))[:, None].repeat(1, CANDIDATES)
    for number_, word in enumerate(vocabulary):
        if is_special(word):
            continue
        first = [] if lost is None or len(word) < 2 else [lost]
        found = (first + sorted(near[number_]))[:CANDIDATES]
        table[number_, : len(found)] = torch.tensor(found, dtype=torch.long)
    return table


def substitutes(embedding: Tensor, vocabulary: list[str]) -> Tensor:
    """[words, CANDIDATES] the words nearest to each in an embedding [words or more, width]."""
    unit = nn.functional.normalize(embedding[: len(vocabulary)].float().cpu(), dim=1)
    special = torch.tensor([is_special(w) for w in vocabulary])
    found = []
    for words in torch.arange(len(vocabulary)).split(WORDS):
        near = unit[words] @ unit.T
        near[:, special] = -2
        near[torch.arange(len(words)), words] = -2
        found.append(near.topk(min(CANDIDATES, len(vocabulary) - 1), 1).indices)
    table = torch.cat(found)
    table[special] = torch.arange(len(vocabulary))[special][:, None]
    return table


def word_substitution(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    table: Tensor,
    *,
    edits: int = 2,
    greedy: bool = True,
    blank: int = 0,
    seed: int | Draws = 0,
) -> Attacked:
    """Change one word after the other, where and as it hurts most (Li et al. 2019; Jin et al. 2020).

    The words that matter most are those without which the true class loses most; of their candidates
    the one that hurts most is taken. No place is changed twice.

    Args:
        model: texts [n, length] of word numbers → scores [n, classes].
        x: [n, length] texts. y: [n] the class that each has to leave.
        table: [words, candidates] the words that may take each one's place; itself for none.
        edits: words that may be changed.
        greedy: false for random places and candidates, as many: what a search has to beat.
        blank: the word that stands for one left out.

    Example:
        >>> words = torch.tensor([0.0, 1.0, -1.0])
        >>> model = lambda x: torch.stack([-words[x].sum(1), words[x].sum(1)], 1)
        >>> word_substitution(model, torch.tensor([[0, 1]]), torch.tensor([1]),
        ...                   torch.tensor([[0], [2], [2]]), edits=1).x.tolist()
        [[0, 2]]
    """
    victim, given, draws = Victim.of(model), x, Draws.of(seed, len(x))
    table = table.to(x.device)
    changeable = (table != torch.arange(len(table), device=table.device)[:, None]).any(1)

    def lead(texts: Tensor, rows: Tensor) -> Tensor:
        """[m, options] margins of options [m, options, length]."""
        m, options = texts.shape[:2]
        at = rows.repeat_interleave(options)
        flat = texts.flatten(0, 1)
        parts = [
            margin(victim.logits(flat[i : i + ROWS], at[i : i + ROWS]), y[at[i : i + ROWS]])
            for i in range(0, len(flat), ROWS)
        ]
        return torch.cat(parts).reshape(m, options)

    with torch.no_grad():
        x = given.clone()
        length = x.shape[1]
        best = margin(victim.logits(x), y)
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
                weight = draws.uniform(edit, (length,), x)[rows]
            weight = torch.where(open_, weight, -torch.inf)
            count = PLACES if greedy else 1
            order = weight.topk(min(count, length), 1).indices
            words = table[here.gather(1, order)]
            if not greedy:
                pick = draws.uniform(edits + edit, (1, CANDIDATES), x)[rows][:, :, : table.shape[1]]
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
        return Attacked(x, best > 0)
