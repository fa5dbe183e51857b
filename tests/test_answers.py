"""The answers are those of the user's own forward, on every row; NaN and infinity are none."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.outputs import decided

from .conftest import table_data

X, Y = table_data(600)


class Behind(nn.Module):
    """A linear rule, and what is done to its softmax."""

    def __init__(self, change, k=2):
        super().__init__()
        self.linear, self.change = nn.Linear(4, k), change
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[-2.0, -2, 0, 0], [2, 2, 0, 0]])[:k])
            self.linear.bias.zero_()

    def forward(self, x):
        return self.change(self.linear(x), x)


def in_place(z, x):
    p = z.softmax(1)
    p[x[:, 2] > 1] = torch.tensor([0.99, 0.01])
    return p


def renormalised(z, x):
    p = z.softmax(1) * torch.tensor([0.9, 0.1])
    return p / p.sum(1, keepdim=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda z, x: z.softmax(0),
        in_place,
        renormalised,
        lambda z, x: (3 * z).softmax(1),
        lambda z, x: z.softmax(1).clone(),
        lambda z, x: torch.where(x[:, :1] > 1, 0.5, z.softmax(1)),
        lambda z, x: z.log_softmax(0),
        lambda z, x: z.softmax(1).roll(1, 1),
    ],
)
def test_the_answers_are_those_that_were_returned(change):
    model = Behind(change)
    subject = audit.Subject(model, X, Y)
    returned = torch.cat(
        [model(part).argmax(1) for part in subject.inputs.split(subject.batch_size)]
    )
    predicted = Context.of(subject).predictions().predicted
    np.testing.assert_array_equal(predicted, returned.numpy())


def test_what_lies_behind_a_softmax_is_looked_at_only_where_it_makes_what_was_returned():
    point = torch.zeros(2, 4)
    point[:, 0] = 200.0  # there a softmax is exactly 0 and 1, and its logarithm has no gradient
    point[0, 2] = 2.0  # one row that `in_place` changes, and nothing of its batch is looked behind
    for change, moves in ((lambda z, x: z.softmax(1), True), (in_place, False), (smoothed, False)):
        subject = audit.Subject(Behind(change), X, Y)
        x = point.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(subject.logits(x)[1, 1], x)
        assert bool((gradient != 0).any()) == moves


def smoothed(z, x):
    return 0.9 * z.softmax(1) + 0.05


def test_answers_that_depend_on_their_company_fail():
    record = audit.run(
        audit.Subject(Behind(lambda z, x: z.softmax(0)), X, Y), ["performance.*"], profile="quick"
    )
    assert record.check("behaviour.determinism").state == "failed"
    assert record.verdict.exit_code == 1


def test_a_slip_of_precision_between_batches_is_no_instability():
    subject = audit.Subject(Behind(in_place), X, Y)
    found = audit.check("behaviour.determinism").measure(subject)
    assert {m.value for m in found.metrics} == {0.0}


def spoilt(z, x):
    return torch.where(x[:, 3:] > 1.5, torch.nan, z)


@pytest.mark.parametrize("what", [torch.nan, torch.inf, -torch.inf])
def test_no_number_is_no_answer_wherever_it_stands(what):
    rows = (X[:, 3] > 1.5).sum()
    assert 0 < rows < 100
    order = X[:, 3].argsort()
    subject = audit.Subject(
        Behind(lambda z, x: torch.where(x[:, 3:] > 1.5, what, z)), X[order], Y[order]
    )
    record = audit.run(subject, ["performance.classification", "calibration.*"], profile="quick")
    stable = record.check("behaviour.determinism")
    counted = next(m for m in stable.metrics if m.name == "answers_not_finite")
    assert counted.value == rows
    bound = next(e for e in stable.expectations if e.metric == "answers_not_finite")
    assert (bound.state, bound.severity) == ("failed", "critical")
    assert record.verdict.exit_code == 1
    assert "NaN" in record.verdict.reason + "".join(f.title for f in record.findings)
    accuracy = next(
        m for m in record.check("performance.classification").metrics if m.name == "accuracy"
    )
    assert accuracy.value == pytest.approx(1 - rows / 600, abs=1e-9)
    for check in record.checks:
        if check.id == "calibration.reliability":
            assert [o.how_many for o in check.left_out] == [rows]
            assert all(e.state != "met" for e in check.expectations)


def test_a_single_row_without_an_answer_is_one_too_many():
    x = X.copy()
    x[300, 3] = 50.0
    subject = audit.Subject(Behind(lambda z, x: torch.where(x[:, 3:] > 40, torch.nan, z)), x, Y)
    assert (
        audit.run(subject, ["performance.classification"], profile="quick").verdict.exit_code == 1
    )


def test_a_value_that_is_no_number_is_left_out_and_named():
    model = nn.Sequential(nn.Linear(4, 1), Spoil())
    subject = audit.Subject(model, X, X @ np.ones(4, dtype=np.float32))
    record = audit.run(subject, ["performance.regression"], profile="quick")
    check = record.check("performance.regression")
    assert all(m.value is not None and np.isfinite(m.value) for m in check.metrics)
    assert check.left_out[0].how_many > 0
    assert record.check("behaviour.determinism").state == "failed"


class Spoil(nn.Module):
    def forward(self, z):
        return torch.where(z > z.mean() + z.std(), torch.nan, z)


def test_what_attacks_find_unanswered_is_named():
    """No row lies where it fails, and small steps lead there."""
    x = X.copy()
    x[:, 3] += np.sign(x[:, 3]) * 0.3
    model = Behind(
        lambda z, x: torch.where(x[:, 3:].abs() < 0.3, torch.nan, z + 3 * x[:, 3:].flip(1))
    )
    subject = audit.Subject(model, x, Y, input={"eps": 0.5})
    found = audit.check("robustness.pgd").measure(subject)
    assert found.left_out
    assert "NaN" in found.left_out[0].why


def test_no_class_is_the_highest_of_nothing():
    rows = torch.tensor([[1.0, 2.0], [torch.nan, 1.0], [torch.inf, 1.0], [3.0, 1.0]])
    assert decided(rows).tolist() == [1, -1, -1, 0]


class Merging(nn.Module):
    """Adds its adapter to its weights on eval(), once."""

    def __init__(self, raises=None):
        super().__init__()
        self.base, self.adapter, self.merged, self.raises = (
            nn.Linear(4, 2),
            nn.Linear(4, 2),
            0,
            raises,
        )

    def eval(self):
        if self.raises:
            raise self.raises
        super().eval()
        with torch.no_grad():
            self.base.weight += self.adapter.weight
        self.merged += 1
        return self

    def forward(self, x):
        return self.base(x)


def test_eval_is_called_once_on_the_copy():
    model = Merging()
    subject = audit.Subject(model, X, Y)
    assert (model.merged, subject.core.merged) == (0, 1)
    expected = nn.functional.linear(
        subject.inputs, model.base.weight + model.adapter.weight, model.base.bias
    )
    assert torch.allclose(subject.logits(subject.inputs), expected, atol=1e-6)
    audit.run(subject, ["behaviour.determinism"], profile="quick")
    assert subject.core.merged == 1


def test_an_eval_that_raises_is_told():
    with pytest.raises(audit.AuditError, match="eval\\(\\) raised «no weights»"):
        audit.Subject(Merging(RuntimeError("no weights")), X, Y)


def test_an_exported_program_and_reparametrised_weights_are_read():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    dim = torch.export.Dim("n", min=2, max=1024)
    program = torch.export.export(net.eval(), (torch.tensor(X[:8]),), dynamic_shapes=({0: dim},))
    subject = audit.Subject(program.module(), X, Y)
    assert torch.allclose(subject.logits(subject.inputs), net(subject.inputs), atol=1e-5)
    normed = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 2)))
    normed(torch.tensor(X)).sum().backward()
    assert audit.Subject(normed, X, Y).n == 600


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_precision_of_the_weights_is_kept_and_told(dtype):
    model = nn.Linear(4, 2).to(dtype)
    subject = audit.Subject(model, X.astype(np.float64), Y)
    fact = next(f for f in subject.facts if f.name == "precision")
    assert fact.value == str(dtype).removeprefix("torch.")
    assert next(subject.core.parameters()).dtype == dtype
    held = torch.float64 if dtype == torch.float64 else torch.float32
    assert subject.inputs.dtype == held
    assert bool(subject.notes) == (dtype != torch.float64)
    expected = model(torch.tensor(X.astype(np.float64)).to(dtype))
    assert torch.equal(subject.logits(subject.inputs), expected.to(held))
