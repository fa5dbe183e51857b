"""Ordinary networks that are written in ways that ours are not: measured, or not applicable, never an
error.
"""

import pytest
import torch
from torch import nn

import audit

N = 129  # the last batch of 128 holds a single sample


class Wrapped(nn.Module):
    """A network whose inputs or answers pass through something."""

    def __init__(self, net, after=lambda z: z, before=lambda x: x):
        super().__init__()
        self.net, self.after, self.before = net, after, before

    def forward(self, x):
        return self.after(self.net(self.before(x)))


class Ungraded(Wrapped):
    def forward(self, x):
        with torch.no_grad():
            return self.net(x)


class Codes(nn.Module):
    """The first column is the number of a row of an embedding."""

    def __init__(self):
        super().__init__()
        self.town, self.head = nn.Embedding(6, 4), nn.Linear(7, 2)

    def forward(self, x):
        return self.head(torch.cat([self.town(x[:, 0].long()), x[:, 1:]], 1))


class PaddedTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.embed = nn.Embedding(30, 16, padding_idx=0)
        self.body, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(16, 2)

    def forward(self, x):
        pads = x == 0
        z = self.body(self.embed(x), src_key_padding_mask=pads)
        return self.head((z * ~pads[:, :, None]).sum(1) / (~pads).sum(1, keepdim=True))


def rows(dtype=torch.float32):
    return torch.randn(N, 8, dtype=dtype)


def pictures(dtype=torch.float32):
    return torch.rand(N, 1, 8, 8, dtype=dtype)


def codes():
    return torch.cat([torch.randint(0, 6, (N, 1)).float(), torch.randn(N, 3)], 1)


def texts():
    x = torch.randint(1, 30, (N, 9))
    x[torch.arange(9)[None] >= torch.randint(3, 10, (N, 1))] = 0
    return x


def mlp(outputs):
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))


def conv(outputs):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, outputs)
    )


PROOFS = ("robustness.certified", "robustness.certified_l2")
SEARCHES = (
    "performance.classification",
    "robustness.pgd",
    "robustness.worst_case_l2",
    "robustness.patch",
)
FOLLOWED = (
    "interpretability.integrated_gradients",
    "training.gradient_flow",
    "robustness.pgd",
    "behaviour.determinism",
)
MODELS = {
    "one logit without an axis": (lambda: Wrapped(mlp(1), lambda z: z.squeeze(-1)), rows, PROOFS),
    "every axis of one squeezed": (
        lambda: Wrapped(mlp(1), torch.squeeze),
        rows,
        (*PROOFS, *SEARCHES),
    ),
    "one sigmoid without an axis": (
        lambda: Wrapped(conv(1), lambda z: torch.sigmoid(z).squeeze(-1)),
        pictures,
        PROOFS,
    ),
    "doubles": (lambda: mlp(2).double(), lambda: rows(torch.float64), (*PROOFS, *SEARCHES)),
    "pictures in doubles": (
        lambda: conv(2).double(),
        lambda: pictures(torch.float64),
        (
            *PROOFS,
            *SEARCHES,
            "robustness.spatial",
            "robustness.corruptions",
            "robustness.black_box",
        ),
    ),
    "no_grad inside": (lambda: Ungraded(mlp(2)), rows, FOLLOWED),
    "detach inside": (lambda: Wrapped(mlp(2), before=lambda x: x.detach()), rows, FOLLOWED),
    "numpy inside": (
        lambda: Wrapped(mlp(2), lambda z: torch.from_numpy(z.detach().numpy())),
        rows,
        FOLLOWED,
    ),
    "codes of an embedding": (
        Codes,
        codes,
        ("behaviour.input_scale", "robustness.noise", "robustness.pgd"),
    ),
    "a padded transformer": (
        PaddedTransformer,
        texts,
        ("deployment.quantisation", "performance.classification"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_check_raises(name):
    make, data, checks = MODELS[name]
    model, x = make().eval(), data()
    with torch.no_grad():
        answers = model(x).reshape(N, -1)
    cut = answers.median() if answers.shape[1] == 1 else None
    y = (answers[:, 0] > cut).long() if cut is not None else (answers[:, 0] < answers[:, 1]).long()
    known = {"range": (0, 1), "eps": 0.05} if x.ndim == 4 else {}
    subject = audit.Subject(model, x, y, input=known, task="binary")
    parameters = {c: {"samples": 20} for c in checks if c not in ("performance.classification",)}
    record = audit.run(subject, checks, profile="quick", parameters=parameters)
    assert not {c.id: c.reason for c in record.checks if c.why == "raised"}
    assert any(c.metrics for c in record.checks)


def test_a_form_of_the_inputs_that_the_model_refuses_is_named():
    torch.manual_seed(0)
    x = codes()
    found = audit.check("behaviour.input_scale").measure(
        audit.Subject(Codes().eval(), x, x[:, 0] > 2)
    )
    assert "It does not take them standardised, times 255" in found.answer
    assert [m.slice["inputs"] for m in found.metrics] == ["divided by 255"]


class Ends(nn.Module):
    """[n, time, 2] → the mean over the steps that are not zero."""

    def forward(self, x):
        real = (x != 0).any(2, keepdim=True)
        mean = (x * real).sum(1) / real.sum(1)
        return torch.cat([mean, -mean[:, :1]], 1)[:, :2]


def test_padding_is_never_changed():
    torch.manual_seed(0)
    x = torch.rand(200, 12, 2) + 0.1
    x[torch.arange(12)[None] >= torch.randint(4, 13, (200, 1))] = 0
    y = (x.sum((1, 2)) > 9).long()
    subject = audit.Subject(Ends().eval(), x, y, input={"range": (0, 1.1), "eps": 0.1})
    assert subject.samples.pad.tolist() == [0, 0]
    assert any(f.name == "padding" for f in subject.facts)
    from audit.producers.attacks import pgd

    pads = x == 0
    found = audit.Context.of(subject).evidence(
        pgd,
        subject.inputs[:, 0, 0].argsort().numpy(),
        eps=0.1,
        steps=5,
        restarts=1,
        random_start=True,
    )
    order = subject.inputs[:, 0, 0].argsort()
    assert not (found["x"][pads[order]] != 0).any()
    assert float(subject.moments.low.min()) > 0.09  # padding is not counted


def test_series_of_one_length_have_no_padding():
    x = torch.rand(50, 6, 2)
    x[:, -1] = 0  # one silent step at the end of all is no padding
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    subject = audit.Subject(model, x, torch.arange(50) % 2, input={"kind": "sequence"})
    assert subject.samples.pad is None
