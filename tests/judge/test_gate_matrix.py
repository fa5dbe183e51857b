"""The whole gate as a table: whatever is asked for and not met, the gate is not green.

Every combination of a state, a severity, who asks, the gate, the selection, a baseline and a waiver is
judged, and held against a rule that is written here a second time, from the promise alone.
"""

import datetime
import itertools

import numpy as np
import pytest

from audit import statistics
from audit.checking import pack
from audit.judge import CheckExpectation, Policy, Waiver, judge
from audit.record import SEVERITIES, Validity

from .making import HIGH, SUCCESSES, check, core, record, share, unmeasured

DAY = datetime.date(2026, 1, 1)
MEASURED = ("met", "failed", "undecided", "tolerated", "broken")
UNMEASURED = ("not_applicable", "skipped", "profile", "not_selected", "raised")
BASELINES = ("none", "same", "worse", "gone", "other data")
LEVELS = ("low", "high", "critical")
DIGESTS = [f"{i:016x}" for i in range(100)]


def subject_of(state, severity, asked):
    """The check under test, with its default expectation unless the user asks."""
    if state in UNMEASURED:
        return None if state == "not_selected" else unmeasured(state)
    validity = [Validity(name="fair", passed=False, detail="")] if state == "broken" else []
    k = SUCCESSES.get("undecided" if state == "tolerated" else state, 90)
    bits = np.arange(100) < k
    mine = {**HIGH, "severity": severity, "tolerates": 0.5 if state == "tolerated" else 0.0}
    return check(
        share(k, 100),
        expect=[] if asked else [mine],
        validity=validity,
        per_unit=[pack("share", bits)],
    )


def baseline_of(kind, state):
    if kind == "none":
        return None
    now = np.arange(100) < SUCCESSES.get("undecided" if state == "tolerated" else state, 90)
    then = now.copy()
    if kind == "worse":
        then = np.ones(100, bool)
        then[95:] = False
    samples = [f"x{d}" for d in DIGESTS] if kind == "other data" else DIGESTS
    check_id = "gone.check" if kind == "gone" else "a.b"
    part = check(statistics.proportion("share", then), id=check_id, per_unit=[pack("share", then)])
    return record(part, samples=samples)


def promised(state, severity, asked, gate, warn, waived, baseline, sound):
    """(may it be green, must it be red), from the promise: everything asked for by the user met, no
    gating expectation failed or broken, nothing gating undecided beyond what it tolerates, the core
    questions judged."""
    gates = SEVERITIES.index(severity) >= SEVERITIES.index(gate)
    red = state == "failed" and gates and not waived
    green = sound and not red and state != "raised"
    if gates and not waived:
        green &= state not in ("failed", "broken") and not (state == "undecided" and not warn)
    if asked and not waived:
        green &= state not in ("broken", *UNMEASURED)
    if baseline != "none" and not (waived and baseline != "gone"):
        comparable = state in MEASURED
        worse = baseline == "worse" and comparable and state in ("failed", "undecided", "tolerated")
        red |= worse
        green &= comparable and baseline in ("same", "worse") and not worse
    return green and not red, red


@pytest.mark.parametrize("state", [*MEASURED, *UNMEASURED])
@pytest.mark.parametrize("baseline", BASELINES)
def test_a_green_gate_means_that_all_that_was_asked_for_is_met(state, baseline):
    for severity, gate, asked, warn, waived, sound in itertools.product(
        LEVELS, LEVELS, (False, True), (False, True), (False, True), (True, False)
    ):
        part = subject_of(state, severity, asked)
        parts = [] if part is None else [part]
        cores = [core("quality", "critical")] + ([core("stability", "critical")] if sound else [])
        now = record(*parts, *cores, samples=DIGESTS, sound=False)
        expect = (
            [
                CheckExpectation(
                    check="a.b",
                    metric="share",
                    bound=0.5,
                    severity=severity,
                    tolerates=0.5 if state == "tolerated" else 0.0,
                )
            ]
            if asked
            else []
        )
        waive = [Waiver(check="a.b", owner="Ada", reason="r", expires=DAY)] if waived else []
        policy = Policy(
            fail_on=gate, on_inconclusive="warn" if warn else "block", expect=expect, waive=waive
        )
        judged = judge(now, policy, baseline=baseline_of(baseline, state), today=DAY)
        case = (state, severity, gate, asked, warn, waived, baseline, sound)
        green, red = promised(state, severity, asked, gate, warn, waived, baseline, sound)
        assert (judged.verdict.exit_code == 0) == green, (case, judged.verdict.reason)
        assert (judged.verdict.exit_code == 1) == red, (case, judged.verdict.reason)
        assert judged.verdict.reason.endswith(".")
        assert "{" not in judged.verdict.reason
