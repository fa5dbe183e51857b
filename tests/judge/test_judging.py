"""Judging: intervals, slices, validity, waivers, baseline, verdict. Pure: no model is run."""

import datetime
import json

import numpy as np
import pytest
from pydantic import ValidationError

from audit import statistics
from audit.checking import pack
from audit.errors import AuditError
from audit.judge import CheckExpectation, Policy, Waiver, judge, read_record
from audit.judge.comparison import compare
from audit.record import CheckRecord, Guidance, LeftOut, LimitedBy, Validity
from audit.reports.console import by_cause
from audit.words import number

from .making import HIGH, check, core, record, share, unmeasured

DAY = datetime.date(2026, 1, 1)


@pytest.mark.parametrize(
    ("k", "op", "state", "word", "code"),
    [
        (90, ">=", "met", "pass", 0),
        (10, ">=", "failed", "fail", 1),
        (52, ">=", "undecided", "inconclusive", 3),
        (10, "<=", "met", "pass", 0),
        (90, "<=", "failed", "fail", 1),
        (52, "<=", "undecided", "inconclusive", 3),
        (52, "not_shown_below", "undecided", "pass", 0),
        (10, "not_shown_below", "failed", "fail", 1),
        (48, "not_shown_above", "undecided", "pass", 0),
        (90, "not_shown_above", "failed", "fail", 1),
    ],
)
def test_judged_on_the_interval(k, op, state, word, code):
    judged = judge(record(check(share(k, 100), expect=[{**HIGH, "op": op}])), Policy())
    assert judged.checks[0].state == state
    assert (judged.verdict.word, judged.verdict.exit_code) == (word, code)
    assert len(judged.findings_of("a.b")) == (state != "met")


@pytest.mark.parametrize(("tolerates", "code"), [(None, 0), (0.2, 0), (0.01, 3), (0.0, 3)])
def test_what_is_undecided_passes_only_within_what_it_tolerates(tolerates, code):
    """48 of 100 against "not above .5": the interval reaches to .577."""
    expect = [{**HIGH, "op": "not_shown_above", "tolerates": tolerates}]
    judged = judge(record(check(share(48, 100), expect=expect)), Policy())
    assert judged.checks[0].state == "undecided"
    assert judged.verdict.exit_code == code
    result = judged.checks[0].expectations[0]
    assert result.reach == pytest.approx(0.077, abs=1e-3)
    said = judged.verdict.reason
    assert (
        ("1 undecided" in said)
        if code == 0
        else (f"{number(result.reach)} beyond the bound" in said)
    )


def test_the_tolerance_of_a_metric_with_a_unit_is_its_bound():
    """A tenth of a euro is nothing, a tenth of a ton a lot: only the bound says what is small."""
    metric = statistics.mean("price", np.linspace(-1, 1, 50) * 1e-3, unit="t")
    expect = [{"metric": "price", "op": "not_shown_above", "bound": 1e-5, "severity": "high"}]
    judged = judge(record(check(metric, expect=expect)), Policy())
    assert judged.checks[0].expectations[0].tolerates == 1e-5
    assert judged.verdict.exit_code == 3


def test_an_undecided_expectation_says_how_many_samples_would_decide_it():
    """And of which: not the 4,000 of the table, but the 163 whom the number rests on."""
    gap = share(58, 100).model_copy(
        update={"n": 4000, "limited_by": LimitedBy(what="women with a positive label", n=163)}
    )
    judged = judge(record(check(gap, expect=[{**HIGH, "tolerates": 0.01}])), Policy())
    result = judged.checks[0].expectations[0]
    assert result.needed_of == "women with a positive label"
    wanted = 163 * ((0.58 - gap.low) / 0.08) ** 2
    assert result.needed_n == int(np.ceil(wanted))
    assert "n = 163 (women with a positive label)" in judged.verdict.reason
    # With as many the interval no longer straddles the bound.
    n = round(result.needed_n * 100 / 163) + 1
    again = judge(record(check(share(round(0.58 * n), n), expect=[HIGH])), Policy())
    assert again.checks[0].state == "met"
    never = judge(record(check(share(50, 100), expect=[HIGH])), Policy()).checks[0].expectations[0]
    assert never.needed_n is None


def test_severities_below_the_gate_do_not_gate():
    low = record(
        check(
            share(10, 100),
            share(90, 100, "good"),
            expect=[{**HIGH, "severity": "medium"}, {**HIGH, "metric": "good"}],
        )
    )
    assert judge(low, Policy()).verdict.word == "pass"
    assert judge(low, Policy(fail_on="medium")).verdict.word == "fail"


def test_what_does_not_gate_gates_at_no_severity_and_is_told():
    judged = judge(
        record(check(share(10, 100), expect=[{**HIGH, "gates": False}])), Policy(fail_on="info")
    )
    assert judged.verdict.word == "pass"
    assert [(f.state, f.gates) for f in judged.findings] == [("failed", False)]


@pytest.mark.parametrize("why", ["not_applicable", "skipped", "profile", "no_data"])
def test_no_verdict_passes_vacuously(why):
    assert judge(record(unmeasured(why), sound=False), Policy()).verdict.word == "inconclusive"
    assert judge(record(sound=False), Policy()).verdict.word == "inconclusive"
    silent = judge(record(check(share(90, 100)), sound=False), Policy())
    assert (silent.checks[0].state, silent.checks[0].why) == ("untested", "nothing_expected")
    assert silent.verdict.exit_code == 3


@pytest.mark.parametrize("missing", ["quality", "stability"])
def test_without_a_core_question_there_is_no_pass(missing):
    """A model of which only the weights were judged has not been judged."""
    other = core("quality" if missing == "stability" else "stability")
    absent = unmeasured("not_applicable", "core.absent", core=missing)
    for checks in ([other], [other, absent]):
        judged = judge(record(check(share(90, 100), expect=[HIGH]), *checks, sound=False), Policy())
        assert judged.verdict.exit_code == 3
        assert "was not judged" in judged.verdict.reason
    both = [core("quality"), core("stability")]
    assert judge(record(*both, sound=False), Policy()).verdict.word == "pass"


def test_an_error_is_never_a_pass_and_a_failure_stays_one():
    broken = unmeasured("raised", "z.z")
    good, bad = (check(share(k, 100), expect=[HIGH]) for k in (90, 10))
    judged = judge(record(good, broken), Policy())
    assert judged.verdict.exit_code == 3
    assert "z.z could not be run: because" in judged.verdict.reason
    assert judge(record(bad, broken), Policy()).verdict.exit_code == 1


def test_slices_fail_at_the_corrected_level_and_pass_at_the_plain_one():
    """Twenty good slices pass together; one that is bad beyond chance among twenty fails."""
    expect = [{**HIGH, "op": "not_shown_below", "slice": {"class": "*"}}]
    edge = [share(39, 100, **{"class": f"c{i}"}) for i in range(20)]
    assert statistics.interval(edge[0])[1] < 0.5  # plainly bad, not beyond chance among twenty
    assert judge(record(check(*edge, expect=expect)), Policy()).checks[0].state == "undecided"
    bad = [*edge[:19], share(20, 100, **{"class": "c19"})]
    judged = judge(record(check(*bad, expect=expect)), Policy()).checks[0]
    assert [e.slice for e in judged.expectations if e.state == "failed"] == [{"class": "c19"}]
    good = [share(90, 100, **{"class": f"c{i}"}) for i in range(20)]
    assert judge(record(check(*good, expect=expect)), Policy()).checks[0].state == "met"


def test_a_parameter_grid_is_not_a_slice():
    metrics = [share(90, 100, eps=0.1), share(10, 100, eps=0.2)]
    judged = judge(record(check(*metrics, expect=[{**HIGH, "slice": {"eps": 0.1}}])), Policy())
    assert judged.checks[0].state == "met"
    assert len(judged.checks[0].expectations) == 1


@pytest.mark.parametrize("written", [8 / 255, "8/255", "0.03137254901960784"])
def test_a_number_in_a_slice_may_be_written_in_any_way(written):
    metrics = [share(10, 100, eps=8 / 255), share(10, 100, group="8/255")]
    expect = CheckExpectation(check="a.b", metric="share", bound=0.5, slice={"eps": written})
    judged = judge(record(check(*metrics)), Policy(expect=[expect]))
    assert judged.verdict.word == "fail"
    named = CheckExpectation(check="a.b", metric="share", bound=0.5, slice={"group": "8/255"})
    assert judge(record(check(*metrics)), Policy(expect=[named])).verdict.word == "fail"


@pytest.mark.parametrize(
    ("k", "passed", "state", "why"),
    [
        (90, False, "broken", "validity_failed"),
        (10, False, "broken", "validity_failed"),
        (52, False, "broken", "validity_failed"),
        (90, None, "broken", "validity_missing"),
        (52, None, "broken", "validity_missing"),
        (10, None, "failed", ""),
        (90, True, "met", ""),
    ],
)
def test_without_validity_nothing_is_concluded(k, passed, state, why):
    evidence = [Validity(name="gradients", passed=passed, detail="")]
    for severity in ("high", "medium", "info"):
        expect = [{**HIGH, "severity": severity}]
        judged = judge(record(check(share(k, 100), expect=expect, validity=evidence)), Policy())
        assert (judged.checks[0].state, judged.checks[0].why) == (state, why)
    other = [Validity(name="x", passed=False, detail="", metrics=["elsewhere"])]
    judged = judge(record(check(share(90, 100), expect=[HIGH], validity=other)), Policy())
    assert judged.checks[0].state == "met"


@pytest.mark.parametrize("said", ["the attack crashed", "it straddles two files", "not applicable"])
def test_no_decision_reads_a_sentence(said):
    """What a check or a plug-in says in words changes nothing but the words."""
    broken = unmeasured("raised", "z.z")
    broken.reason = said
    judged = judge(record(broken), Policy(on_inconclusive="warn"))
    assert judged.verdict.exit_code == 3
    evidence = [Validity(name=said, passed=False, detail=said, doubt=said)]
    unfair = check(share(52, 100), expect=[HIGH], validity=evidence)
    assert judge(record(unfair), Policy(on_inconclusive="warn")).verdict.exit_code == 3


def test_on_inconclusive_warn_lets_the_undecided_pass_and_nothing_else():
    straddles = check(share(52, 100), expect=[HIGH])
    policy = Policy(on_inconclusive="warn")
    assert judge(record(straddles), Policy()).verdict.word == "inconclusive"
    assert judge(record(straddles), policy).verdict.word == "pass"
    assert judge(record(straddles, sound=False), policy).verdict.word == "inconclusive"
    masked = [Validity(name="gradients", passed=False, detail="")]
    unfair = check(share(90, 100), expect=[HIGH], validity=masked)
    assert judge(record(unfair), policy).verdict.word == "inconclusive"


def test_users_expectation_replaces_the_default_one():
    base = record(check(share(90, 100), expect=[HIGH]))
    strict = Policy(expect=[CheckExpectation(check="a.b", metric="share", bound=0.99)])
    judged = judge(base, strict)
    assert [e.source for e in judged.checks[0].expectations] == ["config"]
    assert judged.verdict.word == "fail"
    assert judged.verdict.loosened == 0
    assert judge(judged, Policy()).verdict.word == "pass"  # and back again, from the record alone


@pytest.mark.parametrize(
    ("mine", "loosened"),
    [
        ({"bound": 0.5}, False),
        ({"bound": 0.7}, False),
        ({"bound": 0.2}, True),
        ({"bound": 0.5, "severity": "low"}, True),
        ({"bound": 0.5, "tolerates": 0.3}, True),
        ({"bound": 0.95, "op": "<="}, True),
        ({"bound": 0.5, "gates": False}, True),
    ],
)
def test_a_bound_weaker_than_the_default_is_counted_and_shown_beside_it(mine, loosened):
    expect = CheckExpectation(check="a.b", metric="share", **mine)
    judged = judge(record(check(share(90, 100), expect=[HIGH])), Policy(expect=[expect]))
    result = judged.checks[0].expectations[0]
    assert result.loosened == loosened
    assert (result.replaces.bound, result.replaces.severity) == (0.5, "high")
    assert judged.verdict.loosened == loosened
    assert ("1 bound loosened" in judged.verdict.reason) == loosened


@pytest.mark.parametrize(
    ("bound", "op"),
    [
        (-1e9, ">="),
        (0.0, ">="),
        (1e9, "<="),
        (1.0, "not_shown_above"),
        (-1.0, "not_shown_below"),
    ],
)
def test_a_bound_that_no_value_can_violate_is_no_expectation(bound, op):
    """It is a waiver, and a waiver has an owner, a reason and an end."""
    expect = CheckExpectation(check="a.b", metric="share", op=op, bound=bound)
    judged = judge(record(check(share(10, 100), expect=[HIGH])), Policy(expect=[expect]))
    assert judged.checks[0].expectations[0].why == "cannot_fail"
    assert judged.verdict.exit_code == 3
    assert "[[waive]]" in judged.verdict.reason


def test_an_expectation_on_nothing_is_not_a_pass():
    policy = Policy(expect=[CheckExpectation(check="a.b", metric="shore", bound=0.1)])
    judged = judge(record(check(share(90, 100), expect=[HIGH])), policy)
    assert judged.verdict.exit_code == 3
    assert "there are share" in judged.verdict.reason
    absent = Policy(expect=[CheckExpectation(check="gone.check", metric="x", bound=1)])
    judged = judge(record(check(share(90, 100), expect=[HIGH])), absent)
    assert judged.verdict.exit_code == 3
    assert "gone.check" in judged.verdict.reason
    assert "not selected" in judged.verdict.reason
    again = judge(judged, Policy())  # and under another policy nothing of it is left
    assert "gone.check" not in {c.id for c in again.checks}


def test_waivers():
    bad = record(check(share(10, 100), expect=[HIGH]))
    waiver = Waiver(check="a.b", owner="Ada", reason="known", expires=datetime.date(2026, 2, 1))
    judged = judge(bad, Policy(waive=[waiver]), today=DAY)
    assert judged.verdict.word == "pass"
    assert judged.checks[0].state == "failed"  # a waiver improves nothing
    assert "Ada" in judged.findings_of("a.b")[0].waived
    assert "1 waived" in judged.verdict.reason
    last = judge(bad, Policy(waive=[waiver]), today=datetime.date(2026, 2, 1))
    assert last.verdict.word == "pass"  # on its last day it holds
    late = judge(bad, Policy(waive=[waiver]), today=datetime.date(2026, 2, 2))
    assert late.verdict.word == "fail"
    assert "expired on 2026-02-01" in late.verdict.notes[0]
    idle = Waiver(check="a.c", owner="Ada", reason="r", expires=datetime.date(2026, 2, 1))
    assert "matches nothing" in judge(bad, Policy(waive=[idle]), today=DAY).verdict.notes[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"owner": ""},
        {"owner": " \t"},
        {"reason": "\n"},
        {"expires": datetime.date.today() + datetime.timedelta(days=400)},
    ],
)
def test_a_waiver_has_an_owner_a_reason_and_an_end_within_a_year(wrong):
    good = {"check": "a.b", "owner": "Ada", "reason": "r", "expires": datetime.date.today()}
    assert Waiver(**good)
    with pytest.raises(ValidationError, match=r"blank|a year at most"):
        Waiver(**{**good, **wrong})


def test_a_core_question_that_was_not_asked_cannot_be_waived():
    skipped = unmeasured("skipped", "core.quality", core="quality")
    waiver = Waiver(
        check="core.quality", owner="Ada", reason="r", expires=datetime.date(2026, 2, 1)
    )
    judged = judge(
        record(skipped, core("stability"), sound=False), Policy(waive=[waiver]), today=DAY
    )
    assert judged.verdict.exit_code == 3


DIGESTS = [f"{i:016x}" for i in range(200)]


def audit_of(bits, samples=DIGESTS, **more):
    part = check(
        statistics.proportion("share", bits), expect=[HIGH], per_unit=[pack("share", bits)]
    )
    return record(part, samples=samples, **more)


def test_baseline_pairs_by_sample_digest_and_gates_on_what_got_worse():
    good, worse = np.arange(200) < 180, np.arange(200) < 140
    old = audit_of(good)
    new = audit_of(worse[::-1], DIGESTS[::-1])  # the same samples in another order
    change = compare(old, new)[0]
    assert change.paired
    assert (change.lost, change.gained) == (40, 0)
    for gate in ("high", "critical"):  # who gives a baseline asks for it, whatever else gates
        judged = judge(new, Policy(fail_on=gate), baseline=old)
        assert judged.verdict.word == "fail"
    assert judged.findings_of("a.b")[0].title.startswith("Worse than the baseline")
    assert judge(old, Policy(), baseline=old).verdict.word == "pass"
    # Judged again without naming the baseline, it is not forgotten.
    again = judge(judged, Policy(fail_on="low"))
    assert again.verdict.word == "fail"
    assert again.policy.baseline == old.digest()


def test_a_small_loss_that_chance_could_hide_is_undecided():
    old, n = np.ones(20, bool), 20
    lost = judge(
        audit_of(np.arange(n) < 17, DIGESTS[:n]), Policy(), baseline=audit_of(old, DIGESTS[:n])
    )
    result = next(e for e in lost.checks[0].expectations if e.source == "baseline")
    assert (result.state, result.why) == ("undecided", "straddles")
    assert lost.verdict.exit_code == 3


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (record(samples=DIGESTS), "not_selected"),
        (record(unmeasured("skipped"), samples=DIGESTS), "skipped"),
        (record(unmeasured("not_applicable"), samples=DIGESTS), "not_applicable"),
        (record(check(share(90, 100), expect=[HIGH]), samples=DIGESTS), "not_in_record"),
        (audit_of(np.ones(200, bool), [f"x{d}" for d in DIGESTS]), "unpaired"),
    ],
)
def test_a_baseline_that_cannot_be_held_against_anything_is_no_pass(now, why):
    judged = judge(now, Policy(), baseline=audit_of(np.ones(200, bool)))
    assert why in {e.why for e in judged.check("a.b").expectations}
    assert judged.verdict.exit_code == 3


def test_a_baseline_of_another_task_or_without_outcomes_is_refused():
    good = audit_of(np.ones(200, bool), task="binary")
    with pytest.raises(AuditError, match="whose task is regression"):
        judge(good, Policy(), baseline=audit_of(np.ones(200, bool), task="regression"))
    with pytest.raises(AuditError, match="no outcome per sample"):
        judge(good, Policy(), baseline=record())


def test_a_record_whose_outcomes_are_damaged_is_refused(tmp_path):
    path = tmp_path / "r.json"
    whole = json.loads(audit_of(np.ones(200, bool)).to_json())
    for change in ({"bits": "AAAA"}, {"bits": "?"}, {"n": 300}, {"indices": list(range(100, 300))}):
        document = json.loads(json.dumps(whole))
        document["checks"][0]["per_unit"][0] |= change
        path.write_text(json.dumps(document))
        with pytest.raises(AuditError, match="does not fit"):
            read_record(path)


def test_fingerprints_are_stable_and_words_are_filled_from_the_record():
    guidance = {
        "share": Guidance(
            title="Too few",
            what_happened="{value} of {n} ({low} to {high}), bound {bound}",
            why_it_matters="w",
            what_to_do="d",
        )
    }
    one, two = (
        judge(record(check(share(k, 100), expect=[HIGH], guidance=guidance)), Policy()).findings[0]
        for k in (10, 12)
    )
    assert one.fingerprint == two.fingerprint
    assert one.what_happened == "10 % of 100 (5.5 % to 17.4 %), bound 50 %"
    assert [m.metric for m in one.members] == ["share"]


def test_the_most_severe_of_two_bounds_on_one_number_speaks_for_both():
    expect = [{**HIGH, "bound": 0.5}, {**HIGH, "bound": 0.8, "severity": "medium"}]
    both = judge(record(check(share(10, 100), expect=expect)), Policy())
    assert [e.state for e in both.checks[0].expectations] == ["failed", "failed"]
    assert [f.severity for f in both.findings] == ["high"]
    one = judge(record(check(share(65, 100), expect=expect)), Policy())
    assert [f.severity for f in one.findings] == ["medium"]


SHARED = {"a.one": {"*": "a.weak"}, "a.two": {"*": "a.weak"}, "a.three": {}}


def weak(**successes):
    """Three checks, of which the first two show one weakness, each over two slices."""
    every = {**HIGH, "slice": {"by": "*"}}
    return record(
        *(
            check(
                *(share(k, 100, by=str(k)) for k in successes.get(i[2:], (10, 20))),
                expect=[every],
                id=i,
                causes=causes,
            )
            for i, causes in SHARED.items()
        )
    )


def test_what_several_checks_and_slices_show_is_one_finding():
    judged = judge(weak(), Policy())
    assert [(f.cause, f.checks, len(f.members)) for f in judged.findings] == [
        ("a.weak", ["a.one", "a.two"], 4),
        ("a.three.share", ["a.three"], 2),
    ]
    first = judged.findings[0]
    assert first.members[0].slice == {"by": "10"}  # the worst speaks
    assert "The same holds for by 20. 1 other check shows it too." in first.what_happened
    assert all(
        m.state == "failed" and "expected at least 0.5" in m.what_happened for m in first.members
    )
    assert len({m.fingerprint for m in first.members}) == 4
    # Another number, or fewer members, is still the same weakness.
    again = judge(weak(two=(90, 95)), Policy()).findings[0]
    assert again.fingerprint == first.fingerprint
    assert again.checks == ["a.one"]


def test_a_waiver_of_a_cause_covers_all_that_shows_it():
    waiver = {"owner": "Ada", "reason": "r", "expires": datetime.date(2026, 2, 1)}
    policy = Policy(waive=[Waiver(cause="a.weak", **waiver)])
    judged = judge(weak(), policy, today=DAY)
    assert [bool(f.waived) for f in judged.findings] == [True, False]
    assert {e.waived != "" for c in judged.checks[:2] for e in c.expectations} == {True}
    assert judged.verdict.reason.startswith("2 expectations of severity high")
    # Of a weakness that is waived in part, what is not waived speaks.
    one = judge(weak(), Policy(waive=[Waiver(check="a.one", **waiver)]), today=DAY).findings[0]
    assert one.check == "a.two"
    assert one.waived == ""
    with pytest.raises(ValueError, match="names a check, or the cause"):
        Waiver(**waiver)


def test_what_fails_the_gate_speaks_before_what_is_more_severe_and_open():
    group = record(
        check(
            share(52, 100),
            expect=[{**HIGH, "severity": "critical"}],
            id="a.one",
            causes=SHARED["a.one"],
        ),
        check(share(10, 100), expect=[HIGH], id="a.two", causes=SHARED["a.two"]),
    )
    (found,) = judge(group, Policy()).findings
    assert (found.state, found.check, found.severity) == ("failed", "a.two", "high")
    assert [m.state for m in found.members] == ["failed", "undecided"]


def test_a_finding_that_another_one_explains_stands_under_it():
    cause = check(share(10, 100), expect=[HIGH], id="c.cause")
    effect = check(share(10, 100), expect=[HIGH], id="e.effect", explained_by=["c.cause"])
    judged = judge(record(cause, effect), Policy())
    causes, effects = judged.findings_of("c.cause"), judged.findings_of("e.effect")
    assert effects[0].under == causes[0].fingerprint
    alone = judge(record(effect), Policy())
    assert alone.findings[0].under == ""


@pytest.mark.parametrize(
    ("explained", "roots"),
    [
        ({"b": ["a"], "c": ["b"]}, {"a"}),
        ({"a": ["b"], "b": ["a"]}, {"a"}),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, {"a"}),
        ({"b": ["a"], "c": ["a", "b"]}, {"a"}),
        ({"a": ["a"]}, {"a", "b", "c"}),
        ({}, {"a", "b", "c"}),
    ],
)
def test_every_finding_is_told_once_however_explanations_are_linked(explained, roots):
    """In a chain all stand under its first; in a circle one stands for the others; none is lost."""
    checks = [
        check(
            share(10, 100),
            expect=[HIGH],
            id=f"x.{i}",
            explained_by=[f"x.{j}" for j in explained.get(i, [])],
        )
        for i in "abc"
    ]
    judged = judge(record(*checks), Policy())
    linked = {i for i in explained} | {j for js in explained.values() for j in js}
    told = by_cause(judged)
    assert sorted(f.check for f, under in told for f in (f, *under)) == ["x.a", "x.b", "x.c"]
    tops = {f.check[-1] for f, _ in told}
    assert tops == (roots if roots == set("abc") else roots | (set("abc") - linked))


def test_a_finding_is_not_hidden_under_a_lesser_one():
    cause = check(share(10, 100), expect=[{**HIGH, "severity": "medium"}], id="c.cause")
    quiet = check(share(10, 100), expect=[{**HIGH, "gates": False}], id="q.quiet")
    effect = check(
        share(10, 100), expect=[HIGH], id="e.effect", explained_by=["c.cause", "q.quiet"]
    )
    judged = judge(record(cause, quiet, effect), Policy())
    assert judged.findings_of("e.effect")[0].under == ""


def test_what_follows_is_told_by_the_state_alone():
    words = {"met": "Believe it.", "failed": "Do not: {failed}.", "undecided": "Nobody knows."}
    for k, said in ((90, "Believe it."), (10, "Do not: share."), (52, "Nobody knows.")):
        judged = judge(record(check(share(k, 100), expect=[HIGH], conclusions=words)), Policy())
        assert judged.checks[0].conclusion == said
    masked = [Validity(name="gradients", passed=False, detail="")]
    broken = check(share(90, 100), expect=[HIGH], conclusions=words, validity=masked)
    assert judge(record(broken), Policy()).checks[0].conclusion == ""


@pytest.mark.parametrize("why", ["not_applicable", "skipped", "profile", "not_selected", "raised"])
@pytest.mark.parametrize("severity", ["low", "critical"])
def test_what_is_expected_of_a_check_that_was_not_measured_is_not_met(why, severity):
    silent = unmeasured(why, "f.g")
    said = "not selected" if why == "not_selected" else "because"
    if why != "raised":
        assert judge(record(silent), Policy()).verdict.word == "pass"
    policy = Policy(
        expect=[CheckExpectation(check="f.g", metric="gap", op="<=", bound=0.1, severity=severity)]
    )
    judged = judge(record(silent), policy)
    assert judged.verdict.exit_code == 3
    assert said in judged.verdict.reason
    assert judged.check("f.g").why == why
    waiver = Waiver(check="f.g", owner="Ada", reason="r", expires=datetime.date(2026, 2, 1))
    policy = Policy(expect=policy.expect, waive=[waiver])
    waived = judge(record(silent), policy, today=DAY).verdict.word
    assert waived == ("inconclusive" if why == "raised" else "pass")


@pytest.mark.parametrize(("k", "word"), [(10, "fail"), (90, "pass"), (52, "inconclusive")])
def test_what_the_user_expects_of_a_trial_counts_whether_or_not_it_would_mend_anything(k, word):
    trial = check(share(k, 100), id="t.t").model_copy(update={"kind": "trial", "remedies": ["a.b"]})
    good = check(share(90, 100), expect=[HIGH])
    assert judge(record(good, trial), Policy()).verdict.word == "pass"
    asked = Policy(expect=[CheckExpectation(check="t.t", metric="share", bound=0.5)])
    assert judge(record(good, trial), asked).verdict.word == word


@pytest.mark.parametrize("slice_", [{"clas": "*"}, {"class": "gone"}, {"class": "rare"}])
def test_an_expectation_of_the_users_is_never_silently_dropped(slice_):
    """A slice that does not exist, or has no value, is not met; a default over slices may be."""
    good = check(
        share(90, 100),
        share(90, 100, **{"class": "a"}),
        statistics.undefined("share", "too few", slice={"class": "rare"}),
        expect=[HIGH, {**HIGH, "slice": {"class": "*"}, "op": "not_shown_below"}],
    )
    assert judge(record(good), Policy()).verdict.word == "pass"
    policy = Policy(expect=[CheckExpectation(check="a.b", metric="share", slice=slice_, bound=0.5)])
    assert judge(record(good), policy).verdict.exit_code == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": float("nan")},
        {"low": float("-inf")},
        {"high": float("inf")},
        {"n": -1},
    ],
)
@pytest.mark.parametrize("op", [">=", "not_shown_below", "not_shown_above"])
def test_a_metric_that_is_no_finite_number_is_broken(wrong, op):
    metric = share(90 if op != "not_shown_above" else 10, 100).model_copy(update=wrong)
    judged = judge(record(check(metric, expect=[{**HIGH, "op": op}])), Policy())
    assert (judged.checks[0].state, judged.checks[0].why) == ("broken", "not_finite")
    assert judged.verdict.exit_code == 3


@pytest.mark.parametrize(
    ("k", "missing", "state"),
    [
        (90, 5, "met"),
        (90, 90, "undecided"),
        (10, 5, "failed"),
        (10, 90, "undecided"),
    ],
)
def test_what_is_left_out_counts_where_it_could_change_the_state(k, missing, state):
    """As if every row that is missing were good, and as if every one were bad."""
    rows = LeftOut(what="rows", how_many=missing, why="they hold no group")
    own = check(share(k, 100), expect=[HIGH], left_out=[rows])
    unread = record(check(share(k, 100), expect=[HIGH]), left_out=[rows])
    for judged in (judge(record(own), Policy()), judge(unread, Policy())):
        result = judged.checks[0].expectations[0]
        assert result.state == state
        assert (result.why == "left_out") == (state == "undecided")
    elsewhere = rows.model_copy(update={"metrics": ["other"]})
    judged = judge(record(check(share(k, 100), expect=[HIGH], left_out=[elsewhere])), Policy())
    assert judged.checks[0].state == ("met" if k == 90 else "failed")


@pytest.mark.parametrize(("missing", "word"), [(2, "pass"), (12, "inconclusive")])
def test_what_is_undecided_reaches_as_far_as_what_is_left_out_could_take_it(missing, word):
    """48 of 100, at most .5, tolerating .1: with 12 rows unread the truth may lie at .63."""
    rows = LeftOut(what="rows", how_many=missing, why="they could not be read")
    expect = [{**HIGH, "op": "not_shown_above", "tolerates": 0.1}]
    judged = judge(record(check(share(48, 100), expect=expect, left_out=[rows])), Policy())
    assert judged.checks[0].state == "undecided"
    assert judged.verdict.word == word


def test_a_number_that_cannot_be_bounded_is_undecided_where_something_is_left_out():
    gap = statistics.mean("gap", np.r_[np.zeros(50), np.full(50, 0.02)])
    group = LeftOut(what="groups", how_many=1, why="nobody in it has the positive label")
    expect = [{"metric": "gap", "op": "not_shown_above", "bound": 0.5, "severity": "high"}]
    judged = judge(record(check(gap, expect=expect, left_out=[group])), Policy())
    assert judged.checks[0].state == "undecided"
    assert judged.verdict.exit_code == 3
    # A group that is missing from a largest gap can only make it larger: what failed has failed.
    worse = group.model_copy(update={"only_worse": True})
    expect[0]["bound"] = 0.001
    judged = judge(record(check(gap, expect=expect, left_out=[worse])), Policy())
    assert judged.checks[0].state == "failed"


def test_a_record_of_version_1_is_read_and_judged_anew(tmp_path):
    """What it called passed because the interval straddled the bound is undecided."""
    document = json.loads(
        record(
            check(share(48, 100), expect=[{**HIGH, "op": "not_shown_above", "tolerates": 0.0}])
        ).to_json()
    )
    document |= {"schema_version": 1}
    for key in ("left_out", "findings"):
        del document[key]
    for part in document["checks"]:
        for key in (
            "state",
            "why",
            "core",
            "left_out",
            "explained_by",
            "conclusion",
            "conclusions",
        ):
            del part[key]
        part |= {"outcome": "passed", "per_sample": part.pop("per_unit"), "findings": []}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(document))
    read = read_record(path)
    assert isinstance(read.checks[0], CheckRecord)
    assert read.checks[0].state == "undecided"
    assert read.verdict.exit_code == 3
    assert "version 1" in read.verdict.notes[-1]
