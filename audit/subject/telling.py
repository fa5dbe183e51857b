"""What a subject says of itself: what was read, what was inferred, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from audit.text import clean
from audit.words import count

if TYPE_CHECKING:
    from audit.subject import Subject

LONGEST = 160


def told(subject: Subject) -> dict[str, list[tuple[str, str]]]:
    """'read', 'inferred' and 'missing' → (what, what of it), each a line."""
    facts = [(f.name, clean(str(f.value), LONGEST), f.source, f.reason) for f in subject.facts]
    return {
        "read": [*read(subject), *((n, v) for n, v, source, _ in facts if source == "given")],
        "inferred": [
            (n, f"{v} ({clean(reason, LONGEST)})" if reason else v)
            for n, v, source, reason in facts
            if source == "inferred"
        ],
        "missing": list(missing(subject)),
    }


def read(subject: Subject) -> Iterator[tuple[str, str]]:
    """What was given as arrays, with shapes."""
    parameters = count(sum(p.numel() for p in subject.core.parameters()), "parameter")
    yield "model", f"{type(subject.core).__name__}, {parameters}, on {subject.device}"
    if not subject.n:
        return
    x = subject.inputs
    yield "x", f"{subject.kind.noun}, {list(x.shape)}, {str(x.dtype).removeprefix('torch.')}"
    if subject.has_labels:
        yield "y", f"{list(subject.labels.shape)}"
    for name, labels in subject.sensitive.items():
        yield f"sensitive {name}", count(len(set(labels)), "group")
    if subject.training_n:
        yield "training data", count(subject.training_n, "sample")
    for part in subject.left_out:
        yield "left out", f"{part.how_many:,} {part.what}: {part.why}"


def missing(subject: Subject) -> Iterator[tuple[str, str]]:
    """What was not given, how to give it, and what cannot be asked without it."""
    if not subject.n:
        yield "x", "no data are given: only the weights can be looked at"
        return
    if not subject.has_labels:
        yield "y", "no labels: whether an answer is right cannot be told"
    if not subject.training_n:
        yield "train", "no training data: no generalisation gap, leakage or membership attack"
    if not subject.sensitive:
        yield "sensitive", "no groups of people: no fairness"
    if subject.task.decides and len(subject.classes) == 2 and subject.meta.favourable is None:
        yield "favourable", "which answer people hope for is not said: rates are shown for both"
    if subject.kind.continuous and subject.meta.input.eps is None:
        yield "eps", "how much must not matter is not said: accuracy under attack gates nothing"


def text(subject: Subject) -> str:
    """A few lines for a terminal."""
    task = f"{subject.task.name} of {subject.kind.noun}" if subject.n else "no data"
    lines = [f"Subject {subject.name or type(subject.core).__name__}: {task}, n = {subject.n:,}"]
    for head, rows in told(subject).items():
        lines += [f"{head}:", *(f"  {name}: {value}" for name, value in rows)] if rows else []
    return "\n".join(lines)
