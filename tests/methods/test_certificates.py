"""Proofs hold: exact on linear models, never above what an attack finds, refused where none is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import audit
from audit.checking import Context
from audit.errors import NotApplicable
from audit.methods.attacks.budgets import Budget
from audit.methods.certificates.activations import SIGMOID, TANH, Bent
from audit.methods.certificates.linear import Bounds, Form, lower_bound, margins
from audit.methods.certificates.network import network_of
from audit.producers.attacks import minimum_eps, smallest_l2
from audit.producers.certificates import boundable, certified_eps

from ..conftest import image_data, trained
from .attacks.test_budgets import WEIGHT, linear


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_of_a_linear_model_all_is_proven_that_is_true(norm, dual):
    subject = linear()
    found = Context.of(subject).evidence(
        certified_eps, np.arange(200), highest=4.0, per_octave=512, norm=norm
    )["eps"]
    exact = (subject.inputs.flatten(1) @ WEIGHT).abs() / WEIGHT.norm(p=dual)
    clear = exact > 0.01
    assert torch.allclose(found[clear], exact[clear], rtol=2e-3)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.first(2 * x - 1)))
        h = self.pool(torch.relu(self.second(h) + h))
        return self.head(h.view(h.size(0), -1).reshape(h.shape[0], 64))


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.Tanh(),
            nn.Linear(16, 16),
            nn.Sigmoid(),
            nn.Linear(16, 3),
            nn.Softmax(1),
        )

    def forward(self, x):
        return self.body(x)


def subject_of(model, **known):
    x, y = image_data(120, seed=1)
    subject = audit.Subject(trained(model, x, y), x, y, input={"range": (0, 1)}, **known)
    assert float((subject.logits(subject.inputs).argmax(1) == subject.labels).float().mean()) > 0.9
    return subject


@pytest.fixture(scope="module")
def subjects(cnn):
    x, y = image_data(120, seed=1)
    return {
        "cnn": audit.Subject(cnn, x, y, input={"range": (0, 1)}),
        "residual": subject_of(Residual()),
        "smooth": subject_of(Smooth(), output="probabilities"),
        "strided": subject_of(
            nn.Sequential(
                nn.Conv2d(1, 4, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Dropout(),
                nn.Conv2d(4, 4, 2, dilation=2, groups=2, bias=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(16, 8),
                nn.ReLU(),
                nn.Linear(8, 3),
            )
        ),
        "pooled": subject_of(
            nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 6, 2),
                nn.ReLU(),
                nn.AvgPool2d(2, 1),
                nn.Conv2d(6, 6, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(24, 3),
            )
        ),
        "padded": subject_of(
            nn.Sequential(  # whose outermost units see padding alone
                nn.Conv2d(1, 6, 1, padding=2),
                nn.ReLU(),
                nn.Conv2d(6, 6, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(864, 3),
            )
        ),
        "deep": subject_of(
            nn.Sequential(
                nn.Flatten(),
                nn.Linear(64, 32),
                nn.ReLU(),
                nn.Linear(32, 32),
                nn.LeakyReLU(),
                nn.Linear(32, 3),
            )
        ),
    }


KINDS = ["cnn", "residual", "smooth", "strided", "pooled", "padded", "deep"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_certified_is_true_is_at_most_what_attacks_leave(subjects, kind):
    context, n = Context.of(subjects[kind]), np.arange(100)
    for norm, empirical in (
        ("linf", context.evidence(minimum_eps, n, highest=1.0, halvings=8, steps=20)["eps"]),
        ("l2", context.evidence(smallest_l2, n, ["eps"], steps=50, nearest=2, rounds=2)["eps"]),
    ):
        proven = context.evidence(certified_eps, n, highest=2.0, per_octave=8, norm=norm)["eps"]
        assert bool((proven <= empirical + 1e-6).all())
        assert float(proven.median()) > 0.001


def within(subject, eps, norm="linf"):
    like = torch.ones(1, 1, 8, 8)
    return Budget(eps * like, 0 * like, like, norm).around(subject.inputs[:20])


def least_lead(subject, ball, y, tries=12):
    """[n] the smallest lead of the class y that a search within the ball meets."""
    generator = torch.Generator().manual_seed(0)
    least = torch.full((len(y),), torch.inf)

    def lead(point):
        z = subject.logits(point)
        return z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -torch.inf).amax(1)

    for _ in range(tries):
        point = ball.start(torch.rand(ball.x.shape, generator=generator))
        for _ in range(8):
            point = point.detach().requires_grad_(True)
            value = lead(point)
            least = least.minimum(value.detach())
            (slope,) = torch.autograd.grad(value.sum(), point)
            point = ball.project(point.detach() - 0.4 * ball.direction(slope))
    return least


@pytest.mark.parametrize("kind", KINDS)
def test_linear_bounds_of_hidden_layers_only_make_bounds_better(subjects, kind):
    subject = subjects[kind]
    network, ball = network_of(subject), within(subject, 0.08)
    with torch.no_grad():
        loose, tight = Bounds.of(network, ball, 0), Bounds.of(network, ball)
        before, after = margins(loose, subject.labels[:20]), margins(tight, subject.labels[:20])
    for node, (low, high) in tight.known.items():
        assert bool((low >= loose.known[node][0]).all())
        assert bool((high <= loose.known[node][1]).all())
        assert bool((low <= high + 1e-5).all())
    assert bool((after >= before - 1e-4).all())
    if kind in ("residual", "smooth", "strided", "pooled", "deep"):  # the others are too simple
        assert float((after - before).mean()) > (0.005 if kind == "smooth" else 0.05)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["strided", "pooled", "padded", "residual"])
def test_a_unit_followed_through_its_window_is_bounded_as_through_everything(subjects, kind, norm):
    subject = subjects[kind]
    network, ball = network_of(subject), within(subject, 0.08, norm)
    with torch.no_grad():
        bounds = Bounds.of(network, ball, 0)
        steps = [
            s for s in network.steps if s.activation is not None and len(bounds.shape(s.node)) == 3
        ]
        for step in steps:
            node, of = step.inputs[0], torch.arange(20)
            channels, height, width = bounds.shape(node)
            for corner in ((0, 0), (height - 1, 1), (height // 2, width - 1)):
                one = torch.randn(20, channels, 1, 1)
                everything = torch.zeros(20, channels, height, width)
                everything[:, :, corner[0], corner[1]] = one[:, :, 0, 0]
                window = lower_bound(bounds, node, Form(one, corner), of)
                assert torch.allclose(
                    window, lower_bound(bounds, node, Form(everything), of), atol=1e-4
                )
    assert len(steps) >= 2


def test_what_is_too_dear_is_left_to_intervals(subjects):
    """An effort that pays for some samples' layers and not for others': between none and all."""
    subject = subjects["strided"]
    network, ball = network_of(subject), within(subject, 0.08)
    with torch.no_grad():
        none, some, all_ = (
            margins(Bounds.of(network, ball, effort), subject.labels[:20])
            for effort in (0, 8000, 1e9)
        )
    assert bool((some >= none - 1e-4).all())
    assert bool((some <= all_ + 1e-4).all())
    assert int((some < all_ - 1e-4).sum()) > 0
    assert int((some > none + 1e-4).sum()) > 0


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (Bent(0.0), torch.relu),
        (Bent(0.2), lambda z: F.leaky_relu(z, 0.2)),
        (Bent(1.0), lambda z: z),
        (SIGMOID, torch.sigmoid),
        (TANH, torch.tanh),
    ],
)
def test_an_activation_lies_between_its_lines(activation, function):
    generator = torch.Generator().manual_seed(0)
    ends = 3 * torch.randn(500, 2, generator=generator)
    low, high = ends.amin(1), ends.amax(1)
    low[:5] = high[:5]
    lines = activation.lines(low, high)
    z = low + torch.linspace(0, 1, 101)[:, None] * (high - low)
    room = torch.stack(
        [
            function(z) - (lines.below * z + lines.floor),
            lines.above * z + lines.ceiling - function(z),
        ]
    )
    assert float(room.min()) > -1e-5
    # Above and below touch the function somewhere, and are no constants where it is none.
    assert float(room.amin(1).max()) < 2e-2
    open_ = activation.open(low, high)
    assert float(room[:, :, ~open_].max() if bool((~open_).any()) else 0) < 1e-5


def test_a_leaky_bend_is_bounded_by_lines():
    """Of one unit the line above meets the function at both ends; so does the one below, where the
    unit lies below zero more than above: these bounds are exact.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.LeakyReLU(0.3), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.zero_()
        model[3].weight.copy_(torch.tensor([[0.0], [1.0]]))
        model[3].bias.copy_(torch.tensor([0.0, 2.0]))
    x = np.array([[[[0.1, 0.1]]], [[[-0.2, 0.1]]]], dtype=np.float32)
    subject = audit.Subject(model, x, np.array([0, 1]), input={"range": (-9, 9)}, output="logits")
    ball = Budget(torch.full((1, 1, 1, 2), 0.5), torch.tensor(-9.0), torch.tensor(9.0)).around(
        subject.inputs
    )
    with torch.no_grad():
        lead = margins(Bounds.of(network_of(subject), ball), subject.labels)
    assert lead.tolist() == pytest.approx([-(2 + 0.2 + 1), 2 + 0.3 * (-0.1 - 1)], abs=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_the_budget_lies_below_the_bound(subjects, kind, norm):
    subject = subjects[kind]
    x, y = subject.batch(range(20))
    like = torch.ones(1, 1, 8, 8)
    ball = Budget(0.1 * like, 0 * like, like, norm).around(x)
    with torch.no_grad():
        bound = margins(Bounds.of(network_of(subject), ball), y)
    assert bool((least_lead(subject, ball, y) >= bound - 1e-5).all())


class Odd(nn.Module):
    """A small network with something in the middle, and what that may need."""

    def __init__(self, middle):
        super().__init__()
        self.middle, self.width = middle, 16
        self.first, self.head, self.last = nn.Linear(64, 16), nn.Linear(16, 3), nn.Linear(256, 3)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.scale, self.colour = nn.Parameter(torch.randn(16)), nn.Parameter(torch.randn(3, 1, 1))
        self.alone = nn.BatchNorm1d(16, track_running_stats=False)
        self.inplace, self.falling = nn.ReLU(inplace=True), nn.LeakyReLU(-0.5)
        self.row = nn.Linear(8, 8)

    def forward(self, x):
        return self.middle(self, x)


def hidden(function):
    return lambda net, x: net.head(function(net, net.first(x.flatten(1))))


def added_in_place(net, h):
    h += net.first.bias
    h *= 2
    return h.relu_()


SOUND = {
    "relu in place": hidden(lambda net, h: net.inplace(h)),
    "relu_": hidden(lambda net, h: h.relu_()),
    "relu, inplace=True": hidden(lambda net, h: F.relu(h, inplace=True)),
    "sums in place": hidden(added_in_place),
    "clamp_max": hidden(lambda net, h: h.clamp_max(0.1)),
    "clamp": hidden(lambda net, h: h.clamp(-0.1, 0.1)),
    "from a constant": hidden(lambda net, h: 1 - h.relu()),
    "by a constant": hidden(lambda net, h: -h.relu() * net.scale / 2),
    "largest of copies": hidden(lambda net, h: h.reshape(-1, 16, 1).expand(-1, 16, 2).amax(2)),
    "sum of parts": hidden(lambda net, h: h + h.relu() - 0.5 * h.tanh()),
    "parts in a row": hidden(lambda net, h: torch.cat([h.relu()[:, :8], -h.tanh()[:, :8]], 1)),
    "a colour for each channel": lambda net, x: net.last(
        net.conv(x * net.colour).relu().flatten(1)
    ),
    "bilinear": lambda net, x: net.head(
        net.first(
            F.interpolate(F.interpolate(x, size=16, mode="bilinear"), size=8).flatten(1)
        ).relu()
    ),
    "a layer for each row": lambda net, x: net.head(
        net.first(net.row(net.row(x).relu()).relu().flatten(1)).relu()
    ),
    "a pooling without channels": hidden(
        lambda net, h: torch.cat([F.max_pool1d(h.relu(), 2), F.avg_pool1d(h.tanh(), 2)], 1).relu()
    ),
    "flattened twice": lambda net, x: net.head(
        net.first(x.flatten(1)).relu() - net.first(torch.flatten(x, 1)).tanh()
    ),
    "no dropout": hidden(lambda net, h: F.dropout(h.relu(), 0.5, net.training)),
}
REFUSED = {
    "its own square": hidden(lambda net, h: h * h),
    "over itself": hidden(lambda net, h: h / h),
    "one over it": hidden(lambda net, h: 1 / h),
    "a falling slope": hidden(lambda net, h: net.falling(h)),
    "a falling slope, by a function": hidden(lambda net, h: F.leaky_relu(h, -0.5)),
    "a falling elu": hidden(lambda net, h: F.elu(h, alpha=-1.0)),
    "a factor of its own": hidden(lambda net, h: torch.add(h.relu(), h.tanh(), alpha=-2)),
    "dropout at work": hidden(lambda net, h: F.dropout(h.relu(), 0.5)),
    "the batch's moments": hidden(lambda net, h: net.alone(h).relu()),
    "the batch's mean": hidden(lambda net, h: h - h.mean(0, keepdim=True)),
    "bicubic": lambda net, x: net.head(
        net.first(F.interpolate(x, size=8, mode="bicubic").flatten(1)).relu()
    ),
    "used after it was changed": hidden(lambda net, h: net.inplace(h) + h),
    "a view used after it was changed": hidden(lambda net, h: net.inplace(h.reshape(-1, 16)) + h),
}


def odd(middle):
    torch.manual_seed(1)
    model = Odd(middle).eval()
    x = np.random.default_rng(0).uniform(0, 1, (60, 1, 8, 8)).astype(np.float32)
    return audit.Subject(model, x, np.arange(60) % 3, input={"range": (0, 1)}, output="logits")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", SOUND)
def test_of_odd_networks_too_no_point_lies_below_the_bound(name, norm):
    subject = odd(SOUND[name])
    boundable(subject)
    x = subject.inputs[:30]
    like = torch.ones(1, 1, 8, 8)
    ball = Budget((0.1 if norm == "linf" else 0.5) * like, 0 * like, like, norm).around(x)
    with torch.no_grad():
        y = subject.logits(x).argmax(1)
        bound = margins(Bounds.of(network_of(subject), ball), y)
    least = least_lead(subject, ball, y)
    assert bool((least >= bound - 1e-5).all())
    assert float((least - bound).median()) < 2.0  # a bound of minus infinity would hold too


def test_preprocessing_is_a_part_of_what_is_proven(cnn):
    x, y = image_data(40, seed=1)
    first, last = (
        {"range": (0, 1)},
        {"range": (0, 255), "preprocess": {"scale": 1 / 255, "channels": "last"}},
    )
    plain = audit.Subject(cnn, x, y, input=first)
    other = audit.Subject(cnn, 255 * x.transpose(0, 2, 3, 1), y, input=last)
    boundable(other)
    for norm in ("linf", "l2"):
        one, two = (
            Context.of(s).evidence(
                certified_eps, np.arange(40), highest=top, per_octave=8, norm=norm
            )
            for s, top in ((plain, 1.0), (other, 255.0))
        )
        assert float(one["eps"].median()) > 0.01
        assert torch.allclose(255 * one["eps"], two["eps"], rtol=0.05)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_monotone_or_not_the_sample_s_own_is_refused(name):
    with pytest.raises(NotApplicable):
        boundable(odd(REFUSED[name]))


@pytest.mark.parametrize("task", ["binary", "anomaly"])
def test_a_score_behind_a_sigmoid_is_held_against_its_own_threshold(task):
    x = np.linspace(-3, 3, 61, dtype=np.float32)[:, None]
    model = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.zero_()
    at = 0.5 if task == "binary" else 0.75
    known = {"output": "sigmoid"} if task == "binary" else {"output": "value", "threshold": at}
    edge = float(np.log(at / (1 - at)))
    y = (x[:, 0] > edge).astype(int)
    features = [{"name": "a", "columns": [0], "std": 1}]
    subject = audit.Subject(model, x, y, task=task, features=features, **known)
    boundable(subject)
    found = Context.of(subject).evidence(certified_eps, np.arange(61), highest=8, per_octave=512)[
        "eps"
    ]
    exact = torch.as_tensor(np.abs(x[:, 0] - edge))
    assert bool((found >= exact * 0.99 - 8 / 2**12).all())
    inside = (torch.as_tensor(np.abs(x[:, 0])) + exact < 2.9) & (exact > 0.05)
    assert int(inside.sum()) > 10
    assert torch.allclose(found[inside], exact[inside], rtol=0.02)


def test_a_point_is_bounded_by_its_own_margin(subjects):
    subject = subjects["residual"]
    x, y = subject.batch(range(30))
    like = torch.ones(1, 1, 8, 8)
    ball = Budget(0 * like, 0 * like, like).around(x)
    with torch.no_grad():
        bound, z = margins(Bounds.of(network_of(subject), ball), y), subject.logits(x)
    lead = z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -torch.inf).amax(1)
    assert torch.allclose(bound, lead, atol=1e-4)


def test_one_score_and_a_threshold_are_bounded_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2)).astype(np.float32)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.zero_()
    features = [{"name": n, "columns": [i], "std": 1} for i, n in enumerate("ab")]
    y = (x @ [1, 2] > 0).astype(int)
    subject = audit.Subject(model, x, y, task="binary", output="logits", features=features)
    found = Context.of(subject).evidence(certified_eps, np.arange(100), highest=4, per_octave=512)[
        "eps"
    ]
    exact = torch.as_tensor(np.abs(x @ [1, 2]) / 3).float()
    # An edge of the data's range may cut the budget: then more is proven.
    assert bool((found >= exact * 0.99 - 4 / 2**12).all())
    inside = (torch.as_tensor(np.abs(x)) + exact[:, None] < 2).all(1) & (exact > 0.01)
    assert int(inside.sum()) > 20
    assert torch.allclose(found[inside], exact[inside], rtol=0.01)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.GRU(8, 4, batch_first=True), "GRU"),
        (nn.MultiheadAttention(8, 2), "MultiheadAttention"),
        (nn.GELU(), "GELU"),
    ],
)
def test_a_layer_without_bounds_is_named(layer, name):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = layer, nn.Linear(8, 2)

        def forward(self, x):
            if name == "GELU":
                return self.head(self.layer(x)).mean(1)
            h = self.layer(x)[0] if name == "GRU" else self.layer(x, x, x)[0]
            return nn.functional.pad(h, (0, 8 - h.shape[2])).mean(1)[:, :2]

    x = np.random.default_rng(0).normal(size=(20, 5, 8)).astype(np.float32)
    subject = audit.Subject(
        Holder(), x, np.arange(20) % 2, input={"range": (-4, 4)}, output="logits"
    )
    with pytest.raises(NotApplicable, match=name):
        boundable(subject)
