"""What a plan costs before it starts, in passes and in seconds, and what a budget thins.

A pass is 200 samples through the network, forward or backward. Checks declare theirs
(`Check.cost`); what several ask for is paid once. One forward and one backward at the audit's batch
size are timed, and tell what a pass takes here. A budget of time becomes one of passes by that, once:
the passes are recorded, and with as many the same samples are measured again.

Of a plan that costs more, all checks but the core questions measure fewer samples: those whose bounds
gate twice as many as the others, and three times where the baseline left them undecided (nested in
what they would have measured). Only where even the fewest are too many, the searches take fewer steps;
and only then checks are left out, those that decide nothing and cost most first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from audit.checking import Check, Cost
from audit.judge import Policy
from audit.plan import Planned
from audit.record import AuditRecord, Thinned
from audit.subject import Subject
from audit.suspects import running
from audit.watching import ROWS

SLOW = 1.0  # seconds of a first pass that is not repeated to be timed warm
FEWEST = 20  # samples that a check without a number of its own is left with


def seconds_of_a_pass(subject: Subject) -> float | None:
    """Seconds that a pass takes here, by one forward and one backward at the audit's batch size.

    None where there are no samples, or the network raises.
    """
    if subject.n == 0:
        return None
    try:
        x, _ = subject.batch(range(min(subject.n, subject.batch_size)))
        differentiable = subject.differentiable
        # What it draws, if it draws, is drawn again in the audit.
        with torch.random.fork_rng(
            devices=[subject.device] if subject.device.type == "cuda" else []
        ):
            both = timed(subject, x, differentiable)
            if both < SLOW:
                both = timed(subject, x, differentiable)
    except Exception:  # noqa: BLE001 - the network is the user's code; a check will say what it raises
        return None
    return both / (2 if differentiable else 1) * ROWS / len(x)


def timed(subject: Subject, x: torch.Tensor, differentiable: bool) -> float:
    """Seconds of one forward and one backward."""
    began = time.perf_counter()
    with torch.set_grad_enabled(differentiable):
        given = x.clone().requires_grad_(True) if differentiable else x
        answers = subject.logits(given)
        if differentiable:
            torch.autograd.grad(answers.sum(), given)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def cost_of(item: Planned, subject: Subject) -> Cost:
    """What a check declares; nothing where it will not run, or cannot say."""
    if item.state:
        return Cost()
    try:
        with running(item.check.id):
            return item.check.cost(subject)
    except Exception:  # noqa: BLE001 - a plug-in may raise anything; it is told when it is asked
        return Cost()


def rows_of(planned: Sequence[Planned], costs: Sequence[Cost]) -> list[int]:
    """Rows that each check pays, in order; of what is shared the first pays.

    What is shared with a check that is planned costs what that one costs as it is planned.
    """
    own = {
        item.check.id: size(cost) - sum(map(size, cost.shared.values()))
        for item, cost in zip(planned, costs, strict=True)
        if not item.state
    }
    paid: set[str] = set()
    found = []
    for item, cost in zip(planned, costs, strict=True):
        rows = 0
        asked = {item.check.id: 0, **{name: size(part) for name, part in cost.shared.items()}}
        for name, alone in ({} if item.state else asked).items():
            if name not in paid:
                paid.add(name)
                rows += own.get(name, alone)
        found.append(max(0, rows))
    return found


def size(cost: Cost) -> int:
    """Passes of one sample each, forward and backward."""
    return cost.forward + cost.backward


def passes(rows: int) -> int:
    """Rows as passes, rounded up."""
    return -(-rows // ROWS)


@dataclass(frozen=True)
class Scale:
    """How a number of a check may be lowered: from what it is to the least that it can be."""

    field: str
    full: int
    least: int

    @classmethod
    def of(cls, check: Check, field: str, most: int) -> Scale | None:
        if field not in type(check).model_fields:
            return None
        full = getattr(check, field)
        if not isinstance(full, int):
            return None
        bounds = [m.ge for m in type(check).model_fields[field].metadata if hasattr(m, "ge")]
        full = min(full, most)
        return cls(field, full, min(full, int(bounds[0]) if bounds else 1))

    def on(self, check: Check, value: int) -> Check:
        return check.model_copy(update={self.field: value})


@dataclass(frozen=True)
class Bid:
    """A check that is planned, what it decides, and what it costs with all and with fewest samples."""

    item: Planned
    weight: int
    scale: Scale | None
    dear: Cost
    cheap: Cost

    def samples(self, cap: float) -> int:
        assert self.scale is not None
        return max(self.scale.least, min(self.scale.full, int(cap * self.weight)))

    def cost(self, cap: float) -> Cost:
        """About what it costs when the least decisive measure `cap` samples."""
        if self.scale is None or self.scale.full == self.scale.least:
            return self.dear
        share = (self.samples(cap) - self.scale.least) / (self.scale.full - self.scale.least)
        return between(self.cheap, self.dear, share)


def between(low: Cost, high: Cost, share: float) -> Cost:
    """The cost that lies a share of the way from one to another."""

    def mid(a: int, b: int) -> int:
        return round(a + (b - a) * share)

    none = Cost()
    return Cost(
        mid(low.forward, high.forward),
        mid(low.backward, high.backward),
        {k: between(low.shared.get(k, none), part, share) for k, part in high.shared.items()},
    )


def weight_of(check: Check, subject: Subject, policy: Policy, baseline: AuditRecord | None) -> int:
    """1, 2 where it decides the verdict, 3 where it did not come to a decision in the baseline."""
    if not decides(check, subject, policy):
        return 1
    before = [c for c in baseline.checks if c.id == check.id] if baseline else []
    return 3 if any(e.state == "undecided" for c in before for e in c.expectations) else 2


def decides(check: Check, subject: Subject, policy: Policy) -> bool:
    """Does anything that is expected of it gate, by itself or by the user's policy?"""
    if any(e.check == check.id for e in policy.expect):
        return True
    try:
        return any(policy.gates(e) for e in check.expectations(subject))
    except Exception:  # noqa: BLE001 - a plug-in may raise anything; it is told when it is asked
        return False


def within(
    planned: Sequence[Planned],
    subject: Subject,
    budget: int,
    policy: Policy,
    baseline: AuditRecord | None = None,
) -> tuple[list[Planned], list[Thinned]]:
    """The plan within a budget, and what was lowered for it.

    Args:
        budget: passes that all checks together may declare.
    """
    costs = [cost_of(item, subject) for item in planned]
    rows = budget * ROWS
    if sum(rows_of(planned, costs)) <= rows:
        return list(planned), []
    bids = []
    for item, dear in zip(planned, costs, strict=True):
        scale = None
        if not item.state and not item.check.core:
            scale = Scale.of(item.check, "samples", subject.n)
        cheap = dear
        if scale is not None:
            cheap = cost_of(replace(item, check=scale.on(item.check, scale.least)), subject)
        weight = weight_of(item.check, subject, policy, baseline)
        bids.append(Bid(item, weight, scale, dear, cheap))

    def fits(cap: float) -> bool:
        return sum(rows_of(planned, [bid.cost(cap) for bid in bids])) <= rows

    cap = highest(fits, subject.n)
    chosen = [thinner(bid, cap) for bid in bids]
    if not fits(cap):
        chosen = shorter(chosen, subject, rows)
        chosen = fewer(chosen, [bid.weight for bid in bids], subject, rows)
    return chosen, [
        told
        for before, after in zip(planned, chosen, strict=True)
        if not after.state
        for told in lowered(before.check, after.check, subject.n)
    ]


def highest(fits: Callable[[float], bool], most: int) -> float:
    """The largest whole number up to `most` that fits, 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def thinner(bid: Bid, cap: float) -> Planned:
    """The check with as many samples as it gets; what has no number of its own is given one."""
    item = bid.item
    if item.state or item.check.core:
        return item
    if bid.scale is None:
        return replace(item, most=max(FEWEST, int(cap * bid.weight)))
    n = bid.samples(cap)
    return replace(item, check=bid.scale.on(item.check, n), most=n) if n < bid.scale.full else item


def shorter(planned: list[Planned], subject: Subject, rows: int) -> list[Planned]:
    """The same with fewer steps, of what shares none with others."""
    steps = [
        None if item.state or item.check.core else Scale.of(item.check, "steps", 1 << 30)
        for item in planned
    ]

    def at(share: float) -> list[Planned]:
        return [
            item
            if scale is None
            else replace(
                item,
                check=scale.on(item.check, max(scale.least, round(scale.full * share / 100))),
            )
            for item, scale in zip(planned, steps, strict=True)
        ]

    def fits(share: float) -> bool:
        tried = at(share)
        return sum(rows_of(tried, [cost_of(item, subject) for item in tried])) <= rows

    return at(highest(fits, 99))


def fewer(
    planned: list[Planned], weights: Sequence[int], subject: Subject, rows: int
) -> list[Planned]:
    """The same without what decides least and costs most, until it fits."""
    planned = list(planned)
    while True:
        costs = rows_of(planned, [cost_of(item, subject) for item in planned])
        left = [i for i, item in enumerate(planned) if costs[i] and not item.check.core]
        if sum(costs) <= rows or not left:
            return planned
        worst = max(left, key=lambda i: (-weights[i], costs[i]))
        planned[worst] = Planned(
            planned[worst].check, "untested", "budget", "the budget does not reach it"
        )


def lowered(before: Check, after: Check, n: int) -> list[Thinned]:
    """What a budget has lowered of a check."""
    found = []
    for field in ("samples", "steps"):
        old, new = getattr(before, field, None), getattr(after, field, None)
        if isinstance(old, int) and isinstance(new, int) and field == "samples":
            old = min(old, n)
        if isinstance(old, int) and isinstance(new, int) and new < old:
            wider = (old / new) ** 0.5 if field == "samples" else None
            found.append(Thinned(check=before.id, what=field, before=old, after=new, wider=wider))
    return found
