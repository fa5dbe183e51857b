"""The same architecture with weights as before any training: what training must be worth."""

from __future__ import annotations

import torch
from torch import nn

from audit.subject import Network, Subject


def untrained(subject: Subject, seed: int) -> Network:
    """The subject's network, every layer initialised anew as its own `reset_parameters` does.

    Parameters of no such layer are drawn from a normal of their own mean and spread.
    """

    def draw(core: nn.Module) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn: set[int] = set()
            for module in core.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
                    drawn |= {id(p) for p in module.parameters()}
            for parameter in core.parameters():
                if id(parameter) not in drawn and parameter.is_floating_point():
                    spread = parameter.std() if parameter.numel() > 1 else 0.0
                    parameter.copy_(torch.randn(parameter.shape) * spread + parameter.mean())

    return subject.network.copy(draw)
