"""What a model returned is read in the one way that fits, or asked for: a table over many makers."""

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import audit
from audit.errors import AuditError
from audit.labels import Labels

from .conftest import table_data

N = 240
Pair = namedtuple("Pair", ["hidden", "scores"])


@dataclass
class Said:
    logits: Tensor
    hidden: Tensor


class Answer(Mapping):
    """As libraries of transformers return it: a mapping, and no dict."""

    def __init__(self, **parts):
        self.parts = parts

    def __getitem__(self, key):
        return self.parts[key]

    def __iter__(self):
        return iter(self.parts)

    def __len__(self):
        return len(self.parts)


class Rule(nn.Module):
    """A right linear rule on two columns, and what its maker returns of it."""

    def __init__(self, k=2, returns=lambda z, h, x: z, right=True):
        super().__init__()
        self.linear = nn.Linear(4, k)
        self.returns = returns
        torch.manual_seed(0)
        self.hidden = nn.Linear(4, 16)
        with torch.no_grad():
            rule = torch.zeros(k, 4)
            rule[-1, :2] = 5.0 if right else 0.0
            self.linear.weight.copy_(rule)
            self.linear.bias.zero_()

    def forward(self, x):
        return self.returns(self.linear(x), self.hidden(x), x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.gru(x)[1][-1]).squeeze(-1)


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(3, 1, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        mixed, weights = self.attention(x, x, x)
        return {"logits": self.head(mixed.mean(1)), "attention": weights}


class Autoencoder(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.down = nn.Linear(width, 2, bias=False)
        with torch.no_grad():
            self.down.weight.copy_(torch.eye(2, width))

    def forward(self, x):
        code = self.down(x)
        return code @ self.down.weight


X, Y = table_data(N)
LOW = (X * [1, 1, 0.1, 0.1]).astype(np.float32)  # nearly a plane
SERIES = np.random.default_rng(0).normal(size=(N, 5, 3)).astype(np.float32)
THREE = np.arange(N) % 3
TRUTH = X[:, 0] + X[:, 1]

# name: (model, x, y, what else is given, task, output, output index)
FITS = {
    "two logits": (Rule(), X, Y, {}, "binary", "logits", None),
    "three logits": (Rule(3), X, THREE, {}, "multiclass", "logits", None),
    "a softmax": (
        Rule(3, lambda z, h, x: z.softmax(1)),
        X,
        THREE,
        {},
        "multiclass",
        "probabilities",
        None,
    ),
    "a log-softmax": (
        Rule(3, lambda z, h, x: z.log_softmax(-1)),
        X,
        THREE,
        {},
        "multiclass",
        "log_probabilities",
        None,
    ),
    "sigmoids for classes": (
        Rule(3, lambda z, h, x: z.sigmoid()),
        X,
        THREE,
        {},
        "multiclass",
        "sigmoid",
        None,
    ),
    "one logit": (Rule(1), X, Y, {}, "binary", "logits", None),
    "one logit, flat": (Rule(1, lambda z, h, x: z.squeeze(-1)), X, Y, {}, "binary", "logits", None),
    "one probability": (
        Rule(1, lambda z, h, x: z.sigmoid()),
        X,
        Y.astype(np.float32),
        {},
        "binary",
        "sigmoid",
        None,
    ),
    "one probability, flat": (
        Rule(1, lambda z, h, x: z.sigmoid()[:, 0]),
        X,
        Y,
        {},
        "binary",
        "sigmoid",
        None,
    ),
    "labels −1 and 1": (Rule(1), X, 2 * Y - 1, {}, "binary", "logits", None),
    "labels −1.0 and 1.0": (
        Rule(),
        X,
        (2 * Y - 1).astype(np.float32),
        {},
        "binary",
        "logits",
        None,
    ),
    "labels 1 and 2": (Rule(), X, Y + 1, {}, "binary", "logits", None),
    "truths": (Rule(), X, Y == 1, {}, "binary", "logits", None),
    "truths as objects": (Rule(), X, (Y == 1).astype(object), {}, "binary", "logits", None),
    "one-hot": (Rule(3), X, np.eye(3)[THREE], {}, "multiclass", "logits", None),
    "one-hot, bools": (Rule(3), X, np.eye(3, dtype=bool)[THREE], {}, "multiclass", "logits", None),
    "a column of labels": (Rule(3), X, THREE[:, None], {}, "multiclass", "logits", None),
    "whole floats": (Rule(3), X, THREE.astype(np.float64), {}, "multiclass", "logits", None),
    "names": (
        Rule(),
        X,
        np.array(["no", "yes"])[Y],
        {"classes": ["no", "yes"]},
        "binary",
        "logits",
        None,
    ),
    "numbers as names": (
        Rule(3),
        X,
        THREE + 1,
        {"classes": ["1", "2", "3"]},
        "multiclass",
        "logits",
        None,
    ),
    "truths named backwards": (
        Rule(returns=lambda z, h, x: z.flip(1)),
        X,
        Y == 1,
        {"classes": ["True", "False"]},
        "binary",
        "logits",
        None,
    ),
    "(embedding, logits)": (Rule(returns=lambda z, h, x: (h, z)), X, Y, {}, "binary", "logits", 1),
    "(embedding, logits), untrained": (
        Rule(3, lambda z, h, x: (h, z), False),
        X,
        THREE,
        {},
        "multiclass",
        "logits",
        1,
    ),
    "(logits, embedding)": (Rule(returns=lambda z, h, x: (z, h)), X, Y, {}, "binary", "logits", 0),
    "[logits, loss]": (
        Rule(3, lambda z, h, x: [z, z.sum()]),
        X,
        THREE,
        {},
        "multiclass",
        "logits",
        0,
    ),
    "(loss, logits)": (
        Rule(3, lambda z, h, x: (z.sum(), z)),
        X,
        THREE,
        {},
        "multiclass",
        "logits",
        1,
    ),
    "a dict": (
        Rule(3, lambda z, h, x: {"hidden": h[:, :3], "logits": z}),
        X,
        THREE,
        {},
        "multiclass",
        "logits",
        1,
    ),
    "a mapping": (
        Rule(3, lambda z, h, x: Answer(loss=None, logits=z, hidden_states=(h,))),
        X,
        THREE,
        {},
        "multiclass",
        "logits",
        1,
    ),
    "a dataclass": (Rule(3, lambda z, h, x: Said(z, h)), X, THREE, {}, "multiclass", "logits", 0),
    "a named tuple": (Rule(3, lambda z, h, x: Pair(h, z)), X, THREE, {}, "multiclass", "logits", 1),
    "two heads, one right": (
        Rule(returns=lambda z, h, x: (h[:, :2] * 0 + x[:, 2:], z)),
        X,
        Y,
        {},
        "binary",
        "logits",
        1,
    ),
    "embedding of length 1 beside scores": (
        Rule(3, lambda z, h, x: (nn.functional.normalize(h[:, :3]), z + 9)),
        X,
        THREE,
        {},
        "multiclass",
        "logits",
        1,
    ),
    "logits and a map of attention": (Attentive(), SERIES, THREE, {}, "multiclass", "logits", 0),
    "a recurrent network with one logit": (Recurrent(), SERIES, Y, {}, "binary", "logits", None),
    "a value": (Rule(1), X, TRUTH, {}, "regression", "value", None),
    "a flat value": (Rule(1, lambda z, h, x: z[:, 0]), X, TRUTH, {}, "regression", "value", None),
    "a count": (Rule(1), X, np.round(TRUTH * 5), {}, "regression", "value", None),
    "mean and spread": (
        Rule(1, lambda z, h, x: (z / 5, h[:, :1])),
        X,
        TRUTH,
        {},
        "regression",
        "value",
        0,
    ),
    "a value of two, given": (Rule(1), X, Y, {"output": "value"}, "regression", "value", None),
    "an autoencoder": (Autoencoder(), LOW, Y, {}, "anomaly", "reconstruction", None),
    "an autoencoder, given": (
        Autoencoder(),
        X,
        None,
        {"task": "anomaly", "output": "reconstruction"},
        "anomaly",
        "reconstruction",
        None,
    ),
    "as wide as its input": (
        Rule(4, lambda z, h, x: h[:, :4]),
        X,
        np.arange(N) % 4,
        {},
        "multiclass",
        "logits",
        None,
    ),
    "doubles": (Rule().double(), X.astype(np.float64), Y, {}, "binary", "logits", None),
    "brain floats": (Rule().bfloat16(), X, Y, {}, "binary", "logits", None),
    "halves": (
        Rule(returns=lambda z, h, x: z.softmax(1)).half(),
        X,
        Y,
        {},
        "binary",
        "probabilities",
        None,
    ),
    "TorchScript": (
        torch.jit.trace(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), torch.tensor(X)),
        X,
        THREE,
        {},
        "multiclass",
        "probabilities",
        None,
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_one_reading_fits(name):
    model, x, y, known, task, output, index = FITS[name]
    subject = audit.Subject(model, x, y, **known)
    assert (subject.meta.task, subject.meta.output, subject.meta.output_index) == (
        task,
        output,
        index,
    )
    assert all(f.reason for f in subject.facts if f.source == "inferred")
    logits = subject.logits(subject.inputs)
    assert logits.shape == (N, 1 if task == "regression" else len(subject.classes))
    assert logits.dtype == (torch.float64 if name == "doubles" else torch.float32)
    if task == "binary" and isinstance(model, Rule):
        right = float((logits.argmax(1) == subject.labels).float().mean())
        assert right > 0.97, right


@pytest.mark.parametrize(
    ("make", "y", "message"),
    [
        (
            lambda: Rule(returns=lambda z, h, x: (z, z + 0)),
            Y,
            r"output_index = 0 \(output 0 of shape \[n, 2\], right on \d+%\), or output_index = 1",
        ),
        (
            lambda: Rule(returns=lambda z, h, x: {"a": z, "b": z[:, 1:]}),
            Y,
            "output_index = 0.*or output_index = 1",
        ),
        (lambda: Rule(1), None, r'task = "binary".*or task = "regression"'),
        (
            lambda: Rule(1, right=False),
            np.where(Y, 2.5, 1.5),
            r'task = "binary".*or task = "regression"',
        ),
        (
            lambda: Rule(2),
            np.stack([TRUTH, X[:, 2], X[:, 3]], 1),
            r"3 values a sample and the model returns the output of shape \[n, 2\]; wrap the model",
        ),
        (
            lambda: Rule(3),
            (X[:, :2] > 0).astype(int),
            r"2 answers of yes or no a sample.*a score for each of them",
        ),
        (
            lambda: Rule(3),
            TRUTH,
            "labels are not whole numbers and the model returns the output of shape",
        ),
        (
            lambda: Rule(3, lambda z, h, x: nn.functional.normalize(h)),
            None,
            r'task = "embedding"',
        ),
        (lambda: Rule(4, lambda z, h, x: z), Y, 'can be read in 2 ways.*output = "reconstruction"'),
        (
            lambda: Autoencoder(),
            None,
            r'task = "anomaly" and output = "reconstruction" under \[subject\]',
        ),
        (lambda: Rule(3, lambda z, h, x: z.argmax(1)), THREE, "whole numbers .* and no scores"),
        (lambda: Rule(3, lambda z, h, x: z.T), THREE, "one row of scores for each"),
        (lambda: Rule(3, lambda z, h, x: "yes"), THREE, "returns a text"),
        (lambda: Rule(3), THREE + 1, "run from 1 to 3.*classes under .subject"),
        (
            lambda: Rule(),
            np.array(["no", "yes"])[Y],
            r'write classes = \["no", "yes"\] under \[subject\]',
        ),
    ],
)
def test_an_open_reading_is_asked_for(make, y, message):
    with pytest.raises(AuditError, match=message):
        audit.Subject(make(), LOW if isinstance(make(), Autoencoder) else X, y)


def test_what_is_given_wins():
    both = Rule(returns=lambda z, h, x: (z, -z))
    assert audit.Subject(both, X, Y, output_index=1).meta.output_index == 1
    subject = audit.Subject(Rule(1), X, np.where(Y, 2.5, 1.5), task="regression")
    assert subject.meta.task == "regression"
    with pytest.raises(AuditError, match='output = "reconstruction" is given'):
        audit.Subject(Rule(3), X, Y, output="reconstruction")


def test_a_reconstruction_error_tells_what_is_unusual():
    odd = np.arange(N) % 10 == 0
    x = LOW.copy()
    x[odd, 2:] *= 30
    subject = audit.Subject(Autoencoder(), x, odd.astype(int), train=(LOW, np.zeros(N)))
    found = audit.check("performance.anomaly").measure(subject)
    assert found.metric("auroc").value > 0.95
    error = ((Autoencoder()(torch.tensor(x)) - torch.tensor(x)) ** 2).mean(1)
    score = subject.logits(subject.inputs)[:, 1] + subject.meta.threshold
    assert torch.allclose(score, error, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "k", "fits", "wanted"),
    [
        (None, 3, True, None),
        (torch.tensor([0, 1, 2]), 3, True, 3),
        (torch.tensor([0, 1, 2]), 2, False, 3),
        (torch.tensor([-1, 1]), 2, True, 2),
        (torch.tensor([-1, 1]), 3, False, 2),
        (torch.tensor([0.5, 1.5, 2.5]), 3, False, None),
        (torch.eye(3), 3, True, 3),
        (torch.eye(3), 4, False, 3),
        (torch.ones(3, 3), 3, False, None),
        (torch.zeros(4), 2, True, 2),
    ],
)
def test_which_labels_fit_how_many_classes(y, k, fits, wanted):
    labels = Labels.of(y)
    assert labels.fit(k) == fits
    assert labels.wanted == wanted
