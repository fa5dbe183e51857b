"""What kind of model is this? Told from its behaviour on the data, with the reason for each guess."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audit.errors import AuditError
from audit.meta import InputKind, Output, SubjectMeta, Task
from audit.record import Fact

PROBE = 64
UNUSABLE = "unusable"


def select_output(raw: Any, index: int | None) -> tuple[Tensor, int | None, str]:
    """The tensor that holds the scores, among whatever the model returned.

    Returns:
        (scores, index into the tuple or None, reason).

    Raises:
        AuditError: there is no floating tensor where one is due.
    """
    if isinstance(raw, Tensor):
        return raw, None, ""
    if isinstance(raw, dict):
        raw = tuple(raw.values())
    if isinstance(raw, (tuple, list)):
        if index is not None:
            if not -len(raw) <= index < len(raw) or not isinstance(raw[index], Tensor):
                raise AuditError(
                    f"The model returns {len(raw)} outputs and output_index = {index} is not a "
                    "tensor among them; correct [subject] output_index."
                )
            return raw[index], index, ""
        for position, item in enumerate(raw):
            if isinstance(item, Tensor) and item.is_floating_point() and item.ndim <= 2:
                return item, position, f"first tensor of scores among {len(raw)} outputs"
    raise AuditError(
        f"The model returns {type(raw).__name__}, in which no tensor of scores was found; "
        "give [subject] output_index, or wrap the model so that it returns one tensor."
    )


def infer_input_kind(x: Tensor) -> tuple[InputKind, str]:
    shape = tuple(x.shape[1:])
    if not x.is_floating_point() and len(shape) == 1 and x.dtype in (torch.int32, torch.int64):
        return "tokens", f"whole numbers in rows of {shape[0]}"
    if len(shape) == 3:
        return "image", f"samples of shape {shape}"
    if len(shape) == 2:
        return "sequence", f"samples of shape {shape}, read as (time, channel)"
    if len(shape) == 1:
        return "tabular", f"rows of {shape[0]} columns"
    raise AuditError(
        f"Samples of shape {shape} are neither rows, series nor images; give [subject.input] kind."
    )


def infer_range(x: Tensor) -> tuple[tuple[float, float], str]:
    low, high = float(x.min()), float(x.max())
    if low >= 0 and high <= 1:
        return (0.0, 1.0), f"all values lie in [{low:.3g}, {high:.3g}]"
    if low >= 0 and high <= 255 and high > 16:
        return (0.0, 255.0), f"all values lie in [{low:.3g}, {high:.3g}]"
    if low == high:
        raise AuditError(f"Every input value is {low:.3g}; the data hold nothing to audit.")
    return (low, high), "the lowest and highest value of the data"


def infer_output(scores: Tensor, y: Tensor | None) -> tuple[Output, Task, str]:
    """Output kind and task from the scores on the probe batch and the labels."""
    flat = scores.ndim == 1 or scores.shape[1] == 1
    values = scores.detach().double()
    unit = bool(((values >= 0) & (values <= 1)).all())
    whole = y is not None and (not y.is_floating_point() or bool((y == y.round()).all()))
    if y is not None and y.ndim == 2 and y.shape[1] > 1:
        return ("sigmoid" if unit else "logits"), "multilabel", "several labels for each sample"
    if flat:
        if y is not None and whole and set(y.unique().tolist()) <= {0, 1}:
            if unit:
                return "sigmoid", "binary", "one output in [0, 1], labels 0 and 1"
            return "logits", "binary", "one output beyond [0, 1], labels 0 and 1"
        return "value", "regression", "one output, and labels that are not classes"
    if y is not None and not whole:
        return "value", "regression", "labels that are not whole numbers"
    task: Task = "binary" if scores.shape[1] == 2 else "multiclass"
    if unit and bool(((values.sum(1) - 1).abs() < 1e-3).all()):
        return "probabilities", task, "rows are non-negative and sum to 1"
    if bool((values <= 1e-6).all()) and bool(((values.exp().sum(1) - 1).abs() < 1e-3).all()):
        return "log_probabilities", task, "exponentials of each row sum to 1"
    if unit and bool(((values > 0) & (values < 1)).any()):
        return "sigmoid", task, "all outputs in [0, 1] but rows do not sum to 1"
    return "logits", task, "outputs are unbounded scores"


def complete(meta: SubjectMeta, model: nn.Module, x: Tensor, y: Tensor | None) -> tuple[
    SubjectMeta, list[Fact], Tensor
]:
    """Fill the gaps of `meta` from the data and the model's behaviour on a probe batch.

    Args:
        model: preprocessing and network, in eval mode.
        x: [n, ...] on the model's device.
        y: [n] or None.

    Returns:
        (the completed description, a fact for each thing known, the model's raw scores on the
        probe).

    Raises:
        AuditError: the model does not accept the data, or returns nothing that can be read.
    """
    meta = meta.model_copy(deep=True)
    facts: list[Fact] = []

    def settle(name: str, given: Any, guess: Any) -> Any:
        if given is not None:
            facts.append(Fact(name=name, value=given, source="given"))
            return given
        value, reason = guess()
        facts.append(Fact(name=name, value=value, source="inferred", reason=reason))
        return value

    meta.input.kind = settle("input kind", meta.input.kind, lambda: infer_input_kind(x))
    if meta.input.kind in ("image", "sequence"):
        meta.input.range = settle("input range", meta.input.range, lambda: infer_range(x))
    if meta.input.shape is not None and list(x.shape[1:]) != list(meta.input.shape):
        raise AuditError(
            f"The data have samples of shape {list(x.shape[1:])}, and the model is described as "
            f"taking {list(meta.input.shape)}; give matching data, or correct [subject.input] shape."
        )
    meta.input.shape = list(x.shape[1:])
    raw = probe(model, x[:PROBE])
    scores, index, reason = select_output(raw, meta.output_index)
    if index is not None:
        meta.output_index = settle("output index", meta.output_index, lambda: (index, reason))
    if scores.ndim not in (1, 2) or len(scores) != len(x[:PROBE]):
        raise AuditError(
            f"For {len(x[:PROBE])} samples the model returns scores of shape "
            f"{list(scores.shape)}; one row of scores for each sample is needed "
            "([subject] output_index selects another output)."
        )
    if not bool(torch.isfinite(scores).all()):
        bad = int((~torch.isfinite(scores.reshape(len(scores), -1)).all(1)).sum())
        said = f"the model returns NaN or Inf for {bad} of the first {len(scores)} samples"
        if all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise AuditError(
                f"T{said[1:]} though its weights are finite; check the scale of the inputs and "
                "[subject.input.preprocess]."
            )
        facts.append(Fact(name=UNUSABLE, value=said, source="inferred", reason="its answers"))
        scores = scores.nan_to_num()
    output, task, reason = infer_output(scores, y)
    if meta.task in ("regression", "anomaly"):
        output, reason = "value", f"the task is {meta.task}"
    meta.output = settle("output", meta.output, lambda: (output, reason))
    meta.task = settle("task", meta.task, lambda: (task, reason))
    if meta.task == "anomaly":
        meta.classes = meta.classes or ["normal", "anomaly"]
        if scores.ndim == 2 and scores.shape[1] != 1:
            raise AuditError(
                f"The task is anomaly and the model returns {scores.shape[1]} values a sample; one "
                "score, higher for the more unusual, is due."
            )
    if meta.task in ("binary", "multiclass"):
        k = 2 if scores.ndim == 1 or scores.shape[1] == 1 else scores.shape[1]
        names = [str(i) for i in range(k)]
        meta.classes = settle(
            "classes", meta.classes, lambda: (names, f"the model has {k} classes, unnamed")
        )
        if len(meta.classes or []) != k:
            raise AuditError(
                f"{len(meta.classes or [])} class names are given and the model has {k} classes; "
                "correct [subject] classes."
            )
    if meta.favourable is not None:
        if meta.favourable not in (meta.classes or []):
            raise AuditError(
                f"The favourable class {meta.favourable!r} is not among the classes "
                f"({', '.join((meta.classes or [])[:5]) or 'there are none'}); correct [subject] "
                "favourable, or name the classes in [subject] classes."
            )
        facts.append(Fact(name="favourable class", value=meta.favourable, source="given"))
    return meta, facts, scores


@torch.no_grad()
def probe(model: nn.Module, x: Tensor) -> Any:
    """The model's raw answer to a few samples.

    Raises:
        AuditError: it raised; with what it said.
    """
    try:
        return model(x.clone())  # it may write in what it is given
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(
            f"The model does not accept the data: on samples of shape {list(x.shape[1:])} "
            f"({str(x.dtype).removeprefix('torch.')}) it says «{said[:300]}»; check the shape, "
            "dtype and [subject.input.preprocess]."
        ) from error
