"""What a model returned that is no tensor of answers: told, with the lines that make one of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

MOST = 4  # things named
WRAPPER = """class Wrapped(torch.nn.Module):
    def __init__(self, model): super().__init__(); self.model = model
    def forward(self, x):
        return {}"""
Told = tuple[str, str, str]
TEXT = "self.model.score(x)  # [n, k], such as the log-probabilities of k answers"
TAKEN = "one tensor of numbers with a row for each sample is taken"


def refusal(raw: Any, n: int) -> str:
    """The sentence about what was returned for n samples, and four lines of code to copy."""
    what, family, line = read(raw, n)
    family = f", {family}" if family else ""
    return f"The model returns {what}{family}; {TAKEN}. Wrap it, as in:\n\n{WRAPPER.format(line)}"


def unlike(raw: Any) -> bool:
    """Does it hold tensors with a row a sample, perhaps, and is no tensor of answers all the same?"""
    return isinstance(raw, PackedSequence) or detections(raw)


def detections(raw: Any) -> bool:
    """Are these boxes of objects, however many a picture has?"""
    if isinstance(raw, (list, tuple)):
        return bool(raw) and all(isinstance(v, Mapping) and box_key(v) for v in raw)
    parts = parts_of(raw)
    key = box_key(parts)
    return key is not None and not (isinstance(parts[key], Tensor) and parts[key].ndim == 2)


def read(raw: Any, n: int) -> Told:
    """What it is, in words; what returns such; and the expression that makes a tensor of it."""
    if detections(raw):
        return detected(raw)
    for kinds, told in KINDS:
        if isinstance(raw, kinds):
            return told(raw)
    if isinstance(raw, (list, tuple)):
        return listed(raw, n)
    return assembled(raw)


def tensor(raw: Tensor) -> Told:
    """Of a tensor that holds no scores."""
    if raw.is_nested:
        line = "torch.nested.to_padded_tensor(self.model(x), 0.0).mean(1)"
        return "a nested tensor, rows of different lengths", "", line
    shape, kind = list(raw.shape), str(raw.dtype).removeprefix("torch.")
    if raw.is_sparse or raw.layout not in (torch.strided,):
        return f"a sparse tensor of shape {shape}", "", "self.model(x).to_dense()"
    if raw.is_complex():
        return f"complex numbers of shape {shape}", "", "self.model(x).abs()"
    if raw.ndim == 0:
        return "one number for all samples", "as a loss is", "self.model.scores(x)"
    if not raw.is_floating_point():
        if raw.ndim > 1:
            return (
                f"whole numbers ({kind}) of shape {shape} and no scores",
                "as generation returns tokens",
                "self.model.score(x)  # the scores that they are chosen by",
            )
        return (
            f"whole numbers ({kind}) of shape {shape}, the classes themselves, and no scores",
            "",
            "self.model.scores(x)  # what the class is the highest of",
        )
    return f"scores of shape {shape}", "", "self.model(x)[0]"


def detected(raw: Any) -> Told:
    """Of boxes: which classes are present is a question that is asked of several labels."""
    family = "as detectors do, and boxes are not audited yet: what is, is which classes are present"
    if isinstance(raw, (list, tuple)):
        one = raw[0]
        what = f"a {type(raw).__name__} of {len(raw)} dicts with {named(one)}"
        labels = [v for d in raw for k, v in d.items() if "label" in str(k) or "class" in str(k)]
        seen = [int(v.max()) for v in labels if isinstance(v, Tensor) and v.numel()]
        k, score, label = max([*seen, 0]) + 1, key_of(one, "scor"), key_of(one, "label", "class")
        line = (
            f"torch.stack([d[{score!r}].new_zeros({k}).scatter_reduce(0, d[{label!r}].long(), "
            f'd[{score!r}], "amax") for d in self.model(x)])  # {k} classes: as many as yours'
        )
        return what, family, line
    parts = parts_of(raw)
    got = "self.model(x)[{!r}]" if isinstance(raw, Mapping) else "self.model(x).{}"
    score = key_of(parts, "logit", "scor", "class")
    line = got.format(score) + ".softmax(-1)[..., :-1].amax(1)  # the last class: no object"
    return f"{type(raw).__name__} with {named(parts)}", family, line


def listed(raw: Sequence[Any], n: int) -> Told:
    """Of a list that is neither texts nor boxes."""
    kind = type(raw).__name__
    if not raw:
        return f"an empty {kind}", "", "self.model.scores(x)"
    if all(isinstance(v, str) for v in raw):
        return f"a {kind} of {len(raw)} texts", "as generation does", TEXT
    if all(isinstance(v, Tensor) for v in raw):
        shapes = {tuple(v.shape) for v in raw}
        if len(shapes) > 1 and len(raw) == n:
            shown = ", ".join(str(list(v.shape)) for v in raw[:MOST])
            return (
                f"a {kind} of {n} tensors of different shapes ({shown}{', …' if n > MOST else ''})",
                "one a sample",
                "torch.stack([y.float().mean(0) for y in self.model(x)])  # or what you judge it by",
            )
        if len(shapes) == 1 and len(raw) == n:
            shape = list(raw[0].shape)
            return f"a {kind} of {n} tensors {shape}", "one a sample", "torch.stack(self.model(x))"
        shown = ", ".join(str(list(v.shape)) for v in raw[:MOST])
        return f"a {kind} of {len(raw)} tensors ({shown})", "", "self.model(x)[0]"
    if all(isinstance(v, (bool, int, float)) for v in raw):
        return f"a {kind} of {len(raw)} numbers", "", "torch.as_tensor(self.model(x))"
    if all(isinstance(v, np.ndarray) for v in raw):
        return f"a {kind} of {len(raw)} numpy arrays", "", "torch.as_tensor(self.model(x)[0])"
    held = sorted({type(v).__name__ for v in raw})
    inner = next((i for i, v in enumerate(raw) if isinstance(v, (list, tuple, Mapping))), 0)
    key = next(iter(raw[inner])) if isinstance(raw[inner], Mapping) and raw[inner] else 0
    line = f"self.model(x)[{inner}][{key!r}]  # the tensor in it"
    return f"a {kind} of {', '.join(held[:MOST])}", "", line


def assembled(raw: Any) -> Told:
    """Of a mapping, or of an object with parts."""
    parts = parts_of(raw)
    held = [k for k, v in parts.items() if isinstance(v, Tensor)]
    if not isinstance(raw, Mapping):
        what = type(raw).__name__ + (f" with {named(parts)}" if parts else "")
        return what, "", f"self.model(x).{held[0] if held else 'scores'}"
    if not parts:
        return f"an empty {type(raw).__name__}", "", "self.model.scores(x)"
    key = held[0] if held else next(iter(parts))
    deeper = (
        "" if held else f"[{next(iter(raw[key]), 0)!r}]" if isinstance(raw[key], Mapping) else "[0]"
    )
    note = "" if held else "  # the tensor in it"
    return f"a {type(raw).__name__} of {named(parts)}", "", f"self.model(x)[{key!r}]{deeper}{note}"


def parts_of(raw: Any) -> dict[str, Any]:
    """Name → part of a mapping, or of an object."""
    if isinstance(raw, Mapping):
        return {str(k): v for k, v in raw.items()}
    if isinstance(raw, (Tensor, list, tuple, str, np.ndarray)) or raw is None:
        return {}
    return {k: v for k, v in getattr(raw, "__dict__", {}).items() if not k.startswith("_")}


def box_key(parts: Mapping[Any, Any]) -> str | None:
    """The name of the boxes among them."""
    return next((k for k in parts if "box" in str(k).lower()), None)


def key_of(parts: Mapping[Any, Any], *words: str) -> str:
    """The name of what one of the words stands in; the first word where there is none."""
    for word in words:
        for key in parts:
            if word in str(key).lower():
                return str(key)
    return {"scor": "scores", "label": "labels", "logit": "logits"}[words[0]]


def named(parts: Mapping[Any, Any]) -> str:
    """'boxes [7, 4], labels [7] and scores [7]'."""
    shown = [
        f"{key} {list(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
        for key, value in list(parts.items())[: MOST + 1]
    ]
    if len(parts) > MOST + 1:
        return f"{', '.join(shown)} and {len(parts) - MOST - 1} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


KINDS: tuple[tuple[Any, Callable[[Any], Told]], ...] = (
    (
        type(None),
        lambda _: (
            "nothing (None)",
            "as a forward without a return does",
            "self.model.head(x)  # scores",
        ),
    ),
    (str, lambda _: ("a text", "as generation does", TEXT)),
    (Tensor, tensor),
    (
        np.ndarray,
        lambda raw: (
            f"a numpy array of shape {list(raw.shape)}, through which no gradient flows",
            "",
            "torch.as_tensor(self.model(x))  # or its layers without .numpy()",
        ),
    ),
    (
        (bool, int, float),
        lambda raw: (
            f"one number ({type(raw).__name__}) for all samples",
            "",
            "self.model.scores(x)",
        ),
    ),
    (
        PackedSequence,
        lambda _: (
            "a packed sequence",
            "as recurrent layers do",
            "torch.nn.utils.rnn.pad_packed_sequence(self.model(x), batch_first=True)[0][:, -1]",
        ),
    ),
    (
        torch.distributions.Distribution,
        lambda raw: (f"a distribution ({type(raw).__name__})", "", "self.model(x).mean"),
    ),
    (
        Iterator,
        lambda raw: (f"an iterator ({type(raw).__name__})", "", "torch.stack(list(self.model(x)))"),
    ),
)
