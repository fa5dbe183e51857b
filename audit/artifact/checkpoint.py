"""Write a model as our checkpoint: loadable with `torch.load(weights_only=True)`, or safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as dump
from torch import nn

from audit.meta import SubjectMeta
from audit.record import write_atomic


def save(
    model: nn.Module,
    path: str | Path,
    *,
    arch: str | None = None,
    arch_kwargs: dict[str, Any] | None = None,
    meta: SubjectMeta | dict[str, Any] | None = None,
) -> Path:
    """Save weights together with what an audit has to know of them.

    Args:
        path: `.safetensors` writes safetensors with the description under the metadata key
            `audit`; anything else a torch checkpoint.
        arch: 'pkg.mod:Class'; the model's own class where None. A hint: it is imported by nobody
            who does not pass it as `--arch`, unless it is of the zoo.
        meta: see `audit.meta.SubjectMeta`.

    Returns:
        The path written.
    """
    path = Path(path)
    described = SubjectMeta.model_validate(meta or {}).model_dump(exclude_none=True, mode="json")
    header = {
        "format": "audit-model",
        "format_version": 1,
        "arch": arch or f"{type(model).__module__}:{type(model).__qualname__}",
        "arch_kwargs": arch_kwargs or {},
        "meta": described,
    }
    state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
    if path.suffix != ".safetensors":
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**header, "state_dict": state}, path)
        return path
    # safetensors refuses tied weights: each is written once, and the others are named.
    first: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    distinct = {}
    for name, tensor in state.items():
        where = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and where in first:
            aliases[name] = first[where]
        else:
            first[where] = name
            distinct[name] = tensor.clone(memory_format=torch.contiguous_format)
    header["aliases"] = aliases
    return write_atomic(path, dump(distinct, metadata={"audit": json.dumps(header)}))
