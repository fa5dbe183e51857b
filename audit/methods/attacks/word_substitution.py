"""Changes of a text's words: typing errors, and words put in the place of others."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

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


@dataclass(frozen=True)
class Reworded(Attacked):
    """What changed words did to a batch.

    Attributes:
        edits: [n] after how many the answer fell; infinity where it stands.
    """

    edits: Tensor


def is_special(word: str) -> bool:
    """Is it a mark of the tokeniser, not a word?"""
    return not word or (word[0], word[-1]) in (("<", ">"), ("[", "]")) or word in UNKNOWN


def unknown(vocabulary: list[str]) -> int | None:
    """The number of the word that stands for those unknown, where there is one."""
    return next((vocabulary.index(u) for u in UNKNOWN if u in vocabulary), None)


def one_edit_away(vocabulary: tuple[str, ...]) -> Callable[[str], set[int]]:
    """A function that gives, of a word, those of the vocabulary that are one edit away.

    One letter inserted, left out, replaced, or swapped with its neighbour; of many the first.
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
    """[words, CANDIDATES] what a typing error makes of each word.

    Another word of the vocabulary one edit away, the word in another case, of a punctuation mark another
    one, or the unknown word; itself where there is no more.
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


def substitutes(embedding: Tensor, vocabulary: list[str], words: Tensor | None = None) -> Tensor:
    """[words, CANDIDATES] the words nearest to each in an embedding [words or more, width].

    Args:
        words: those that are looked up, each once; all where None. Itself stands for any other.
    """
    unit = nn.functional.normalize(embedding[: len(vocabulary)].float().cpu(), dim=1)
    special = torch.tensor([is_special(w) for w in vocabulary])
    table = torch.arange(len(vocabulary))[:, None].repeat(1, min(CANDIDATES, len(vocabulary) - 1))
    asked = torch.arange(len(vocabulary)) if words is None else words
    for part in asked.split(WORDS):
        near = unit[part] @ unit.T
        near[:, special] = -2
        near[torch.arange(len(part)), part] = -2
        table[part] = near.topk(table.shape[1], 1).indices
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
    fixed: Tensor | None = None,
    around: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    seed: int | Draws = 0,
) -> Reworded:
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
        fixed: [n, length] places that may not be changed; None: all may.
        around: (texts, which rows of the batch they stand for, all where None) → what the model takes, where
            that is more than the text.

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

    def logits(texts: Tensor, rows: Tensor | None) -> Tensor:
        return victim.logits(texts if around is None else around(texts, rows), rows)

    def lead(texts: Tensor, rows: Tensor) -> Tensor:
        """[m, options] margins of options [m, options, length]."""
        m, options = texts.shape[:2]
        at = rows.repeat_interleave(options)
        flat = texts.flatten(0, 1)
        parts = [
            margin(logits(flat[i : i + ROWS], at[i : i + ROWS]), y[at[i : i + ROWS]])
            for i in range(0, len(flat), ROWS)
        ]
        return torch.cat(parts).reshape(m, options)

    with torch.no_grad():
        x = given.clone()
        length = x.shape[1]
        best = margin(logits(x, None), y)
        free = changeable[x] if fixed is None else changeable[x] & ~fixed
        taken = torch.where(best > 0, 0.0, torch.inf)
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
            chosen = options.flatten(1, 2)[torch.arange(len(rows)), which]
            better = value > best[rows] if greedy else torch.isfinite(value)
            x[rows] = torch.where(better[:, None], chosen, here)
            best[rows] = torch.where(better, value, best[rows])
            spot = order.gather(1, (which // words.shape[2])[:, None])
            free[rows] = open_.scatter(1, spot, False)
            taken[(best > 0) & taken.isinf()] = edit + 1
        return Reworded(x, best > 0, taken)
