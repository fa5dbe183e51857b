"""How right does the model stay when some words are replaced by words that it takes for similar?

Words are replaced by their nearest in the model's own embedding, greedily, those that hurt most first
(Jin et al. 2020), within a budget of edits. What is near for the model need not be near for a reader
(ghost, describe): where the meaning changed the answer may change with it, so this gates nothing; read the
examples. Changing as many words by chance must do no
better, and with many edits little may stand.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from audit.checks.robustness.rewording import Rewording
from audit.record import Severity
from audit.subject import Subject


class Substitutions(Rewording):
    """How right does the model stay when some words are replaced by words it takes for similar?"""

    id: ClassVar[str] = "robustness.substitutions"
    title: ClassVar[str] = (
        "How right does the model stay when some words are replaced by words that it takes for similar?"
    )
    finding_title: ClassVar[str] = "A few replaced words flip the answer"
    kind_of_change: ClassVar[Literal["typos", "substitutions"]] = "substitutions"
    todo: ClassVar[str] = (
        "Train with words replaced, use embeddings learnt on more text, or ask for more than one "
        "sentence before an answer counts."
    )

    def gate(self, subject: Subject) -> tuple[Severity, bool]:
        return "low", False

    def remark(self, subject: Subject) -> str:
        return (
            " Nobody vouches that the words kept the meaning, near as the model takes them, so this "
            "decides no verdict."
        )

    def said(self, size: float) -> str:
        return f"Replacing {size:.0f} word{'s' if size > 1 else ''} by near ones"
