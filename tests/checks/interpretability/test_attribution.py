"""An explanation that does not depend on the model is shown as failed; a real one is not."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checks.interpretability.attribution import rank_correlation

METHODS = ["integrated_gradients", "shap", "lime"]


@pytest.mark.parametrize("method", METHODS)
def test_real_explanations_are_believed(table, method):
    found = audit.check(f"interpretability.{method}", samples=48).measure(table)
    assert all(v.passed for v in found.validity), [v.detail for v in found.validity]
    assert "correlate by" in found.answer
    ranked = sorted((m for m in found.metrics if m.name == "importance"), key=lambda m: -m.value)
    assert {m.slice["feature"] for m in ranked[:2]} == {"column 0", "column 1"}


@pytest.mark.parametrize("method", METHODS)
def test_an_explainer_that_ignores_the_model_is_shown_as_failed(table, method, monkeypatch):
    """The planted fault: maps made from the input alone."""
    check = audit.check(f"interpretability.{method}", samples=48)
    real = type(check).attribute

    def fake(self, context, samples, randomised):
        found = dict(real(self, context, samples, randomised))
        x, _ = context.subject.batch(samples)
        found["players"] = x.abs().cpu()
        found.pop("map", None)
        if not randomised:
            found["gain"] = found["model_free_gain"].clone()
        return found

    monkeypatch.setattr(type(check), "attribute", fake)
    record = audit.run(table, [check])
    assert record.checks[0].state == "failed"
    assert {f.severity for f in record.findings} == {"info"}
    assert "Do not rely on this explanation" in record.checks[0].conclusion
    assert record.verdict.word != "fail"  # a judgement on the explainer does not gate


def test_incomplete_gradients_are_shown_as_failed():
    """One point on a path with a kink: the parts cannot add up."""

    class Kinked(nn.Module):
        def forward(self, x):
            z = torch.relu(x[:, :1] - 1) * 5 + x[:, 1:2]
            return torch.cat([-z, z], 1)

    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32) * 3
    subject = audit.Subject(Kinked(), x, (x[:, 0] > 1).astype(int))
    few = audit.check("interpretability.integrated_gradients", steps=2).measure(subject)
    many = audit.check("interpretability.integrated_gradients", steps=200).measure(subject)
    assert few.metric("complete_share").high < 0.9
    assert many.metric("complete_share").value > 0.95


def test_gradcam_needs_a_convolution(table, images):
    with pytest.raises(audit.NotApplicable, match="rows of a table"):
        audit.check("interpretability.gradcam").measure(table)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    subject = audit.Subject(flat, images.inputs, images.labels)
    with pytest.raises(audit.NotApplicable, match="no convolution"):
        audit.check("interpretability.gradcam").measure(subject)
    found = audit.check("interpretability.gradcam", samples=16).measure(images)
    assert found.figures[0].png
    assert found.metric("randomisation_similarity").n == 16


def test_rank_correlation_is_spearmans_and_constant_maps_count_as_zero():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 30))
    b[4] = 0
    found, constant = rank_correlation(a, b)
    assert constant == 1
    assert found[4] == 0
    assert found[:4] == pytest.approx([spearmanr(a[i], b[i]).statistic for i in range(4)])
