"""What a check measured is measured once; of another model, seed or source it is not read."""

import copy
import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit import remembering
from audit.checking import Check, Measurement
from audit.record import Metric
from audit.seal import sealed_text, unsealed_text

ASKED = []


@pytest.fixture(autouse=True)
def nothing_is_asked_again_by_lot(monkeypatch):
    """Of what is read back one check is asked again: here it is counted what is asked otherwise."""
    monkeypatch.setattr("audit.runner.confirmed", lambda *_: True)


class Counting(Check):
    """Counts how often it is asked."""

    id = "test.counting"
    title = "How often?"
    samples: int = 20
    value: float = 0.5

    def examine(self, context):
        ASKED.append(self.samples)
        n = len(context.samples(self.samples))
        return Measurement(answer="Once.", metrics=[Metric(name="a", value=self.value, n=n)])


class Endless(Counting):
    id = "test.endless"

    def examine(self, context):
        found = super().examine(context)
        found.metrics[0].value = float("nan")
        return found


class Refusing(Counting):
    id = "test.refusing"

    def examine(self, context):
        ASKED.append(self.samples)
        raise audit.NotApplicable("not today")


class Raising(Counting):
    id = "test.raising"

    def examine(self, context):
        ASKED.append(self.samples)
        raise RuntimeError("no luck")


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(4, 2).eval()


def data(seed=0):
    return np.random.default_rng(seed).normal(size=(60, 4)).astype(np.float32)


def subject(network=None, x=None, **more):
    x = data() if x is None else x
    return audit.Subject(network or model(), x, (x[:, 0] > 0).astype(int), **more)


def asked(about, folder, check=None, **how):
    """How often it was measured in one audit."""
    before = len(ASKED)
    audit.run(about, [check or Counting()], evidence=folder, **how)
    return len(ASKED) - before


def without_clock(record):
    return record.model_dump_json(exclude={"timing", "environment"})


def test_a_second_audit_measures_nothing_and_says_the_same(tmp_path):
    records = [audit.run(subject(), [Counting()], evidence=tmp_path) for _ in range(2)]
    assert without_clock(records[0]) == without_clock(records[1])
    assert len(list((tmp_path / "measured").iterdir())) >= 1
    assert asked(subject(), tmp_path) == 0


def test_without_a_folder_nothing_is_kept():
    assert asked(subject(), None) == asked(subject(), None) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda: subject(model(1)),
        lambda: subject(x=data(1)),
        lambda: subject(sensitive={"group": ["a", "b"] * 30}),
        lambda: subject(train=(data(2), np.arange(60) % 2)),
        lambda: subject(classes=["no", "yes"]),
        lambda: subject(batch_size=7),
        lambda: subject(name="another"),
    ],
)
def test_of_another_subject_nothing_is_read(tmp_path, other):
    asked(subject(), tmp_path)
    assert asked(other(), tmp_path) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"seed": 1},
        {"profile": "quick"},
        {"examples": False},
        {"check": Counting(samples=30)},
        {"check": Counting(value=0.25)},
    ],
)
def test_asked_otherwise_nothing_is_read(tmp_path, how):
    asked(subject(), tmp_path)
    assert asked(subject(), tmp_path, **how) == 1


def test_changed_weights_are_another_subject(tmp_path):
    network = model()
    asked(subject(network), tmp_path)
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.bias += 1e-3
    assert asked(subject(changed), tmp_path) == 1


def test_a_plug_in_whose_source_changed_is_asked_again(tmp_path, monkeypatch):
    source = """
from audit import Check, Measurement, Metric

class Plugged(Check):
    id = "custom.plugged"
    title = "Which?"

    def examine(self, context):
        return Measurement(answer="{0}.", metrics=[Metric(name="a", value={0}, n=1)])
"""
    monkeypatch.syspath_prepend(tmp_path)

    def answer(number):
        for cached in (remembering.source_of, remembering.files_of, remembering.source_digest):
            cached.cache_clear()  # another process
        sys.modules.pop("plugged_for_a_test", None)
        sys.dont_write_bytecode = True
        (tmp_path / "plugged_for_a_test.py").write_text(source.format(number))
        import plugged_for_a_test

        record = audit.run(subject(), [plugged_for_a_test.Plugged()], evidence=tmp_path / "e")
        return record.check("custom.plugged").answer

    written = sys.dont_write_bytecode
    try:
        assert [answer("0.25"), answer("0.25"), answer("0.75")] == ["0.25.", "0.25.", "0.75."]
    finally:
        sys.dont_write_bytecode = written
        sys.modules.pop("plugged_for_a_test", None)


def test_what_has_no_file_is_never_kept(tmp_path):
    typed = type("Typed", (Counting,), {"id": "test.typed", "__module__": "__nowhere__"})
    assert remembering.source_of(typed) is None
    assert asked(subject(), tmp_path, typed()) == asked(subject(), tmp_path, typed()) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"id": "test.counting"}'])
def test_what_is_damaged_is_measured_again(tmp_path, damage):
    asked(subject(), tmp_path)
    for path in (tmp_path / "measured").iterdir():
        path.write_bytes(damage)
    assert asked(subject(), tmp_path) == 1


def test_what_is_of_another_check_is_measured_again(tmp_path):
    asked(subject(), tmp_path)
    for path in (tmp_path / "measured").iterdir():
        record = json.loads(unsealed_text(path, path.name))
        path.write_text(sealed_text(path.name, json.dumps(record | {"id": "robustness.pgd"})))
    assert asked(subject(), tmp_path) == 1


def test_what_was_refused_is_not_tried_again_and_what_broke_is(tmp_path):
    times = [asked(subject(), tmp_path, check()) for check in (Refusing, Raising) for _ in "12"]
    assert times == [1, 0, 1, 1]


def test_what_cannot_be_written_down_is_measured_again(tmp_path):
    assert asked(subject(), tmp_path, Endless()) == asked(subject(), tmp_path, Endless()) == 1


def test_what_shows_samples_goes_with_no_examples(tmp_path):
    asked(subject(), tmp_path)
    assert list(tmp_path.glob("*/*.samples.json"))
    asked(subject(), tmp_path, examples=False)
    assert not list(tmp_path.glob("*/*.samples.json"))
