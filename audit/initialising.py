"""`audit init`: an audit.toml with all that could be inferred, to be corrected."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

from audit.loading import load
from audit.people import toml_key
from audit.record import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from audit.config import Config


def write_config(model: str, config: Config, path: Path) -> str:
    """Write the file.

    Args:
        model: a model file, or zoo:NAME. config: what is known already; its `[subject]` is kept.

    Returns:
        What to tell the user.
    """
    subject = load(
        model,
        arch=config.arch,
        data=config.data,
        train_data=config.train_data,
        meta=config.subject,
        trust=config.trust,
        weights_only=True,
    )
    reasons = {f.name: f for f in subject.facts}

    def why(name: str) -> str:
        fact = reasons.get(name)
        if fact is None:
            return ""
        return "  # given" if fact.source == "given" else f"  # inferred: {fact.reason}"

    meta = subject.meta
    lines = [
        f"# What `audit init` found out about {subject.name}. Correct what is wrong, give what is",
        "# missing; a line that you keep counts as given, no longer as inferred.",
        "",
    ]
    for key, value in (
        ("arch", config.arch),
        ("data", config.data),
        ("train_data", config.train_data),
    ):
        lines.append(f"{key} = {toml(value)}" if value else f'# {key} = "…"')
    lines += ['# profile = "standard"      # quick, standard or deep', "", "[subject]"]
    lines.append(f"task = {toml(meta.task)}{why('task')}" if meta.task else '# task = "multiclass"')
    lines.append(
        f"output = {toml(meta.output)}{why('output')}" if meta.output else '# output = "logits"'
    )
    if meta.output_index is not None:
        lines.append(f"output_index = {meta.output_index}{why('output index')}")
    for name in ("threshold", "tolerance"):
        value = getattr(meta, name)
        if value is not None:
            lines.append(f"{name} = {toml(value)}{why(name)}")
    lines.append(
        f"classes = {toml(meta.classes)}{why('classes')}" if meta.classes else '# classes = ["…"]'
    )
    if meta.favourable:
        lines.append(f"favourable = {toml(meta.favourable)}  # given")
    elif meta.task is None or subject.task.decides:
        lines.append('# favourable = "…"       # the favourable class, if there is one')
    lines.append(f"sensitive = {toml(meta.sensitive)}" if meta.sensitive else '# sensitive = ["…"]')
    for name in ("sensitive_bins", "groups"):
        if getattr(meta, name):
            lines.append(f"{name} = {toml(getattr(meta, name))}  # given")
    if meta.target:
        lines.append(f"target = {toml(meta.target)}")
    lines += ["", "[subject.input]"]
    if meta.input.kind:
        lines.append(f"kind = {toml(meta.input.kind)}{why('input kind')}")
        lines.append(f"shape = {toml(meta.input.shape)}")
    if meta.input.range:
        lines.append(f"range = {toml(list(meta.input.range))}{why('input range')}")
    else:
        lines.append("# range = [0, 1]")
    if meta.input.eps is not None:
        lines.append(f"eps = {toml(meta.input.eps)}  # given")
    else:
        kind = subject.kind if meta.input.kind else None
        lines.append(f"# {kind.suggested_eps if kind else 'eps = 0.03'}")
    if meta.input.preprocess:
        lines += ["", "[subject.input.preprocess]"]
        for key, value in meta.input.preprocess.model_dump(exclude_none=True).items():
            lines.append(f"{key} = {toml(value)}")
    else:
        lines.append(
            '# [subject.input.preprocess]\n# scale = "1/255"\n# mean = [0.5]\n# std = [0.5]'
        )
    for feature in meta.features or []:
        lines += ["", "[[subject.features]]"]
        for key, value in feature.model_dump(exclude_none=True).items():
            lines.append(f"{key} = {toml(value)}")
    lines += [
        "",
        "[policy]",
        'fail_on = "high"',
        'on_inconclusive = "block"',
        "",
        "# [[expect]]",
        '# check = "performance.classification"',
        '# metric = "accuracy"',
        '# op = ">="',
        "# bound = 0.9",
        '# severity = "high"',
        "",
        "# [[waive]]",
        '# check = "…"',
        '# owner = "…"',
        '# reason = "…"',
        f"# expires = {datetime.date.today() + datetime.timedelta(days=90)}",
        "",
    ]
    write_atomic(path, "\n".join(lines))
    inferred = sum(f.source == "inferred" for f in subject.facts)
    facts = f"{inferred} fact{'s' if inferred != 1 else ''}"
    return f"{path}: {facts} inferred; correct them, then `audit run {model}`."


def toml(value: Any) -> str:
    """A value as TOML: JSON's strings, numbers and arrays are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_key(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)
