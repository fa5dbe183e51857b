"""Was the attack fair? A robustness number is worth what the attack behind it was (law of the house).

The tests of Athalye et al. 2018, Carlini et al. 2019 and Tramèr et al. 2020: what masks gradients
fails at least one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from audit import statistics
from audit.record import Validity
from audit.words import number, share

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.checking import Context
    from audit.checks.robustness.evasion import NormBounded

MASKING = "gradient masking suspected"
WEAK = "a weak attack suspected"
ZERO = 0.05  # share of samples that may have no gradient
ROSE = 0.9  # share of samples whose loss must rise
GAIN = 0.05  # share of samples that a longer attack may break beyond
UNSTABLE = 0.01  # share of samples whose scores may be others when asked again
SAME = 1e-3  # of the scores' spread: what rounding may move
FEW = 32


def white_box_validity(
    context: Context,
    check: NormBounded,
    samples: NDArray[np.intp],
    clean: NDArray[np.bool_],
    eps: float,
    found: dict[str, Tensor],
    steps: int,
) -> list[Validity]:
    """The tests of a fair attack.

    Args:
        samples: [n] indices attacked. clean: [n] answered right before.
        found: the attack's evidence on them. steps: that it took.
    """
    from audit.producers.attacks import free_pgd, pgd, square, transfer

    subject = context.subject
    zero = found["zero_gradient"].numpy()[clean]
    rose = found["loss_rose"].numpy()[clean]
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
    some = np.isin(samples, context.samples(min(check.diagnostic_samples, len(samples))))
    few = samples[some]
    white = ~found["broken"].numpy()[some] & clean[some]

    def left(produce: Any, **parameters: Any) -> NDArray[np.bool_]:
        broken = context.evidence(produce, few, ["broken"], **parameters)["broken"].numpy()
        return ~broken & clean[some]

    result.append(
        fewer_left(
            "black-box no better",
            "a search without gradients",
            white,
            left(square, eps=eps, queries=check.queries, **check.parts()),
        )
    )
    if subject.task.decides:
        result.append(
            fewer_left(
                "transfer no better",
                "what fools a surrogate, learnt from the model's answers,",
                white,
                left(transfer, eps=eps, steps=20, **check.parts()),
            )
        )
    longer = context.evidence(
        pgd, few, ["broken"], eps=eps, steps=2 * steps, restarts=2, **check.parts()
    )["broken"].numpy()
    result.append(
        little_more(
            "more steps change little", "twice the steps from two starts", white, longer, MASKING
        )
    )
    free = ~context.evidence(free_pgd, few, steps=check.free_steps)["broken"].numpy()
    constant = best_constant(context, few)
    low, _ = statistics.wilson(float(free.sum()), len(few))
    result.append(
        doubtful(
            "budget removed",
            low <= constant,
            f"free to change everything, the attack leaves {share(float(free.mean()))} of "
            f"{len(few)} right; the best constant answer gets {share(float(constant))}",
        )
    )
    result.append(same_answer_twice(context, samples))
    return result


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


def no_zero_gradient(zero: NDArray[np.bool_]) -> Validity:
    """Have nearly all of the samples [n] a gradient?"""
    none = float(zero.mean()) if len(zero) else 0.0
    return doubtful(
        "gradients",
        none <= ZERO,
        f"{share(none)} of {len(zero):,} samples have a gradient of zero (at most {share(ZERO)} may)",
    )


def same_answer_twice(context: Context, samples: NDArray[np.intp]) -> Validity:
    from audit.methods.predictions import repeated

    few = samples[:FEW]
    twice = context.evidence(repeated, few)
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
    return Validity(name=name, passed=bool(passed), detail=detail, doubt=doubt)


def best_constant(context: Context, samples: NDArray[np.intp]) -> float:
    """Share that the best constant answer gets right, or keeps within the tolerance."""
    subject = context.subject
    return subject.task.best_constant(subject, context.answers(samples), subject.labels[samples])
