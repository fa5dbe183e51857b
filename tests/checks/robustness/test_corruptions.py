"""Corruptions are what they are called; what depends on one is hurt by it and by no other."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.evidence import Batch
from audit.inputs.image.corruptions import (
    STRENGTHS,
    blurred,
    compressed,
    corrupt,
    occluded,
    turned,
)

from ...conftest import image_data


class Contrast(nn.Module):
    """Bright stripes against dark ones: how much lighter is the left than the right?"""

    def forward(self, x):
        return 40 * ((x[..., :4].mean((1, 2, 3)) - x[..., 4:].mean((1, 2, 3)))[:, None] - 0.3)


def stripes(n=200):
    y = np.arange(n) % 2
    x = np.full((n, 1, 8, 8), 0.3, dtype=np.float32)
    x[y == 1, :, :, :4] += 0.5
    x += np.random.default_rng(0).uniform(0, 1e-4, x.shape).astype(np.float32)  # no copies
    return x, y


def test_what_rests_on_contrast_falls_with_it():
    x, y = stripes()
    record = audit.run(
        audit.Subject(Contrast(), x, y, input={"range": (0, 1)}, task="binary"),
        ["robustness.corruptions"],
    )
    check = record.checks[0]
    losses = {m.slice["corruption"]: m.value for m in check.metrics if m.name == "loss"}
    # severities 2 to 5 leave half of the difference or less: every second sample is lost
    assert losses["contrast"] == pytest.approx(0.4, abs=0.01)
    assert losses["brightness"] == pytest.approx(0.0, abs=0.01)
    assert check.state == "failed"
    assert "contrast" in record.findings_of(check.id)[0].title
    assert len(check.figures) == 2


def test_a_sound_model_passes(cnn):
    x, y = image_data(200, seed=1)
    check = audit.run(audit.Subject(cnn, x, y, input={"range": (0, 1)}), ["robustness.corruptions"])
    losses = {m.slice["corruption"]: m.value for m in check.checks[0].metrics if m.name == "loss"}
    assert losses["brightness"] < 0.1


def batch(n=6, shape=(1, 16, 16)):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    return Batch(None, x, torch.zeros(n).long(), np.arange(n, dtype=np.uint64) + 1)


def test_blur_spreads_a_point_by_as_much_as_said_within_its_own_picture():
    x = torch.zeros(2, 1, 33, 33)
    x[0, 0, 16, 16] = 1
    point, other = blurred(x, 1.5)[:, 0]
    assert float(other.abs().max()) == 0
    assert float(point.sum()) == pytest.approx(1, abs=1e-4)
    at = torch.arange(33) - 16.0
    assert float((point.sum(0) * at**2).sum()) ** 0.5 == pytest.approx(1.5, abs=0.03)


def test_rotation_by_a_right_angle_is_exact():
    x = batch().x
    ninety = turned(x, torch.full((6,), 90.0))
    either = [torch.rot90(x, k, (2, 3)) for k in (1, 3)]
    assert min(float((ninety - e).abs().max()) for e in either) < 1e-4


def test_the_square_is_as_large_as_said_and_inside():
    x = torch.zeros(50, 1, 20, 20)
    where = torch.rand(50, 2)
    covered = (occluded(x, where, 0.1) == 0.5).float().mean((1, 2, 3))
    assert covered.tolist() == pytest.approx([0.09] * 50, abs=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_compression_keeps_shape_and_most_of_a_smooth_picture(channels):
    smooth = torch.linspace(0, 1, 32)[None, None, None].expand(4, channels, 32, 32)
    assert float((compressed(smooth, 80) - smooth).abs().max()) < 0.1


@pytest.mark.parametrize("kind", STRENGTHS)
def test_severity_grows_and_samples_keep_their_own_draws(kind):
    b = batch()
    changes = [float((corrupt(b.x, kind, s, b.uniform) - b.x).abs().mean()) for s in (1, 3, 5)]
    assert changes[0] < changes[1] < changes[2]
    some = Batch(None, b.x[2:4], b.y[2:4], b.seeds[2:4])
    alone, among = corrupt(some.x, kind, 3, some.uniform), corrupt(b.x, kind, 3, b.uniform)
    assert torch.allclose(alone, among[2:4], atol=1e-5)


def test_tables_are_refused(table):
    with pytest.raises(audit.NotApplicable, match="not pictures"):
        audit.check("robustness.corruptions").measure(table)


def test_values_are_held_to_their_error():
    class Brightness(nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3), keepdim=True)[:, :, 0, 0]

    x = torch.rand(80, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x = x * torch.linspace(0.2, 0.8, 80)[:, None, None, None]
    y = x.mean((1, 2, 3)) + 0.01 * torch.arange(80).remainder(3)
    subject = audit.Subject(Brightness(), x, y, task="regression", input={"range": (0, 1)})
    found = audit.check("robustness.corruptions", samples=80).measure(subject)
    losses = {m.slice["corruption"]: m for m in found.metrics if m.name == "loss"}
    assert losses["brightness"].unit == "standard deviations"
    assert losses["brightness"].low > 0.5
    assert abs(losses["blur"].value) < 0.05
    assert any(m.name == "clean_mean_absolute_error" for m in found.metrics)
