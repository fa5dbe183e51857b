"""Tensors on disk with a seal each (`audit.seal`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from audit.seal import Damaged, require_file

SEAL = "seal"


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
