"""From the command line's words to a Subject: model, data, and what is known of both."""

from __future__ import annotations

import difflib
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from audit.artifact.building import build, missing_arch, zoo_hint
from audit.artifact.opening import Artifact, open_artifact
from audit.data import Dataset, read_data
from audit.entrypoints import zoo
from audit.errors import AuditError
from audit.foreign import no_exit
from audit.meta import InputMeta, SubjectMeta, describe_errors
from audit.subject import Subject


def load(
    model: str | Path,
    *,
    arch: str | None = None,
    data: str | None = None,
    train_data: str | None = None,
    meta: SubjectMeta | None = None,
    trust: bool = False,
    device: str = "cpu",
    batch_size: int | None = None,
    weights_only: bool = False,
) -> Subject:
    """A subject from a model file, or from the zoo.

    Args:
        model: a path, or 'zoo:NAME'.
        arch: 'pkg.mod:Class', the user's own code.
        data, train_data: see `audit.data.read_data`; the zoo brings its own.
        meta: what is known; it overrides what the file says.
        trust: load files that carry code by running it.
        batch_size: as of `Subject`.
        weights_only: an architecture and data are not needed.

    Raises:
        AuditError: the sentence says what is missing or wrong.
    """
    given = meta or SubjectMeta()
    name = str(model)
    if name.startswith("zoo:"):
        entry = zoo_model(name.removeprefix("zoo:"))
        path, arch = entry.weights, arch or entry.arch
        train, test = entry.data()
        artifact = open_artifact(path)
    else:
        path = Path(model)
        artifact = open_artifact(path, trust=trust)
        train = test = None
    try:
        known = given.over(SubjectMeta.model_validate(artifact.meta))
    except ValidationError as error:
        raise AuditError(f"{path}: its meta is wrong: {describe_errors(error, '')}.") from None
    if artifact.module is None and arch is None and zoo_hint(artifact) is None:
        if artifact.format in ("full pickle", "TorchScript") or not weights_only:
            raise AuditError(missing_arch(artifact))
        return bare_weights(artifact, known, path)
    module = build(artifact, arch)
    evaluation = read_data(data, known) if data is not None else test
    training = read_data(train_data, known) if train_data is not None else train
    if evaluation is None and not weights_only:
        raise AuditError(
            "There is nothing to evaluate the model on; pass --data PATH (.npz, .parquet, .csv, "
            ".safetensors, a folder of class folders, or pkg.mod:callable)."
        )
    if evaluation is not None:
        known = known.over(described_by(evaluation))
    with no_exit(f"Running the model of {path}", "take that call out of it"):
        subject = Subject(
            module,
            None if evaluation is None else evaluation.x,
            None if evaluation is None else evaluation.y,
            sensitive={} if evaluation is None else evaluation.sensitive,
            groups=None if evaluation is None else evaluation.groups,
            train=None if training is None else (training.x, training.y),
            meta=known.model_copy(update={"name": known.name or path.name}),
            device=device,
            batch_size=batch_size,
            data_name="" if evaluation is None else evaluation.name,
            left_out=() if evaluation is None else evaluation.left_out,
            pairs=None if evaluation is None else evaluation.pairs,
        )
    notes = [
        *artifact_notes(artifact),
        *(() if evaluation is None else evaluation.notes),
        *subject.notes,
        *(() if training is None else training_notes(training)),
    ]
    return subject.read_from(artifact.format, trusted=artifact.trusted, notes=notes)


def training_notes(training: Dataset) -> list[str]:
    """What was not read of the training data, or read as something else.

    No number of the audit is of all of them, so that nothing is undecided for it.
    """
    notes = [
        *(
            f"{lacking.how_many:,} {lacking.what} were left out: {lacking.why}."
            for lacking in training.left_out
        ),
        *training.notes,
    ]
    return [f"Training data: {note}" for note in notes]


def described_by(data: Dataset) -> SubjectMeta:
    """What the data files say of themselves: features, classes, range."""
    return SubjectMeta(
        features=data.features, classes=data.classes, input=InputMeta(range=data.range)
    )


def bare_weights(artifact: Artifact, meta: SubjectMeta, path: Path) -> Subject:
    """A subject of nothing but tensors."""

    class Weights(nn.Module):
        """Named tensors without an architecture."""

    holder = Weights()
    for name, tensor in (artifact.state or {}).items():
        safe = name.replace(".", "/")
        if tensor.is_floating_point() and tensor.dtype in (
            torch.float16,
            torch.bfloat16,
            torch.float32,
            torch.float64,
        ):
            holder.register_parameter(safe, nn.Parameter(tensor, requires_grad=False))
        else:
            holder.register_buffer(safe, tensor)
    subject = Subject(holder, meta=meta.model_copy(update={"name": meta.name or path.name}))
    notes = artifact_notes(artifact)
    return subject.read_from(artifact.format, trusted=artifact.trusted, notes=notes)


def artifact_notes(artifact: Artifact) -> list[str]:
    """What the report has to say about the file itself."""
    trusted = (
        f"The file is a {artifact.format} and was loaded by running it, because --trust said so."
    )
    return [*([trusted] if artifact.trusted else []), *artifact.notes]


def zoo_model(name: str):  # type: ignore[no-untyped-def]
    """A reference model by name.

    Raises:
        AuditError: there is none.
    """
    if name not in zoo():
        near = difflib.get_close_matches(name, zoo(), 1)
        hint = f"did you mean zoo:{near[0]}?" if near else f"there are {', '.join(zoo())}."
        raise AuditError(f"There is no zoo:{name}; {hint}")
    return zoo()[name].load()
