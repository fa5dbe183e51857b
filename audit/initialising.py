"""`audit init`: an audit.toml with all that could be inferred, to be corrected."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from audit.config import Config
from audit.errors import AuditError
from audit.labels import UnorderedClasses
from audit.loading import load
from audit.meta import SubjectMeta
from audit.people import toml_key
from audit.record import write_atomic
from audit.subject import Subject

PREPROCESS = """# [subject.input.preprocess]
# scale = "1/255"
# mean = [0.5]
# std = [0.5]"""

EXAMPLES = """
# What the first page of the report says of the model.
[report]
purpose = ""  # what it decides, and for whom
owner = ""  # who answers for it
version = ""
contact = ""

[policy]
fail_on = "high"
on_inconclusive = "block"

# [[expect]]
# check = "performance.classification"
# metric = "accuracy"
# op = ">="
# bound = 0.9
# severity = "high"

# [[waive]]
# check = "…"
# owner = "…"
# reason = "…"
# expires = {day}
"""


def write_config(model: str, config: Config, path: Path) -> str:
    """Write the file.

    Args:
        model: a model file, or zoo:NAME. config: what is known already; its `[subject]` is kept.

    Returns:
        What to tell the user.
    """
    subject, guessed = loaded(model, config)
    lines = [
        f"# What `audit init` found out about {subject.name}. Correct what is wrong, give what is",
        "# missing; a line that you keep counts as given, no longer as inferred.",
        "",
        *files_lines(config),
        '# profile = "standard"      # quick, standard or deep',
        *answers_lines(subject),
        *people_lines(subject, guessed),
        *input_lines(subject),
        *features_lines(subject.meta),
        EXAMPLES.format(day=datetime.date.today() + datetime.timedelta(days=90)),
    ]
    write_atomic(path, "\n".join(lines))
    then = f"`audit run {model}{'' if path.name == 'audit.toml' else f' --config {path}'}`"
    inferred = sum(f.source == "inferred" for f in subject.facts)
    facts = f"{inferred} fact{'s' if inferred != 1 else ''}"
    if guessed:
        return (
            f"{path}: {facts} inferred; correct them, and write the classes in the order of the model's "
            f"outputs: nothing tells it. Then {then}."
        )
    return f"{path}: {facts} inferred; correct them, then {then}."


def loaded(model: str, config: Config) -> tuple[Subject, bool]:
    """The subject, and whether the order of its classes is no more than that of the alphabet.

    Raises:
        AuditError: as `load`.
    """

    def subject(meta: SubjectMeta) -> Subject:
        return load(
            model,
            arch=config.arch,
            data=config.data,
            train_data=config.train_data,
            meta=meta,
            trust=config.trust,
            weights_only=True,
            weights=config.weights,
        )

    try:
        return subject(config.subject), False
    except UnorderedClasses as error:
        try:
            return subject(config.subject.over(SubjectMeta(classes=error.names))), True
        except AuditError:
            raise error from None


def why(subject: Subject, name: str) -> str:
    """A comment that says where a fact comes from."""
    fact = next((f for f in reversed(subject.facts) if f.name == name), None)
    if fact is None:
        return ""
    return "  # given" if fact.source == "given" else f"  # inferred: {fact.reason}"


def files_lines(config: Config) -> list[str]:
    """The class and the data, as they were given."""
    given = {"arch": config.arch, "data": config.data, "train_data": config.train_data}
    lines = [
        f"{key} = {toml(value)}" if value else f'# {key} = "…"' for key, value in given.items()
    ]
    return [*lines, *([f"weights = {toml(config.weights)}"] if config.weights else [])]


def answers_lines(subject: Subject) -> list[str]:
    """`[subject]`: how the model's answers are to be read."""
    meta, lines = subject.meta, ["", "[subject]"]
    for name, example in (("task", '"multiclass"'), ("output", '"logits"')):
        value = getattr(meta, name)
        lines.append(
            f"{name} = {toml(value)}{why(subject, name)}" if value else f"# {name} = {example}"
        )
    if meta.output_index is not None:
        lines.append(f"output_index = {meta.output_index}{why(subject, 'output index')}")
    for name in ("threshold", "targets", "horizon", "target_channel", "season", "tolerance"):
        value = getattr(meta, name)
        if value is not None:
            lines.append(f"{name} = {toml(value)}{why(subject, name.replace('_', ' '))}")
    return lines


def people_lines(subject: Subject, guessed: bool) -> list[str]:
    """The rest of `[subject]`: classes, and whom rows are about.

    Args:
        guessed: the classes stand in the alphabet's order, not the model's.
    """
    meta, lines = subject.meta, []
    classes = f"classes = {toml(meta.classes)}"
    if guessed:
        lines.append(
            f"# {classes}  # put them in the order of the model's outputs: nothing tells it"
        )
    else:
        lines.append(f"{classes}{why(subject, 'classes')}" if meta.classes else '# classes = ["…"]')
    if meta.favourable:
        lines.append(f"favourable = {toml(meta.favourable)}  # given")
    elif meta.task is None or subject.task.decides:
        lines.append('# favourable = "…"       # the favourable class, if there is one')
    lines.append(f"sensitive = {toml(meta.sensitive)}" if meta.sensitive else '# sensitive = ["…"]')
    for name in ("sensitive_bins", "groups"):
        if getattr(meta, name):
            lines.append(f"{name} = {toml(getattr(meta, name))}  # given")
    if meta.target is not None:
        lines.append(f"target = {toml(meta.target)}")
    if meta.arrays is not None:
        lines.append(f"arrays = {toml(meta.arrays.model_dump(exclude_none=True))}")
    return lines


def input_lines(subject: Subject) -> list[str]:
    """`[subject.input]`: what a sample is, and what is done to it before the network.

    Of several inputs `[subject.inputs.NAME]` for each.
    """
    if subject.meta.inputs:
        return [line for name in subject.meta.inputs for line in one_input_lines(subject, name)]
    given, lines = subject.meta.input, ["", "[subject.input]"]
    if given.kind:
        lines.append(f"kind = {toml(given.kind)}{why(subject, 'input kind')}")
        lines.append(f"shape = {toml(given.shape)}")
    lines.append(
        f"range = {toml(list(given.range))}{why(subject, 'input range')}"
        if given.range
        else "# range = [0, 1]"
    )
    suggested = subject.kind.suggested_eps if given.kind else "eps = 0.03"
    lines.append(f"# {suggested}" if given.eps is None else f"eps = {toml(given.eps)}  # given")
    if not given.preprocess:
        return [*lines, PREPROCESS]
    lines += ["", "[subject.input.preprocess]"]
    values = given.preprocess.model_dump(exclude_none=True)
    return [*lines, *(f"{key} = {toml(value)}" for key, value in values.items())]


def one_input_lines(subject: Subject, name: str) -> list[str]:
    """`[subject.inputs.NAME]`: what one of several inputs is."""
    given, lines = (subject.meta.inputs or {})[name], ["", f"[subject.inputs.{toml_key(name)}]"]
    said = why(subject, f"input {name}")
    if given.companion:
        return [*lines, f"role = {toml(given.role)}{said}"]
    lines.append(f"kind = {toml(given.kind)}{said}")
    if given.range:
        lines.append(f"range = {toml(list(given.range))}{why(subject, f'range of {name}')}")
    if given.eps is not None:
        lines.append(f"eps = {toml(given.eps)}  # given")
    elif subject.kind_of(name).continuous:
        lines.append(f"# {subject.kind_of(name).suggested_eps}")
    if given.preprocess:
        lines += ["", f"[subject.inputs.{toml_key(name)}.preprocess]"]
        values = given.preprocess.model_dump(exclude_none=True)
        lines += [f"{key} = {toml(value)}" for key, value in values.items()]
    return lines


def features_lines(meta: SubjectMeta) -> list[str]:
    """`[[subject.features]]`, a table for each column or group of columns."""
    lines = []
    for feature in meta.features or []:
        lines += ["", "[[subject.features]]"]
        for key, value in feature.model_dump(exclude_none=True).items():
            lines.append(f"{key} = {toml(value)}")
    return lines


def toml(value: Any) -> str:
    """A value as TOML: JSON's strings, numbers and arrays are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_key(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)
