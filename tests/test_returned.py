"""What is no tensor of answers is refused in a sentence, with four lines that make one of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.errors import AuditError

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def found(k):
    """The boxes of one picture, as detectors of torchvision return them."""
    return {"boxes": torch.rand(k, 4), "labels": torch.arange(k) % 3, "scores": torch.rand(k)}


# what: (x → what is returned, what the sentence says of it, what stands in the code)
ODD = {
    "boxes, a dict a picture": (
        lambda x: [found(2 + i % 2) for i in range(len(x))],
        r"a list of 40 dicts with boxes \[2, 4\], labels \[2\] and scores \[2\], as detectors do",
        "new_zeros",
    ),
    "boxes of queries": (
        lambda x: {"logits": torch.rand(len(x), 5, 4), "pred_boxes": torch.rand(len(x), 5, 4)},
        r"dict with logits \[40, 5, 4\] and pred_boxes \[40, 5, 4\], as detectors do",
        "amax",
    ),
    "boxes in an object": (
        lambda x: SimpleNamespace(class_logits=torch.rand(len(x), 5, 4), boxes=[1] * len(x)),
        r"SimpleNamespace with class_logits \[40, 5, 4\] and boxes list, as detectors do",
        "self.model(x).class_logits",
    ),
    "a text": (lambda x: "yes", "a text, as generation does", "self.model.score(x)"),
    "texts": (lambda x: ["yes"] * len(x), "a list of 40 texts", "self.model.score(x)"),
    "tokens": (
        lambda x: torch.ones(len(x), 7, dtype=torch.long),
        r"whole numbers \(int64\) of shape \[40, 7\] and no scores, as generation returns tokens",
        "self.model.score(x)",
    ),
    "classes": (
        lambda x: (x[:, 0] > 0).long(),
        "the classes themselves, and no scores",
        "scores(x)",
    ),
    "truths": (lambda x: x[:, 0] > 0, r"whole numbers \(bool\)", "self.model.scores(x)"),
    "nothing": (lambda x: None, "nothing .None., as a forward without a return", "self.model"),
    "a loss": (lambda x: x.mean(), "one number for all samples, as a loss is", "scores(x)"),
    "a float": (lambda x: float(x.mean()), "one number .float. for all samples", "scores(x)"),
    "numpy": (
        lambda x: x.detach().numpy(),
        r"a numpy array of shape \[40, 4\], through which no gradient",
        "torch.as_tensor(self.model(x))",
    ),
    "a list of rows": (
        lambda x: list(x),
        r"a list of 40 tensors \[4\], one a sample",
        "torch.stack(self.model(x))",
    ),
    "a list of rows of all lengths": (
        lambda x: [torch.rand(i + 1) for i in range(len(x))],
        r"a list of 40 tensors of different shapes \(\[1\], \[2\], \[3\], \[4\], …\)",
        "torch.stack",
    ),
    "a list of numbers": (lambda x: x[:, 0].tolist(), "a list of 40 numbers", "torch.as_tensor"),
    "a packed sequence": (
        lambda x: nn.utils.rnn.pack_padded_sequence(
            x[:, :, None], torch.full((len(x),), 4), batch_first=True
        ),
        "a packed sequence, as recurrent layers do",
        "pad_packed_sequence",
    ),
    "a distribution": (
        lambda x: torch.distributions.Normal(x, 1.0),
        "a distribution .Normal.",
        "self.model(x).mean",
    ),
    "an iterator": (lambda x: iter(x), "an iterator", "torch.stack(list(self.model(x)))"),
    "a sparse tensor": (lambda x: x.to_sparse(), "a sparse tensor", "to_dense()"),
    "a nested tensor": (
        lambda x: torch.nested.nested_tensor(list(x)),
        "a nested tensor",
        "to_padded_tensor",
    ),
    "complex numbers": (lambda x: x * 1j, "complex numbers", ".abs()"),
    "an object": (
        lambda x: SimpleNamespace(scores=x, more=3),
        r"SimpleNamespace with scores \[40, 4\] and more int",
        "self.model(x).scores",
    ),
    "a dict of dicts": (
        lambda x: {"head": {"logits": x}},
        "a dict of head dict",
        "self.model(x)['head']['logits']",
    ),
    "an empty list": (lambda x: [], "an empty list", "scores"),
    "tuples in a list": (lambda x: [(x, x), (x,)], "a list of tuple", "self.model(x)[0][0]"),
}


class Odd(nn.Module):
    def __init__(self, returns):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.returns = returns

    def forward(self, x):
        return self.returns(x)


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("y", [Y, None], ids=["labels", "no labels"])
def test_it_is_refused_with_what_it_is_and_lines_to_copy(what, y):
    returns, said, code = ODD[what]
    with pytest.raises(AuditError, match=said) as caught:
        audit.Subject(Odd(returns), X, y)
    sentence, lines = str(caught.value).split("\n\n")
    assert "one tensor of numbers with a row for each sample is taken. Wrap it" in sentence
    assert code in lines
    assert len(lines.splitlines()) == 4
    compile(lines, "copied", "exec")


def wrapped(lines, model):
    names = {"torch": torch}
    exec(lines, names)
    return names["Wrapped"](model)


@pytest.mark.parametrize(
    "what",
    [
        "boxes, a dict a picture",
        "boxes of queries",
        "boxes in an object",
        "a list of rows",
        "a list of rows of all lengths",
        "numpy",
        "a distribution",
        "an iterator",
        "a sparse tensor",
        "an object",
    ],
)
def test_what_is_copied_runs(what):
    model = Odd(ODD[what][0])
    with pytest.raises(AuditError) as caught:
        audit.Subject(model, X)
    made = wrapped(str(caught.value).split("\n\n")[1], model)(torch.tensor(X))
    assert len(made) == len(X)
    assert made.is_floating_point()


def test_a_detector_is_audited_by_the_classes_that_are_present():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Linear(4, 3)
            with torch.no_grad():
                self.scores.weight.copy_(5 * torch.eye(3, 4))
                self.scores.bias.zero_()

        def forward(self, x):
            return [
                {"boxes": torch.rand(3, 4), "labels": torch.arange(3), "scores": p}
                for p in self.scores(x).sigmoid()
            ]

    x = torch.tensor(X).repeat(4, 1)
    with pytest.raises(AuditError) as caught:
        audit.Subject(Detector(), x)
    model = wrapped(str(caught.value).split("\n\n")[1], Detector())
    subject = audit.Subject(model, x, (x[:, :3] > 0).long())
    assert subject.task.several_labels
    assert (
        audit.check("performance.multilabel").measure(subject).metric("label_accuracy").value == 1
    )
