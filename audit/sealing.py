"""What is kept on disk with a digest of it, so that it is read back only as it was kept.

A seal says that these bytes, of this type and shape, were kept under this key. It finds what was damaged or
cut off, what lies in another's place and what another tool wrote. It is no secret: whoever can write the
folder can make one. What somebody planted is found by making some of it again (`audit.evidence`).
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SEAL = "seal"


class Damaged(Exception):
    """A file is there and does not hold what was kept in it."""


def sealed_tensors(key: str, tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file of the tensors, each with its seal."""
    whole = complete(key, tensors)
    seals = {name: seal_of(whole, name, tensor) for name, tensor in tensors.items()}
    return save(dict(tensors), metadata={SEAL: json.dumps(seals, sort_keys=True)})


def unsealed_tensors(
    path: Path, key: str, wanted: Callable[[str], bool] = lambda _: True
) -> dict[str, Tensor]:
    """The wanted tensors of a file, as they were kept under this key.

    Raises:
        OSError: the file is not there, or cannot be read.
        Damaged: it does not hold what was kept.
    """
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            seals = json.loads((file.metadata() or {})[SEAL])
            if not seals or set(seals) != set(file.keys()):
                raise Damaged(path)
            found = {name: file.get_tensor(name) for name in seals if wanted(name)}
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Damaged(path) from error
    whole = complete(key, seals)
    if any(seals[name] != seal_of(whole, name, tensor) for name, tensor in found.items()):
        raise Damaged(path)
    return found


def require_file(path: Path) -> None:
    """Raise Damaged where something else than a file has the name: to read a pipe may never end.

    Raises:
        OSError: nothing is there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise Damaged(path)


def complete(key: str, names: Iterable[str]) -> str:
    """What is sealed with each of several tensors: the names of all, so that none can go missing."""
    return "\n".join([key, *sorted(names)])


def seal_of(key: str, name: str, tensor: Tensor) -> str:
    """The digest of a tensor under its name, kept under a key."""
    digest = hashlib.blake2b(f"{key}\n{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
    if tensor.numel():
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().tobytes())
    return digest.hexdigest()[:32]


def sealed_text(key: str, text: str) -> str:
    """A text, its seal in the first line."""
    return f"{text_seal(key, text)}\n{text}"


def unsealed_text(path: Path, key: str) -> str:
    """The text of a file, as it was kept under this key.

    Raises:
        OSError: the file is not there, or cannot be read.
        Damaged: it does not hold what was kept.
    """
    require_file(path)
    try:
        seal, _, text = path.read_text(encoding="utf-8").partition("\n")
    except UnicodeDecodeError as error:
        raise Damaged(path) from error
    if seal != text_seal(key, text):
        raise Damaged(path)
    return text


def text_seal(key: str, text: str) -> str:
    """The digest of a text that is kept under a key."""
    return hashlib.blake2b(f"{key}\n{text}".encode()).hexdigest()[:32]
