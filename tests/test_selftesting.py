"""The self-test finds what is planted, misses what a broken check misses, and never flatters."""

import re
from pathlib import Path

import pytest

import audit
from audit.cli import main
from audit.entrypoints import zoo
from audit.errors import AuditError
from audit.registry import registry
from audit.selftesting import SelftestRecord, chosen, detect, selftest
from audit.zoo.faults import faults

# Quick ones of every way to plant: weights, training data, evaluation data, architecture.
SUBSET = [
    "dead-relu",
    "duplicated-samples",
    "masked-by-rounding",
    "swapped-classes",
    "overconfident",
    "missing-decides",
]
PROMISED = {
    "shortcut-patch",
    "backdoor-trigger",
    "target-leakage",
    "biased-labels",
    "group-starved",
    "minority-starved",
    "overconfident",
    "underconfident",
    "memorised-labels",
    "memorised-members",
    "dead-relu",
    "saturated-sigmoids",
    "zero-layer",
    "exploding-activations",
    "dropout-left-on",
    "batch-statistics",
    "wrong-scale",
    "swapped-classes",
    "nan-weights",
    "masked-by-rounding",
    "masked-by-saturation",
    "duplicated-samples",
    "int8-outlier",
    "missing-decides",
    "answers-of-company",
    "nan-rows",
    "small-group",
    "cancelling-miscalibration",
    "clustered-overconfident",
    "undecidable-gate",
}


@pytest.fixture(scope="module")
def record():
    return selftest(SUBSET)


@pytest.fixture
def brief(monkeypatch):
    """What asks all checks asks a few; `record` is of whole audits."""
    few = ["performance.classification", "imbalance.classes", "training.*"]
    monkeypatch.setattr(
        "audit.selftesting.run",
        lambda subject, checks=few, **how: audit.run(subject, checks, **how),
    )


def test_every_promised_fault_is_there_and_well_formed():
    assert set(faults()) >= PROMISED
    for name, fault in faults().items():
        assert fault.name == name
        assert bool(fault.verdict) != bool(fault.check)
        assert fault.model in zoo()
        assert fault.dose in fault.doses[1:]
        assert fault.what[0].islower()
        if fault.verdict:
            continue
        assert fault.check in registry().checks
        module = __import__(registry().checks[fault.check].__module__, fromlist=["x"])
        source = Path(module.__file__).read_text()
        # fairness makes its metrics' names of what is compared
        assert f'"{fault.metric}"' in source or fault.check == "fairness.groups"


def test_what_is_planted_is_flagged_and_nothing_else(record):
    assert [d.fault for d in record.detections] == sorted(SUBSET)
    assert record.missed == []
    assert record.false_alarms == []
    assert record.passed
    assert sorted(name for t in record.twins for name in t.twin_of) == sorted(SUBSET)
    assert len(record.twins) == 2  # one of digits-mlp, one of adult-mlp
    assert all(t.checks >= 15 for t in record.twins)
    # declared or below the gate, adult-mlp's known difference is told all the same
    adult = next(t for t in record.twins if t.model == "adult-mlp")
    assert any(a.check == "fairness.groups" and a.severity == "medium" for a in adult.alarms)


def test_a_check_that_finds_nothing_is_a_miss(brief, monkeypatch):
    from audit.checks.training.dead_units import DeadUnits

    monkeypatch.setattr(DeadUnits, "expectations", lambda self, subject: [])
    found = selftest(["dead-relu"])
    assert [d.fault for d in found.missed] == ["dead-relu"]
    assert found.missed[0].state == "untested"
    assert not found.passed


def test_a_check_that_cries_wolf_is_a_false_alarm(brief, monkeypatch):
    from audit.checks.performance.classification import Classification

    monkeypatch.setattr(
        Classification,
        "expectations",
        lambda self, subject: [
            audit.Expectation(metric="accuracy", op=">=", bound=0.999, severity="high")
        ],
    )
    found = selftest(["zero-layer"])
    assert found.missed == []
    assert [a.check for _, a in found.false_alarms] == ["performance.classification"]
    assert not found.passed


def test_a_check_that_breaks_on_a_clean_twin_is_one_too(brief, monkeypatch):
    from audit.checks.imbalance.classes import Classes

    monkeypatch.setattr(Classes, "examine", lambda self, context: 1 / 0)
    found = selftest(["zero-layer"])
    assert [a.check for _, a in found.false_alarms] == ["imbalance.classes"]


def test_the_command(here, capsys):
    assert main(["selftest", "nan-weights", "zero-layer"]) == 0
    shown = capsys.readouterr().out
    assert "2 of 2 planted faults were flagged" in shown
    assert "zero-layer" in shown
    page = (here / "audit-selftest/selftest.html").read_text()
    assert "all_zero_tensors".replace("_", " ") in page
    assert "<script" not in page
    kept = SelftestRecord.model_validate_json((here / "audit-selftest/selftest.json").read_text())
    assert kept.passed
    assert main(["selftest", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(faults())
    assert main(["selftest", "zero-lair"]) == 2
    assert "did you mean zero-layer?" in capsys.readouterr().err


def test_a_miss_is_exit_1(brief, here, monkeypatch, capsys):
    from audit.checks.training.weights import Weights

    monkeypatch.setattr(Weights, "expectations", lambda self, subject: [])
    assert main(["selftest", "nan-weights"]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_all_are_chosen_where_none_is_named():
    assert [f.name for f in chosen([])] == list(faults())
    with pytest.raises(AuditError, match="there are"):
        chosen(["quite another thing"])


def test_no_check_knows_a_fault_or_a_reference_model():
    root = Path(registry().checks["training.weights"].__module__ and __file__).parents[1]
    names = [*faults(), *zoo()]
    for path in (root / "checks").rglob("*.py"):
        text = path.read_text()
        for name in names:
            assert name not in text, (path, name)
            assert not re.search(rf"\b{name.replace('-', '_')}\b", text), (path, name)


@pytest.mark.parametrize("name", ["dead-relu", "backdoor-trigger", "dropout-left-on"])
def test_planting_is_repeatable(name):
    fault = faults()[name]
    a, b = (fault.plant(fault.dose, 3) for _ in range(2))
    assert a.weights_digest() == b.weights_digest()
    assert a.data_digest() == b.data_digest()
    assert fault.plant(fault.dose, 4).weights_digest() != a.weights_digest()


@pytest.mark.parametrize(
    ("word", "flagged"), [("pass", False), ("inconclusive", True), ("fail", True)]
)
def test_a_fault_may_ask_that_no_pass_be_given(monkeypatch, word, flagged):
    class Said:
        verdict = audit.record.VerdictRecord(
            word=word, reason="for a reason", counts={}, exit_code=0
        )

    monkeypatch.setattr("audit.selftesting.run", lambda *args, **how: Said)
    fault = faults()["undecidable-gate"]
    found = detect(fault, fault.plant(fault.dose, 0), "quick", 0, None)
    assert found.flagged == flagged
    assert found.said == "for a reason"
