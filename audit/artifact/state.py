"""Where in a checkpoint are the weights? One search for described and for real objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "ema",
    "weights",
    "params",
)
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def find_state(root: Any, is_tensor: Callable[[Any], bool]) -> tuple[dict[str, Any], str] | None:
    """The mapping of names to tensors in a loaded checkpoint.

    Args:
        is_tensor: tells tensors (or their descriptions) from other values.

    Returns:
        (state, the key under which it was found or ''), or None.
    """

    def tensors(value: Any) -> dict[str, Any] | None:
        if not isinstance(value, Mapping) or not value:
            return None
        named = {str(k): v for k, v in value.items() if is_tensor(v)}
        # `num_batches_tracked` and extra state may be other things; most must be tensors.
        return named if len(named) * 2 > len(value) else None

    found = tensors(root)
    if found is not None:
        return found, ""
    if isinstance(root, Mapping):
        for key in WRAPPERS:
            inner = root.get(key)
            found = tensors(inner)
            if found is not None:
                return found, key
            if isinstance(inner, Mapping):
                nested = find_state(inner, is_tensor)
                if nested is not None:
                    return nested[0], f"{key}.{nested[1]}".rstrip(".")
    return None


def strip_prefixes(state: Mapping[str, Any], wanted: set[str]) -> tuple[dict[str, Any], str]:
    """Take off prefixes that wrappers (DataParallel, compile, Lightning) put before every name.

    Args:
        wanted: the names that the architecture has.

    Returns:
        (state, the prefix taken off or put on, '' for none): the fit with most names.
    """
    candidates: list[tuple[dict[str, Any], str]] = [(dict(state), "")]
    current, removed = dict(state), ""
    while current:
        prefix = next((p for p in PREFIXES if all(k.startswith(p) for k in current)), None)
        if prefix is None:
            break
        current = {k.removeprefix(prefix): v for k, v in current.items()}
        removed += prefix
        candidates.append((current, removed))
    for prefix in PREFIXES:
        inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if inside and len(inside) < len(state):
            candidates.append((inside, prefix))
    return max(candidates, key=lambda c: len(wanted & c[0].keys()))
