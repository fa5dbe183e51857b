"""Which task is this, and how are the model's numbers to be read?

Every way to read a returned tensor is a rule in `READINGS`: given the tensor, the labels and what the
model was asked, it says a task and an output, or nothing. What is given leaves only the rules that
agree with it. Among the (tensor, reading) pairs that are left, the clues of `CLUES` vote, each for the
pairs that it speaks for, with a reason. One pair left by all of them: it is *inferred*, and judged
like a given one. None, or several: the reading is *open*, and the audit asks, with the line to write.
A low accuracy alone opens nothing: a bad model fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.errors import AuditError
from audit.labels import Labels
from audit.meta import CLASSIFICATION, Output, SubjectMeta, Task
from audit.outputs import Candidate

EXPLAINED = 0.5  # share of the inputs' variance from which on an output repeats its input
SURE = 3.0  # standard errors that a candidate's accuracy must lie above a constant answer's
NEAR = 1e-3
COPY = 1e-10


@dataclass(frozen=True)
class Asked:
    """The samples that the model was asked, and what is known about them."""

    inputs: Tensor  # as the network gets them, after preprocessing
    y: Tensor | None  # [n] or [n, k], as they came
    labels: Labels
    meta: SubjectMeta


@dataclass(frozen=True)
class Reading:
    task: Task
    output: Output
    reason: str


@dataclass(frozen=True, eq=False)
class Pair:
    """One tensor, read one way."""

    candidate: Candidate
    reading: Reading

    @property
    def scores(self) -> Tensor:
        return self.candidate.tensor


# How one tensor may be read


def width(scores: Tensor) -> int:
    """Answers in a row; 0 where a row is no row of numbers."""
    return 1 if scores.ndim == 1 else scores.shape[1] if scores.ndim == 2 else 0


def rows_in_unit(scores: Tensor) -> bool:
    return bool(((scores >= 0) & (scores <= 1)).all())


def how_scored(scores: Tensor) -> tuple[Output, str]:
    """Logits, probabilities or what else, told from the numbers."""
    values = scores.double()
    if width(values) == 1:
        if rows_in_unit(values):
            return "sigmoid", "one output in [0, 1]"
        return "logits", "one output beyond [0, 1]"
    if rows_in_unit(values) and bool(((values.sum(1) - 1).abs() < NEAR).all()):
        return "probabilities", "rows are non-negative and sum to 1"
    if bool((values <= 1e-6).all()) and bool(((values.exp().sum(1) - 1).abs() < NEAR).all()):
        return "log_probabilities", "exponentials of each row sum to 1"
    if rows_in_unit(values) and bool(((values > 0) & (values < 1)).any()):
        return "sigmoid", "all outputs in [0, 1] but rows do not sum to 1"
    return "logits", "outputs are unbounded scores"


def one_of_two(scores: Tensor, asked: Asked) -> Reading | None:
    """One score and two classes."""
    labels, given = asked.labels, asked.meta.task in CLASSIFICATION
    if width(scores) != 1 or not (given or not labels.given or labels.truths or labels.two):
        return None
    output, reason = how_scored(scores)
    said = "" if not labels.given else ", labels " + " and ".join(f"{v:g}" for v in labels.values)
    return Reading("binary", output, reason + (said if len(labels.values) <= 2 else ""))


def one_of_several(scores: Tensor, asked: Asked) -> Reading | None:
    """A score for each class."""
    k, labels = width(scores), asked.labels
    given = asked.meta.task in CLASSIFICATION
    if k < 2 or not (given or labels.whole or not labels.given or labels.fit(k)):
        return None
    if labels.several and not given and not labels.fit(k):
        return None
    output, reason = how_scored(scores)
    return Reading("binary" if k == 2 else "multiclass", output, reason)


def value(scores: Tensor, asked: Asked) -> Reading | None:
    """One number, held against a number."""
    labels = asked.labels
    if asked.meta.task == "regression":
        return Reading("regression", "value", "the task is regression")
    if asked.meta.output == "value" and width(scores) == 1:
        return Reading("regression", "value", "the output is a value")
    if width(scores) != 1 or labels.several or labels.truths or (labels.two and labels.whole):
        return None
    return Reading("regression", "value", "one output, and labels that are not classes")


def unusual(scores: Tensor, asked: Asked) -> Reading | None:
    """One number, higher for what is more unusual; never guessed."""
    k = width(scores)
    if asked.meta.task != "anomaly" or k == 0 or (k > 1 and same_shape(scores, asked)):
        return None
    return Reading("anomaly", "value", "the task is anomaly")


def reconstruction(scores: Tensor, asked: Asked) -> Reading | None:
    """The input again: how far off it is says how unusual the input is."""
    given = asked.meta.task == "anomaly" or asked.meta.output == "reconstruction"
    if not same_shape(scores, asked) or not (given or not asked.labels.given or asked.labels.truths):
        return None
    if not given and bool((distance(scores, asked.inputs) < COPY).all()):
        return None  # a copy has no error to score by
    return Reading(
        "anomaly", "reconstruction", "outputs of the inputs' own shape: the mean squared difference "
        "is the anomaly score"
    )


def same_shape(scores: Tensor, asked: Asked) -> bool:
    return scores.shape == asked.inputs.shape and asked.inputs.is_floating_point()


def distance(scores: Tensor, inputs: Tensor) -> Tensor:
    """[n, 1] mean squared difference between what came in and what came out."""
    return (scores - inputs).square().flatten(1).mean(1, keepdim=True)


def embedding(scores: Tensor, asked: Asked) -> Reading | None:
    """A place in a space, no answer."""
    if asked.meta.task != "embedding" and not unit_norm(scores):
        return None
    return Reading("embedding", "value", "rows of length 1")


def unit_norm(scores: Tensor) -> bool:
    if width(scores) < 2 or how_scored(scores)[0] == "probabilities":
        return False
    return bool(((scores.double().norm(dim=1) - 1).abs() < NEAR).all())


def several_truths(scores: Tensor, asked: Asked) -> Reading | None:
    """Several answers of yes or no; never guessed, as none of the questions judges them."""
    if asked.meta.task != "multilabel" or width(scores) == 0:
        return None
    return Reading(
        "multilabel", "sigmoid" if rows_in_unit(scores) else "logits", "the task is multilabel"
    )


Rule = Callable[[Tensor, Asked], Reading | None]
READINGS: tuple[Rule, ...] = (
    one_of_two, one_of_several, value, unusual, reconstruction, embedding, several_truths,
)  # fmt: skip


# What speaks for one pair rather than another: the pairs, and why; no pair: it says nothing


def classes_counted(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The one with as many scores as there are classes, given or in the labels."""
    wanted = len(asked.meta.classes) if asked.meta.classes else asked.labels.wanted
    if wanted is None:
        return [], ""
    fitting = [p for p in pairs if p.reading.task in CLASSIFICATION
               and (width(p.scores) if width(p.scores) > 1 else 2) == wanted]  # fmt: skip
    return fitting, f"as many scores as the labels have classes ({wanted})"


def repeats_its_input(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The one whose output is close to its input: no score is that by chance."""
    found = [p for p in pairs if p.reading.output == "reconstruction"
             and explained(p.scores, asked.inputs) > EXPLAINED]  # fmt: skip
    return found, f"it repeats its input (over {EXPLAINED:.0%} of the variance)"


def explained(scores: Tensor, inputs: Tensor) -> float:
    a, b = scores.double().flatten(1), inputs.double().flatten(1)
    return 1 - float((a - b).square().mean() / b.var(0, unbiased=False).mean().clamp_min(1e-12))


def no_place_in_a_space(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """Beside an embedding, the one that is none."""
    others = [p for p in pairs if not unit_norm(p.scores)]
    return (others if len(others) < len(pairs) else []), "the other is an embedding of length 1"


def beats_a_constant(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The one that is right more often, or nearer, than any constant answer could be."""
    scored = [(p, gain(p, asked)) for p in pairs]
    found = [p for p, g in scored if g is not None and g > SURE]
    return found, "it alone is better than a constant answer"


def gain(pair: Pair, asked: Asked) -> float | None:
    """How far above the best constant answer, in standard errors; None: cannot be told."""
    if asked.y is None:
        return None
    scores = pair.scores.double()
    if pair.reading.output == "reconstruction":
        scores = distance(scores, asked.inputs.double())
    if asked.y.ndim > 1 and pair.reading.task not in CLASSIFICATION:
        return None
    if pair.reading.task not in CLASSIFICATION and (scores.ndim > 1 and width(scores) != 1):
        return None
    if pair.reading.task == "regression":
        y = asked.y.double()
        off = (y - y.median()).abs() - (y - scores.flatten()).abs()
        return float(off.mean() / (off.std() / math.sqrt(len(off))).clamp_min(1e-12))
    if pair.reading.task == "anomaly":
        odd = asked.y == 1
        if not bool(odd.any()) or bool(odd.all()):
            return None
        scores = scores.flatten()
        above = (scores[odd][:, None] > scores[~odd][None]).double().mean()
        few = min(int(odd.sum()), int((~odd).sum()))
        return float(above - 0.5) / (0.5 / math.sqrt(few))
    right, most = accuracy(pair, asked)
    return None if right is None else (right - most) / math.sqrt(max(most * (1 - most), 0.05) / len(scores))


def accuracy(pair: Pair, asked: Asked) -> tuple[float | None, float]:
    """Share right, or None where the labels fit no such classes; and the best constant answer's."""
    scores, k = pair.scores, max(2, width(pair.scores))
    names = asked.meta.classes or [str(i) for i in range(k)]
    if asked.y is None or len(names) != k or not asked.labels.fit(k, names):
        return None, 0.0
    y = numbered(asked.y, asked.labels, names)
    said = scores.reshape(len(scores), -1)
    cut = 0.5 if pair.reading.output == "sigmoid" else 0.0
    answers = said.argmax(1) if said.shape[1] > 1 else (said[:, 0] > cut).long()
    return float((answers == y).double().mean()), float(y.bincount().max() / len(y))


def numbered(y: Tensor, labels: Labels, names: list[str]) -> Tensor:
    """Labels as indices of the classes."""
    if y.ndim > 1:
        return y.argmax(1)
    numbering, _ = labels.numbering(names)
    if numbering is None:
        return y.long()
    return torch.tensor([numbering[float(v)] for v in y.tolist()])


Clue = Callable[[list[Pair], Asked], tuple[list[Pair], str]]
CLUES: tuple[Clue, ...] = (
    classes_counted, repeats_its_input, no_place_in_a_space, beats_a_constant,
)  # fmt: skip


# The choice


@dataclass(frozen=True)
class Choice:
    pair: Pair
    reason: str  # why this pair, where there were several

    @property
    def said(self) -> str:
        """Why it is read so."""
        return "; ".join(r for r in (self.pair.reading.reason, self.reason) if r)


def read(found: list[Candidate], asked: Asked) -> Choice:
    """The one way to read what was returned.

    Args:
        found: on the samples of `asked`, those rows left out whose answers are not finite.

    Raises:
        AuditError: none fits, or several do: then the sentence says what to write.
    """
    meta = asked.meta
    named = [c for c in found if c.name.lower() in ("logits", "logit")]
    if len(named) == 1 and meta.output_index is None:
        found = named
    pairs = [Pair(c, r) for c in found for rule in READINGS if (r := rule(c.tensor, asked))
             and (meta.task is None or r.task == meta.task or {r.task, meta.task} <= set(CLASSIFICATION))
             and allowed(r, meta.output)]  # fmt: skip
    if not pairs:
        raise AuditError(nothing_fits(found, asked))
    if len(pairs) == 1:
        only = pairs[0]
        why = ""
        if only.candidate.index is not None:
            why = "its name" if named else "no other output can hold the answers"
        return settled(only, why, asked)
    left, reasons = pairs, []
    for clue in CLUES:
        chosen, reason = clue(pairs, asked)
        if chosen and len(chosen) < len(pairs):
            left = [p for p in left if p in chosen]
            reasons.append(reason)
    if len(left) != 1:
        raise AuditError(question(left or pairs, asked))
    return settled(left[0], "; ".join(reasons), asked)


def allowed(reading: Reading, output: Output | None) -> bool:
    """Does it go with the output that was given? How scores are scaled is the user's to say."""
    scores = ("logits", "log_probabilities", "probabilities", "sigmoid")
    if output is None:
        return True
    return reading.output in scores if output in scores else reading.output == output


def settled(pair: Pair, reason: str, asked: Asked) -> Choice:
    """The choice, unless its answers say nothing that could be judged.

    Raises:
        AuditError: it is an embedding or a reconstruction that nobody asked for.
    """
    given = asked.meta.task is not None
    if pair.reading.task == "embedding" and not given:
        raise AuditError(
            f"The model returns rows of length 1 ({pair.candidate.told}), places in a space and no "
            'answers; wrap it so that it returns scores, or write task = "embedding" under [subject].'
        )
    if pair.reading.output == "reconstruction" and not (given or asked.labels.given):
        raise AuditError(
            f"The model returns {pair.candidate.told}, the shape of its input, and there are no labels "
            'to tell what for; write task = "anomaly" and output = "reconstruction" under [subject] if '
            "the difference is a score of how unusual a sample is."
        )
    return Choice(pair, reason)


def nothing_fits(found: list[Candidate], asked: Asked) -> str:
    told, labels, given = " and ".join(c.told for c in found[:4]), asked.labels, asked.meta
    if given.output is not None or given.task is not None:
        said = " and ".join(f'{k} = "{v}"' for k, v in (("task", given.task), ("output", given.output)) if v)
        return (
            f"{said} is given and the model returns {told}, which cannot be read so; correct [subject]."
        )
    if labels.several:
        truths = set(labels.values) <= {0.0, 1.0}
        what = "answers of yes or no" if truths else "values"
        hint = ' (task = "multilabel" under [subject] has the weights alone looked at)' if truths else ""
        return (
            f"The labels hold {labels.shape[1]} {what} a sample and the model returns {told}; one answer "
            "a sample is judged: wrap the model so that it returns one column, and give that column of "
            f"the labels{hint}."
        )
    if labels.given and not labels.whole:
        return (
            f"The labels are not whole numbers and the model returns {told}; one value a sample is "
            "judged against such labels: wrap the model so that it returns one, or name it with "
            "output_index under [subject]."
        )
    return (
        f"The model returns {told}, which is neither one row of scores for each sample nor of the shape "
        "of its input; wrap it so that it returns [n, classes] or [n, 1], or select another output "
        "with output_index under [subject]."
    )


def question(pairs: list[Pair], asked: Asked) -> str:
    """What is asked where several readings fit, with the line to write for each."""
    several = len({p.candidate.index for p in pairs}) > 1
    offers = []
    for pair in pairs[:4]:
        reading = pair.reading
        lines = [f"output_index = {pair.candidate.index}"] if several else []
        if len({(p.reading.task, p.reading.output) for p in pairs}) > 1 or not several:
            lines.append(f'task = "{reading.task}"')
            if reading.output in ("reconstruction",):
                lines.append(f'output = "{reading.output}"')
        right, _ = accuracy(pair, asked) if reading.task in CLASSIFICATION else (None, 0.0)
        shown = "" if right is None else f", right on {right:.0%}"
        offers.append(f"{' and '.join(lines)} ({pair.candidate.told}{shown})")
    return (
        f"What the model returns can be read in {len(pairs)} ways, and nothing tells which is meant; "
        f"under [subject] write {', or '.join(offers)}."
    )
