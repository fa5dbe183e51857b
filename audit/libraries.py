"""What ART, captum, shap and fairlearn offer, found by name in the libraries themselves.

A method of theirs is called `library:Name`, as 'art:ElasticNet' or 'captum:GradientShap'.
"""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from audit.errors import AuditError, NotThere

if TYPE_CHECKING:
    from art.estimators.classification import PyTorchClassifier


class Answers(nn.Module):
    """A function of inputs as a module without weights: nothing in it can be trained or changed."""

    def __init__(self, answers: Callable[..., Tensor]) -> None:
        super().__init__()
        self.answers = (answers,)  # in a tuple: no module of its own

    def forward(self, *given: Any) -> Tensor:
        return self.answers[0](*given)


def art_classifier(
    answers: Callable[[Tensor], Tensor],
    shape: tuple[int, ...],
    classes: int,
    bounds: tuple[Tensor, Tensor] | None,
    device: torch.device,
) -> PyTorchClassifier:
    """ART's classifier of a function [n, *shape] → logits [n, classes].

    Args:
        bounds: the lowest and the highest value of each input, [1, *shape]; None: there are none.
    """
    from art.estimators.classification import PyTorchClassifier

    clip: tuple[Any, Any] | None = None
    if bounds is not None:
        low, high = (b[0].expand(shape).cpu().numpy().astype(np.float32) for b in bounds)
        flat = np.ptp(low) == 0 and np.ptp(high) == 0
        clip = (float(low.min()), float(high.max())) if flat else (low, high)
    return PyTorchClassifier(
        Answers(answers),
        nn.CrossEntropyLoss(),
        shape,
        classes,
        clip_values=clip,
        device_type="gpu" if device.type == "cuda" else "cpu",
    )


def parted(name: str) -> tuple[str, str]:
    """('art', 'ElasticNet') of 'art:ElasticNet'; ('', name) of what names no library."""
    library, colon, own = name.partition(":")
    return (library, own) if colon else ("", name)


def chosen(what: str, name: str, there: dict[str, Any], library: str) -> Any:
    """What a library offers by a name.

    Raises:
        NotThere: nothing; the message names what it offers.
    """
    if name not in there:
        raise NotThere.among(what, name, there, f" of {library}")
    return there[name]


def art_attacks() -> dict[str, Any]:
    """ART's evasion attacks on a classifier in PyTorch, by name."""
    with quietly():
        from art.attacks import EvasionAttack, evasion
        from art.estimators.classification import PyTorchClassifier

    return {
        name: cls
        for name, cls in vars(evasion).items()
        if inspect.isclass(cls) and issubclass(cls, EvasionAttack) and takes(cls, PyTorchClassifier)
    }


def takes(attack: Any, estimator: type) -> bool:
    """Does an attack of ART say what it attacks, and is this it?"""
    needed = attack._estimator_requirements
    return bool(needed) and all(issubclass(estimator, one) for one in needed)


def captum_attributions() -> dict[str, Any]:
    """Those of captum: attributions to inputs, by name; those to a layer or a neuron explain no input."""
    from captum import attr
    from captum.attr import Attribution, GradientAttribution, PerturbationAttribution

    return {
        name: cls
        for name, cls in vars(attr).items()
        if inspect.isclass(cls)
        and issubclass(cls, Attribution)
        and cls not in (Attribution, GradientAttribution, PerturbationAttribution)
        and hasattr(cls, "attribute")
        and {"inputs", "target"} <= set(inspect.signature(cls.attribute).parameters)
        and required(cls.__init__) in (["forward_func"], ["model"])
    }


def shap_explainers() -> dict[str, Any]:
    """Those of shap that explain any function, or a network, by name."""
    import shap

    return {
        name: cls
        for name, cls in vars(shap.explainers).items()
        if inspect.isclass(cls)
        and name.endswith("Explainer")
        and name.removesuffix("Explainer") not in OWN_MODELS
    }


# What shap explains by the model's own form: no network has it.
OWN_MODELS = ("Tree", "GPUTree", "Linear", "Additive", "Coalition")


def required(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments without which it cannot be called, `self` not among them."""
    return [
        name
        for name, p in inspect.signature(function).parameters.items()
        if name != "self" and p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]


def options_of(function: Callable[..., Any], given: dict[str, Any], of: str) -> dict[str, Any]:
    """The options, once they are known to be arguments of a function of theirs.

    Raises:
        AuditError: one is none; names the nearest.
    """
    takes = [name for name in inspect.signature(function).parameters if name != "self"]
    for name in given:
        if name not in takes:
            raise NotThere.among("option", name, takes, f" of {of}")
    return given


@contextmanager
def quietly(seed: int | None = None) -> Iterator[None]:
    """Without warnings, and the global random numbers as they were; drawn from a seed meanwhile."""
    python, state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % (1 << 32))
                torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(state)
            torch.set_rng_state(torch_state)


def failed(library: str, name: str, error: Exception) -> AuditError:
    """The sentence about a method of theirs that raised."""
    said = str(error).strip().splitlines()
    return AuditError(
        f"{library}:{name} raised {type(error).__name__}: {said[0][:300] if said else 'no message'}."
    )
