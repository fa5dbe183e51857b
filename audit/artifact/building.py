"""Weights and an architecture → a module."""

from __future__ import annotations

from torch import Tensor, nn

from audit.artifact.opening import Artifact
from audit.artifact.state import strip_prefixes
from audit.data.callable import import_user_object
from audit.entrypoints import zoo
from audit.errors import AuditError
from audit.foreign import foreign

SHOWN = 3


def build(artifact: Artifact, arch: str | None) -> nn.Module:
    """The module with the artifact's weights.

    Args:
        arch: 'pkg.mod:Class' or a callable returning a module; the user's own code. Without it,
            only an architecture of the zoo is built from the file's own hint.

    Raises:
        AuditError: no architecture, or one that does not fit the weights.
    """
    if artifact.module is not None:
        if arch is not None:
            artifact.notes.append("--arch was not used: the trusted file holds its own module.")
        return artifact.module
    assert artifact.state is not None
    reference = arch or zoo_hint(artifact)
    if reference is None:
        raise AuditError(missing_arch(artifact))
    factory = import_user_object(reference, "--arch")
    with foreign(
        f"--arch {reference}: building the model",
        advice="name a class or function that needs no arguments",
    ):
        model = factory(**artifact.arch_kwargs)
    if not isinstance(model, nn.Module):
        raise AuditError(
            f"--arch {reference} returned {type(model).__name__}; an nn.Module is due."
        )
    load_state(model, artifact, reference)
    return model


def zoo_hint(artifact: Artifact) -> str | None:
    """The file's own `arch`, if it names an architecture of the zoo; nothing else is imported."""
    if not artifact.arch:
        return None
    module = artifact.arch.partition(":")[0]
    for entry in zoo().values():
        if entry.value.partition(":")[0] == module and entry.load().arch == artifact.arch:
            return artifact.arch
    return None


def missing_arch(artifact: Artifact) -> str:
    """The sentence that asks for `--arch`, with the class that the file itself names."""
    if artifact.asks_for:
        asked = artifact.asks_for
        if ":" not in asked and not asked.startswith("__torch__"):
            asked = ":".join(asked.rsplit(".", 1))
        if asked.startswith("__torch__"):
            return (
                f"{artifact.path} is a TorchScript file of {asked}, whose code is not run unless "
                "trusted; pass --arch package.module:Class to use its weights with your own class, "
                "or --trust if you trust whoever made it."
            )
        return (
            f"{artifact.path} ({artifact.format}) asks for {asked}; if you trust that code, pass "
            f"--arch {asked}."
        )
    return (
        f"{artifact.path} ({artifact.format}) holds weights and no architecture; pass --arch "
        "package.module:Class."
    )


def load_state(model: nn.Module, artifact: Artifact, reference: str) -> None:
    """Copy the weights in, or say what does not fit."""
    assert artifact.state is not None
    own = model.state_dict()
    state, prefix = strip_prefixes(artifact.state, set(own))
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    # TorchScript also keeps buffers that a state_dict leaves out.
    transient = {name for name, _ in model.named_buffers()}
    extra = [k for k in state if k not in own and k not in transient]
    shapes = [
        f"{k} is {list(state[k].shape)} in the file and {list(own[k].shape)} in the architecture"
        for k in own
        if k in state and isinstance(own[k], Tensor) and state[k].shape != own[k].shape
    ]
    complaints = [
        f"{len(found)} {what} ({listing(found)})"
        for found, what in (
            (missing, "missing from the file"),
            (extra, "unknown to the architecture"),
            (shapes, "of another shape"),
        )
        if found
    ]
    if complaints:
        raise AuditError(
            f"--arch {reference} does not fit the weights of {artifact.path}: "
            f"{'; '.join(complaints)}; name the class that these weights were trained with."
        )
    model.load_state_dict({k: state[k] for k in own if k in state}, strict=False)
    if prefix:
        artifact.notes.append(f"The prefix `{prefix}` was taken off the names of the weights.")


def listing(names: list[str]) -> str:
    """The first few names, and that there are more."""
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
