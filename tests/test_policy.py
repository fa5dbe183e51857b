"""Judging: intervals, slices, validity, waivers, baseline, verdict. Pure: no model is run."""

import datetime

import numpy as np
import pytest

from audit import statistics
from audit.checking import Expectation, pack
from audit.comparing import compare
from audit.policy import CheckExpectation, Policy, Waiver, judge
from audit.record import (
    AuditRecord,
    CheckRecord,
    Guidance,
    PolicyRecord,
    SubjectRecord,
    Validity,
    VerdictRecord,
)

DAY = datetime.date(2026, 1, 1)


def share(k, n, name="share", **slice_):
    return statistics.proportion(name, np.arange(n) < k, slice=slice_)


def check(*metrics, expect=(), validity=(), **more):
    return CheckRecord(
        id=more.pop("id", "a.b"), kind="question", title="Is it?", outcome="inconclusive",
        metrics=list(metrics), validity=list(validity),
        defaults=[Expectation(**e).model_dump() for e in expect], **more,
    )  # fmt: skip


def record(*checks, n=100, samples=()):
    return AuditRecord(
        verdict=VerdictRecord(word="inconclusive", reason="", counts={}, exit_code=3),
        subject=SubjectRecord(model="m", n=n), policy=PolicyRecord(), checks=list(checks),
        samples=list(samples),
    )  # fmt: skip


HIGH = {"metric": "share", "op": ">=", "bound": 0.5, "severity": "high"}


@pytest.mark.parametrize(
    ("k", "op", "outcome", "word", "code"),
    [
        (90, ">=", "passed", "pass", 0), (10, ">=", "failed", "fail", 1),
        (52, ">=", "inconclusive", "inconclusive", 3), (10, "<=", "passed", "pass", 0),
        (90, "<=", "failed", "fail", 1), (52, "<=", "inconclusive", "inconclusive", 3),
        (52, "not_shown_below", "passed", "pass", 0), (10, "not_shown_below", "failed", "fail", 1),
        (48, "not_shown_above", "passed", "pass", 0), (90, "not_shown_above", "failed", "fail", 1),
    ],
)  # fmt: skip
def test_judged_on_the_interval(k, op, outcome, word, code):
    judged = judge(record(check(share(k, 100), expect=[{**HIGH, "op": op}])), Policy())
    assert judged.checks[0].outcome == outcome
    assert (judged.verdict.word, judged.verdict.exit_code) == (word, code)
    assert len(judged.checks[0].findings) == (outcome != "passed")


def test_severities_below_the_gate_do_not_gate():
    low = record(
        check(share(10, 100), share(90, 100, "good"),
              expect=[{**HIGH, "severity": "medium"}, {**HIGH, "metric": "good"}])
    )  # fmt: skip
    assert judge(low, Policy()).verdict.word == "pass"
    assert judge(low, Policy(fail_on="medium")).verdict.word == "fail"


@pytest.mark.parametrize("outcome", ["not_applicable", "skipped"])
def test_no_verdict_passes_vacuously(outcome):
    nothing = check(outcome=outcome) if False else CheckRecord(
        id="a.b", kind="question", title="?", outcome=outcome, reason="because"
    )
    assert judge(record(nothing), Policy()).verdict.word == "inconclusive"
    assert judge(record(), Policy()).verdict.word == "inconclusive"
    silent = judge(record(check(share(90, 100))), Policy())
    assert silent.checks[0].outcome == "inconclusive"
    assert silent.verdict.exit_code == 3


def test_an_error_is_never_a_pass_and_a_failure_stays_one():
    broken = CheckRecord(id="z.z", kind="question", title="?", outcome="error", reason="boom")
    good, bad = (check(share(k, 100), expect=[HIGH]) for k in (90, 10))
    judged = judge(record(good, broken), Policy())
    assert judged.verdict.exit_code == 3
    assert "boom" in judged.verdict.reason
    assert judge(record(bad, broken), Policy()).verdict.exit_code == 1


def test_slices_fail_at_the_corrected_level_and_pass_at_the_plain_one():
    """Twenty good slices pass together; one that is bad beyond chance among twenty fails."""
    expect = [{**HIGH, "op": "not_shown_below", "slice": {"class": "*"}}]
    edge = [share(39, 100, **{"class": f"c{i}"}) for i in range(20)]
    assert statistics.interval(edge[0])[1] < 0.5  # plainly bad, not beyond chance among twenty
    assert judge(record(check(*edge, expect=expect)), Policy()).checks[0].outcome == "passed"
    bad = [*edge[:19], share(20, 100, **{"class": "c19"})]
    judged = judge(record(check(*bad, expect=expect)), Policy()).checks[0]
    assert [e.slice for e in judged.expectations if e.outcome == "failed"] == [{"class": "c19"}]


def test_a_parameter_grid_is_not_a_slice():
    metrics = [share(90, 100, eps=0.1), share(10, 100, eps=0.2)]
    judged = judge(record(check(*metrics, expect=[{**HIGH, "slice": {"eps": 0.1}}])), Policy())
    assert judged.checks[0].outcome == "passed"
    assert len(judged.checks[0].expectations) == 1


@pytest.mark.parametrize(("k", "passed", "outcome"), [
    (90, False, "inconclusive"), (10, False, "inconclusive"), (90, None, "inconclusive"),
    (10, None, "failed"), (90, True, "passed"),
])  # fmt: skip
def test_without_validity_nothing_is_concluded(k, passed, outcome):
    evidence = [Validity(name="gradients", passed=passed, detail="")]
    judged = judge(record(check(share(k, 100), expect=[HIGH], validity=evidence)), Policy())
    assert judged.checks[0].outcome == outcome
    other = [Validity(name="x", passed=False, detail="", metrics=["elsewhere"])]
    judged = judge(record(check(share(90, 100), expect=[HIGH], validity=other)), Policy())
    assert judged.checks[0].outcome == "passed"


def test_on_inconclusive_warn_lets_straddling_pass_and_nothing_else():
    good = check(share(90, 100), expect=[HIGH], id="good.one")
    straddles = check(share(52, 100), expect=[HIGH])
    policy = Policy(on_inconclusive="warn")
    assert judge(record(good, straddles), policy).verdict.word == "pass"
    assert judge(record(straddles), policy).verdict.word == "inconclusive"
    masked = [Validity(name="gradients", passed=False, detail="")]
    unfair = check(share(90, 100), expect=[HIGH], validity=masked)
    assert judge(record(good, unfair), policy).verdict.word == "inconclusive"


def test_users_expectation_replaces_the_default_one():
    base = record(check(share(90, 100), expect=[HIGH]))
    strict = Policy(expect=[CheckExpectation(check="a.b", metric="share", bound=0.99)])
    judged = judge(base, strict)
    assert [e.source for e in judged.checks[0].expectations] == ["config"]
    assert judged.verdict.word == "fail"
    assert judge(judged, Policy()).verdict.word == "pass"  # and back again, from the record alone


def test_an_expectation_on_nothing_is_not_a_pass():
    policy = Policy(expect=[CheckExpectation(check="a.b", metric="shore", bound=0.1)])
    judged = judge(record(check(share(90, 100), expect=[HIGH])), policy)
    assert judged.verdict.exit_code == 3
    assert "there are share" in judged.verdict.reason
    absent = Policy(expect=[CheckExpectation(check="gone.check", metric="x", bound=1)])
    assert "gone.check" in judge(record(check(share(90, 100), expect=[HIGH])), absent).verdict.notes[0]


def test_waivers():
    bad = record(check(share(10, 100), expect=[HIGH]), check(share(90, 100), expect=[HIGH], id="g.g"))
    waiver = Waiver(check="a.b", owner="Ada", reason="known", expires=datetime.date(2026, 2, 1))
    judged = judge(bad, Policy(waive=[waiver]), today=DAY)
    assert judged.verdict.word == "pass"
    assert judged.checks[0].outcome == "failed"  # a waiver improves nothing
    assert "Ada" in judged.checks[0].findings[0].waived
    assert "1 waived" in judged.verdict.reason
    late = judge(bad, Policy(waive=[waiver]), today=datetime.date(2026, 3, 1))
    assert late.verdict.word == "fail"
    assert "expired on 2026-02-01" in late.verdict.notes[0]
    idle = Waiver(check="a.c", owner="Ada", reason="r", expires=datetime.date(2026, 2, 1))
    assert "matches nothing" in judge(bad, Policy(waive=[idle]), today=DAY).verdict.notes[0]


def test_baseline_pairs_by_sample_digest_and_gates_on_what_got_worse():
    digests = [f"{i:016x}" for i in range(200)]
    good, worse = np.arange(200) < 180, np.arange(200) < 140

    def audit_of(bits, samples):
        part = check(
            statistics.proportion("share", bits), expect=[HIGH], per_sample=[pack("share", bits)]
        )
        return record(part, samples=samples)

    old = audit_of(good, digests)
    new = audit_of(worse[::-1], digests[::-1])  # the same samples in another order
    change = compare(old, new)[0]
    assert change.paired
    assert (change.lost, change.gained) == (40, 0)
    judged = judge(new, Policy(), baseline=old)
    assert judged.verdict.word == "fail"
    assert judged.checks[0].findings[0].title.startswith("Worse than the baseline")
    assert judge(old, Policy(), baseline=old).verdict.word == "pass"
    # Judged again without naming the baseline, it is not forgotten.
    again = judge(judged, Policy(fail_on="low"))
    assert again.verdict.word == "fail"
    assert again.policy.baseline == old.digest()
    strangers = compare(old, audit_of(worse, [f"x{d}" for d in digests]))[0]
    assert not strangers.paired


def test_fingerprints_are_stable_and_words_are_filled_from_the_record():
    guidance = {"share": Guidance(
        title="Too few", what_happened="{value} of {n} ({low} to {high}), bound {bound}",
        why_it_matters="w", what_to_do="d",
    )}  # fmt: skip
    one, two = (
        judge(record(check(share(k, 100), expect=[HIGH], guidance=guidance)), Policy())
        .checks[0].findings[0]
        for k in (10, 12)
    )  # fmt: skip
    assert one.fingerprint == two.fingerprint
    assert one.what_happened == "10 % of 100 (5.5 % to 17.4 %), bound 50 %"


def test_the_most_severe_of_two_bounds_on_one_number_speaks_for_both():
    expect = [{**HIGH, "bound": 0.5}, {**HIGH, "bound": 0.8, "severity": "medium"}]
    both = judge(record(check(share(10, 100), expect=expect)), Policy()).checks[0]
    assert [e.outcome for e in both.expectations] == ["failed", "failed"]
    assert [f.severity for f in both.findings] == ["high"]
    one = judge(record(check(share(65, 100), expect=expect)), Policy()).checks[0]
    assert [f.severity for f in one.findings] == ["medium"]


def test_what_is_expected_of_a_check_that_does_not_apply_is_not_settled():
    good = check(share(90, 100), expect=[HIGH])
    silent = CheckRecord(
        id="f.g", kind="question", title="?", outcome="not_applicable", reason="no sensitive attribute"
    )
    assert judge(record(good, silent), Policy()).verdict.word == "pass"
    policy = Policy(expect=[CheckExpectation(check="f.g", metric="gap", op="<=", bound=0.1)])
    judged = judge(record(good, silent), policy)
    assert judged.verdict.exit_code == 3
    assert "no sensitive attribute" in judged.verdict.reason
    assert judged.checks[1].outcome == "not_applicable"
    waiver = Waiver(check="f.g", owner="Ada", reason="r", expires=datetime.date(2026, 2, 1))
    policy = Policy(expect=policy.expect, waive=[waiver])
    assert judge(record(good, silent), policy, today=DAY).verdict.word == "pass"


@pytest.mark.parametrize("slice_", [{"clas": "*"}, {"class": "gone"}, {"class": "rare"}])
def test_an_expectation_of_the_users_is_never_silently_dropped(slice_):
    """A slice that does not exist, or has no value, is not settled; a default over slices may be."""
    good = check(
        share(90, 100), share(90, 100, **{"class": "a"}),
        statistics.undefined("share", "too few", slice={"class": "rare"}),
        expect=[HIGH, {**HIGH, "slice": {"class": "*"}, "op": "not_shown_below"}],
    )  # fmt: skip
    assert judge(record(good), Policy()).verdict.word == "pass"
    policy = Policy(expect=[CheckExpectation(check="a.b", metric="share", slice=slice_, bound=0.5)])
    assert judge(record(good), policy).verdict.exit_code == 3
