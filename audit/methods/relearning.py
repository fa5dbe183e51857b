"""The same network, its weights drawn anew, taught by the model's answers to genuine samples alone.

What it does too, the architecture and the data bring about; what only the model does was learnt from
something else.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.subject import Subject

MOST = 1000  # samples that it learns from
EPOCHS = 40


def drawn_anew(subject: Subject, seed: int) -> nn.Module | None:
    """The subject's network as it is before any training; None where it has no weights to draw.

    Layers are initialised as they initialise themselves, other weights drawn from a normal of their own
    mean and spread.
    """
    core = copy.deepcopy(subject.core)
    own = [m for m in core.modules() if callable(getattr(m, "reset_parameters", None))]
    done = {id(p) for m in own for p in m.parameters(recurse=False)}
    left = [p for p in core.parameters() if p.is_floating_point() and p.numel() > 1]
    if not left:
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in own:
            module.reset_parameters()  # type: ignore[operator]
        for parameter in left:
            if id(parameter) not in done:
                fresh = torch.randn(parameter.shape).to(parameter)
                parameter.copy_(fresh * parameter.std() + parameter.mean())
    return core


def relearnt(subject: Subject, samples: NDArray[np.intp], seed: int) -> Subject | None:
    """A subject whose network knows of these samples, and of the model's answers to them, alone.

    None where it has no weights, or does not let itself be trained.
    """
    core = drawn_anew(subject, seed)
    if core is None:
        return None
    x, _ = subject.batch(samples[:MOST])
    with torch.no_grad():
        y = torch.cat([subject.logits(part).argmax(1) for part in x.split(subject.batch_size)])
    for parameter in core.parameters():
        parameter.requires_grad_(parameter.is_floating_point())

    def build() -> nn.Module:
        return subject.network.trainable(core)

    try:
        with torch.enable_grad():
            fit(build, Dataset(x, y), SubjectMeta(), seed=seed, epochs=EPOCHS, batch_size=64)
    except RuntimeError:  # an exported program, a layer that works in place
        return None
    return subject.with_network("taught anew", core)
