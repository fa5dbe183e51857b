"""Open a model file: the child's report turned into tensors, or the trusted way in the parent."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.artifact.state import find_state
from audit.errors import AuditError
from audit.foreign import told

DEADLINE = 15.0
BYTES_PER_SECOND = 50 << 20


@dataclass
class Artifact:
    """What a model file held.

    Attributes:
        format: e.g. 'torch zip', 'full pickle', 'TorchScript', 'safetensors', 'audit-model'.
        state: name → tensor, aliases resolved; None where the file was loaded whole.
        module: the module itself, from a trusted file only.
        asks_for: the class that the file names, never imported for that.
        arch, arch_kwargs, meta: of our own checkpoint.
    """

    path: Path
    format: str
    state: dict[str, Any] | None = None
    module: Any = None
    asks_for: str = ""
    arch: str = ""
    arch_kwargs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    trusted: bool = False
    notes: list[str] = field(default_factory=list)


def open_artifact(path: Path, *, trust: bool = False) -> Artifact:
    """Read a model file.

    Args:
        trust: load files that carry code by running it, in this process.

    Raises:
        AuditError: the file is missing, damaged, hostile or of no known format.
    """
    check_path(path)
    size = path.stat().st_size
    with tempfile.TemporaryDirectory(prefix="audit-") as scratch:
        described = read_in_child(path, Path(scratch), size)
        if "refused" in described:
            if trust and not described["damaged"]:
                return open_trusted(path)
            advice = described["refused"]
            if described["damaged"] and "again" not in advice:
                advice += "; copy or save it again"
            raise AuditError(f"{path} was not opened: {advice}.")
        if trust and described["format"] in ("full pickle", "TorchScript"):
            return open_trusted(path)
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        plain = (
            path if "safetensors" in described["format"] else Path(scratch, "weights.safetensors")
        )
        try:
            state = load_file(plain)
        except SafetensorError as error:
            raise AuditError(f"{path} was not opened: it is damaged ({error}).") from None
    aliases = described["aliases"]
    for alias, name in (aliases if isinstance(aliases, dict) else {}).items():
        if not isinstance(name, str) or name not in state:
            raise AuditError(f"{path} was not opened: its alias {alias[:60]!r} leads nowhere.")
        state[alias] = state[name]
    artifact = Artifact(path, described["format"], state, asks_for=described.get("module", ""))
    if described.get("wrapper"):
        artifact.notes.append(f"The weights were found under the key `{described['wrapper']}`.")
    if "checkpoint" in described:
        take_checkpoint(artifact, described["checkpoint"])
    return artifact


def check_path(path: Path) -> None:
    """Refuse what is no file that can be read, before anything is read of it.

    Raises:
        AuditError: it is a folder, a pipe or a device, or may not be read.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise AuditError(
            f"The model file {path} cannot be opened ({error.strerror}); check the path."
        ) from None
    if stat.S_ISDIR(mode):
        raise AuditError(f"{path} is a directory; name the model file in it.")
    if not stat.S_ISREG(mode):
        raise AuditError(
            f"{path} is a pipe or device, not a regular file; copy it to a file first."
        )
    if path.stat().st_size == 0:
        raise AuditError(f"{path} is empty; copy or save the model again.")


def read_in_child(path: Path, scratch: Path, size: int) -> dict[str, Any]:
    """Run the reader under its deadline."""
    deadline = DEADLINE + size / BYTES_PER_SECOND
    import numpy

    # Isolated (-I): no module of the working directory or of PYTHONPATH can take a name. Where
    # this package and numpy lie is told, for they may lie on no default path.
    homes = [str(Path(m).resolve().parent.parent) for m in (__file__, numpy.__file__)]
    homes[0] = str(Path(homes[0]).parent)
    code = (
        f"import sys; sys.path += {homes!r}; from audit.artifact.reader import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-I", "-c", code, str(path.resolve()), str(scratch)]
    kept = ("PATH", "HOME", "SYSTEMROOT", "LANG", "LD_LIBRARY_PATH")
    environment = {key: value for key, value in os.environ.items() if key in kept}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        finished = subprocess.run(
            command,
            cwd=scratch,
            env=environment,
            timeout=deadline,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except subprocess.TimeoutExpired:
        raise AuditError(
            f"{path} was not opened: reading it did not end within {deadline:.0f} s, so it is not "
            "what a model of its size looks like."
        ) from None
    description = scratch / "description.json"
    if finished.returncode != 0 or not description.is_file():
        said = finished.stderr.decode(errors="replace").strip().splitlines()
        raise AuditError(
            f"{path} was not opened: the reader ended with code {finished.returncode}"
            + (f" ({said[-1][:200]})" if said else "")
            + "."
        )
    result: dict[str, Any] = json.loads(description.read_text())
    return result


def take_checkpoint(artifact: Artifact, checkpoint: Any) -> None:
    """Take weights, architecture and description from a checkpoint that `audit.save` wrote.

    Raises:
        AuditError: it is of another version, or not whole.
    """
    if not isinstance(checkpoint, dict) or checkpoint.get("format_version") != 1:
        version = checkpoint.get("format_version") if isinstance(checkpoint, dict) else None
        raise AuditError(
            f"{artifact.path} is an audit-model checkpoint of version {version!r}, and this release "
            "reads version 1."
        )
    artifact.arch = str(checkpoint.get("arch") or "")
    artifact.asks_for = artifact.arch
    for name in ("arch_kwargs", "meta"):
        value = checkpoint.get(name) or {}
        if not isinstance(value, dict):
            raise AuditError(
                f"{artifact.path} was not opened: its `{name}` is a {type(value).__name__} where a "
                "dictionary is due."
            )
        setattr(artifact, name, value)


def open_trusted(path: Path) -> Artifact:
    """Load a file that carries code, by running it: the user said `--trust`."""
    import torch

    try:
        form, loaded = run_by_torch(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise AuditError(f"{path} was trusted and could not be loaded: {told(error)}.") from error
    held = [loaded]
    if isinstance(loaded, dict):
        held += [loaded.get(key) for key in ("model", "net", "module", "ema")]
    module = next((part for part in held if isinstance(part, torch.nn.Module)), None)
    if module is not None:
        return Artifact(path, form, module=module, trusted=True)
    found = find_state(loaded, lambda v: isinstance(v, torch.Tensor))
    if found is None:
        raise AuditError(f"{path} was trusted, and holds neither a module nor a state_dict.")
    return Artifact(path, form, state=found[0], trusted=True)


def run_by_torch(path: Path) -> tuple[str, Any]:
    """The form of a file, and what torch makes of it by running what it holds."""
    import torch

    names = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if any(n.endswith(("serialized_exported_program.json", "archive_format")) for n in names):
        return "torch.export", torch.export.load(path).module()
    if any(n.count("/") >= 1 and n.split("/")[1] == "code" for n in names):
        return "TorchScript", torch.jit.load(str(path), "cpu")
    return "full pickle", torch.load(path, map_location="cpu", weights_only=False)
