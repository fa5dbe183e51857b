"""Isolation, errors, determinism, resumption."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import audit
from audit.checking import Check, Context, Measurement
from audit.evidence import Store
from audit.ledger import Ledger
from audit.pieces import Agenda, as_text
from audit.producers.attacks import pgd
from audit.runner import Here
from audit.unharmed import condition

from .conftest import image_data, trained


def without_clock(record):
    return record.model_dump_json(exclude={"timing", "environment"})


class Raises(Check):
    id = "test.raises"
    title = "Does it raise?"

    def examine(self, context: Context) -> Measurement:
        raise RuntimeError("the disk is on fire")


class Harms(Check):
    id = "test.harms"
    title = "Does it harm?"
    how: str = "mode"

    def examine(self, context: Context) -> Measurement:
        with torch.no_grad():
            HARMS[self.how](context.subject)
        context.predictions()
        return Measurement(answer="done")


def zeros(x):
    return torch.zeros(len(x), 2)


HARMS = {
    "mode": lambda s: s.core.train(),
    "gradients": lambda s: s.core.head.weight.requires_grad_(True),
    "hook": lambda s: s.core.conv.register_forward_hook(lambda *_: None),
    "weights": lambda s: s.core.head.weight.add_(1),
    "weights through data": lambda s: s.core.head.weight.data.mul_(-1),
    "another parameter": lambda s: setattr(
        s.core.head, "weight", nn.Parameter(-s.core.head.weight)
    ),
    "no parameter": lambda s: s.core.head.register_parameter("bias", None),
    "forward": lambda s: setattr(s.core, "forward", lambda x: zeros(x)),
    "forward of a class": lambda s: setattr(type(s.core), "forward", lambda _, x: zeros(x)),
    "forward of a library's class": lambda s: setattr(
        nn.Linear, "forward", lambda layer, x: zeros(x) if layer.out_features == 2 else x
    ),
    "forward around the model": lambda s: setattr(s.network.model, "forward", zeros),
    "hook around the model": lambda s: s.network.model.register_forward_hook(lambda *a: -a[2]),
    "another module": lambda s: setattr(s.core, "head", nn.LazyLinear(2)),
    "places of samples": lambda s: s.inputs.copy_(s.inputs.flip(0)),
    "places of labels": lambda s: s.labels.copy_(s.labels.sort().values),
    "other labels": lambda s: object.__setattr__(s.samples, "labels", 1 - s.labels),
    "inputs": lambda s: s.inputs.mul_(0),
    "one input through numpy": lambda s: s.inputs.numpy().__setitem__((0, 0, 0, 0), 0.123),
    "labels": lambda s: s.labels.copy_(1 - s.labels),
    "names": lambda s: s.meta.classes.reverse(),
    "precision": lambda _: torch.set_default_dtype(torch.float64),
}


def test_a_check_that_raises_is_an_outcome_and_the_others_still_run(images):
    record = audit.run(images, [Raises(), audit.check("performance.classification")])
    assert [c.state for c in record.checks[:2]] == ["broken", "met"]
    assert "the disk is on fire (test_runner.py, line" in record.checks[0].reason
    assert record.verdict.exit_code == 3


@pytest.mark.parametrize("how", HARMS)
def test_a_check_may_not_harm_what_it_was_given(images, how, tmp_path):
    before, digest = condition(images), images.weights_digest()
    inputs, labels = images.inputs.clone(), images.labels.clone()
    honest = audit.run(images, ["performance.classification"]).check("performance.classification")
    record = audit.run(
        images, [Harms(how=how), audit.check("performance.classification")], evidence=tmp_path
    )
    assert record.checks[0].state == "broken"
    assert "the check changed" in record.checks[0].reason
    assert condition(images) == before
    assert images.weights_digest() == digest
    assert torch.equal(images.inputs, inputs)
    assert torch.equal(images.labels, labels)
    assert record.check("performance.classification").metrics == honest.metrics
    again = audit.run(images, ["performance.classification"], evidence=tmp_path)
    assert again.check("performance.classification").metrics == honest.metrics


@pytest.mark.parametrize("what", ["weights", "forward"])
def test_what_is_put_back_after_evidence_was_asked_for_is_harm_all_the_same(images, what):
    class Borrows(Check):
        id = "test.borrows"
        title = "Does it put back what it took?"

        def examine(self, context: Context) -> Measurement:
            core = context.subject.core
            if what == "weights":
                core.head.weight.data.neg_()
            else:
                core.forward = zeros
            try:
                context.predictions()
            finally:
                if what == "weights":
                    core.head.weight.data.neg_()
                else:
                    del core.forward
            return Measurement(answer="done")

    honest = audit.run(images, ["performance.classification"]).check("performance.classification")
    record = audit.run(images, [Borrows(), audit.check("performance.classification")])
    assert "then asked for evidence" in record.checks[0].reason
    assert record.check("performance.classification").metrics == honest.metrics


def test_what_was_planned_is_asked_the_same_elsewhere(images):
    """Which parameters were given is a part of it: what nobody gave gates nothing."""
    given = {"parameters": {"robustness.pgd": {"eps": 8 / 255}}, "profile": "quick"}
    planner = Here(images, **given)
    agenda = Agenda.model_validate_json(as_text(planner.agenda()))
    follower = Here(images, **given)
    follower.follow(agenda, Ledger())
    for one, two in zip(planner.planned, follower.planned, strict=True):
        assert one.check == two.check
        assert one.check.model_fields_set == two.check.model_fields_set
        assert one.most == two.most
        if not one.state:
            assert one.check.expectations(images) == two.check.expectations(images)


def test_no_check_of_ours_harms_the_model(images):
    before = condition(images)
    audit.run(images, profile="quick")
    assert condition(images) == before


def test_same_seed_same_record_byte_for_byte(images, tmp_path):
    one = audit.run(images, profile="quick", evidence=tmp_path / "a")
    two = audit.run(images, profile="quick", evidence=tmp_path / "b")
    resumed = audit.run(images, profile="quick", evidence=tmp_path / "a")
    assert without_clock(one) == without_clock(two) == without_clock(resumed)
    other = audit.run(images, profile="quick", seed=1)
    assert without_clock(other) != without_clock(one)


def test_selection_and_order_change_no_number(images):
    together = audit.run(images, profile="quick").check("robustness.pgd")
    alone = audit.run(images, ["robustness.pgd"], profile="quick").check("robustness.pgd")
    assert together == alone


def test_what_was_done_is_not_done_again(images, tmp_path):
    first = audit.run(images, profile="quick", evidence=tmp_path).timing["evidence"]
    second = audit.run(images, profile="quick", evidence=tmp_path).timing["evidence"]
    assert first["computed"] > 0
    assert second["computed"] == 0


def test_evidence_is_keyed_by_what_decides_it(images, tmp_path):
    def computed(subject, seed=0, **parameters):
        store = Store(subject, seed, tmp_path)
        store.get(pgd, np.arange(20), **{"eps": 0.1, "steps": 2, **parameters})
        return store.ledger.computed

    assert computed(images) == 1
    assert computed(images) == 0
    assert computed(images, eps=0.2) == 1
    assert computed(images, seed=1) == 1
    changed = audit.Subject(
        images.core, images.inputs + 0.001, images.labels, input={"range": (0, 1)}
    )
    assert computed(changed) == 1
    other = images.inputs.clone()
    other[100] += 0.001  # not among the samples asked for, but part of the mean that methods use
    assert computed(audit.Subject(images.core, other, images.labels, input={"range": (0, 1)})) == 1
    with torch.no_grad():
        images.core.head.bias.add_(0.5)
    try:
        same_data = audit.Subject(
            images.core, images.inputs, images.labels, input={"range": (0, 1)}
        )
        assert computed(same_data) == 1
    finally:
        with torch.no_grad():
            images.core.head.bias.sub_(0.5)


def test_damaged_evidence_is_made_again(images, tmp_path):
    Store(images, folder=tmp_path).get(pgd, np.arange(20), eps=0.1, steps=2)
    for file in (tmp_path / "pgd").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    store = Store(images, folder=tmp_path)
    store.get(pgd, np.arange(20), eps=0.1, steps=2)
    assert store.ledger.computed == 1


def test_unknown_checks_and_parameters_get_a_sentence(images):
    with pytest.raises(audit.AuditError, match=r"did you mean robustness\.pgd"):
        audit.check("robustness.pdg")
    with pytest.raises(audit.AuditError, match="no parameter 'epps'; did you mean 'eps'"):
        audit.check("robustness.pgd", epps=1)
    with pytest.raises(audit.AuditError, match="matches no check"):
        audit.run(images, ["nothing.*"])
    assert audit.check("robustness.pgd", eps="8/255").eps == pytest.approx(8 / 255)


def test_samples_are_nested_and_the_same_for_all(images):
    context = Context.of(images)
    few, more = context.samples(20), context.samples(60)
    assert set(few) < set(more)
    assert json.dumps(few.tolist()) == json.dumps(Context.of(images).samples(20).tolist())


def test_no_examples_keeps_samples_out_of_the_evidence_too(images, tmp_path):
    """Adversarial inputs and attributions show rows of the data; outcomes per sample do not."""
    checks = ["robustness.pgd", "interpretability.shap"]
    audit.run(images, checks, profile="quick", evidence=tmp_path)
    assert list(tmp_path.glob("*/*.samples.safetensors"))
    record = audit.run(images, checks, profile="quick", evidence=tmp_path, examples=False)
    assert not list(tmp_path.glob("*/*.samples.safetensors"))
    kept = {name for path in tmp_path.glob("*/*.safetensors") for name in load_file(path)}
    assert kept == {
        "logits",
        "first",
        "again",
        "broken",
        "loss_rose",
        "zero_gradient",
        "passes",
        "target",
        "error",
        "gain",
        "model_free_gain",
    }
    assert not any(f.png for c in record.checks for f in c.figures)
    plain = audit.run(images, checks, profile="quick")
    assert [c.metrics for c in record.checks] == [c.metrics for c in plain.checks]


def test_an_embedding_does_not_pass_on_its_weights_alone():
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    record = audit.run(audit.Subject(nn.Linear(4, 3), x, task="embedding"))
    assert record.check("training.weights").state == "met"
    assert record.verdict.exit_code == 3
    assert "The quality of the model was not judged" in record.verdict.reason


def test_that_the_quality_was_not_judged_is_said_of_the_task_at_hand():
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    record = audit.run(
        audit.Subject(nn.Linear(4, 3), x), ["performance.*", "behaviour.determinism"]
    )
    assert "The quality of the model was not judged: the data hold no labels." in (
        record.verdict.reason
    )
    assert record.check("performance.anomaly").why == "other_task"


class InPlace(nn.Module):
    """Writes where it reads, its input included; or, otherwise the same, does not."""

    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.conv, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.pool = nn.ReLU(inplace), nn.MaxPool2d(2)
        self.hidden, self.last, self.head = nn.Linear(64, 16), nn.ReLU(inplace), nn.Linear(16, 3)

    def forward(self, x):
        if self.inplace:
            x -= 0.5
            h = self.act(self.conv(x))
            out = self.second(h)
            out += h
        else:
            h = self.act(self.conv(x - 0.5))
            out = self.second(h) + h
        return self.head(self.last(self.hidden(self.pool(self.act(out)).flatten(1))))


def test_a_network_that_writes_in_place_is_audited_as_one_that_does_not():
    x, y = image_data(120, seed=1)
    kept = x.copy()
    plain = trained(InPlace(False), x, y)
    writing = InPlace(True)
    writing.load_state_dict(plain.state_dict())
    asked = [
        "performance.*",
        "calibration.*",
        "training.*",
        "interpretability.*",
        "behaviour.*",
        "robustness.pgd",
        "robustness.certified*",
        "robustness.patch",
    ]
    records = [
        audit.run(audit.Subject(m, x, y, input={"range": (0, 1)}), asked, profile="quick")
        for m in (plain, writing)
    ]
    assert np.array_equal(x, kept)
    one, other = ([(c.id, c.state, c.metrics) for c in r.checks] for r in records)
    assert len(one) > 12
    assert one == other
