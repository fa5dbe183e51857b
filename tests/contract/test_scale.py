"""At the width that people bring every check stays within its memory, and the passes it declared.

Here the checks that cost little; `make contract` asks all of them (`benchmarks/scale.py` prints what
each takes).
"""

import os

import pytest

import audit
from audit.checks.imbalance.classes import Classes
from audit.entrypoints import reporter
from audit.registry import registry
from audit.testing import CLASSES, GROUPS, OVERRUN, WIDE, spent, wide_subject

WHOLE = os.environ.get("CONTRACT") == "all"
MEGABYTES = 2048  # beyond what the process held before
# How often a check asks for evidence: below every width, so that what is asked once a class is seen.
ASKED = 150
RECORD, REPORT = 5_000_000, 1_000_000
SHORT = {
    "classes": ["calibration.reliability", "imbalance.classes", "performance.classification"],
    "words": ["performance.classification", "robustness.typos"],
    "columns": ["data.duplicates", "robustness.noise"],
    "pixels": ["data.duplicates", "privacy.membership"],
    "groups": ["fairness.groups"],
    "steps": ["interpretability.shap"],
}


@pytest.fixture(scope="module", params=WIDE)
def wide(request):
    return request.param, wide_subject(request.param)


def test_checks_stay_within_memory_and_declared_passes(wide):
    what, subject = wide
    for check in sorted(registry().checks) if WHOLE else SHORT[what]:
        took = spent(check, subject)
        if took.told.startswith("does not apply"):
            assert WHOLE
            continue
        assert not took.told, (check, took.told)
        assert took.megabytes <= MEGABYTES, (check, took)
        assert took.passes <= OVERRUN * took.declared, (check, took)
        assert took.asked <= ASKED < GROUPS, (check, took)
        assert took.size <= RECORD, (check, took)


@pytest.mark.parametrize(
    ("what", "check"), [("classes", "imbalance.classes"), ("groups", "fairness.groups")]
)
def test_a_record_and_a_report_of_many_stay_small_and_say_what_they_leave_out(what, check):
    record = audit.run(wide_subject(what), [check], profile="quick")
    report = reporter("html").render(record)
    assert len(record.model_dump_json()) < RECORD
    assert len(report) < REPORT
    assert "they are in the record" in report


def test_answers_that_are_asked_for_once_a_class_are_told(monkeypatch):
    """They cost no pass after the first time, and yet all samples times all classes each time."""

    class Forgetful(Classes):
        def examine(self, context):
            for _ in context.subject.classes:
                context.predictions()
            return super().examine(context)

    subject = wide_subject("classes")
    once = spent("imbalance.classes", subject)
    monkeypatch.setattr("audit.testing.build_check", lambda *_: Forgetful())
    relapsed = spent("imbalance.classes", subject)
    assert once.passes == relapsed.passes
    assert once.asked <= ASKED
    assert relapsed.asked == once.asked + CLASSES


def test_memory_that_a_check_takes_is_told(monkeypatch):
    class Greedy:
        id = "custom.greedy"

        def applies(self, subject):
            self.held = b"x" * (300 << 20)

        def cost(self, subject):
            return audit.checking.Cost()

        def measure(self, subject):
            return audit.Measurement(answer="done")

    monkeypatch.setattr("audit.testing.build_check", lambda *_: Greedy())
    assert 290 < spent("custom.greedy", wide_subject("groups")).megabytes < 400
