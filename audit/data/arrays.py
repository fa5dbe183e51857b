"""`.npz`, `.safetensors`, `.npy` and `.pt`: named arrays, or single ones that lie side by side."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from audit.data import ALONE, Dataset, from_mapping
from audit.data.roles import role
from audit.errors import AuditError
from audit.meta import SubjectMeta

MOST_UNPACKED = 512 << 20  # bytes that any file may unpack to
MOST_TIMES = 50  # as many as it holds itself: real arrays shrink less


def read_arrays(
    path: Path, meta: SubjectMeta, *, training: bool = False, takes: Container[str] = ()
) -> Dataset:
    """Samples, labels, `group`, `sensitive_NAME` of a file, or of the files of a folder.

    A file of a single array holds the samples; what belongs to them lies beside it, called alike:
    `y_test.npy` beside `X_test.npy`.

    Args:
        training: the samples that the model learnt from are wanted.
        takes: what the model's `forward` calls its inputs.

    Raises:
        AuditError: a file is damaged, holds pickled objects, or what is meant is open.
    """
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in ALONE and f.is_file())
        arrays = {file.stem: alone(file) for file in files}
        return from_mapping(arrays, path.name, meta, training=training, takes=takes)
    found = read_file(path)
    if isinstance(found, dict):
        return from_mapping(found, path.name, meta, training=training, takes=takes)
    beside = companions(path, meta)
    arrays = {"x": found, **{key: alone(file) for key, file in beside.items()}}
    known = meta.model_copy(update={"arrays": None, "target": None if "y" in beside else ""})
    data = from_mapping(arrays, path.name, known, training=training)
    if "y" in beside:
        data.notes.append(f"The labels were read from {beside['y'].name}, beside {path.name}.")
    return data


def companions(path: Path, meta: SubjectMeta) -> dict[str, Path]:
    """The files beside a file of samples that hold their labels, groups and sensitive attributes.

    Raises:
        AuditError: which of several files holds the labels is open.
    """
    others = [
        f
        for f in sorted(path.parent.iterdir())
        if f.suffix == path.suffix and f != path and f.is_file()
    ]
    found = {f.stem: f for f in others if f.stem == "group" or f.stem.startswith("sensitive_")}
    named = meta.arrays.y if meta.arrays is not None else None
    named = meta.target if named is None else named
    if named is not None:
        if named == "":
            return found
        file = path.parent / named
        if not file.is_file():
            raise AuditError(f"There is no file {file}; correct [subject] arrays.y, or target.")
        return {**found, "y": file}
    own = role(path.stem)
    labels = [f for f in others if (r := role(f.stem)) is not None and r.what == "y"]
    alike = [f for f in labels if own is not None and role(f.stem).part == own.part]  # type: ignore[union-attr]
    if len(alike) == 1:
        return {**found, "y": alike[0]}
    if not others:
        return found
    names = ", ".join(f.name for f in (alike or others)[:5])
    raise AuditError(
        f"{path} holds one array, and which file holds its labels is open ({names}); write "
        f'arrays = {{y = "{(alike or others)[0].name}"}} under [subject], or y = "" where there '
        "are none."
    )


def alone(file: Path) -> Any:
    """The one array of a file.

    Raises:
        AuditError: it holds several.
    """
    found = read_file(file)
    if isinstance(found, dict):
        raise AuditError(f"{file} holds {', '.join(found) or 'nothing'}; a single array is due.")
    return found


def read_file(path: Path) -> Any:
    """The arrays of a file by name, or its only one.

    Raises:
        AuditError: it is damaged, or holds pickled objects.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npz":
            if not zipfile.is_zipfile(path):
                raise AuditError(f"{path} is damaged or no .npz file; save it again with np.savez.")
            check_members(path)
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        if suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if suffix == ".safetensors":
            return dict(load_file(path))
        return tensors(path)
    except AuditError:
        raise
    except ValueError as error:
        if "pickle" in str(error):
            raise AuditError(
                f"{path} holds Python objects, which would have to be unpickled; save plain arrays "
                "(strings as a numpy string array)."
            ) from None
        raise AuditError(f"{path} cannot be read: {error}.") from None
    except Exception as error:  # noqa: BLE001 - readers raise what they like
        raise AuditError(f"{path} is damaged or not what its name says: {error}.") from None


def tensors(path: Path) -> Any:
    """What torch.save wrote: a tensor, a dictionary, samples and labels in a row, or a TensorDataset.

    Raises:
        AuditError: the file is not opened, or holds no tensors in such a form.
    """
    from audit.artifact.opening import open_samples

    found = open_samples(path)
    places = [h.path for h in found.held]
    if places in ([""], ["tensors"]):  # a TensorDataset keeps its own so
        (held,) = found.held
        if list(held.tensors) == [""]:
            return held.tensors[""]
        arrays = {**held.tensors, **{k: np.array(v) for k, v in found.lists.items()}}
        if not held.listed:
            unread = [key for key in found.others if key != "tensors"]
            return arrays | {key: None for key in unread}
        if sorted(arrays) in (["0"], ["0", "1"]) and not found.others:
            return {name: arrays[key] for name, key in zip("xy", sorted(arrays), strict=False)}
    shown = ", ".join(f"`{place}`" if place else "the file itself" for place in places[:5])
    raise AuditError(
        f"{path} holds {f'tensors in {shown}' if places else 'no tensors'}, and not samples and labels "
        'alone; save a dictionary, as in torch.save({"x": x, "y": y}, path).'
    )


def check_members(path: Path) -> None:
    """Every member an array, every name once: of two, which one is read is chance.

    Raises:
        AuditError: one is not.
    """
    with zipfile.ZipFile(path) as file:
        members = file.namelist()
        unpacked = sum(member.file_size for member in file.infolist())
    size = path.stat().st_size
    if unpacked > max(MOST_UNPACKED, MOST_TIMES * size):
        raise AuditError(
            f"{path} holds {size >> 20:,} MiB and unpacks to {unpacked >> 20:,}; save what is meant "
            "with np.savez, uncompressed."
        )
    names = [member.removesuffix(".npy") for member in members]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise AuditError(
            f"{path} holds the array {twice[0]!r} more than once, so it cannot be told which is meant; "
            "save it again with np.savez."
        )
    other = [member for member in members if not member.endswith(".npy")]
    if other:
        raise AuditError(
            f"{path} holds {other[0]!r}, which is no array; save it again with np.savez."
        )
