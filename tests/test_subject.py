"""What is inferred, from every kind of output; and a sentence for bad data."""

import doctest

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.errors import AuditError
from audit.methods.attacks.ascent import ascent
from audit.producers.budgets import budget

from .conftest import image_data, table_data


class Ends(nn.Module):
    """A linear model whose answer passes through a function."""

    def __init__(self, classes, function):
        super().__init__()
        self.linear = nn.Linear(4, classes)
        self.function = function
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, classes)[:, None] * torch.ones(4))
            self.linear.bias.zero_()

    def forward(self, x):
        return self.function(self.linear(x))


@pytest.mark.parametrize(
    ("classes", "function", "output", "task"),
    [
        (3, lambda z: z, "logits", "multiclass"),
        (3, lambda z: torch.softmax(z, 1), "probabilities", "multiclass"),
        (3, nn.Softmax(dim=1), "probabilities", "multiclass"),
        (3, lambda z: torch.log_softmax(z, 1), "log_probabilities", "multiclass"),
        (2, lambda z: z, "logits", "binary"),
        (1, lambda z: z, "logits", "binary"),
        (1, lambda z: z[:, 0], "logits", "binary"),
        (1, torch.sigmoid, "sigmoid", "binary"),
        (3, lambda z: (z, z.sum()), "logits", "multiclass"),
        (3, lambda z: {"logits": z}, "logits", "multiclass"),
    ],
)
def test_outputs_are_told_apart(classes, function, output, task):
    x, _ = table_data(200)
    y = np.arange(200) % max(classes, 2)
    subject = audit.Subject(Ends(classes, function), x * 3, y)
    assert subject.meta.output == output
    assert subject.meta.task == task
    inferred = {f.name for f in subject.facts if f.source == "inferred"}
    assert {"output", "task", "input kind"} <= inferred
    assert all(f.reason for f in subject.facts if f.source == "inferred")
    reference = audit.Subject(Ends(classes, lambda z: z), x * 3, y)
    a = subject.logits(subject.inputs).softmax(1)
    assert torch.allclose(a, reference.logits(reference.inputs).softmax(1), atol=1e-5)


@pytest.mark.parametrize("function", [lambda z: torch.softmax(z, 1), nn.Softmax(1), torch.sigmoid])
def test_a_saturated_softmax_keeps_its_gradient(function):
    """At z = 200 the softmax is exactly 1 in float32 and its logarithm has no gradient."""
    x, y = table_data(100)
    one = function is torch.sigmoid
    model = Ends(1 if one else 2, lambda z: function(200 * z))
    subject = audit.Subject(model, x, y)
    batch, labels = subject.batch(range(100))
    found = ascent(subject.logits, batch, labels, budget(subject, 5.0), steps=20, step=0.2)
    assert (found.zero_gradient.float().mean()) < 0.9
    point = batch.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(subject.logits(point)[:, -1].sum(), point)
    assert (gradient != 0).all()


def test_regression_is_recognised_and_classifiers_checks_do_not_apply():
    x, _ = table_data(100)
    subject = audit.Subject(Ends(1, lambda z: z), x, x.sum(1))
    assert subject.meta.task == "regression"
    with pytest.raises(audit.NotApplicable, match="regression"):
        audit.check("performance.classification").measure(subject)


def test_preprocess_lives_inside_the_subject(cnn):
    from .conftest import image_data

    x, y = image_data(60)
    plain = audit.Subject(cnn, x, y)
    scaled = audit.Subject(
        cnn,
        (x * 255).transpose(0, 2, 3, 1),
        y,
        input={"range": (0, 255), "preprocess": {"scale": "1/255", "channels": "last"}},
    )
    assert torch.allclose(plain.logits(plain.inputs), scaled.logits(scaled.inputs), atol=1e-4)
    found = audit.check("robustness.fgsm", eps=8).measure(scaled)
    other = audit.check("robustness.fgsm", eps=8 / 255).measure(plain)
    assert found.metric("robust_accuracy", eps=8.0).value == pytest.approx(
        other.metric("robust_accuracy", eps=8 / 255).value, abs=0.02
    )
    model = audit.Subject(cnn, x, y, input={"preprocess": {"mean": [0.5], "std": [0.25]}})
    expected = cnn((torch.tensor(x) - 0.5) / 0.25)
    assert torch.allclose(model.logits(model.inputs), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, :3], y), "does not accept the data: on samples of shape"),
        (
            lambda x, y: (x, np.arange(len(y)) % 3 + 1),
            "Labels run from 1 to 3 and the model has 2 classes",
        ),
        (lambda x, y: (np.where(np.eye(len(x), 4) == 1, np.nan, x), y), "samples hold NaN or Inf"),
        (lambda x, y: (x[:1], y[:1]), "hold 1 sample;"),
        (lambda x, y: (x[:0], y[:0]), "hold 0 samples;"),
        (lambda x, y: (x.astype(str), y), "where numbers are due"),
        (lambda x, y: (x, y[:-1]), "599 labels"),
        (
            lambda x, y: (x, np.array(["a"] * len(y))),
            r'labels are names .a.*write classes = \["a"\]',
        ),
        (lambda x, y: (x[:, 0], y), "a first axis of samples"),
        (lambda x, y: (x * 0 + 3e38, y), "NaN or Inf"),
    ],
)
def test_bad_data_get_a_sentence(change, message):
    x, y = change(*table_data())
    with pytest.raises(AuditError, match=message):
        audit.Subject(Ends(2, lambda z: z), x, y)


def test_sensitive_of_the_wrong_length(table):
    with pytest.raises(AuditError, match=r"sensitive column 'sex' has shape \[3\]"):
        audit.Subject(table.core, table.inputs, table.labels, sensitive={"sex": ["a", "b", "c"]})


def test_a_class_that_never_occurs_is_noted():
    x, y = table_data()
    subject = audit.Subject(Ends(3, lambda z: z), x, y)
    assert "1 of 3 classes never occur" in subject.notes[0]


def test_unknown_words_about_a_subject():
    x, y = table_data()
    with pytest.raises(AuditError, match="taks"):
        audit.Subject(Ends(2, lambda z: z), x, y, taks="binary")


def test_the_favourable_class_is_one_of_the_classes():
    x, y = table_data()
    model = Ends(2, lambda z: z)
    named = audit.Subject(model, x, y, classes=["refused", "granted"], favourable="granted")
    assert named.meta.favourable == "granted"
    assert any(f.name == "favourable class" and f.source == "given" for f in named.facts)
    assert audit.Subject(model, x, y, favourable=1).meta.favourable == "1"
    with pytest.raises(AuditError, match="'yes' is not among the classes"):
        audit.Subject(model, x, y, favourable="yes")
    with pytest.raises(AuditError, match="two classes are called 'no'"):
        audit.Subject(model, x, y, classes=["no", "no"])


def test_predictions_are_computed_once(table):
    calls = 0
    forward = table.core.forward

    def counted(x):
        nonlocal calls
        calls += len(x)
        return forward(x)

    table.core.forward = counted
    context = Context.of(table)
    for check in ("performance.classification", "imbalance.classes", "calibration.reliability"):
        audit.check(check).measure(context)
    assert calls == table.n


def test_bytes_and_whole_numbers_become_floats_and_tokens_stay_whole(cnn):
    from .conftest import image_data

    x, y = image_data(60)
    pictures = audit.Subject(
        cnn,
        (x * 255).astype(np.uint8),
        y,
        input={"range": (0, 255), "preprocess": {"scale": "1/255"}},
    )
    assert pictures.inputs.dtype == torch.float32
    assert pictures.kind.name == "image"
    counts = np.random.default_rng(0).integers(0, 9, (60, 4))
    assert audit.Subject(Ends(2, lambda z: z), counts, y % 2).kind.name == "tabular"

    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.EmbeddingBag(10, 2)

        def forward(self, x):
            return self.embedding(x)

    text = audit.Subject(Text(), counts, y % 2)
    assert text.kind.name == "tokens"
    record = audit.run(text, profile="quick")
    outcomes = {c.id: c.state for c in record.checks}
    assert outcomes["robustness.pgd"] == outcomes["interpretability.shap"] == "untested"
    assert outcomes["performance.classification"] in ("met", "failed", "undecided")
    assert record.verdict.counts["broken"] == 0


def test_large_samples_go_in_small_batches():
    class Big(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    x = np.random.default_rng(0).random((12, 3, 128, 128), dtype=np.float32)
    subject = audit.Subject(Big(), x, np.arange(12) % 3, input={"range": (0, 1)})
    assert subject.batch_size == 85
    record = audit.run(subject, ["interpretability.lime"], profile="quick")
    assert record.verdict.counts["broken"] == 0


def test_the_users_model_stays_as_it_is():
    """It may be in the middle of its training: neither frozen, nor in eval mode, nor moved."""
    x, y = table_data(100)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    subject = audit.Subject(model, x, y)
    audit.run(subject, ["performance.*", "robustness.fgsm"], profile="quick")
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in subject.core.modules())


def test_the_record_names_the_training_data(cnn):
    x, y = image_data(60)
    plain = audit.Subject(cnn, x, y, input={"range": (0, 1)}).summary()
    assert plain.training_n == 0
    assert not plain.training_digest
    given = audit.Subject(cnn, x, y, train=(x[:40], y[:40]), input={"range": (0, 1)}).summary()
    other = audit.Subject(cnn, x, y, train=(x[1:41], y[1:41]), input={"range": (0, 1)}).summary()
    assert given.training_n == 40
    assert given.training_digest not in ("", other.training_digest, given.data_digest)


def test_training_data_are_held_to_the_evaluation_data():
    x, y = table_data(60)
    model = Ends(2, lambda z: z)
    with pytest.raises(AuditError, match="training data have samples of shape"):
        audit.Subject(model, x, y, train=(x[:, :3], y))
    with pytest.raises(AuditError, match="Training labels run from 0 to 7"):
        audit.Subject(model, x, y, train=(x, y * 7))
    subject = audit.Subject(model, x, y, train=(x.astype(np.float64), y.astype(float)))
    assert subject.training.inputs.dtype == torch.float32
    assert subject.training.labels.dtype == torch.int64
    assert subject.training_n == 60
    assert subject.training_digest() == audit.Subject(model, x, y).data_digest()


def test_a_regression_has_a_tolerance_and_an_anomaly_score_a_threshold():
    x, _ = table_data(200)
    value = audit.Subject(Ends(1, lambda z: z), x, x.sum(1) * 3)
    fact = next(f for f in value.facts if f.name == "tolerance")
    assert fact.source == "inferred"
    assert fact.value == pytest.approx(float(np.std(x.sum(1) * 3, ddof=1)) / 4, rel=1e-5)
    given = audit.Subject(Ends(1, lambda z: z), x, x.sum(1), tolerance=0.5)
    assert next(f for f in given.facts if f.name == "tolerance").source == "given"
    before, after = torch.zeros(3, 1), torch.tensor([[0.4], [0.6], [-0.6]])
    assert given.task.changed(given, before, after).tolist() == [False, True, True]
    score = audit.Subject(Ends(1, lambda z: z), x, np.zeros(200), task="anomaly")
    assert score.classes == ["normal", "anomaly"]
    assert float((score.logits(score.inputs).argmax(1)).float().mean()) == pytest.approx(
        0.05, abs=0.01
    )
    with pytest.raises(AuditError, match="one score"):
        audit.Subject(Ends(3, lambda z: z), x, np.zeros(200), task="anomaly")


def test_merit_is_right_or_wrong_or_how_far_off():
    x, y = table_data(60)
    classes = audit.Subject(Ends(2, lambda z: z), x, y)
    answers = torch.tensor([[2.0, 1], [0, 1]])
    assert classes.task.quality_of(classes, answers, torch.tensor([0, 0])).tolist() == [1, 0]
    value = audit.Subject(Ends(1, lambda z: z), x, x[:, 0])
    off = value.task.quality_of(value, torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0]))
    assert off.tolist() == pytest.approx([0.0, -2 / float(np.std(x[:, 0], ddof=1))], rel=1e-5)


def test_what_a_threshold_or_tolerance_would_be_made_up_from_is_refused():
    x, _ = table_data(60)
    model = Ends(1, lambda z: z)
    with pytest.raises(AuditError, match="None of the training samples is normal"):
        audit.Subject(model, x, np.zeros(60), train=(x, np.ones(60)), task="anomaly")
    with pytest.raises(AuditError, match="All labels are the same number"):
        audit.Subject(model, x, np.full(60, 3.5), task="regression")


def test_training_data_of_whole_numbers_are_held_as_the_evaluation_data_are():
    x = np.random.default_rng(0).integers(0, 9, (200, 4))
    y = (x.sum(1) > 16).astype(int)
    subject = audit.Subject(Ends(2, lambda z: z), x, y, train=(x[:100], y[:100]))
    assert subject.inputs.dtype == subject.training.inputs.dtype == torch.float32
    halves = audit.Subject(Ends(2, lambda z: z), x, y, train=(x[:100] + 0.5, y[:100]))
    assert torch.equal(halves.training.inputs, torch.tensor(x[:100] + 0.5).float())
    record = audit.run(subject, ["generalisation.gap", "privacy.membership"], profile="quick")
    assert record.verdict.counts["broken"] == 0


def test_without_data_the_network_is_whole_and_samples_are_missed_in_words():
    subject = audit.Subject(
        Ends(3, lambda z: z.softmax(1)),
        output="probabilities",
        input={"shape": [4], "preprocess": {"std": [1, 2, 1, 2]}},
    )
    x = torch.rand(5, 4)
    expected = Ends(3, lambda z: z)(x / torch.tensor([1.0, 2, 1, 2]))
    assert torch.allclose(subject.logits(x), expected, atol=1e-6)
    assert (subject.n, subject.training_n, subject.has_labels) == (0, 0, False)
    for missed in ("samples", "inputs", "labels", "moments", "whole", "clusters", "features"):
        with pytest.raises(audit.NotApplicable, match="no evaluation data are given"):
            getattr(subject, missed)
    with pytest.raises(audit.NotApplicable, match="no evaluation data are given"):
        subject.require()
    with pytest.raises(audit.NotApplicable, match="no training data are given"):
        _ = subject.training


def test_another_network_or_other_samples_bring_nothing_along_that_was_reckoned_of_the_first():
    x, y = table_data(100)
    plain = audit.Subject(
        Ends(2, lambda z: z), x, y, train=(x[:40] + 1, y[:40]), sensitive={"sex": ["a", "b"] * 50}
    )
    made = plain.derived("rounded", lambda: plain.network.copy(lambda core: None))
    assert plain.derived("rounded", lambda: None) is made
    assert plain.differentiable
    assert plain.moments.mean.abs().max() < 0.5
    blind = plain.with_network("blind", Ends(2, torch.Tensor.detach))
    assert blind.name == "Ends (blind)"
    assert blind.samples is plain.samples
    assert not blind.differentiable
    assert blind.derived("rounded", lambda: None) is None
    trained = plain.with_samples(plain.training)
    assert trained.network is plain.network
    assert (trained.n, trained.training_n, dict(trained.sensitive)) == (40, 0, {})
    assert torch.allclose(trained.moments.mean, torch.tensor(x[:40] + 1).mean(0), atol=1e-5)
    assert trained.data_digest() != plain.data_digest()


def test_the_example_of_a_subject_runs():
    found = doctest.DocTestFinder(recurse=False).find(audit.Subject, "Subject")
    assert doctest.DocTestRunner().run(found[0]) == doctest.TestResults(0, 5)
