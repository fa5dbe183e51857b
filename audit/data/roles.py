"""Which array of a file holds the samples, and which their labels?

`x` and `y` are taken as they are; so are the names that people use instead, with or without the part of the
data that they are of: `images`, `X_test`, `test_labels`. What could be meant in two ways is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

from audit.errors import AuditError
from audit.meta import Arrays, SubjectMeta

INPUTS = (
    "x",
    "xs",
    "input",
    "inputs",
    "image",
    "images",
    "img",
    "imgs",
    "features",
    "feature",
    "data",
)
LABELS = ("y", "ys", "label", "labels", "target", "targets")
CLASSES = ("classes", "class_names", "label_names", "target_names")
# The part of the data that an array is of: what is evaluated on first, what was learnt from last.
EVALUATION = ("test", "eval", "evaluation", "val", "valid", "validation", "dev")
TRAINING = ("train", "training")
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Role:
    """What an array's name says: 'x' or 'y', and the part of the data; '' where it says none."""

    what: str
    part: str


@dataclass(frozen=True)
class Roles:
    """The names of the arrays that are read.

    Attributes:
        x, y: of the samples and their labels; y is None where there are none.
        aside: recognised ones of another part of the data, which are not read.
        note: what is to be said of the choice; '' where they are called `x` and `y`.
    """

    x: str
    y: str | None
    aside: list[str]
    note: str


def role(name: str) -> Role | None:
    """What a name says; None where it is none that people use."""
    words = [word.lower() for word in WORDS.findall(name)]
    if len(words) == 1 and words[0][1:] in (*EVALUATION, *TRAINING):  # Xtest
        words = [words[0][0], words[0][1:]]
    parts = [word for word in words if word in EVALUATION or word in TRAINING]
    rest = "_".join(word for word in words if word not in parts)
    what = "x" if rest in INPUTS else "y" if rest in LABELS else ""
    if not what or len(parts) > 1:
        return None
    return Role(what, parts[0] if parts else "")


def roles(
    names: Iterable[str],
    meta: SubjectMeta,
    source: str,
    *,
    training: bool,
    several: bool = False,
    takes: Container[str] = (),
) -> Roles:
    """The arrays that are meant, of those of a file or folder.

    Args:
        meta: its `arrays` and `target` say it outright.
        training: the samples that the model learnt from are wanted.
        several: may the model take several inputs, none of which needs to be called so? `x` is then ''.
        takes: what the model's `forward` calls its inputs: one that is called alike is meant.

    Raises:
        AuditError: none, or several may be meant; the sentence names the key to set.
    """
    names = list(names)
    given = meta.arrays or Arrays()
    told = {n: found for n in names if (found := role(n)) is not None}
    unnamed = all(r.what != "x" for r in told.values())
    taken = [n for n in names if n in takes and n not in told]
    x = given.x
    if x is None and unnamed and (several or len(taken) == 1):
        x = "" if several else taken[0]
    if x is None:
        x = samples(names, told, source, training=training)
    y = meta.target if given.y is None else given.y
    if y is None:
        y = labels(names, told, x, source)
    for name, key in ((x, "arrays.x"), (y, "arrays.y, or target")):
        if name and name not in names:
            raise AuditError(
                f"{source} holds {listed(names)} and no array `{name}`; correct [subject] {key}."
            )
    aside = [n for n in told if n not in (x, y)]
    note = f"`{x}` was read as the samples{f', `{y}` as their labels' if y else ''}." if x else ""
    if aside:
        note += f" Not read: {', '.join(f'`{n}`' for n in aside)}"
        learnt = not training and any(told[n].part in TRAINING for n in aside)
        note += f" (--train-data {source} reads those of the training)." if learnt else "."
    plain = x in ("x", "") and y in ("y", "") and not aside
    return Roles(x, y or None, aside, "" if plain else note)


def samples(names: list[str], told: dict[str, Role], source: str, *, training: bool) -> str:
    """The array of the samples.

    Raises:
        AuditError: there is none, or which is meant is open.
    """
    found = {n: r.part for n, r in told.items() if r.what == "x"}
    parts = set(found.values())
    order = (*TRAINING, "") if training else ("", *EVALUATION)
    part = next((p for p in order if p in parts), None)
    meant = [n for n, p in found.items() if p == part]
    if "x" in meant:
        meant = ["x"]
    # `x` beside `x_test` may be all samples, or those of the training.
    beside = not training and part == "" and not parts.isdisjoint(EVALUATION)
    if len(meant) == 1 and not beside:
        return meant[0]
    raise which_one("x", "samples", list(found), names, source)


def labels(names: list[str], told: dict[str, Role], x: str, source: str) -> str:
    """The array of the labels of `x`; '' where there is none.

    Raises:
        AuditError: which is meant is open.
    """
    found = {n: r.part for n, r in told.items() if r.what == "y" and n != x}
    part = told[x].part if x in told else None
    meant = [n for n, p in found.items() if p == part]
    if "y" in meant:
        meant = ["y"]
    # Labels of no part go with samples of any; those of another part are none of theirs.
    near = all("" in (p, part) or part is None or p == part for p in found.values())
    alone = len(found) == 1 and near and sum(r.what == "x" for r in told.values()) <= 1
    if len(meant) == 1 or alone:
        return (meant or list(found))[0]
    if not found:
        return ""
    raise which_one("y", "labels", list(found), names, source)


def which_one(key: str, what: str, found: list[str], names: list[str], source: str) -> AuditError:
    """The error that asks which array is meant."""
    held = f"{listed(names)} and no array `{key}`"
    if found:
        held = f"{listed(found)}, any of which may be the {what}"
    return AuditError(
        f'{source} holds {held}; write arrays = {{{key} = "{found[0] if found else "…"}"}} under '
        f"[subject], with the name of the {what} that are meant."
    )


def listed(names: list[str]) -> str:
    """The first few names."""
    return (", ".join(names[:8]) + (", …" if len(names) > 8 else "")) or "nothing"
