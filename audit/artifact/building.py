"""Weights and an architecture → a module."""

from __future__ import annotations

from torch import nn

from audit.artifact.fitting import Fit, Wanted, choose, chosen, quoted
from audit.artifact.folder import config_beside
from audit.artifact.opening import Artifact
from audit.artifact.state import is_average
from audit.data.callable import import_user_object
from audit.entrypoints import zoo
from audit.errors import AuditError
from audit.foreign import foreign
from audit.text import clean_name


def build(artifact: Artifact, arch: str | None, weights: str | None = None) -> nn.Module:
    """The module with the artifact's weights.

    Args:
        arch: 'pkg.mod:Class' or a callable returning a module; the user's own code. Without it,
            only an architecture of the zoo is built from the file's own hint.
        weights: the name of those that are meant, where the file holds several; None: raw ones.

    Raises:
        AuditError: no architecture, or one that does not fit the weights.
    """
    if artifact.modules:
        if arch is not None:
            artifact.notes.append("--arch was not used: the trusted file holds its own module.")
        return named_module(artifact, weights)
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
    load_state(model, artifact, reference, weights)
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
    lacking = f"{artifact.path} ({artifact.format}) holds weights and no architecture"
    named = config_beside(artifact.path).get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if not isinstance(name, str) or not name.isidentifier():
        return f"{lacking}; pass --arch package.module:Class."
    return (
        f"{lacking}, and the config.json beside them names {name} of transformers; write this to net.py "
        f"and pass --arch net:make.\n\n    from transformers import AutoConfig, {name}\n\n"
        f"    def make():\n        return {name}(AutoConfig.from_pretrained("
        f"{str(artifact.path.parent)!r}))\n"
    )


def load_state(model: nn.Module, artifact: Artifact, reference: str, weights: str | None) -> None:
    """Copy the weights in, or say what does not fit.

    Raises:
        AuditError: none fit, or several do.
    """
    fit = choose(artifact, Wanted.of(model), reference, weights)
    with foreign(f"--arch {reference}: loading its weights"):
        model.load_state_dict(fit.tensors, strict=False)


def named_module(artifact: Artifact, weights: str | None) -> nn.Module:
    """The module of a trusted file; of several the raw one, or the one of that name.

    Raises:
        AuditError: there are several, or none of that name.
    """
    modules = artifact.modules
    fits = [Fit(f"{place}.", {}, averaged=is_average(place)) for place in modules]
    if weights is None:
        meant = [fit for fit in fits if not fit.averaged] or fits
    else:
        meant = [fit for fit in fits if fit.called(weights)]
    names = ", ".join(map(quoted, modules))
    if len(meant) != 1:
        about = f"--weights {weights}: " if weights else ""
        held = f"holds the modules {names}" if any(modules) else "is one module, and has no name"
        raise AuditError(f"{about}{artifact.path} {held}; name one with --weights.")
    others = [quoted(place) for place in modules if place != meant[0].name]
    if others:
        artifact.notes.append(f"Not taken from the model file: {', '.join(others)}.")
        artifact.chosen = chosen(meant[0], clean_name(meant[0].name), weights)
    if meant[0].name:
        artifact.notes.append(f"The module was found under the key {quoted(meant[0].name)}.")
    module: nn.Module = modules[meant[0].name]
    return module
