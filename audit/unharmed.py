"""A check leaves what it was given as it found it; where it does not, that is put right, and told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from audit.meta import SubjectMeta
from audit.subject import Subject
from audit.subject.samples import Samples

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Harmed(Exception):
    """A check changed what it was given."""


@dataclass(frozen=True)
class Condition:
    """What a check could change. Each field is told by its name."""

    mode: tuple[bool, ...]
    gradients: tuple[bool, ...]
    hooks: tuple[tuple[int, ...], ...]
    forward: tuple[Any, ...]
    children: tuple[int, ...]
    parameters: tuple[int, ...]
    description: str
    samples: tuple[Any, ...]
    torch_settings: tuple[Any, ...]


BLOCK = 1 << 20  # numbers that are summed at once
MOST_BYTES = 1 << 28  # of samples that a copy is held of
TOLD = {
    "mode": "the model's mode",
    "gradients": "which parameters need gradients",
    "hooks": "the model's hooks",
    "forward": "the model's forward",
    "children": "the model's modules",
    "parameters": "the model's weights or buffers",
    "weights": "the model's weights or buffers",
    "description": "what is known of the model",
    "samples": "the samples",
    "torch_settings": "torch's settings",
}


def condition(subject: Subject) -> Condition:
    """What a check must leave as it is; of weights which they are, not what they hold."""
    return Condition(
        **of_the_model(subject),
        gradients=tuple(t.requires_grad for t in named_tensors(subject.core).values()),
        description=subject.meta.model_dump_json(),
        samples=tuple(checksum(t) for t in held(subject))
        + tuple(id(getattr(s, f.name)) for s in sets(subject) for f in fields(s))
        + tuple(map(str, subject.known.notes)),
        torch_settings=(
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
        ),
    )


def of_the_model(subject: Subject) -> dict[str, Any]:
    """Of a condition, what decides how the model answers, but for what its weights hold."""
    modules = modules_of(subject)
    return {
        "mode": tuple(m.training for m in modules),
        "hooks": tuple(tuple(getattr(m, h, ())) for m in modules for h in HOOKS),
        "forward": (
            *((type(m), m.__dict__.get("forward")) for m in modules),
            *forwards(modules).items(),
        ),
        "children": tuple(map(id, modules)),
        "parameters": tuple(map(id, named_tensors(subject.core).values())),
    }


def modules_of(subject: Subject) -> list[nn.Module]:
    """The modules that answer: what stands around the user's model, and all of its own."""
    network = subject.network
    return list(network.model.modules()) if isinstance(network.model, nn.Module) else []


def forwards(modules: list[nn.Module]) -> dict[type, Any]:
    """Class → its forward, of all classes that modules inherit one from."""
    classes = {cls for module in modules for cls in type(module).__mro__}
    ordered = sorted(classes, key=lambda cls: (cls.__module__, cls.__qualname__, id(cls)))
    return {cls: vars(cls)["forward"] for cls in ordered if "forward" in vars(cls)}


def named_tensors(core: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, those that no state_dict holds among them."""
    return {**dict(core.named_parameters()), **dict(core.named_buffers())}


def held(subject: Subject) -> list[Tensor]:
    """The samples' inputs and labels, those of the training data too."""
    found: list[Tensor] = []
    for samples in sets(subject):
        found += [samples.inputs, *([] if samples.labels is None else [samples.labels])]
    return found


def sets(subject: Subject) -> list[Samples]:
    """The samples that there are: those to evaluate on, and those of the training."""
    return [
        *([subject.samples] if subject.n else []),
        *([subject.training] if subject.training_n else []),
    ]


def checksum(values: Tensor) -> tuple[tuple[int, ...], int]:
    """Shape and a sum over the bits: any change of a number changes it, and any two that change places.

    Each counts by an odd number of its place, and what runs over 64 bits is cut off: no single change of
    a number is lost.
    """
    flat = values.detach().contiguous().reshape(-1)
    wide = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    total, at = 0, 0
    for part in flat.view(wide).split(BLOCK):
        places = torch.arange(at, at + len(part), device=part.device)
        total += int((part.long() * (2 * places + 1)).sum())
        at += len(part)
    return tuple(values.shape), total % (1 << 64)


def same_bits(first: Tensor, other: Tensor) -> bool:
    """Are they equal, NaN for NaN?"""
    if first.shape != other.shape or first.dtype != other.dtype:
        return False
    if first.is_quantized:
        first, other = first.int_repr(), other.int_repr()
    return torch.equal(
        *(t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (first, other))
    )


class Guard:
    """Watches over a subject while checks are at it.

    Of weights, buffers and samples it holds a copy, made once; of samples only where they are few
    enough, else they can be seen to change and not be put right.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.modules = modules_of(subject)
        self.children = [dict(m._modules.items()) for m in self.modules]
        self.forwards = forwards(self.modules)
        self.model = subject.network.model
        self.tensors = named_tensors(subject.core)
        self.kept = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self.registered = [(m, dict(m._parameters), dict(m._buffers)) for m in self.modules]
        self.fields = [(s, dict(vars(s))) for s in sets(subject)]
        small = sum(t.numel() * t.element_size() for t in held(subject)) <= MOST_BYTES
        self.samples = [(t, t.clone()) for t in held(subject)] if small else None
        self.before: Condition | None = None  # while a check is at it
        self.spoilt = ""
        self.harmed = self.starved = False  # since somebody last asked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Verify that the subject is left as it was, and put it right where it is not.

        Weights and buffers are compared bit by bit: who changes them through `.data` is seen too.

        Raises:
            Harmed: it was changed; names what.
        """
        before = self.before = condition(self.subject)
        hooks = [(m, h, dict(getattr(m, h, {}))) for m in self.modules for h in HOOKS]
        try:
            yield
        finally:
            self.before = None
            after = condition(self.subject)
            changed = [
                f.name
                for f in fields(Condition)
                if getattr(before, f.name) != getattr(after, f.name)
            ]
            if not all(same_bits(self.kept[name], t) for name, t in self.tensors.items()):
                changed.append("weights")
            if changed:
                self.put_right(before, hooks)
        if changed:
            self.harmed = True
            told = ", ".join(dict.fromkeys(TOLD[name] for name in changed))
            if "samples" in changed and self.samples is None:
                self.spoilt = (
                    f"an earlier check changed {TOLD['samples']}, too many to be put right"
                )
                raise Harmed(f"the check changed {told}; too many to be put right")
            raise Harmed(f"the check changed {told}; it was put right")

    def verify(self) -> None:
        """Verify, before evidence is made for all checks to use, that it is the subject that is asked.

        Raises:
            Harmed: it is another meanwhile, though it might be put back afterwards; names what.
        """
        if self.before is None:
            return
        now = of_the_model(self.subject)
        changed = [name for name, value in now.items() if getattr(self.before, name) != value]
        if not all(same_bits(self.kept[name], t) for name, t in self.tensors.items()):
            changed.append("weights")
        if changed:
            told = ", ".join(dict.fromkeys(TOLD[name] for name in changed))
            raise Harmed(f"the check changed {told} and then asked for evidence; it was put right")

    def put_right(
        self, before: Condition, hooks: list[tuple[nn.Module, str, dict[int, Any]]]
    ) -> None:
        """Everything as it was."""
        dtype, gradients, threads = before.torch_settings
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        torch.set_num_threads(threads)
        meta = SubjectMeta.model_validate_json(before.description)
        for name in SubjectMeta.model_fields:
            setattr(self.subject.meta, name, getattr(meta, name))
        for samples, known in self.fields:
            vars(samples).clear()
            vars(samples).update(known)
        for tensor, copy in self.samples or []:
            tensor.data.copy_(copy)
        self.modules_put_right(before)
        self.weights_put_right(before.gradients)
        for module, name, registered in hooks:
            found = getattr(module, name)
            found.clear()
            found.update(registered)

    def modules_put_right(self, before: Condition) -> None:
        """What stands in what, which forward each has, and its mode."""
        self.subject.network.model = self.model
        for cls in forwards(self.modules).keys() - self.forwards.keys():
            del cls.forward  # type: ignore[attr-defined]
        for cls, forward in self.forwards.items():
            if vars(cls).get("forward") is not forward:
                cls.forward = forward  # type: ignore[attr-defined]
        own = before.forward[: len(self.modules)]
        for module, children, mode, (kind, forward) in zip(
            self.modules, self.children, before.mode, own, strict=True
        ):
            if dict(module._modules.items()) != children:
                module._modules.clear()
                module._modules.update(children)
            module.training = mode
            if type(module) is not kind:
                module.__class__ = kind
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward

    def weights_put_right(self, gradients: tuple[bool, ...]) -> None:
        """Parameters and buffers, and what they hold."""
        for module, parameters, buffers in self.registered:
            for own, kept in ((module._parameters, parameters), (module._buffers, buffers)):
                own.clear()
                own.update(kept)  # type: ignore[arg-type]
        for (name, tensor), needed in zip(self.tensors.items(), gradients, strict=True):
            tensor.data.copy_(self.kept[name])
            tensor.requires_grad_(needed)
