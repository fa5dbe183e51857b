"""A producer made of a method: what it takes beside samples and labels is read off the subject."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import Tensor

from audit.evidence import Batch, Producer, producer
from audit.methods.attacks.budgets import Budget, Norm
from audit.producers.budgets import budget, victim

# (batch, and of what is asked that which it names) → an argument of the method
Given = Callable[..., Any]


def budgeted(batch: Batch, eps: float, norm: Norm = "linf") -> Budget:
    """What an eps means for the subject."""
    return budget(batch.subject, eps, norm)


# What methods call by these names follows from the batch, unless it is said otherwise.
USUAL: dict[str, Given] = {
    "eps": budgeted,
    "seed": lambda batch: batch.draws,
    "channels_last": lambda batch: batch.subject.channels_last,
    "batch_size": lambda batch: batch.subject.batch_size,
}


def attack(
    method: Callable[..., Any],
    version: int,
    *fields: str,
    name: str = "",
    private: tuple[str, ...] = ("x",),
    **given: Given,
) -> Producer:
    """A producer that runs an attack on a subject's samples.

    Args:
        method: (model, x, y, …) → an object with `fields`, each [n, ...].
        version: raised when the answers change.
        fields: of what it finds, kept as evidence.
        name: of the evidence; the method's module and name where none is given. Random numbers follow
            from it: it stays when the method moves.
        private: fields that show single samples of the data.
        given: arguments of the method that follow from the batch, beside the `USUAL` ones. A function of
            it, and of those parameters of the evidence that it names; all others are the method's own.

    Returns:
        The producer. It takes a `margin` too: by how much another class must lead before the sample counts
        as broken.
    """
    takes = signature(method).parameters
    given = {key: of for key, of in USUAL.items() if key in takes} | given
    named = {key: list(signature(of).parameters)[1:] for key, of in given.items()}
    read = {parameter for several in named.values() for parameter in several}

    def produce(batch: Batch, *, margin: float = 0.0, **parameters: Any) -> dict[str, Tensor]:
        model, y = victim(batch.subject, batch.x, batch.y, margin)
        arguments = {key: value for key, value in parameters.items() if key not in read}
        for key, of in given.items():
            own = {p: parameters[p] for p in named[key] if p in parameters}
            arguments[key] = of(batch, **own)
        found = method(model=model, x=batch.x, y=y, **arguments)
        return {field: getattr(found, field) for field in fields}

    name = name or f"{method.__module__}.{method.__name__}"
    produce.__name__, produce.__doc__ = name.rpartition(".")[2], method.__doc__
    return producer(version, private=private, name=name)(produce)
