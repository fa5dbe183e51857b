"""What is told follows from the states: words, counts and signs agree in every report."""

import re

import pytest

from audit.entrypoints import reporter
from audit.judge import Policy, judge
from audit.record import STATES
from audit.reports.html import SIGNS

# Words that judge: they belong to conclusions, which the state alone selects.
JUDGING = re.compile(
    r"\b(?:should (?:not )?be|passes every|reliable|rely on|believed?|sound|acceptable|suspected|"
    r"fails?|failed|passe[sd]|too sure|overconfident|underconfident|is fine|no worse|robust against)\b",
    re.IGNORECASE,
)
HOPEFUL = re.compile(r"\b(?:passed|are sound|no more than)\b", re.IGNORECASE)


@pytest.fixture(params=["digits_record", "adult_record"])
def audited(request):
    return request.getfixturevalue(request.param)


def test_no_answer_judges(audited):
    """The answer is what was measured; what follows from it is the conclusion, and the state's."""
    for check in audited.checks:
        assert not JUDGING.search(check.answer), (check.id, check.answer)


def test_no_conclusion_is_hopeful_unless_the_state_is_met(audited):
    told = [c for c in audited.checks if c.conclusions]
    assert told
    for check in told:
        assert check.conclusion == "" or check.state in check.conclusions
        if check.state == "met":
            assert check.conclusion
        else:
            assert not HOPEFUL.search(check.conclusion), (check.id, check.conclusion)
        assert "{" not in check.conclusion


def test_a_state_that_is_forced_changes_the_words_with_it(audited):
    """Each check, pushed into each state by a bound of the user's, says what that state says."""
    for check in audited.checks:
        if not check.conclusions or not check.expectations:
            continue
        for state in STATES:
            forced = audited.model_copy(deep=True)
            for e in forced.check(check.id).expectations:
                e.state = state
            one = forced.check(check.id)
            one.state = state
            from audit.judge.findings import conclusion

            said = conclusion(one)
            assert (said != "") == (state in check.conclusions)


def test_every_report_has_the_counts_and_the_signs_of_the_states(audited):
    counts = audited.verdict.counts
    states = [e.state for c in audited.checks for e in c.expectations]
    assert sum(counts.values()) <= len(states)  # trials that are not told of count nowhere
    html, text = reporter("html").render(audited), reporter("console").render(audited)
    for state, word in (("met", "met"), ("undecided", "undecided"), ("failed", "failed")):
        assert f"<b>{counts[state]}</b> {word}" in html
        assert f"{counts[state]} {word}" in text
    for check in audited.checks:
        place = html.find(f'<h3 id="{check.id}">')
        if place > 0:
            badge = html[place : place + 900]
            assert (
                f'class="badge {check.state}"><span aria-hidden="true">{SIGNS[check.state]}'
                in badge
            )


def test_the_same_record_judged_again_tells_the_same(audited):
    again = judge(audited, Policy.of(audited.policy))
    assert again.verdict == audited.verdict
    assert [c.conclusion for c in again.checks] == [c.conclusion for c in audited.checks]


def test_no_default_bound_is_undecidable_where_the_number_is_as_good_as_can_be(audited):
    """0 of 128 against .01 says nothing of any model: such a bound can never be met."""
    for check in audited.checks:
        for e in check.expectations:
            metric = next(
                (m for m in check.metrics if (m.name, m.slice) == (e.metric, e.slice)), None
            )
            if e.source != "default" or metric is None or "successes" not in metric.sufficient:
                continue
            ends = metric.edges or (None, None)
            best = ends[1] if e.op in (">=", "not_shown_below") else ends[0]
            if e.state == "undecided" and metric.value == best:
                # A small group may be too small; a sample that the check itself draws may not.
                assert metric.slice.keys() & {"group", "class", "by"}, (check.id, e.metric, e.slice)
