"""What is proven of a subject's answers. It keeps the name that its evidence had first."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import Norm
from audit.methods.certificates.certified_radius import OCTAVES, certified_radius
from audit.methods.certificates.intervals import intervals
from audit.methods.certificates.linear import EFFORT, Bounds, margins, work
from audit.methods.certificates.network import LONG, network_of
from audit.producers.budgets import budget
from audit.subject import Subject
from audit.subject.wrapping import computing_in

FEW = 15  # samples that what was read off a network is compared on


@producer(3, name="audit.methods.certificates.search.certified_eps")
def certified_eps(
    batch: Batch,
    *,
    highest: float,
    per_octave: int,
    at: float = 0.0,
    norm: Norm = "linf",
    effort: float = EFFORT,
) -> dict[str, Tensor]:
    """The largest budget within which each sample's right answer is proven.

    Eps [n], 0 where the answer is wrong or nothing is proven.
    """
    subject = batch.subject
    with torch.no_grad():
        right = subject.logits(batch.x).argmax(1) == batch.y
    result = torch.zeros(len(batch.x), device=batch.x.device)
    if bool(right.any()):
        result[right] = certified_radius(
            network_of(subject),
            batch.x[right],
            batch.y[right],
            budget(subject, 1.0, norm),
            highest,
            classes=len(subject.classes),
            per_octave=per_octave,
            at=at,
            effort=effort,
        ).to(result)
    return {"eps": result}


def multiplications(subject: Subject, per_octave: int, effort: float) -> float:
    """About how many times as many multiplications one sample's search takes as one forward pass.

    An interval takes three passes, and the form of a margin half a pass; half of the units are open,
    and half of the budgets that are tried are small.
    """
    network = network_of(subject)
    with torch.no_grad():
        ball = budget(subject, 0.0).around(subject.batch([0])[0])
        bounds = Bounds.of(network, ball, 0.0)
    one = sum(
        s.module.weight.numel()
        * math.prod(bounds.shape(s.node)[1:] if s.module.weight.ndim > 2 else ())
        for s in network.steps
        if isinstance(s.module, LONG)
    )
    bent = [s.inputs[0] for s in network.steps if s.curved][1:]
    hidden = sum(math.prod(bounds.shape(n)) * work(bounds, n) for n in bent if len(bounds.shape(n)))
    tries = (OCTAVES * per_octave).bit_length()
    plain = 3 + max(1, len(subject.classes) - 1) / 2
    return tries * (2 * plain + min(effort, hidden) / 4 / max(one, 1))


def boundable(subject: Subject) -> None:
    """Raise NotApplicable, with the layer's name, where the network's answers cannot be bounded."""
    network = network_of(subject)
    with torch.no_grad(), computing_in(subject.inputs.dtype):
        x, y = subject.batch(range(min(subject.n, FEW)))
        ball = budget(subject, 0.0).around(x)
        low, high = intervals(network, ball)[network.output]
        # Of a budget of nothing the bounds are the scores, or the network was read wrongly.
        single = low[0].numel() == 1
        found = (low.flatten() > network.zero).long() if single else low.argmax(1)
        if not torch.allclose(low, high, rtol=1e-3, atol=1e-4) or not bool(
            (found == subject.logits(x).argmax(1)).all()
        ):
            raise NotApplicable("what was read off the network answers otherwise than the network")
        few = torch.arange(min(len(x), 2))
        margins(Bounds.of(network, ball[few]), y[few])
