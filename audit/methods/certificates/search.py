"""The largest budget in which a sample's right answer is proven."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import Norm, budget
from audit.methods.certificates.intervals import intervals
from audit.methods.certificates.linear import EFFORT, Bounds, margins, work
from audit.methods.certificates.network import LONG, network_of
from audit.subject import Subject
from audit.wrapping import computing_in

AT_ONCE = 1 << 26  # values of the widest layer that are bounded together
FEW = 15  # samples that what was read off a network is compared on
OCTAVES = 12  # below the highest budget nothing is tried


@producer(version=3)
def certified_eps(
    batch: Batch,
    *,
    highest: float,
    per_octave: int,
    at: float = 0.0,
    norm: Norm = "linf",
    effort: float = EFFORT,
) -> dict[str, Tensor]:
    """The largest budget within which each sample's right answer is proven, by bisection.

    First by intervals alone, which cost little, then with linear bounds of hidden layers from there on.

    Args:
        highest: a proof there is not followed further; nothing below `highest` / 2 ** 12 is tried.
        per_octave: steps that a doubling of the budget is divided into.
        at: a budget that is tried besides, so that what is said of it is exact.
        effort: multiplications for linear bounds of hidden layers, of a sample at one budget.

    Returns:
        eps [n]: 0 where the answer is wrong or nothing is proven.
    """
    subject = batch.subject
    network = network_of(subject)
    unit = budget(subject, 1.0, norm)
    with torch.no_grad():
        right = subject.logits(batch.x).argmax(1) == batch.y
        one = intervals(network, unit.around(batch.x[:1]))
        widest = max(low.numel() for low, _ in one.values()) * max(len(subject.classes) - 1, 1)
        together = max(1, AT_ONCE // widest)

        def size(step: Tensor) -> Tensor:
            """The budget of a step: the last is the highest."""
            return highest * 2 ** (step / per_octave - OCTAVES)

        def proven(eps: Tensor, rows: Tensor, effort: float) -> Tensor:
            """[m] is the answer of some samples proven at a budget of each, [m]?"""
            found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
            for start in range(0, len(rows), together):
                part = slice(start, start + together)
                ball = unit.times(eps[part]).around(batch.x[rows[part]])
                bounds = Bounds.of(network, ball, effort)
                found[part] = margins(bounds, batch.y[rows[part]]) > 0
            return found

        rows = right.nonzero()[:, 0]
        low = torch.zeros_like(rows)  # the highest step that is proven; 0 for none
        for most in (0.0, effort):
            high = torch.full_like(low, OCTAVES * per_octave + 1)
            while bool((high - low > 1).any()):
                now = (high - low > 1).nonzero()[:, 0]
                middle = (low[now] + high[now]) // 2
                holds = proven(size(middle), rows[now], most)
                low[now[holds]], high[now[~holds]] = middle[holds], middle[~holds]
        eps = torch.where(low > 0, size(low), 0.0)
        if at:
            near = ((eps < at) & (size(low + 1) >= at)).nonzero()[:, 0]
            holds = proven(torch.full_like(eps[near], at), rows[near], effort)
            eps[near[holds]] = at
    result = torch.zeros(len(batch.x), device=batch.x.device)
    result[rows] = eps.to(result)
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
