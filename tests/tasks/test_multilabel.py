"""Several labels a sample: read where the labels say so, judged label by label, attacked as one answer."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import nn

import audit
from audit.checking import Context
from audit.errors import AuditError
from audit.producers.attacks import pgd

NAMES = ["red", "round", "striped"]


class Rules(nn.Module):
    """The sign of each of three features, times how sure it is; answered in some form."""

    def __init__(self, sure=4.0, form=lambda z: z):
        super().__init__()
        self.sure, self.form = nn.Parameter(torch.tensor(sure)), form

    def forward(self, x):
        return self.form(self.sure * x[:, :3])


def samples(n=400, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    p = 1 / (1 + np.exp(-x[:, :3] / noise))
    return torch.tensor(x), (rng.random((n, 3)) < p).astype(int)


def subject_of(model=None, **more):
    x, y = samples()
    return audit.Subject(model or Rules(2.0), x, y, classes=NAMES, **more)


def metrics_of(check, subject, **parameters):
    found = audit.check(check, **parameters).measure(subject).metrics
    return {(m.name, *m.slice.values()): m for m in found}


@pytest.mark.parametrize(
    ("form", "output"),
    [(lambda z: z, "logits"), (torch.sigmoid, "sigmoid")],
    ids=["logits", "sigmoid"],
)
def test_rows_of_zeros_and_ones_and_as_many_scores_are_read_as_labels(form, output):
    x, y = samples()
    subject = audit.Subject(Rules(2.0, form), x, y)
    assert (subject.meta.task, subject.meta.output) == ("multilabel", output)
    assert torch.allclose(subject.logits(x), 2 * x[:, :3], atol=1e-4)


def test_one_hot_rows_are_classes():
    x, _ = samples()
    y = np.eye(3, dtype=int)[x[:, :3].argmax(1).numpy()]
    assert audit.Subject(Rules(), x, y).meta.task == "multiclass"


def test_labels_that_are_no_yes_or_no_are_refused():
    x, y = samples()
    with pytest.raises(AuditError, match="give rows of 3 zeros and ones"):
        audit.Subject(Rules(), x, y + 1, task="multilabel")
    with pytest.raises(AuditError, match="2 names are given and the model answers with 3 labels"):
        audit.Subject(Rules(), x, y, classes=["a", "b"])


def test_its_scores_are_those_of_scikit_learn():
    x, y = samples()
    found = metrics_of("performance.multilabel", subject_of())
    said = (x[:, :3] > 0).numpy()
    assert found["label_accuracy",].value == pytest.approx((said == y).mean())
    assert found["exact_match",].value == pytest.approx((said == y).all(1).mean())
    for kind in ("micro", "macro"):
        assert found[f"{kind}_f1",].value == pytest.approx(f1_score(y, said, average=kind))
    for i, name in enumerate(NAMES):
        expected = roc_auc_score(y[:, i], x[:, i])
        assert found["auroc", name].value == pytest.approx(expected)


def test_clusters_widen_the_intervals():
    x, y = samples()
    one = subject_of()
    copies = audit.Subject(
        Rules(2.0),
        x.repeat(5, 1),
        np.tile(y, (5, 1)),
        groups=np.tile(np.arange(400), 5),
        classes=NAMES,
    )
    for name in ("label_accuracy", "micro_f1", "exact_match"):
        a, b = (metrics_of("performance.multilabel", s)[name,] for s in (one, copies))
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.2)


def test_a_model_that_knows_nothing_does_not_pass():
    x, y = samples()
    torch.manual_seed(3)
    record = audit.run(audit.Subject(nn.Linear(4, 3), x.roll(1, 0), y), ["performance.*"])
    assert record.verdict.word != "pass"


def test_a_label_that_is_told_the_wrong_way_round_is_named():
    class Turned(Rules):
        def forward(self, x):
            return super().forward(x) * torch.tensor([1.0, -1.0, 1.0])

    record = audit.run(subject_of(Turned(2.0)), ["performance.*"])
    failed = [f for f in record.findings if f.state == "failed"]
    assert any("round" in f.title and f.members[0].metric == "auroc" for f in failed)
    assert not any("striped" in f.title for f in failed)


@pytest.mark.parametrize(("sure", "accused"), [(2.0, False), (60.0, True)])
def test_the_probability_of_a_label_is_held_against_how_often_it_is_true(sure, accused):
    record = audit.run(subject_of(Rules(sure)), ["calibration.labels"])
    states = {
        e.state for e in record.check("calibration.labels").expectations if e.severity == "high"
    }
    assert ("failed" in states) == accused
    assert accused or states == {"met"}


def test_an_attack_wins_where_any_label_turns():
    x, y = samples()
    subject = subject_of(input={"kind": "tabular", "eps": 0.1})
    rows = np.arange(len(x))
    found = Context.of(subject).evidence(
        pgd, rows, eps=0.1, steps=10, restarts=1, random_start=True
    )
    right = ((x[:, :3] > 0).numpy() == y).all(1)
    spread = x.std(0)[:3].numpy()
    nearest = (np.abs(x[:, :3].numpy()) / spread).min(1)
    clear = right & (np.abs(nearest - 0.1) > 1e-3)  # what lies on the edge may go either way
    assert clear.sum() > 150
    assert np.array_equal(found["broken"].numpy()[clear], nearest[clear] < 0.1)


def test_a_group_that_is_served_worse_is_named():
    x, y = samples(800)
    group = np.where(np.arange(800) % 4 == 0, "b", "a")
    y[group == "b"] = 1 - y[group == "b"]
    subject = audit.Subject(Rules(2.0), x, y, sensitive={"origin": group}, classes=NAMES)
    record = audit.run(subject, ["fairness.*"])
    assert record.check("fairness.groups").state == "failed"
    assert "for b" in record.findings_of("fairness.groups")[0].what_happened


def test_an_explanation_is_of_one_label():
    subject = subject_of()
    answers = subject.logits(subject.inputs[:8])
    target = torch.arange(8) % 3
    assert torch.equal(
        subject.task.explained(subject, answers, target), answers[torch.arange(8), target]
    )


def test_answers_that_are_no_numbers_are_wrong_on_every_label():
    x, y = samples()

    class Lost(Rules):
        def forward(self, x):
            return torch.where(x[:, 3:] > 0, float("nan"), super().forward(x))

    subject = audit.Subject(Lost(2.0), x, y)
    found = metrics_of("performance.multilabel", subject)
    lost = (x[:, 3] > 0).numpy()
    said = (x[:, :3] > 0).numpy()
    assert found["label_accuracy",].value == pytest.approx(((said == y) & ~lost[:, None]).mean())
