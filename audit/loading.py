"""From the command line's words to a Subject: model, data, and what is known of both."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from audit.artifact.building import build, missing_arch, zoo_hint
from audit.artifact.fitting import named_weights
from audit.artifact.opening import Artifact, open_artifact
from audit.data import Dataset, read_data
from audit.entrypoints import zoo
from audit.errors import AuditError
from audit.foreign import no_exit
from audit.meta import InputMeta, SubjectMeta, describe_errors
from audit.packing import taken_by
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
    weights: str | None = None,
) -> Subject:
    """A subject from a model file, or from the zoo.

    Args:
        model: a path of a file, or of a folder that a library saved it to, or 'zoo:NAME'.
        arch: 'pkg.mod:Class', the user's own code.
        data, train_data: see `audit.data.read_data`; the zoo brings its own.
        meta: what is known; it overrides what the file says.
        trust: load files that carry code by running it.
        batch_size: as of `Subject`.
        weights_only: an architecture and data are not needed.
        weights: the key of the weights that are meant, where the file holds several: 'ema' for
            those averaged over training; None: the raw ones.

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
    if not artifact.modules and arch is None and zoo_hint(artifact) is None:
        if artifact.format in ("full pickle", "TorchScript") or not weights_only:
            raise AuditError(missing_arch(artifact))
        return bare_weights(artifact, known, path, weights)
    module = build(artifact, arch, weights)
    takes = {parameter.name for parameter in taken_by(module) or ()}

    def subject(known: SubjectMeta, note: str = "", classes_from: str = "") -> Subject:
        evaluation = read_data(data, known, takes=takes) if data is not None else test
        training = train
        if train_data is not None:
            training = read_data(train_data, known, training=True, takes=takes)
        if evaluation is None and not weights_only:
            raise AuditError(
                "There is nothing to evaluate the model on; pass --data PATH (.npz, .npy, .pt, "
                ".parquet, .csv, .safetensors, a folder of class folders, or pkg.mod:callable)."
            )
        if evaluation is not None:
            known = known.over(described_by(evaluation))
        with no_exit(f"Running the model of {path}", "take that call out of it"):
            made = Subject(
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
            *([note] if note else []),
            *(() if evaluation is None else evaluation.notes),
            *made.notes,
            *(() if training is None else training_notes(training)),
        ]
        return made.read_from(artifact.format, trusted=artifact.trusted, notes=notes).told(
            artifact.chosen,
            dict.fromkeys(("classes", "labels"), classes_from) if classes_from else {},
        )

    return with_classes(subject, known, artifact.classes)


def with_classes(
    subject: Callable[..., Subject], known: SubjectMeta, told: tuple[list[str], str] | None
) -> Subject:
    """A subject whose classes are called as the model's files say, if that goes with the model.

    Args:
        subject: makes it of what is known, a note, and where the names were read.
        told: the names, and where.
    """
    if told is None or known.classes is not None:
        return subject(known)
    names, place = told
    try:
        return subject(known.over(SubjectMeta(classes=names)), classes_from=place)
    except AuditError as error:
        # Of other classes, or of none, the names are a guess that does not hold.
        try:
            return subject(known, f"The {len(names)} names in {place} do not go with the model.")
        except AuditError:
            raise error from None


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


def bare_weights(artifact: Artifact, meta: SubjectMeta, path: Path, weights: str | None) -> Subject:
    """A subject of nothing but tensors."""

    class Weights(nn.Module):
        """Named tensors without an architecture."""

    holder = Weights()
    for name, tensor in named_weights(artifact, weights).items():
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
