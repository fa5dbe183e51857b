"""Patches, places, words, surrogates, one change for all, bare decisions: each keeps its rules."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.errors import NotApplicable
from audit.inputs._series import delayed
from audit.inputs.image.corruptions import turned
from audit.methods.attacks.patch import squares
from audit.methods.attacks.square import window
from audit.methods.attacks.word_substitution import one_edit_away, typos
from audit.producers.attacks import (
    candidates,
    hop_skip_jump,
    patch,
    reworded,
    shifted,
    spatial,
    square,
    surrogate,
    transfer,
    universal,
)

N = 100


@pytest.mark.parametrize("last", [False, True])
def test_a_patch_stays_in_one_square(last):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (40, 3, 8, 8)).astype(np.float32)
    x = x.transpose(0, 2, 3, 1).copy() if last else x
    subject = audit.Subject(
        nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
        x,
        np.arange(40) % 3,
        input={"range": (0, 1)},
    )
    found = Context.of(subject).evidence(patch, np.arange(40), area=0.1, places=3, steps=5)
    with torch.no_grad():
        wrong = subject.logits(found["x"]).argmax(1) != subject.labels
    assert torch.equal(wrong, found["broken"])
    changed = (found["x"] != subject.inputs).any(3 if last else 1)
    assert bool(changed.any())
    for mask in changed:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        if len(rows):
            assert int(rows.max() - rows.min()) < 3  # round(sqrt(0.1 * 64)) = 3 pixels
            assert int(columns.max() - columns.min()) < 3
    assert float(found["x"].min()) >= 0
    assert float(found["x"].max()) <= 1


def test_the_squares_cover_the_picture():
    masks = squares(torch.zeros(1, 1, 8, 8), False, 0.25)
    assert bool(masks.any(0).all())
    assert set(masks.flatten(1).sum(1).tolist()) == {16}


def test_a_patch_where_the_class_lies_breaks(images):
    found = Context.of(images).evidence(patch, np.arange(N), area=0.3, places=4, steps=20)
    assert float(found["broken"].float().mean()) > 0.5


def test_a_shift_moves_a_picture_and_a_series():
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 3, 3] = 1
    moved = turned(x, torch.zeros(1), torch.tensor([[0.25, 0.0]]))
    assert float(moved[0, 0, 3, 1]) == pytest.approx(1)
    series = torch.arange(5.0).reshape(1, 5, 1)
    assert delayed(series, 2).flatten().tolist() == [0, 0, 0, 1, 2]
    assert delayed(series, -1).flatten().tolist() == [1, 2, 3, 4, 4]


class Column(nn.Module):
    """The class is where the picture's bright column lies: left or right of the middle."""

    def forward(self, x):
        left, right = x[..., :4].sum((1, 2, 3)), x[..., 4:].sum((1, 2, 3))
        return torch.stack([left, right], 1)


def columns(n=40):
    x = np.zeros((n, 1, 8, 8), dtype=np.float32)
    at = np.where(np.arange(n) % 2 == 0, 3, 7)
    x[np.arange(n), 0, :, at] = 1
    return audit.Subject(Column(), x, (at > 3).astype(int), input={"range": (0, 1)})


@pytest.mark.parametrize(("shift", "expected"), [(0.0, [False, False]), (0.125, [True, False])])
def test_places_are_searched_as_far_as_said(shift, expected):
    """One pixel is enough for a column beside the middle and not for one at the edge."""
    found = Context.of(columns()).evidence(spatial, np.arange(40), degrees=0.0, shift=shift, grid=3)
    assert found["broken"][:2].tolist() == expected


def test_windows_are_as_large_as_said():
    uniform = torch.rand(50, 40)
    place, signs = window(torch.zeros(50, 3, 16, 16), 0.25, uniform, False)
    assert set(place.flatten(1).sum(1).tolist()) == {3 * 64}
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    place, _ = window(torch.zeros(50, 20, 4), 0.2, uniform, False)
    assert set(place.flatten(1).sum(1).tolist()) == {4 * 4}
    place, _ = window(torch.zeros(50, 10), 0.3, uniform[:, :12], False)
    assert set(place.sum(1).tolist()) == {3}


class Unmoved(nn.Module):
    """Never gives in; remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x):
        self.asked.append(x.clone())
        return torch.tensor([[1.0, 0.0]]).expand(len(x), 2) + 0 * x.sum()


@pytest.mark.parametrize("channels", [1, 3])
def test_no_query_asks_again_what_is_known(channels):
    """A window whose every pixel lies at the drawn edge already is drawn at the other edge."""
    x = np.full((30, channels, 6, 6), 0.5, dtype=np.float32)
    subject = audit.Subject(
        Unmoved(),
        x,
        np.zeros(30, dtype=int),
        input={"range": (0, 1)},
        classes=["a", "b"],
        task="multiclass",
        output="logits",
    )
    subject.core.asked.clear()
    Context.of(subject).evidence(square, np.arange(30), eps=0.1, queries=60)
    _, first, *others = subject.core.asked
    assert len(others) == 59
    assert all(bool((asked != first).flatten(1).any(1).all()) for asked in others)


def test_a_surrogate_answers_as_the_model_does_and_its_examples_transfer(images):
    model = surrogate(images)
    with torch.no_grad():
        same = model(images.inputs).argmax(1) == images.logits(images.inputs).argmax(1)
    assert float(same.float().mean()) > 0.9
    assert surrogate(images) is model
    found = Context.of(images).evidence(transfer, np.arange(N), eps=0.35, steps=10)
    with torch.no_grad():
        wrong = images.logits(found["x"]).argmax(1) != images.labels[:N]
    assert torch.equal(wrong, found["broken"])
    assert float(wrong.float().mean()) > 0.3
    assert float((found["x"] - images.inputs[:N]).abs().max()) <= 0.35 + 1e-6


def test_one_change_is_one_change(images):
    context = Context.of(images)
    change = context.evidence(universal, np.arange(64), eps=0.4, steps=30)["change"]
    assert bool((change == change[:1]).all())
    assert float(change.abs().max()) <= 0.4 + 1e-6
    flat = change[0].flatten().tolist()
    broken = context.evidence(shifted, np.arange(100, 200), eps=0.4, change=flat)["broken"]
    none = context.evidence(shifted, np.arange(100, 200), eps=0.4, change=[0.0] * 64)["broken"]
    assert float(broken.float().mean()) > float(none.float().mean()) + 0.2


def test_bare_decisions_are_enough(images):
    found = Context.of(images).evidence(hop_skip_jump, np.arange(6), iterations=8, evaluations=200)
    with torch.no_grad():
        assert bool((images.logits(found["x"]).argmax(1) != images.labels[:6]).all())
    distance = (found["x"] - images.inputs[:6]).abs().flatten(1).amax(1)
    assert torch.allclose(found["distance"], distance, atol=1e-5)
    assert float(distance.median()) < 0.6


def one_edit_apart(a, b):
    return 1 in one_edit_away((a, b))(a)


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ("film", "films", True),
        ("film", "fil", True),
        ("film", "fill", True),
        ("from", "form", True),
        ("film", "film", False),
        ("film", "lifm", False),
        ("good", "bad", False),
        ("a", "of", False),
        ("ab", "ba", True),
        ("abc", "cba", False),
    ],
)
def test_one_edit_is_one_letter_or_one_swap(a, b, apart):
    assert one_edit_apart(a, b) is apart
    assert one_edit_apart(b, a) is apart


def test_typing_errors_are_words_one_edit_away_or_unknown():
    words = ("<pad>", "<unk>", "film", "fill", "films", "from", "form", "bad")
    table = typos(words)
    assert set(table[2].tolist()) - {2} == {1, 3, 4}
    assert set(table[5].tolist()) - {5} == {1, 6}
    assert table[0].tolist() == [0] * table.shape[1]
    for word, row in zip(words[2:], table[2:].tolist(), strict=True):
        assert all(words[i] in (word, "<unk>") or one_edit_apart(word, words[i]) for i in row)


WORDS = ["<pad>", "<unk>", "good", "goods", "bad", "bed", "film", "plot"]


class Counting(nn.Module):
    """Good words minus bad ones."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Embedding(8, 1)
        with torch.no_grad():
            self.weight.weight.copy_(torch.tensor([0.0, 0, 2, 0, -2, 0, 0, 0])[:, None])

    def forward(self, x):
        z = self.weight(x).sum((1, 2))
        return torch.stack([-z, z], 1)


def texts(vocabulary=WORDS):
    good, bad = [2, 2, 6, 0], [4, 7, 0, 0]
    x = np.array([good, bad] * 20, dtype=np.int64)
    return audit.Subject(
        Counting(),
        x,
        np.array([1, 0] * 20),
        output="logits",
        input={"kind": "tokens", "vocabulary": vocabulary},
    )


@pytest.mark.parametrize("edits", [1, 2])
def test_words_are_changed_within_the_budget_and_by_the_rules(edits):
    subject = texts()
    found = Context.of(subject).evidence(reworded, np.arange(40), kind="typos", edits=edits)
    changed = found["x"] != subject.inputs
    assert int(changed.sum(1).max()) <= edits
    for before, after in itertools.chain(
        *(
            zip(a, b, strict=True)
            for a, b in zip(subject.inputs.tolist(), found["x"].tolist(), strict=True)
        )
    ):
        one = WORDS[after] == "<unk>" or one_edit_apart(WORDS[before], WORDS[after])
        assert before == after or one
    # Two good words need two errors to be gone; the one bad word needs one. A tie is class 0.
    assert found["broken"][0] == (edits == 2) or bool((subject.logits(found["x"])[0] == 0).all())
    with torch.no_grad():
        wrong = subject.logits(found["x"]).argmax(1) != subject.labels
    assert bool((found["broken"] <= wrong).all())


def test_without_words_there_is_nothing_to_mistype():
    with pytest.raises(NotApplicable, match="vocabulary"):
        candidates(texts(None), "typos")
    with pytest.raises(NotApplicable, match="5 words"):
        candidates(texts(WORDS[:5]), "typos")


def test_substitutes_are_the_nearest_words_of_the_model():
    subject = audit.load("zoo:snippets-textcnn")
    table = candidates(subject, "substitutions")
    weight = nn.functional.normalize(subject.core.embedding.weight, dim=1)
    near = weight @ weight[200]
    near[[0, 1, 200]] = -2
    assert table[200].tolist() == near.topk(table.shape[1]).indices.tolist()


def test_another_case_and_another_mark_are_slips_of_the_keyboard_too():
    words = ("<pad>", "<unk>", "fine", "FINE", "Fine", ".", "!", "...", "far")
    table = typos(words)
    made = {words[i] for i in table[words.index("fine")].tolist()}
    assert {"FINE", "Fine"} <= made
    assert {words[i] for i in table[words.index("...")].tolist()} >= {".", "!"}
    assert "far" not in made
