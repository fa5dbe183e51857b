"""Attributions against known answers and against the libraries that define them."""

import numpy as np
import pytest
import shap as shap_library
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.methods import screening
from audit.producers import attributions
from audit.producers.attributions import (
    gradcam,
    integrated_gradients,
    lime,
    randomised_copy,
    shap,
)
from audit.producers.explanations import explanation
from audit.scores import log_odds


def test_log_odds_mean_the_same_for_one_and_two_logits():
    z = torch.tensor([[0.0, 1.7], [0.0, -0.4]])
    assert torch.allclose(log_odds(z, torch.tensor([1, 0])), torch.tensor([1.7, 0.4]))
    p = torch.softmax(torch.randn(5, 4), 1)
    target = torch.tensor([0, 1, 2, 3, 0])
    chosen = p.gather(1, target[:, None])[:, 0]
    assert torch.allclose(log_odds(p.log(), target), (chosen / (1 - chosen)).log(), atol=1e-5)


class Nested(nn.Module):
    """ReLU(ReLU(x1) − 1 − ReLU(x2)) of Sundararajan et al. 2017, as one logit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.relu(x[:, 0]) - 1 - torch.relu(x[:, 1]))[:, None]


def test_integrated_gradients_reference(monkeypatch):
    x = np.array([[3.0, 1.0], [3.0, 1.0], [0.5, 0.2]], dtype=np.float32)
    subject = audit.Subject(Nested(), x, np.array([1, 1, 0]), task="binary", output="logits")
    monkeypatch.setattr(attributions, "baseline", lambda s: torch.zeros(1, 2))
    found = Context.of(subject).evidence(integrated_gradients, np.array([0]), steps=200)
    assert found["map"][0].tolist() == pytest.approx([1.5, -0.5], abs=0.02)
    assert found["error"][0] < 0.02


def test_integrated_gradients_add_up(images):
    found = Context.of(images).evidence(integrated_gradients, np.arange(32), steps=32)
    assert found["error"].median() < 0.02
    assert torch.allclose(found["map"].flatten(1).sum(1), found["players"].sum(1), atol=1e-4)


@pytest.fixture
def mixed():
    """A table whose last feature is three one-hot columns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype(np.float32)
    x[:, 3:] = np.eye(3)[rng.integers(0, 3, 80)]
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    features = [{"name": n, "columns": [i]} for i, n in enumerate("abc")]
    features.append({"name": "d", "columns": [3, 4, 5], "kind": "categorical"})
    return audit.Subject(model, x, rng.integers(0, 2, 80), features=features)


def test_shap_is_shaps_exact_explainer(mixed):
    """All orders of four players are covered by enough permutations: equal to the exact values."""
    found = Context.of(mixed).evidence(shap, np.arange(6), permutations=400, rows=10)
    fill, parts = mixed.kind.absent(mixed, 10), mixed.kind.parts(mixed)
    for i in range(6):
        x, _ = mixed.batch([i])
        target = found["target"][[i]]

        def value(masks, x=x, target=target):
            keep = parts.expand(torch.tensor(masks, dtype=torch.bool))[:, None]
            rows = torch.where(keep, x[:, None], fill[None]).reshape(-1, 6)
            scores = log_odds(mixed.logits(rows), target.repeat(len(rows)))
            return scores.reshape(-1, len(fill)).mean(1).detach().numpy()

        masker = shap_library.maskers.Independent(np.zeros((1, 4)))
        exact = shap_library.ExactExplainer(value, masker)(np.ones((1, 4)))
        assert found["players"][i].numpy() == pytest.approx(exact.values[0], abs=0.08)
    assert found["error"].max() < 1e-3


def test_shap_of_an_additive_model_is_exact_after_one_order(table):
    found = Context.of(table).evidence(shap, np.arange(10), permutations=1, rows=20)
    x, _ = table.batch(range(10))
    centred = x - table.kind.absent(table, 20).mean(0)
    sign = torch.where(found["target"] == 1, 1.0, -1.0)[:, None]
    assert torch.allclose(found["players"][:, :2], 4 * sign * centred[:, :2], atol=1e-3)
    assert found["players"][:, 2:].abs().max() < 1e-4


def test_an_explanation_of_shap_adds_up_to_the_scores_and_starts_at_the_background(mixed):
    chosen = np.arange(12)
    found = Context.of(mixed).evidence(shap, chosen, permutations=4, rows=10)
    told = explanation(mixed, chosen, found)
    assert isinstance(told, shap_library.Explanation)
    assert told.feature_names == ["a", "b", "c", "d"]
    scores = log_odds(mixed.logits(mixed.inputs[:12]), found["target"]).detach().numpy()
    assert told.values.sum(1) + told.base_values == pytest.approx(scores, abs=1e-4)
    assert told.data[:, :3] == pytest.approx(mixed.inputs[:12, :3].numpy(), abs=1e-6)
    assert told[:, "a"].values == pytest.approx(found["players"][:, 0].numpy())
    # What nothing stands for is what the model says of the background alone.
    fill = mixed.kind.absent(mixed, 10)
    for i in range(12):
        alone = log_odds(mixed.logits(fill), found["target"][[i]].repeat(10)).mean()
        assert told.base_values[i] == pytest.approx(float(alone), abs=1e-4)


def test_lime_is_limes_regression_and_finds_a_linear_model(table):
    found = Context.of(table).evidence(lime, np.arange(1, 9), draws=2000, rows=1)
    # One background row: the surrogate of a linear model is the model's own change.
    x, _ = table.batch(range(1, 9))
    change = x - table.kind.absent(table, 1)
    sign = torch.where(found["target"] == 1, 1.0, -1.0)[:, None]
    assert found["fidelity"].min() > 0.99
    assert torch.allclose(found["players"][:, :2], 4 * sign * change[:, :2], atol=0.1)


class Channels(nn.Module):
    """The class is the channel with more light: the right place to look is that channel's light."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 40 * self.conv(x).mean((2, 3))


def test_gradcam_looks_where_the_answer_is():
    rng = np.random.default_rng(0)
    x, y = np.zeros((60, 3, 8, 8), dtype=np.float32), np.arange(60) % 3
    corner = rng.integers(0, 2, (60, 2)) * 4
    for i, (r, c) in enumerate(corner):
        x[i, y[i], r : r + 4, c : c + 4] = 1.0
        x[i, (y[i] + 1) % 3, 4 - r : 8 - r, 4 - c : 8 - c] = 0.6  # light that speaks against it
    subject = audit.Subject(Channels(), x, y, input={"range": (0, 1)})
    found = Context.of(subject).evidence(gradcam, np.arange(60), layer="conv")
    assert found["map"].shape == (60, 1, 8, 8)
    for i, (r, c) in enumerate(corner):
        inside = found["map"][i, 0, r : r + 4, c : c + 4]
        assert inside.min() > 0
        assert found["map"][i, 0, 4 - r : 8 - r, 4 - c : 8 - c].max() < 0


def test_randomised_copy_changes_all_weights_and_leaves_the_model(images):
    before = images.weights_digest()
    other = randomised_copy(images, 1)
    for a, b in zip(images.core.parameters(), other.core.parameters(), strict=True):
        assert not torch.equal(a, b)
    assert images.weights_digest() == before


def test_players_partition_the_input(images, mixed):
    parts = images.kind.parts(images)
    assert parts.grid == (4, 4)
    assert sorted(parts.member.unique().tolist()) == list(range(16))
    assert mixed.kind.parts(mixed).member.tolist() == [0, 1, 2, 3, 3, 3]
    values = torch.rand(2, 6)
    assert torch.allclose(mixed.kind.parts(mixed).total(values)[:, 3], values[:, 3:].sum(1))


def test_of_many_features_those_that_are_leaned_on_are_told_apart_and_the_others_are_one():
    x = torch.randn(80, 500, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(500, 2)
    with torch.no_grad():
        model.weight.mul_(1e-3)
        model.weight[1, [7, 300]] = 3.0
    named = [{"name": f"c{i}", "columns": [i]} for i in range(500)]
    subject = audit.Subject(model, x, model(x).argmax(1), features=named, task="binary")
    parts = screening.players(subject)
    assert parts.count == screening.MOST
    assert parts.names[-1] == "437 others"
    assert {"c7", "c300"} < set(parts.names)
    assert (parts.member == screening.MOST - 1).sum() == 437
    ways = screening.missed(subject)
    assert len(ways) == 2 * screening.MOST
    assert {"c7", "c300"} < {feature.name for feature, _ in ways}
    found = audit.check("robustness.missing_values").measure(subject)
    assert "of the 64 of 500 features that the answers lean on most" in found.answer
