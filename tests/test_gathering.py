"""A notebook hands over what it has: loaders, datasets, frames."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import audit
from audit.errors import AuditError

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def forward(self, a, b):
        return self.layer(torch.cat([a, b], 1))


class Named(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, i):
        return {"b": X[i, :2], "a": X[i], "labels": Y[i]}


@pytest.mark.parametrize(
    "given",
    [
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), batch_size=7),
        DataLoader([(row.numpy(), int(y)) for row, y in zip(X, Y, strict=True)], batch_size=7),
    ],
)
def test_a_dataset_and_a_loader_give_inputs_and_labels(given):
    subject = audit.Subject(nn.Linear(3, 2), given)
    assert torch.allclose(subject.inputs, X)
    assert torch.equal(subject.labels, Y)


def test_a_dataset_of_named_inputs_is_passed_by_name():
    subject = audit.Subject.from_loader(model := Two(), DataLoader(Named(), batch_size=8))
    assert torch.equal(subject.logits(subject.inputs), model(X, X[:, :2]))
    assert torch.equal(subject.labels, Y)


def test_a_tuple_of_inputs_is_passed_as_the_forward_orders_them():
    loader = DataLoader(TensorDataset(X, X[:, :2], Y), batch_size=8)
    subject = audit.Subject.from_loader(model := Two(), loader, train=loader)
    assert torch.equal(subject.logits(subject.inputs), model(X, X[:, :2]))
    assert subject.training_n == 60


def test_batches_of_several_lengths_are_filled_up_and_it_is_said():
    short, long = torch.ones(4, 5, 2), torch.ones(4, 7, 2)

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x).mean(1)

    batches = [(short, torch.zeros(4).long()), (long * 0.5, torch.ones(4).long())]
    subject = audit.Subject.from_loader(Mean(), batches, input={"kind": "sequence"})
    assert subject.inputs.shape == (8, 7, 2)
    assert not bool(subject.inputs[:4, 5:].any())
    assert any("filled up with zeros to [7, 2]" in note for note in subject.notes)


def test_a_loader_without_labels():
    subject = audit.Subject.from_loader(
        nn.Linear(3, 2), DataLoader(TensorDataset(X)), labels=False, task="binary"
    )
    assert not subject.has_labels


def test_what_is_no_tensor_is_told():
    with pytest.raises(AuditError, match="yields list as 'labels'"):
        audit.Subject.from_loader(nn.Linear(3, 2), [(X, ["a"] * 60)])


def test_a_frame_keeps_its_columns_names():
    frame = pd.DataFrame(X.numpy(), columns=["age", "income", "debt"])
    subject = audit.Subject(nn.Linear(3, 2), frame, Y)
    assert [f.name for f in subject.features] == ["age", "income", "debt"]
    labelled = audit.Subject(nn.Linear(3, 2), frame.assign(target=Y.numpy()))
    assert torch.equal(labelled.labels, Y)
    assert np.allclose(labelled.inputs.numpy(), X.numpy())
