"""Where time runs in samples is told by the layer that they come to first, and asked for where it is not."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.errors import AuditError
from audit.inputs import InputKind


class Reshaped(nn.Module):
    """What a network is given, in the form that its first layer takes."""

    def __init__(self, form, layer, width):
        super().__init__()
        self.form, self.layer, self.head = form, layer, nn.Linear(width, 2)

    def forward(self, x):
        made = self.layer(self.form(x))
        made = made[0] if isinstance(made, tuple) else made
        return self.head(made.flatten(2).mean(2) if "Conv" in repr(self.layer) else made[:, -1])


def same(x):
    return x


def transposed(x):
    return x.transpose(1, 2)


def one_channel(x):
    return x[:, None]


def padded(x):
    return nn.functional.pad(x[:, None], (8, 8))


def upright(x):
    return x[:, None, :, None]


def one_feature(x):
    return x[:, :, None]


def flat():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(2))


def conv(channels):
    return nn.Conv1d(channels, 4, 3)


TABLE = [
    # samples, network → kind
    ((64,), lambda: Reshaped(one_channel, conv(1), 4), "signal"),
    ((1, 64), lambda: Reshaped(same, conv(1), 4), "signal"),
    ((64,), lambda: Reshaped(padded, conv(1), 4), "signal"),
    ((64,), lambda: Reshaped(upright, nn.Conv2d(1, 4, (3, 1)), 4), "signal"),
    ((5, 64), lambda: Reshaped(same, conv(5), 4), "signal"),
    ((64, 5), lambda: Reshaped(transposed, conv(5), 4), "sequence"),
    ((64, 5), lambda: Reshaped(same, nn.LSTM(5, 4, batch_first=True), 4), "sequence"),
    ((64, 5), lambda: Reshaped(same, nn.Linear(5, 4), 4), "sequence"),
    ((1, 64), lambda: Reshaped(same, nn.Linear(64, 4), 4), "signal"),
    ((1, 64), flat, "signal"),
    ((64, 1), flat, "sequence"),
    ((64,), lambda: nn.Linear(64, 2), "tabular"),
    ((5, 64), lambda: Reshaped(same, nn.Sequential(nn.BatchNorm1d(5), conv(5)), 4), "signal"),
]


@pytest.mark.parametrize(("shape", "network", "kind"), TABLE)
def test_the_first_layer_tells_where_time_runs(shape, network, kind):
    x = torch.randn(40, *shape)
    model = network()
    model(x[:2])
    subject = audit.Subject(model, x, torch.arange(40) % 2)
    assert subject.meta.input.kind == kind


def test_what_is_flattened_at_once_may_run_either_way_and_is_asked_for():
    x = torch.randn(40, 7, 5)
    model = flat()
    model(x[:2])
    with pytest.raises(AuditError, match=r"sequence.*signal.*\[subject.input\] kind"):
        audit.Subject(model, x, torch.arange(40) % 2)
    subject = audit.Subject(model, x, torch.arange(40) % 2, input={"kind": "signal"})
    assert subject.kind.extents(subject) == (5,)


def test_padding_tells_where_time_runs():
    x = torch.rand(60, 5, 9) + 0.1
    ends = torch.arange(9)[None, None] >= (torch.arange(60) % 5 + 4)[:, None, None]
    x = x.masked_fill(ends, 0)
    for inputs, kind in ((x, "signal"), (x.transpose(1, 2), "sequence")):
        model = flat()
        model(inputs[:2])
        subject = audit.Subject(model, inputs, torch.arange(60) % 2)
        assert subject.meta.input.kind == kind


FORMS = [("sequence", (12, 3)), ("signal", (3, 12)), ("signal", (12,))]


def subject_of(kind, shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, *shape, generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 2))
    return audit.Subject(model, x, torch.arange(60) % 2, input={"kind": kind})


@pytest.mark.parametrize(("kind", "shape"), FORMS)
def test_time_is_shifted_and_channels_are_not(kind, shape):
    subject = subject_of(kind, shape)
    x = subject.inputs
    later = subject.kind.displacements(subject, 0, 0.1, 3)[0](x)
    steps = subject.kind.steps(x)
    assert later.shape == x.shape
    moved = subject.kind.steps(later)
    assert torch.equal(moved[:, 1:], steps[:, :-1]) or torch.equal(moved[:, :-1], steps[:, 1:])


@pytest.mark.parametrize(("kind", "shape"), FORMS)
def test_a_channel_is_missing_at_every_step(kind, shape):
    from audit.methods.interventions import fill

    subject = subject_of(kind, shape)
    x = subject.inputs.clone()
    feature, _ = subject.kind.fillings(subject)[0]
    fill(subject, x, feature, "zero")
    steps = subject.kind.steps(x)
    assert bool((steps[:, :, 0] == 0).all())
    assert torch.equal(steps[:, :, 1:], subject.kind.steps(subject.inputs)[:, :, 1:])


@pytest.mark.parametrize(("kind", "shape"), FORMS)
def test_a_part_is_a_stretch_of_time_of_some_channels(kind, shape):
    subject = subject_of(kind, shape)
    parts = subject.kind.parts(subject)
    assert parts.member.shape == shape
    cells = subject.kind.steps(parts.member[None])[0]
    assert bool((cells[1:] >= cells[:-1]).all())  # within a channel later steps are later parts
    assert int(parts.member.max()) + 1 == parts.count


@pytest.mark.parametrize(("kind", "shape"), FORMS)
def test_padding_is_the_end_that_series_share(kind, shape):
    like = subject_of(kind, shape)
    x = like.inputs.clone()
    steps = like.kind.steps(x).clone()
    lengths = torch.arange(60) % 6 + 5
    for row, length in enumerate(lengths.tolist()):
        steps[row, length:] = 0
    x = like.kind.samples(steps, x)
    subject = audit.Subject(like.core, x, torch.arange(60) % 2, input={"kind": kind})
    pads = subject.padding(x)
    assert pads.shape == x.shape
    counted = subject.kind.steps(pads)[:, :, 0].sum(1)
    assert torch.equal(counted, like.kind.steps(x).shape[1] - lengths)


@pytest.mark.parametrize(("kind", "shape"), FORMS)
def test_drawn_with_time_to_the_right(kind, shape):
    subject = subject_of(kind, shape)
    drawn = subject.kind.tile(subject, subject.inputs[0].numpy())
    channels = 1 if len(shape) == 1 else 3
    assert drawn.shape == (channels, 12)
    assert np.array_equal(drawn[0], subject.kind.steps(subject.inputs[:1])[0, :, 0].numpy())


def test_a_kind_without_neighbours_has_no_extents():
    subject = subject_of("sequence", (12, 3))
    with pytest.raises(audit.NotApplicable, match="without space or time"):
        InputKind.extents(subject.kind, subject)
