"""A folder that a library saved a model to: its weights, perhaps in several files, and its config."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from audit.artifact.state import in_order
from audit.errors import AuditError

# As transformers, timm and diffusers name them; the first that is there is read.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
)
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
INDEX = ".index.json"
LONGEST = 64 << 20  # bytes of an index; a config is far smaller


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder, or the index of several.

    Raises:
        AuditError: there is none, or several that nothing tells apart.
    """
    named = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if named is not None:
        return named
    if any((folder / name).is_file() for name in ADAPTERS):
        raise AuditError(
            f"{folder} holds adapters (LoRA) without the model that they adapt; load both, call "
            "merge_and_unload(), and save the whole model."
        )
    others = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if len(others) == 1:
        return others[0]
    names = ", ".join(p.name for p in others[:5])
    raise AuditError(
        f"{folder} is a directory with several files of weights ({names}); name one of them."
        if others
        else f"{folder} is a directory without a file of weights ({WEIGHTS[0]}, {WEIGHTS[4]}, …); "
        "name the model file."
    )


def shards(index: Path) -> list[Path]:
    """The files that an index lists, all of them beside it.

    Raises:
        AuditError: it is no index, or names a file that is elsewhere or missing.
    """
    listed = json_in(index)
    names = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(names, dict) or not names:
        raise AuditError(f"{index} is no index of weights; save the model again.")
    files = sorted({str(name) for name in names.values()})
    for name in files:
        if Path(name).name != name or "\\" in name:
            raise AuditError(f"{index} names {name[:60]!r}, which does not lie beside it.")
        if not (index.parent / name).is_file():
            raise AuditError(f"{index} names {name[:60]!r}, which is not there; copy it too.")
    return [index.parent / name for name in files]


def json_in(path: Path) -> Any:
    """A JSON file's content; None where it is missing, too large or no JSON."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def config_beside(path: Path) -> dict[str, Any]:
    """The `config.json` beside a file of weights; empty where there is none."""
    found = json_in(path.parent / "config.json")
    return found if isinstance(found, dict) else {}


def classes_of(config: dict[str, Any]) -> tuple[list[str], str] | None:
    """The names of the classes, in the order of the outputs, and the key that tells them."""
    for key in ("id2label", "label2id", "label_names"):
        names = in_order(key, config.get(key))
        if names is not None:
            return names, key
    return None
