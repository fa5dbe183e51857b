"""The simulated arithmetic is torch's dynamic quantisation; an outlier breaks it."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.methods.quantisation import to_int8, to_uint8
from audit.producers.quantisation import int8_copy

from ...conftest import table_data


def network(factor=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    x, y = (torch.tensor(a) for a in table_data())
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    with torch.no_grad():
        model[0].weight[0] *= factor
        model[0].bias[0] *= factor
        model[2].weight[:, 0] /= factor
    return model.eval()


@pytest.mark.parametrize(("factor", "state"), [(1.0, "met"), (3000.0, "failed")])
def test_an_outlier_breaks_eight_bits(factor, state):
    s = audit.Subject(network(factor), *table_data(seed=1))
    check = audit.run(s, ["deployment.quantisation"]).checks[0]
    assert check.state == state


def test_it_is_what_torch_does():
    quantize_dynamic = pytest.importorskip("torch.ao.quantization").quantize_dynamic
    model, (x, y) = network(), table_data(seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        expected = reference(torch.tensor(x)).detach().numpy()
    ours = int8_copy(audit.Subject(model, x, y)).logits(torch.tensor(x)).detach().numpy()
    exact = model(torch.tensor(x)).detach().numpy()
    # torch's kernels keep one bit less of the inputs: the same size of error, the same answers.
    assert np.abs(ours - exact).max() <= 1.5 * np.abs(expected - exact).max()
    assert (ours.argmax(1) == expected.argmax(1)).mean() > 0.98


def test_rounding_is_torchs():
    w = torch.randn(30, 20)
    scale = float(w.abs().max() / 127)
    reference = torch.fake_quantize_per_tensor_affine(w, scale, 0, -127, 127)
    assert torch.allclose(to_int8(w), reference, atol=1e-6)
    assert float((to_uint8(w) - w).abs().max()) <= float((w.max() - w.min()) / 255) * 0.5 + 1e-6


def test_the_audited_model_keeps_its_weights():
    s = audit.Subject(network(), *table_data(seed=1))
    before = {k: v.clone() for k, v in s.core.state_dict().items()}
    audit.check("deployment.quantisation").measure(s)
    assert all(torch.equal(v, before[k]) for k, v in s.core.state_dict().items())
