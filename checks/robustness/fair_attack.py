"""Was the attack fair? A robustness number is worth what the attack behind it was (law of the house).

The tests of Athalye et al. 2018, Carlini et al. 2019 and Tramèr et al. 2020: what masks gradients
fails at least one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audit import statistics
from audit.checking import Context, Cost
from audit.methods.predictions import repeated
from audit.producers.attacks import free_pgd, pgd, transfer
from audit.record import Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.cascade import Fallen, blind_search
from audit.threats.threat import Threat
from audit.words import number, share

if TYPE_CHECKING:  # which imports this file
    from audit.checks.robustness.norm_bounded import NormBounded
    from audit.checks.robustness.pgd import PGD

MASKING = "gradient masking suspected"
WEAK = "a weak attack suspected"
ZERO = 0.05  # share of samples that may have no gradient
ROSE = 0.9  # share of samples whose loss must rise
GAIN = 0.05  # share of samples that a longer attack may break beyond
UNSTABLE = 0.01  # share of samples whose scores may be others when asked again
SAME = 1e-3  # of the scores' spread: what rounding may move
FEW = 32
NOTHING = np.zeros(0, dtype=bool)
THIRD = 3  # of the diagnostic samples, one in so many is tried first
TRANSFER_STEPS = 20
MOST = 1000  # samples that a surrogate learns from
FREE_STEPS = 12  # that a sample stands without a budget, as a rule
TRIED = 1.2  # times the first third, as a rule


def white_box_validity(
    context: Context,
    check: NormBounded,
    threat: Threat,
    samples: NDArray[np.intp],
    clean: NDArray[np.bool_],
    found: Fallen,
    steps: int,
) -> list[Validity]:
    """The tests of a fair attack.

    Other attacks are run on a third of the diagnostic samples first, and on all of them where they break
    anything there that the attack does not.

    Args:
        check: says how much evidence to gather.
        samples: [n] indices attacked. clean: [n] answered right before.
        found: what the attack did to them. steps: that it took.
    """
    subject, norm = context.subject, threat.parameters
    zero = found.gradients["zero_gradient"].numpy()[clean]
    rose = found.gradients["loss_rose"].numpy()[clean]
    if len(zero) == 0:
        return [Validity(name="samples", passed=None, detail="no sample was answered right")]
    result = [
        no_zero_gradient(zero),
        doubtful(
            "loss rose",
            rose.mean() >= ROSE,
            f"the loss rose on {share(float(rose.mean()))} of {len(rose):,} samples "
            f"({share(ROSE)} must)",
        ),
    ]
    asked_of = diagnosed(min(check.diagnostic_samples, len(samples)))
    third, whole = map(context.samples, asked_of)
    white, first = ~found.white.numpy() & clean, found.stage.numpy() == 0

    def tried(
        attack: Attack,
        more: Callable[[NDArray[np.bool_]], Any],
        among: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """[n] which samples were tried, and of those [m] which the attack broke.

        Args:
            more: (which samples of the first third it broke) → are the others tried, too?
            among: [n] the samples that it has to break; the others are let be.
        """
        broken = np.zeros(len(samples), dtype=bool)
        for now in (third, whole):
            rows = np.isin(samples, now)
            new = rows if now is third else rows & ~np.isin(samples, third)
            new = new if among is None else new & among
            broken[new] = attack.on(context, samples[new], ["broken"]).get("broken", NOTHING)
            if now is third and not more(broken[rows]):
                break
        return rows, broken[rows]

    def any_left(broken: NDArray[np.bool_]) -> bool:
        return bool((broken & white[np.isin(samples, third)]).any())

    blind = replace(blind_search(threat, check.queries, asked_of), name="black-box no better")
    rows, broken = tried(blind, any_left)
    result.append(
        fewer_left(blind.name, "a search without gradients", white[rows], ~broken & clean[rows])
    )
    if subject.task.decides:
        learnt = Attack("transfer no better", transfer, {**norm, "steps": TRANSFER_STEPS})
        broken = learnt.on(context, whole, ["broken"])["broken"].numpy()
        rows = np.isin(samples, whole)
        result.append(
            fewer_left(
                learnt.name,
                "what fools a surrogate, learnt from the model's answers,",
                white[rows],
                ~broken & clean[rows],
            )
        )
    longer = Attack("more steps change little", pgd, {**norm, "steps": 2 * steps, "restarts": 2})
    # What the cascade's later attacks broke as well: so it is asked of the same as after the first alone.
    rows, broken = tried(longer, any_left, among=clean & ~first)
    result.append(
        little_more(longer.name, "twice the steps from two starts", white[rows], broken, MASKING)
    )
    free = Attack("budget removed", free_pgd, {"steps": check.free_steps})
    constant = best_constant(context, whole)
    rows, broken = tried(free, lambda broken: (~broken).mean() > constant)
    low, _ = statistics.wilson(float((~broken).sum()), len(broken))
    result.append(
        doubtful(
            free.name,
            low <= constant,
            f"free to change everything, the attack leaves {share(float((~broken).mean()))} of "
            f"{len(broken)} right; the best constant answer gets {share(float(constant))}",
        )
    )
    result.append(same_answer_twice(context, samples))
    return result


def diagnosed(samples: int) -> tuple[int, int]:
    """How many of the diagnostic samples are tried first, and all of them."""
    return -(-samples // THIRD), samples


def fair_cost(check: NormBounded, subject: Subject, steps: int) -> Cost:
    """The passes of these tests, as a rule.

    Mostly nothing speaks against the attack and a third of the samples is enough, and all of them fall in
    a few steps once the budget is removed.
    """
    count, threat = (
        min(check.diagnostic_samples, subject.n),
        check.threat(subject, check.size(subject)),
    )
    tried = (1.0 if subject.task.valued else TRIED) * count / THIRD
    longer, free = stands(subject) * tried * 4 * steps, tried * min(check.free_steps, FREE_STEPS)
    first, _ = blind_cost(subject, threat, check.queries, count, TRIED)
    return (
        first
        + Cost.sharing(
            f"{steps} steps longer, {threat.short}", longer, longer, least=0, most=count * 4 * steps
        )
        + Cost.sharing(
            f"{check.free_steps} steps, free",
            free,
            free,
            least=count / THIRD,
            most=count * check.free_steps,
        )
        + learnt_cost(subject, threat, count)
        + Cost(2 * FEW)
    )


def blind_cost(
    subject: Subject, threat: Threat, queries: int, samples: int, tried: float = 1.0
) -> tuple[Cost, Cost]:
    """The search without gradients, on what of the diagnostic samples is tried first and on the others.

    Args:
        tried: times the first that are tried, as a rule.
    """
    first, whole = diagnosed(samples)
    each, name = searched(subject) * queries, f"{queries} queries, {threat.short}"
    others = whole - first
    return Cost.sharing(
        name, each * first * tried, least=first, most=queries * whole
    ), Cost.sharing(f"{name}, the others", each * others, least=others, most=queries * others)


def learnt_cost(subject: Subject, threat: Threat, samples: int) -> Cost:
    """The examples of a surrogate that learns from the model's answers."""
    if not subject.task.decides:
        return Cost()
    taught = Cost.sharing("what a surrogate learns from", min(subject.n, MOST))
    return taught + Cost.sharing(f"a surrogate's examples, {threat.short}", 2 * samples)


def first_cost(check: PGD, subject: Subject, samples: int) -> Cost:
    """PGD at the size that is judged, which other checks hold theirs against."""
    passes = min(samples, subject.n) * check.steps * check.restarts
    name = f"PGD of {check.steps} steps, eps {number(check.size(subject))}"
    return Cost.sharing(name, passes + min(samples, subject.n), passes)


def stands(subject: Subject) -> float:
    """Share of the samples that stand against an attack, as a rule, where nobody knows it yet."""
    return subject.task.stands


def searched(subject: Subject) -> float:
    """Share of the queries that a search without gradients takes, as a rule.

    What has fallen is searched no further.
    """
    return 0.5 if subject.task.valued else 1.0


def fewer_left(
    name: str, who: str, white: NDArray[np.bool_], other: NDArray[np.bool_], doubt: str = MASKING
) -> Validity:
    """Does another attack leave no fewer answers standing, [n] each, than ours?"""
    lost, gained, p = statistics.mcnemar(white, other)
    return doubtful(
        name,
        lost <= gained or p >= 0.05,
        f"of {len(white)} samples {who} breaks {lost} that the attack does not, and misses "
        f"{gained} that it does (paired p = {number(p)})",
        doubt,
    )


def little_more(
    name: str, who: str, left: NDArray[np.bool_], broken: NDArray[np.bool_], doubt: str = WEAK
) -> Validity:
    """Does a harder attack break hardly more of what ours left standing, [n] each?"""
    more = int((left & broken).sum())
    low, _ = statistics.wilson(more, len(left))
    return doubtful(
        name,
        low <= GAIN,
        f"{who}: {more} of {len(left)} samples broken that the attack does not break ({share(GAIN)} "
        "may be)",
        doubt,
    )


def breaks_little_more(
    context: Context,
    harder: Attack,
    who: str,
    few: NDArray[np.intp],
    left: NDArray[np.bool_],
) -> Validity:
    """`little_more`, of a harder attack on what ours left [n] of some samples [n]."""
    broken = np.zeros(len(few), dtype=bool)
    broken[left] = harder.on(context, few[left], ["broken"]).get("broken", NOTHING)
    return little_more(harder.name, who, left, broken)


def no_zero_gradient(zero: NDArray[np.bool_]) -> Validity:
    """Have nearly all of the samples [n] a gradient?"""
    none = float(zero.mean()) if len(zero) else 0.0
    return doubtful(
        "gradients",
        none <= ZERO,
        f"{share(none)} of {len(zero):,} samples have a gradient of zero (at most {share(ZERO)} may)",
    )


def same_answer_twice(context: Context, samples: NDArray[np.intp]) -> Validity:
    """Does the model give the same samples the same scores again?"""
    few = samples[:FEW]
    twice = Attack("the same answer twice", repeated).on(context, few)
    first, again = twice["first"].double(), twice["again"].double()
    moved = (first - again).abs().amax(1) > SAME * first.std().clamp_min(1e-12)
    drawn = float(moved.double().mean())
    return doubtful(
        "the same answer twice",
        drawn <= UNSTABLE,
        f"asked again, the scores of {share(drawn)} of {len(few)} samples are others "
        f"({share(UNSTABLE)} may be)",
    )


def doubtful(name: str, passed: bool | np.bool_, detail: str, doubt: str = MASKING) -> Validity:
    """A test of the attack, and what is to be suspected where it fails."""
    return Validity(name=name, passed=bool(passed), detail=detail, doubt=doubt)


def best_constant(context: Context, samples: NDArray[np.intp]) -> float:
    """Share that the best constant answer gets right, or keeps within the tolerance."""
    subject = context.subject
    return subject.task.best_constant(subject, context.answers(samples), subject.labels[samples])
