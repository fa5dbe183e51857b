"""The next token of a text, at each of its tokens: a causal language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from audit.errors import AuditError
from audit.inputs import InputKind
from audit.meta import SubjectMeta
from audit.scores import how_scored
from audit.tasks import Asked, Reading, Settle
from audit.unitwise import NONE, EachUnit, continues, note_unjudged

if TYPE_CHECKING:
    from audit.subject.builder import Draft

LOOKED_AT, EXCHANGED = 4, 12  # texts, and tokens of each, that are exchanged to see what is seen


def of_the_next(logits: Tensor, x: Tensor) -> Tensor:
    """[n, 2, t − 1] log-probabilities of the token that comes next, and of the likeliest other.

    Args:
        logits: [n, vocabulary, t]; x: [n, t] tokens.
    """
    after = x[:, 1:, None].to(logits.device).long()
    odds = logits.movedim(1, -1)[:, :-1].log_softmax(-1)
    true = odds.gather(2, after)[..., 0]
    other = odds.scatter(2, after, -torch.inf).amax(2)
    return torch.stack([true, other], 1)


class NextToken(EachUnit):
    """At each token a score for each word of the vocabulary: which comes next?

    What is audited of each are two log-probabilities, of the token that does come next and of the likeliest
    other; so a text of t tokens has answers [2, t − 1], whatever the vocabulary.
    """

    units: ClassVar[int] = 1
    has_classes: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    predicts_next: ClassVar[bool] = True
    good: ClassVar[str] = "mostly predicted"
    quality: ClassVar[str] = "share of tokens predicted"
    share_good: ClassVar[str] = "share of texts mostly predicted"
    robust: ClassVar[str] = "share of texts mostly predicted under attack"

    def goes_with(self, kind: InputKind) -> bool:
        return kind.place == "token"

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        ids, labels = asked.inputs, asked.y
        whole = ids.ndim == 2 and not ids.is_floating_point()
        if not whole or scores.ndim != 3 or tuple(scores.shape[1:2]) != tuple(ids.shape[1:]):
            return None
        if scores.shape[2] <= int(ids.max()):
            return None
        if labels is not None and not continues(ids, labels):
            return None
        given = asked.meta.task == self.name
        if not given and labels is None and not asked.meta.output:
            return None
        output, reason = how_scored(scores.flatten(0, 1))
        return Reading(output, f"a score for each word of the vocabulary and token; {reason}", True)

    def finish(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        return of_the_next

    def name_classes(self, meta: SubjectMeta, k: int, settle: Settle) -> None:
        meta.classes = None

    def number_labels(self, draft: Draft) -> None:
        """Zeros [n, t − 1], for the first of the two is due; −1 where the text has ended."""
        arrays = draft.arrays
        require_causal(draft)
        if arrays.training is not None:
            arrays.training = arrays.training[0], due(draft.kind, arrays.training[0])
        arrays.labels = due(draft.kind, arrays.inputs)
        note_unjudged(draft.notes, arrays.labels >= 0, "tokens", "stand where a text has ended")

    def tiny_model(self, x: Tensor) -> nn.Module | None:
        """The next word by the last one alone."""
        words = int(x.max()) + 1
        return nn.Sequential(nn.Embedding(words, 8), nn.Linear(8, words))

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor | None:
        return None  # they are the tokens themselves


def require_causal(draft: Draft) -> None:
    """Raise AuditError where the model sees the tokens that it is to predict.

    One token after the other is exchanged: no score before it may move.
    """
    ids = draft.arrays.inputs[:LOOKED_AT]
    words, t = int(draft.arrays.inputs.max()) + 1, ids.shape[1]
    before = draft.unfinished(ids)
    for at in torch.linspace(1, t - 1, EXCHANGED).round().long().unique().tolist():
        other = ids.clone()
        other[:, at] = (other[:, at] + 1) % words
        seen, now = before[:, :, :at], draft.unfinished(other)[:, :, :at]
        if not torch.allclose(seen, now, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise AuditError(
                "The scores at a token depend on the tokens after it, so the model predicts no next token "
                "(a masked language model?); give labels for each token, or a model that sees only what "
                "came before."
            )


def due(kind: InputKind, ids: Tensor) -> Tensor:
    """[n, t − 1] 0 where a next token is to be predicted, −1 where it is padding.

    Raises:
        AuditError: a text has no second token.
    """
    ended = kind.ended(ids, tuple(ids.shape[1:]))
    judged = torch.ones_like(ids, dtype=torch.bool) if ended is None else ~ended
    judged = judged[:, 1:]
    empty = int((~judged).all(1).sum())
    if empty:
        raise AuditError(f"{empty} of {len(ids)} texts have no second token; drop them.")
    return torch.where(judged, 0, NONE)
