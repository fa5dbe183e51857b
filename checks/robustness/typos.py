"""How right does the model stay when some words are mistyped?

One letter of a word is left out, put in, replaced, or swapped with its neighbour, its case is another, or
a punctuation mark is: the word becomes another of the vocabulary, or one that the model does not know.
Words and errors are chosen greedily, those that hurt most first (Li et al. 2019), within a budget of edits.
Changing as many words by chance must do no better, and with many edits little may stand.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from audit.checks.robustness.rewording import Rewording


class Typos(Rewording):
    """How right does the model stay when some words are mistyped?"""

    id: ClassVar[str] = "robustness.typos"
    title: ClassVar[str] = "How right does the model stay when some words are mistyped?"
    finding_title: ClassVar[str] = "A few typing errors flip the answer"
    kind_of_change: ClassVar[Literal["typos", "substitutions"]] = "typos"
    todo: ClassVar[str] = (
        "Train with mistyped copies, correct spelling before the model, or use tokens smaller than "
        "words."
    )

    def said(self, size: float) -> str:
        return f"Mistyping {size:.0f} word{'s' if size > 1 else ''} by one letter, its case or its mark each"
