"""`.npz` and `.safetensors`: named arrays."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from audit.data import Dataset, from_mapping
from audit.errors import AuditError
from audit.meta import SubjectMeta


def read_arrays(path: Path, meta: SubjectMeta) -> Dataset:
    """Arrays `x`, `y`, `group`, `sensitive_NAME`.

    Raises:
        AuditError: the file is damaged, holds pickled objects, or lacks `x`.
    """
    arrays: dict[str, Any]
    try:
        if path.suffix.lower() == ".npz":
            if not zipfile.is_zipfile(path):
                raise AuditError(f"{path} is damaged or no .npz file; save it again with np.savez.")
            check_members(path)
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        else:
            arrays = dict(load_file(path))
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
    return from_mapping(arrays, path.name, meta)


def check_members(path: Path) -> None:
    """Every member an array, every name once: of two, which one is read is chance.

    Raises:
        AuditError: one is not.
    """
    with zipfile.ZipFile(path) as file:
        members = file.namelist()
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
