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

from audit.artifact.folder import INDEX, classes_of, config_beside, shards, weights_in
from audit.artifact.state import Held, class_names, collect, default, joined
from audit.errors import AuditError
from audit.foreign import told
from audit.record import Fact

DEADLINE = 15.0
BYTES_PER_SECOND = 50 << 20


@dataclass
class Artifact:
    """What a model file held.

    Attributes:
        format: e.g. 'torch zip', 'full pickle', 'TorchScript', 'safetensors', 'audit-model'.
        held: its tensors, by the dictionary, list or module that holds them.
        modules: place → module, of a trusted file only.
        asks_for: the class that the file names, never imported for that.
        arch, arch_kwargs, meta: of our own checkpoint.
        classes: names of the classes in the model's order, as the file tells them, and where.
        chosen: what is to be said of the weights that were taken, once they are.
    """

    path: Path
    format: str
    held: list[Held] = field(default_factory=list)
    modules: dict[str, Any] = field(default_factory=dict)
    asks_for: str = ""
    arch: str = ""
    arch_kwargs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    classes: tuple[list[str], str] | None = None
    trusted: bool = False
    notes: list[str] = field(default_factory=list)
    chosen: Fact | None = None

    @property
    def state(self) -> dict[str, Any]:
        """Name → tensor, of the weights that are taken where nothing tells which."""
        found = default(self.held)
        return {} if found is None else found.tensors


def open_artifact(path: Path, *, trust: bool = False) -> Artifact:
    """Read a model: a file, or a folder that a library saved it to.

    Args:
        trust: load files that carry code by running it, in this process.

    Raises:
        AuditError: the file is missing, damaged, hostile or of no known format.
    """
    if path.is_dir():
        path = weights_in(path)
    check_path(path)
    if path.name.endswith(INDEX):
        artifact = sharded(path)
    else:
        artifact = open_file(path, trust=trust)
    if artifact.classes is None:
        told = classes_of(config_beside(path))
        artifact.classes = told and (told[0], f"`{told[1]}` of the config.json beside the weights")
    return artifact


def sharded(index: Path) -> Artifact:
    """A model whose weights lie in several files.

    Raises:
        AuditError: one of them cannot be read, or two hold the same tensor.
    """
    parts = []
    for file in shards(index):
        check_path(file)
        parts.append(open_file(file, trust=False))
    whole = Held("")
    for part in parts:
        for name, tensor in part.state.items():
            if name in whole.tensors:
                raise AuditError(
                    f"{part.path} was not opened: {name[:60]!r} is in another file too."
                )
            whole.tensors[name] = tensor
    return Artifact(index, f"{parts[0].format}, {len(parts)} files", [whole])


def open_file(path: Path, *, trust: bool) -> Artifact:
    """One file of weights; as `open_artifact`."""
    with tempfile.TemporaryDirectory(prefix="audit-") as scratch:
        described = read_in_child(path, Path(scratch), "model")
        if "refused" in described:
            if trust and not described["damaged"]:
                return open_trusted(path)
            raise refusal(path, described)
        if trust and described["format"] in ("full pickle", "TorchScript"):
            return open_trusted(path)
        held = tensors_of(path, Path(scratch), described)
    artifact = Artifact(path, described["format"], held, asks_for=described.get("module", ""))
    artifact.classes = told_classes(described["classes"])
    if "checkpoint" in described:
        take_checkpoint(artifact, described["checkpoint"])
    return artifact


@dataclass
class Samples:
    """What a file of samples held.

    Attributes:
        held: its tensors, by what holds them.
        lists: lists of numbers or texts at its top, by key or position.
        others: keys of what is neither.
    """

    held: list[Held]
    lists: dict[str, list[Any]]
    others: list[str]


def open_samples(path: Path) -> Samples:
    """Read a file of samples that torch.save wrote; nothing in it runs.

    Raises:
        AuditError: the file is missing, damaged, hostile or of no known format.
    """
    check_path(path)
    with tempfile.TemporaryDirectory(prefix="audit-") as scratch:
        described = read_in_child(path, Path(scratch), "data")
        if "refused" in described:
            raise refusal(path, described)
        held = tensors_of(path, Path(scratch), described)
    return Samples(held, described.get("lists", {}), described.get("others", []))


def refusal(path: Path, described: dict[str, Any]) -> AuditError:
    """The sentence about a file that the reader did not open."""
    advice = described["refused"]
    if described["damaged"] and "again" not in advice:
        advice += "; copy or save it again"
    return AuditError(f"{path} was not opened: {advice}.")


def tensors_of(path: Path, scratch: Path, described: dict[str, Any]) -> list[Held]:
    """The tensors that the reader described, aliases resolved.

    Raises:
        AuditError: they cannot be read, or an alias leads nowhere.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    plain = path if "safetensors" in described["format"] else scratch / "weights.safetensors"
    try:
        state = load_file(plain)
    except SafetensorError as error:
        raise AuditError(f"{path} was not opened: it is damaged ({error}).") from None
    aliases = described["aliases"]
    for alias, name in (aliases if isinstance(aliases, dict) else {}).items():
        if not isinstance(name, str) or name not in state:
            raise AuditError(f"{path} was not opened: its alias {alias[:60]!r} leads nowhere.")
        state[alias] = state[name]
    if plain == path:
        return [Held("", state)]
    return [
        Held(
            part["path"],
            {name: state[joined(part["path"], name)] for name in part["names"]},
            part["listed"],
            part["mostly"],
            part["cls"],
        )
        for part in described["held"]
    ]


def told_classes(found: dict[str, list[str]]) -> tuple[list[str], str] | None:
    """The names of the classes, and where the file tells them; None where it does not, or two ways."""
    if len({tuple(names) for names in found.values()}) != 1:
        return None
    place = min(found, key=len)
    return found[place], f"`{place}` of the model file"


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
    if not stat.S_ISREG(mode):
        raise AuditError(
            f"{path} is a pipe or device, not a regular file; copy it to a file first."
        )
    if path.stat().st_size == 0:
        raise AuditError(f"{path} is empty; copy or save the model again.")


def read_in_child(path: Path, scratch: Path, what: str) -> dict[str, Any]:
    """Run the reader under its deadline; what: 'model' or 'data'."""
    deadline = DEADLINE + path.stat().st_size / BYTES_PER_SECOND
    import numpy

    # Isolated (-I): no module of the working directory or of PYTHONPATH can take a name. Where
    # this package and numpy lie is told, for they may lie on no default path.
    homes = [str(Path(m).resolve().parent.parent) for m in (__file__, numpy.__file__)]
    homes[0] = str(Path(homes[0]).parent)
    code = (
        f"import sys; sys.path += {homes!r}; from audit.artifact.reader import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-I", "-c", code, str(path.resolve()), str(scratch), what]
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
            "what a file of its size looks like."
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
    modules: dict[str, Any] = {}

    def opened(place: str, value: Any) -> None:
        if isinstance(value, torch.nn.Module):
            modules[place] = value

    def attributes(value: Any) -> dict[str, Any] | None:
        return vars(value) if isinstance(value, torch.nn.Module) else None

    held = collect(loaded, lambda v: isinstance(v, torch.Tensor), opened)
    if not modules and default(held) is None:
        raise AuditError(f"{path} was trusted, and holds neither a module nor a state_dict.")
    classes = told_classes(class_names(loaded, attributes))
    return Artifact(path, form, held, modules, classes=classes, trusted=True)


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
