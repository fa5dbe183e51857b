"""pass, fail or inconclusive, and the sentence that gives its reason.

A pass needs: everything asked for by the user met; no gating expectation failed or broken; nothing
gating undecided beyond what it tolerates; the core questions judged on the user's data.
"""

from __future__ import annotations

from collections.abc import Iterable

from audit.expecting import Expectation
from audit.judge.policy import Policy
from audit.record import (
    AuditRecord,
    CheckRecord,
    Core,
    ExpectationResult,
    State,
    Verdict,
    VerdictRecord,
    counts,
)
from audit.words import count, number, slice_text

EXIT: dict[Verdict, int] = {"pass": 0, "fail": 1, "inconclusive": 3}
CORE: dict[Core, str] = {
    "quality": "The quality of the model was not judged",
    "stability": "Whether the model repeats its answers was not judged",
}
MOST_NAMED = 3

Judged = tuple[CheckRecord, ExpectationResult]


def is_shown(check: CheckRecord, record: AuditRecord) -> bool:
    """Is the check told of? A question always is.

    A trial is where a check that it would mend has failed, it broke, or the user expects something of it.
    What is not told of is in the record, and counted nowhere.
    """
    told = (
        check.state == "untested"
        or check.why in ("raised", "not_importable")
        or any(e.source == "config" for e in check.expectations)
    )
    return (
        check.kind == "question"
        or told
        or any(other.id in check.remedies and other.state == "failed" for other in record.checks)
    )


def verdict(record: AuditRecord, policy: Policy, notes: list[str]) -> VerdictRecord:
    """Pass, fail or inconclusive over everything that is told and gates, and the reason."""
    told = [check for check in record.checks if is_shown(check, record)]
    everything = [(c, e) for c in told for e in c.expectations]
    gating = [(c, e) for c, e in everything if policy.gates(e)]
    failed = [(c, e) for c, e in gating if e.state == "failed" and not e.waived]
    word: Verdict = "pass"
    if failed:
        word, reason = "fail", failure(failed, policy)
    else:
        doubts = doubts_of(record, told, everything, gating, policy)
        word, reason = ("inconclusive", doubts[0]) if doubts else ("pass", success(gating, policy))
        if len(doubts) > 1:
            reason += f" {count(len(doubts) - 1, 'more reason')} below."
    loosened = sum(e.loosened for _, e in everything)
    waived = sum(bool(e.waived) for _, e in everything)
    if loosened:
        reason += f" {count(loosened, 'bound')} loosened."
    if waived:
        reason += f" {waived} waived."
    return VerdictRecord(
        word=word,
        reason=reason,
        counts=counts(e for _, e in everything),
        checks=counts(told),
        loosened=loosened,
        exit_code=EXIT[word],
        notes=notes,
    )


def failure(failed: list[Judged], policy: Policy) -> str:
    """How many expectations failed, and of which checks."""
    return (
        f"{count(len(failed), 'expectation')} of {level(policy)} failed: "
        f"{names(c for c, _ in failed)}."
    )


def success(gating: list[Judged], policy: Policy) -> str:
    """The counts, in words: what is not met is told, whatever the word."""
    number_of = counts(e for _, e in gating)
    met = f"{count(number_of['met'], 'expectation')} of {level(policy)} met"
    others = [f"{number_of[s]} {words}" for s, words in OTHERS.items() if number_of[s]]
    text = f"{', '.join([met, *others])}."
    allowed = sum(blocks(e) and not e.waived for _, e in gating)
    if allowed:
        text += f" The policy lets {allowed} pass that could hide more than is tolerated."
    elif number_of["undecided"]:
        text += " No undecided one could hide more than is tolerated."
    return text


OTHERS: dict[State, str] = {
    "undecided": "undecided",
    "failed": "failed",
    "broken": "without evidence",
    "untested": "not tested",
}


def doubts_of(
    record: AuditRecord,
    told: list[CheckRecord],
    everything: list[Judged],
    gating: list[Judged],
    policy: Policy,
) -> list[str]:
    """Why the evidence does not carry a pass, the weightiest first; empty: it does."""
    doubts = [
        f"{c.id} could not be run: {c.reason.rstrip('.')}."
        for c in told
        if c.state == "broken" and c.why in ("raised", "not_importable")
    ]
    doubts += core_doubts(record)
    unreached = [c for c in told if c.why == "budget" and would_gate(c, policy)]
    if unreached:
        doubts.append(
            f"The budget of {count(record.plan.budget or 0, 'pass', 'passes')} does not reach "
            f"{names(unreached)}."
        )
    open_ = [(c, e) for c, e in gating if not e.waived]
    broken = [(c, e) for c, e in open_ if e.state == "broken" and e.why != "raised"]
    if broken:
        c, e = broken[0]
        doubts.append(
            f"The evidence does not carry a judgement on {names(b for b, _ in broken)}: {e.reason}."
        )
    # What the user asks for of any severity must be answered; whether it gates if it fails is theirs.
    asked = [(c, e) for c, e in everything if e.source != "default" and not e.waived]
    unanswered = [(c, e) for c, e in asked if e.state in ("untested", "broken")]
    unanswered += [
        (c, e) for c, e in open_ if e.source == "default" and e.state == "untested" and not e.slice
    ]
    if unanswered:
        c, e = unanswered[0]
        doubts.append(
            f"{c.id} does not answer what is expected of {e.metric.replace('_', ' ')}"
            f"{f' ({slice_text(e.slice)})' if e.slice else ''}: {e.reason}."
        )
    if policy.on_inconclusive == "block":
        blocking = [(c, e) for c, e in open_ if blocks(e)]
        if blocking:
            c, e = max(blocking, key=lambda item: (item[1].reach is None, item[1].reach or 0.0))
            doubts.append(undecided(c, e, len(blocking)))
    if not any(e.state == "met" for _, e in gating) and not doubts:
        doubts.append(f"Nothing of {level(policy)} was met, so nothing was passed.")
    return doubts


def would_gate(check: CheckRecord, policy: Policy) -> bool:
    """Would anything that a check expects of itself decide the verdict, had it been asked?"""
    return any(policy.gates(Expectation.model_validate(d)) for d in check.defaults)


def blocks(e: ExpectationResult) -> bool:
    """Is it undecided, and could the truth lie further beyond the bound than is tolerated?"""
    if e.state != "undecided":
        return False
    return e.why != "straddles" or e.reach is None or e.reach > e.tolerates


def core_doubts(record: AuditRecord) -> list[str]:
    """A core question that no check has judged on the user's data."""
    if record.subject.n == 0:
        return ["Without evaluation data and an architecture only the weights were looked at."]
    doubts = []
    for core, words in CORE.items():
        checks = [c for c in record.checks if c.core == core]
        if not any(e.state != "untested" for c in checks for e in c.expectations):
            # What another task is asked says nothing of this one.
            told = sorted((c for c in checks if c.reason), key=lambda c: c.why == "other_task")
            why = told[0].reason if told else "no check of it applies to this model"
            doubts.append(f"{words}: {why.rstrip('.')}.")
    return doubts


def undecided(check: CheckRecord, e: ExpectationResult, number_of: int) -> str:
    """What one check left open, why, and how many more there are."""
    where = f" ({slice_text(e.slice)})" if e.slice else ""
    text = f"{check.id} is undecided on {e.metric.replace('_', ' ')}{where}: {e.reason}."
    if e.reach is not None:
        text = text[:-1] + (
            f"; the truth may lie {number(e.reach)} beyond the bound, and {number(e.tolerates)} is "
            "tolerated."
        )
    return text + (f" {count(number_of - 1, 'other')} likewise." if number_of > 1 else "")


def level(policy: Policy) -> str:
    """From which severity on it blocks, in words."""
    return f"severity {policy.fail_on} or above"


def names(checks: Iterable[CheckRecord]) -> str:
    """The ids of some checks, each once, the first few."""
    found = list(dict.fromkeys(c.id for c in checks))
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more
