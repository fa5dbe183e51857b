"""Which task is this, and how are the model's numbers to be read?

Every task of `audit.tasks` says of a returned tensor whether it can be read as its answers. What is given
leaves only the readings that agree with it. Among the (tensor, task, reading) pairs that are left, the
clues of `CLUES` vote, each for the pairs that it speaks for, with a reason. One pair left by all of them:
it is *inferred*, and judged like a given one. None, or several: the reading is *open*, and the audit
asks, with the line to write. A low accuracy alone opens nothing: a bad model fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from audit.errors import AuditError
from audit.meta import Output
from audit.outputs import Candidate
from audit.rooms import TASKS, room, rooms
from audit.scores import unit_norm
from audit.tasks import Asked, Reading, Task

EXPLAINED = 0.5  # share of the inputs' variance from which on an output repeats its input
SURE = 3.0  # standard errors that a candidate's accuracy must lie above a constant answer's


@dataclass(frozen=True, eq=False)
class Pair:
    """One tensor, read one way."""

    candidate: Candidate
    task: Task
    reading: Reading

    @property
    def scores(self) -> Tensor:
        return self.candidate.tensor


# What speaks for one pair rather than another: the pairs, and why; no pair: it says nothing


def classes_counted(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The one with as many scores as there are classes, given or in the labels."""
    wanted = len(asked.meta.classes) if asked.meta.classes else asked.labels.wanted
    if wanted is None:
        return [], ""
    fitting = [p for p in pairs if p.task.classes_read(p.scores) == wanted]
    return fitting, f"as many scores as the labels have classes ({wanted})"


def more_identities_than_scores(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The place in a space, where the labels can be classes of no other pair."""
    counts = [k for p in pairs if (k := p.task.classes_read(p.scores)) is not None]
    if not asked.labels.given or any(asked.labels.fit(k, asked.meta.classes) for k in counts):
        return [], ""
    return [p for p in pairs if p.task.compares], "the labels are more than scores"


def repeats_its_input(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The one whose output is close to its input: no score is that by chance."""
    found = [
        p
        for p in pairs
        if p.reading.output == "reconstruction" and explained(p.scores, asked.inputs) > EXPLAINED
    ]
    return found, f"it repeats its input (over {EXPLAINED:.0%} of the variance)"


def explained(scores: Tensor, inputs: Tensor) -> float:
    """The share of the inputs' variance that the scores explain: near 1, they are reconstructions."""
    a, b = scores.double().flatten(1), inputs.double().flatten(1).nan_to_num()
    return 1 - float((a - b).square().mean() / b.var(0, unbiased=False).mean().clamp_min(1e-12))


def no_place_in_a_space(pairs: list[Pair], _: Asked) -> tuple[list[Pair], str]:
    """Beside an embedding, the one that is none."""
    others = [p for p in pairs if not unit_norm(p.scores)]
    return (others if len(others) < len(pairs) else []), "the other is an embedding of length 1"


def spoken_for(pairs: list[Pair], _: Asked) -> tuple[list[Pair], str]:
    """The one that the labels themselves speak for."""
    return [p for p in pairs if p.reading.sure], "the labels speak for it"


def beats_a_constant(pairs: list[Pair], asked: Asked) -> tuple[list[Pair], str]:
    """The one that is right more often, or nearer, than any constant answer could be."""
    scored = [(p, p.task.gain(p.scores, p.reading, asked)) for p in pairs]
    found = [p for p, g in scored if g is not None and g > SURE]
    return found, "it alone is better than a constant answer"


Clue = Callable[[list[Pair], Asked], tuple[list[Pair], str]]
CLUES: tuple[Clue, ...] = (
    classes_counted,
    more_identities_than_scores,
    repeats_its_input,
    no_place_in_a_space,
    spoken_for,
    beats_a_constant,
)


# The choice


@dataclass(frozen=True)
class Choice:
    """The pair of task and output by which the model is read."""

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
    tasks = [room(TASKS, name) for name in ([meta.task] if meta.task else rooms(TASKS))]
    tasks.sort(key=lambda task: not task.judged)  # offered last
    pairs = [
        Pair(c, task, reading)
        for c in found
        for task in tasks
        if (reading := task.read(c.tensor, asked)) and allowed(reading, meta.output)
    ]
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
        AuditError: it is an embedding or a reconstruction that nobody asked for, or its numbers speak
            against it.
    """
    if asked.meta.task is None and (
        due := pair.task.unasked(pair.candidate.told, pair.reading, asked)
    ):
        raise AuditError(due)
    if doubt := pair.task.doubted(pair.candidate.told, pair.scores, pair.reading, asked):
        raise AuditError(doubt)
    return Choice(pair, reason)


def nothing_fits(found: list[Candidate], asked: Asked) -> str:
    """The sentence about a model that no task can read, with what it returned."""
    told, labels, given = " and ".join(c.told for c in found[:4]), asked.labels, asked.meta
    if given.output is not None or given.task is not None:
        said = " and ".join(
            f'{k} = "{v}"' for k, v in (("task", given.task), ("output", given.output)) if v
        )
        return f"{said} is given and the model returns {told}, which cannot be read so; correct [subject]."
    if labels.several:
        truths = set(labels.values) <= {0.0, 1.0}
        what = "answers of yes or no" if truths else "values"
        due = "score" if truths else "value"
        each = " x ".join(map(str, labels.shape[1:]))
        return (
            f"The labels hold {each} {what} a sample and the model returns {told}; wrap the model so "
            f"that it returns a {due} for each of them, or give those labels alone that it answers."
        )
    if labels.given and not labels.whole:
        return (
            f"The labels are not whole numbers and the model returns {told}; one value a sample is "
            "judged against such labels: wrap the model so that it returns one, or name it with "
            "output_index under [subject]."
        )
    if known := without_labels(found, asked):
        return (
            f"The model returns {told}, and there are no labels to tell what for; under [subject] write "
            f"{', or '.join(known)} if it predicts its own input, or give labels."
        )
    return (
        f"The model returns {told}, which is neither one row of scores for each sample nor of the shape "
        "of its input; wrap it so that it returns [n, classes] or [n, 1], or select another output "
        "with output_index under [subject]."
    )


def without_labels(found: list[Candidate], asked: Asked) -> list[str]:
    """The lines of the tasks whose labels are the inputs themselves, where what was returned fits them."""

    def reads(task: Task) -> bool:
        told = replace(asked, meta=asked.meta.model_copy(update={"task": task.name}))
        return task.predicts_next and any(task.read(c.tensor, told) for c in found)

    return [f'task = "{name}"' for name in rooms(TASKS) if reads(room(TASKS, name))]


def question(pairs: list[Pair], asked: Asked) -> str:
    """What is asked where several readings fit, with the line to write for each."""
    several = len({p.candidate.index for p in pairs}) > 1
    offers = []
    for pair in pairs[:4]:
        reading = pair.reading
        lines = [f"output_index = {pair.candidate.index}"] if several else []
        if len({(p.task.name, p.reading.output) for p in pairs}) > 1 or not several:
            lines.append(f'task = "{pair.task.name}"')
            if reading.output in ("reconstruction",):
                lines.append(f'output = "{reading.output}"')
        shown = pair.task.shown(pair.scores, reading, asked)
        offers.append(f"{' and '.join(lines)} ({pair.candidate.told}{shown})")
    return (
        f"What the model returns can be read in {len(pairs)} ways, and nothing tells which is meant; "
        f"under [subject] write {', or '.join(offers)}."
    )
