"""A few adversarial examples: pictures side by side, series over time, rows and texts as differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from audit import figures
from audit.record import Table

if TYPE_CHECKING:
    from torch import Tensor

    from audit.checking import Context, Measurement
    from audit.checks.robustness.evasion import Evasion, Outcome
    from audit.subject import Subject

SHOWN = 4
LONGEST = 40
PADDING = ("<pad>", "[PAD]", "")


def show(check: Evasion, context: Context, outcome: Outcome, measurement: Measurement) -> None:
    """Add examples of what an attack broke to a measurement."""
    import torch

    subject = context.subject
    assert subject.x is not None
    at = np.flatnonzero(outcome.broken)[:SHOWN]
    picked = outcome.samples[at]
    adversarial = check.attack(context, outcome.samples, outcome.size, ["x"])["x"][at]
    with torch.no_grad():
        after = subject.logits(adversarial).cpu()
    pairs = zip(context.answers(picked), after, strict=True)
    said = [f"{subject.answer_text(b)} → {subject.answer_text(a)}" for b, a in pairs]
    original = subject.x[picked]
    if subject.kind == "image":
        pictures(subject, original, adversarial, said, measurement)
    elif subject.kind == "tabular":
        measurement.tables.append(rows(subject, original, adversarial, said))
    elif subject.kind == "sequence":
        series(original, adversarial, said, measurement)
    elif subject.meta.input.vocabulary:
        measurement.tables.append(texts(subject.meta.input.vocabulary, original, adversarial, said))


def pictures(
    subject: Subject, original: Tensor, adversarial: Tensor, said: list[str], measurement: Measurement
) -> None:
    assert subject.range is not None
    low, high = subject.range
    sheet = []
    for clean, changed in zip(original.float().numpy(), adversarial.numpy(), strict=True):
        difference = changed - clean
        flat = difference.mean(0) if difference.shape[0] <= 4 else difference.mean(-1)
        sheet.append([
            figures.grey_or_rgb(clean, low, high), figures.signed_colours(flat),
            figures.grey_or_rgb(changed, low, high),
        ])  # fmt: skip
    measurement.figures.append(
        figures.tiles(
            sheet, title="Original, change (amplified), result",
            caption=f"{len(sheet)} sample{'s' if len(sheet) > 1 else ''}, one a row; the answers went "
            f"{'; '.join(said)}. The middle picture scales the change to full colour: orange is "
            "brighter, blue darker.",
        )
    )  # fmt: skip


def rows(subject: Subject, original: Tensor, adversarial: Tensor, said: list[str]) -> Table:
    lines: list[list[str | float | int | bool | None]] = []
    for i, (old, new) in enumerate(zip(original, adversarial, strict=True)):
        for feature in subject.features:
            before, after = old[feature.columns], new[feature.columns]
            if bool((before == after).all()):
                continue
            if feature.kind == "numeric":
                lines.append([i + 1, said[i], feature.name, float(before[0]), float(after[0])])
            else:
                names = feature.categories or [str(c) for c in feature.columns]
                lines.append([
                    i + 1, said[i], feature.name, names[int(before.argmax())],
                    names[int(after.argmax())],
                ])  # fmt: skip
    return Table(
        title="Examples: what was changed in a row",
        columns=["example", "answer", "feature", "before", "after"], rows=lines[:LONGEST],
    )  # fmt: skip


def texts(
    vocabulary: list[str], original: Tensor, adversarial: Tensor, said: list[str]
) -> Table:
    lines: list[list[str | float | int | bool | None]] = []
    for i, (old, new) in enumerate(zip(original.tolist(), adversarial.tolist(), strict=True)):
        words = [vocabulary[o] if o == n else f"{vocabulary[o]} → {vocabulary[n]}"
                 for o, n in zip(old, new, strict=True)]  # fmt: skip
        lines.append([i + 1, said[i], " ".join(w for w in words if w not in PADDING)])
    return Table(
        title="Examples: what was changed in a text", columns=["example", "answer", "text"], rows=lines
    )


def series(
    original: Tensor, adversarial: Tensor, said: list[str], measurement: Measurement
) -> None:
    """The channel of one series that was changed most, before and after."""
    change = (adversarial[0] - original[0]).abs()
    channel = int(change.sum(0).argmax())
    drawn = [
        {"time": t, "value": float(values[0, t, channel]), "low": float(values[0, t, channel]),
         "high": float(values[0, t, channel]), "series": name}
        for name, values in (("before", original), ("after", adversarial))
        for t in range(original.shape[1])
    ]  # fmt: skip
    picture = figures.curve(
        drawn, x="time", y="value", series="series", domain=None,
        title="A series before and after",
        caption=f"Channel {channel} of one sample, the one changed most; the answer went {said[0]}. "
        f"The largest change of a value is {float(change.max()):.3g}.",
    )  # fmt: skip
    picture.example = True
    measurement.figures.append(picture)
