"""Steps ahead: read where the labels go on, held against forecasts that need no model."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.errors import AuditError
from audit.methods.forecasting import last_value, overlapping, same_season, season_error

BACK, AHEAD = 24, 6


def series(n=900, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    daily = np.sin(2 * np.pi * t / 12)
    other = rng.normal(size=n).cumsum() * 0.1
    return np.stack([daily + 0.1 * rng.normal(size=n), other], 1).astype(np.float32)


def windows(values, ahead=AHEAD):
    cut = np.lib.stride_tricks.sliding_window_view(values, BACK + ahead, axis=0)
    cut = cut.transpose(0, 2, 1)
    return cut[:, :BACK].copy(), cut[:, BACK:].copy()


X, Y = windows(series())
TRAIN = slice(None, 400)
X_TRAIN, Y_TRAIN, X_TEST, Y_TEST = X[TRAIN], Y[TRAIN], X[400:], Y[400:]


class Line(nn.Module):
    """The least-squares line from the windows to some channels of what follows."""

    def __init__(self, channels=(0,), form=lambda z: z):
        super().__init__()
        x = np.c_[X_TRAIN.reshape(len(X_TRAIN), -1), np.ones(len(X_TRAIN))]
        y = Y_TRAIN[:, :, list(channels)].reshape(len(X_TRAIN), -1)
        weights = np.linalg.lstsq(x, y, rcond=1e-3)[0]
        self.line, self.form = nn.Linear(x.shape[1] - 1, y.shape[1]), form
        with torch.no_grad():
            self.line.weight.copy_(torch.tensor(weights[:-1].T))
            self.line.bias.copy_(torch.tensor(weights[-1]))

    def forward(self, x):
        return self.form(self.line(x.flatten(1)))


class Repeats(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.one * x[:, -1:, 0].expand(-1, AHEAD)


def subject_of(model, x, y, **more):
    """Series that a model flattens at once: whether time runs down or along, somebody has to say."""
    return audit.Subject(model, x, y, input={"kind": "sequence"}, **more)


def facts(subject):
    return {f.name: f for f in subject.facts}


def measured(subject):
    return audit.check("performance.forecast").measure(subject)


def test_labels_that_go_on_where_a_channel_ends_are_a_forecast():
    subject = subject_of(Line(), X_TEST, Y_TEST[:, :, 0])
    assert subject.meta.task == "forecast"
    known = facts(subject)
    assert known["task"].source == known["target channel"].source == "inferred"
    assert subject.meta.target_channel == [0]
    assert subject.meta.horizon == AHEAD


def test_all_channels_ahead_are_a_forecast_of_each():
    model = Line((0, 1), lambda z: z.unflatten(1, (AHEAD, 2)))
    subject = subject_of(model, X_TEST, Y_TEST)
    assert (subject.meta.task, subject.meta.target_channel) == ("forecast", [0, 1])
    assert subject.logits(torch.tensor(X_TEST[:3])).shape == (3, 2 * AHEAD)
    assert {"step": 6.0} in [m.slice for m in measured(subject).metrics]


def test_values_that_go_on_from_nothing_are_several_outputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, BACK, 2)).astype(np.float32)
    y = x.mean(1) @ rng.normal(size=(2, 3))
    assert subject_of(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), x, y).meta.task == (
        "regression"
    )


def test_what_may_be_either_is_asked_for():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, BACK, 2)).astype(np.float32)
    y = 0.5 * x[:, -1, :1] + 0.7 * rng.normal(size=(400, 3))
    with pytest.raises(AuditError, match=r'task = "forecast".*or task = "regression"'):
        subject_of(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), x, y)


def test_the_channel_is_asked_for_where_it_cannot_be_told():
    twins = np.repeat(X_TEST[:, :, :1], 2, 2)
    with pytest.raises(AuditError, match=r"write target_channel = 0, or another.*= \[\] where"):
        subject_of(Line(), twins, Y_TEST[:, :, 0], task="forecast")
    given = subject_of(Line(), twins, Y_TEST[:, :, 0], task="forecast", target_channel=1)
    assert given.meta.target_channel == [1]
    with pytest.raises(AuditError, match="input has 2 channels and the model forecasts 1"):
        subject_of(Line(), twins, Y_TEST[:, :, 0], task="forecast", target_channel=5)


@pytest.mark.parametrize("given", [{}, {"task": "forecast"}])
def test_quantiles_are_refused_by_name(given):
    model = Line(form=lambda z: torch.stack([z - 1, z, z + 1], -1))
    with pytest.raises(
        AuditError, match=r"3 values for each step \(quantiles\?\).*out\[\.\.\., 1\]"
    ):
        subject_of(model, X_TEST, Y_TEST[:, :, 0], **given)


def test_mase_is_that_of_the_literature():
    """The example of sktime's MeanAbsoluteScaledError, and of the definition by hand."""
    past = torch.tensor([5, 0.5, 4, 6, 3, 5, 2])[None, :, None]
    true, said = torch.tensor([3, -0.5, 2, 7, 2]), torch.tensor([2.5, 0.0, 2, 8, 1.25])
    scaled = (true - said).abs().mean() / season_error(past)[0]
    assert float(scaled) == pytest.approx(0.18333333333333335)

    y = Y_TEST[:, :, 0]
    subject = subject_of(Line(), X_TEST, y, season=12)
    answers = subject.logits(torch.tensor(X_TEST)).numpy()
    own = X_TEST[:, :, 0]
    scale = np.abs(own[:, 12:] - own[:, :-12]).mean()
    found = measured(subject)
    assert found.metric("mase").value == pytest.approx(np.abs(answers - y).mean() / scale, rel=1e-5)
    rmse = np.sqrt(((answers - y)[:, 2] ** 2).mean())
    assert found.metric("rmse", step=3).value == pytest.approx(rmse, rel=1e-5)
    season = np.abs(own[:, 12 : 12 + AHEAD] - y).mean() / scale
    gain = found.metric("gain_over", against="same season")
    assert gain.value == pytest.approx(season - found.metric("mase").value, rel=1e-4)


def test_forecasts_without_a_model_know_where_shorter_series_end():
    x = torch.tensor([[1.0, 2, 3, 9, 9], [1, 2, 3, 4, 5]])[:, :, None]
    lengths = torch.tensor([3, 5])
    assert last_value(x, 2, lengths)[:, :, 0].tolist() == [[3, 3], [5, 5]]
    assert same_season(x, 3, 2, lengths)[:, :, 0].tolist() == [[2, 3, 2], [4, 5, 4]]
    assert float(season_error(x, 1, lengths)) == pytest.approx(1.0)


def test_windows_that_overlap_count_in_blocks():
    x = torch.tensor(X_TEST)
    blocks = overlapping(x, AHEAD)
    assert blocks.unique(return_counts=True)[1].max() == 2 * AHEAD
    assert (
        overlapping(x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))], 6)
        is None
    )
    found = measured(subject_of(Line(), X_TEST, Y_TEST[:, :, 0]))
    assert "windows that overlap, in" in found.answer


@pytest.mark.parametrize("model", ["good", "untrained", "repeats"])
def test_only_a_forecast_that_beats_those_without_a_model_passes(model):
    torch.manual_seed(0)
    made = {"good": Line(), "repeats": Repeats()}.get(
        model, nn.Sequential(nn.Flatten(), nn.Linear(2 * BACK, AHEAD))
    )
    subject = subject_of(made, X_TEST, Y_TEST[:, :, 0], task="forecast", target_channel=0)
    verdict = audit.run(subject, ["performance.*"]).verdict
    assert (verdict.word == "pass") == (model == "good"), verdict.reason


def test_a_target_that_is_no_channel_is_held_against_a_constant_alone():
    y = Y_TEST[:, :, 0]
    subject = subject_of(Line(), X_TEST, y, task="forecast", target_channel=[])
    found = measured(subject)
    assert [m.slice for m in found.metrics if m.name == "gain_over"] == [
        {"against": "best constant"}
    ]
    assert "MASE is undefined" in found.answer


@pytest.mark.parametrize(("held", "state"), [(0, "met"), (2, "failed")])
def test_an_input_that_reaches_into_the_horizon_is_found(held, state):
    y = Y_TEST[:, :, 0]
    x = np.concatenate([X_TEST[:, held:], Y_TEST[:, :held]], 1)
    subject = subject_of(Line(), x, y, task="forecast", target_channel=0)
    check = audit.run(subject, ["data.foresight"]).check("data.foresight")
    assert check.state == state
    if held:
        assert "last value of channel 0" in check.answer


def test_columns_of_a_table_may_be_the_steps():
    model = nn.Sequential(nn.Linear(BACK, AHEAD))
    rows = X_TEST[:, :, 0]
    subject = audit.Subject(model, rows, Y_TEST[:, :, 0], task="forecast")
    assert subject.meta.target_channel == [0]
    assert subject.kind.name == "tabular"
