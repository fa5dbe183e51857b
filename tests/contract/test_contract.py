"""Every check keeps its contract with every input kind and task, and measures no fewer pairs than before.

Here each check is asked once; `make contract` asks all of them of all pairs, and rewrites the table.
"""

import os
from pathlib import Path

import pytest
import torch

from audit import Check, Guidance, Measurement, Metric
from audit.checking import Cost
from audit.errors import NotApplicable
from audit.plan import build_check
from audit.registry import registry
from audit.testing import ContractBroken, check_contract, pairs, tiny_subject

TABLE = Path(__file__).with_name("measured.txt")
WHOLE = os.environ.get("CONTRACT") == "all"
CHECKS = sorted(registry().checks)
PAIRS = list(pairs())


def known():
    """'kind task' → the checks that measured it."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    return {pair: set(ids.split()) for pair, ids in (line.split(": ") for line in lines)}


def asked_in_short():
    """Each check with one pair that it measures, all pairs taken in turn."""
    found, order = {}, sorted(known())
    for turn, check in enumerate(CHECKS):
        fitting = [pair for pair in order[turn:] + order[:turn] if check in known()[pair]]
        found[check] = fitting[turn % len(fitting)] if fitting else None
    return found


@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_what_a_check_applies_to_may_only_grow(kind, task):
    subject, applies = tiny_subject(kind, task), set()
    for check_id in CHECKS:
        check = build_check(check_id, "quick")
        try:
            check.applies(subject)
        except NotApplicable:
            continue
        check.cost(subject)
        applies.add(check_id)
    assert applies >= known().get(f"{kind} {task}", set())


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_keeps_its_contract(check):
    pair = asked_in_short()[check]
    if pair is None:
        pytest.skip("it measures none of the tiny models")
    assert check_contract(check, tiny_subject(*pair.split())).measured


@pytest.mark.skipif(not WHOLE, reason="make contract")
@pytest.mark.parametrize(("kind", "task"), PAIRS)
def test_every_check_with_every_pair(kind, task):
    measured, broken = set(), []
    for check in CHECKS:
        try:
            if check_contract(check, tiny_subject(kind, task)).measured:
                measured.add(check)
        except ContractBroken as error:
            broken.append(str(error))
    assert not broken
    table = known()
    assert measured >= table.get(f"{kind} {task}", set())
    table[f"{kind} {task}"] = measured
    TABLE.write_text(
        "".join(f"{pair}: {' '.join(sorted(ids))}\n" for pair, ids in sorted(table.items()))
    )


# The contract itself fails where a check does what it must not.


def broken_check(examine):
    class Odd(Check):
        id = "custom.odd"
        title = "Odd?"

    Odd.examine = lambda self, context: examine(context)
    Odd.__abstractmethods__ = frozenset()
    return Odd()


def raises(context):
    raise ValueError("no luck")


def harms(context):
    with torch.no_grad():
        context.subject.core.body[1].weight.mul_(2)
    return nothing()


def costs(context):
    for _ in range(9):
        context.subject.logits(context.subject.inputs)
    return nothing()


def draws(context):
    return nothing(float(torch.rand(())))


def nonsense(context):
    return nothing(float("nan"))


def outside(context):
    return nothing(2.0)


def stammers(context):
    measured = nothing()
    measured.guidance["odd"] = Guidance(
        title="Odd",
        what_happened="It fails for {who}.",
        why_it_matters="",
        what_to_do="",
        words={"who": "for all"},
    )
    return measured


def nothing(value=0.5):
    metric = Metric.model_construct(
        name="odd",
        value=value,
        low=0.0,
        high=1.0,
        n=3,
        unit="",
        direction="none",
        slice={},
        reason="",
        estimator="",
        sufficient={},
        edges=None,
    )
    return Measurement(answer=f"{value}.", metrics=[metric])


def test_a_check_that_declares_far_more_than_it_makes_is_told():
    check = broken_check(lambda context: nothing())
    type(check).costs_as_declared = True
    type(check).cost = lambda self, subject: Cost(forward=5000)
    with pytest.raises(
        ContractBroken, match="declares at least 5,000 forward passes and makes only 0"
    ):
        check_contract(check, tiny_subject("tabular", "binary"))


@pytest.mark.parametrize(
    ("examine", "says"),
    [
        (raises, "raised ValueError"),
        (harms, "left the model"),
        (costs, "declares 0 forward"),
        (draws, "something else"),
        (nonsense, "not finite"),
        (outside, "outside its interval"),
        (stammers, "says 'for for'"),
    ],
)
def test_a_broken_contract_is_told(examine, says):
    with pytest.raises(ContractBroken, match=says):
        check_contract(broken_check(examine), tiny_subject("tabular", "binary"))
