"""Tasks in which each unit of a sample has its answer: segmentation and sequence labelling."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import nn

import audit
from audit.checking import Context
from audit.errors import AuditError
from audit.methods.regions import regions
from audit.rooms import TASKS, room
from audit.subject.inference import MOST_NUMBERS
from audit.unitwise import HALF

CLASSES, SIDE, N = 3, 8, 80


class Pixels(nn.Module):
    """A linear score for each pixel and class."""

    def __init__(self, form=lambda z: z):
        super().__init__()
        self.head = nn.Conv2d(1, CLASSES, 1)
        self.form = form
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([-6.0, 0.0, 6.0])[:, None, None, None])
            self.head.bias.copy_(torch.tensor([2.0, 0.0, -4.0]))

    def forward(self, x):
        return self.form(self.head(x))


def pictures(wrong=0.05):
    """Pictures [n, 1, 8, 8] of blocks of one brightness, and the class of each pixel."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, CLASSES, (N, SIDE // 2, SIDE // 2))
    y = coarse.repeat(2, 1).repeat(2, 2)
    x = (y / (CLASSES - 1) + rng.normal(0, 0.05, y.shape)).clip(0, 1).astype(np.float32)
    flipped = rng.random(y.shape) < wrong
    return x[:, None], np.where(flipped, (y + 1) % CLASSES, y)


def steps(form=lambda z: z):
    """Series [n, 10, 4] in which one channel tells the class of a step."""
    torch.manual_seed(0)
    x = torch.rand(N, 10, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, CLASSES))
    return nn.Sequential(model, Lambda(form)).eval(), x, model(x).argmax(-1)


class Lambda(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        return self.of(x)


FORMS = {
    "logits, classes first": (lambda z: z, "logits", "first"),
    "logits, classes last": (lambda z: z.permute(0, 2, 3, 1), "logits", "last"),
    "probabilities": (lambda z: z.softmax(1), "probabilities", "first"),
    "probabilities, classes last": (
        lambda z: z.permute(0, 2, 3, 1).softmax(-1),
        "probabilities",
        "last",
    ),
    "log probabilities": (lambda z: z.log_softmax(1), "log_probabilities", "first"),
    "in a dictionary": (lambda z: {"out": z, "aux": z.mean((2, 3))}, "logits", "first"),
}


@pytest.mark.parametrize("form", FORMS)
def test_however_a_segmentation_returns_its_scores_they_are_read_alike(form):
    of, output, axis = FORMS[form]
    x, y = pictures()
    subject = audit.Subject(Pixels(of).eval(), x, y)
    assert (subject.task.name, subject.meta.output, subject.meta.class_axis) == (
        "segmentation",
        output,
        axis,
    )
    answers = Context.of(subject).answers()
    assert answers.shape == (N, CLASSES, SIDE * SIDE)
    plain = Pixels()(torch.from_numpy(x)).argmax(1).flatten(1)
    assert (answers.argmax(1) == plain).all()
    found = audit.check("performance.classification").measure(subject)
    assert found.metric("accuracy").value == pytest.approx(
        float((plain.numpy() == y.reshape(N, -1)).mean())
    )


@pytest.mark.parametrize("last", [True, False])
def test_a_class_for_each_step_is_read_from_the_labels(last):
    model, x, y = steps(lambda z: z if last else z.transpose(1, 2))
    subject = audit.Subject(model, x, y, input={"kind": "sequence"})
    assert subject.task.name == "sequence_labelling"
    assert subject.meta.class_axis == ("last" if last else "first")
    accuracy = audit.check("performance.classification").measure(subject).metric("accuracy")
    assert (accuracy.value, accuracy.n) == (1.0, 10 * N)


def test_as_many_steps_as_classes_are_told_apart_by_accuracy_or_asked_about():
    torch.manual_seed(0)
    x = torch.rand(N, CLASSES, 4)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, CLASSES)).eval()
    known = audit.Subject(model, x, model(x).argmax(-1), input={"kind": "sequence"})
    assert known.meta.class_axis == "last"
    with pytest.raises(AuditError, match=r'class_axis = "first" or class_axis = "last"'):
        audit.Subject(model, x, torch.randint(0, CLASSES, (N, CLASSES)), input={"kind": "sequence"})


def test_what_is_not_to_be_judged_is_left_out_and_said():
    x, y = pictures(wrong=0.0)
    y = y.copy()
    y[:, :2] = 255
    subject = audit.Subject(Pixels().eval(), x, y)
    accuracy = audit.check("performance.classification").measure(subject).metric("accuracy")
    assert accuracy.n == N * 6 * SIDE
    assert any("25 % of the pixels are labelled 255" in note for note in subject.notes)
    with pytest.raises(AuditError, match="ignore_label = 7"):
        audit.Subject(Pixels().eval(), x, np.where(y == 255, 7, y), task="segmentation")


@pytest.mark.parametrize(
    ("shape", "said"),
    [((N, 4, 4), "for 8 x 8 pixels; give one class"), ((N,), "for 8 x 8 pixels; give one class")],
)
def test_labels_of_another_shape_are_refused_in_a_sentence(shape, said):
    x, _ = pictures()
    with pytest.raises(AuditError, match=said):
        audit.Subject(Pixels().eval(), x, np.zeros(shape, int) + 1, task="segmentation")


def test_a_stride_judges_every_few_pixels_of_the_same_answers():
    x, y = pictures()
    whole = audit.Subject(Pixels().eval(), x, y)
    some = audit.Subject(Pixels().eval(), x, y, stride=2)
    every = Context.of(whole).answers().reshape(N, CLASSES, SIDE, SIDE)[:, :, ::2, ::2]
    assert torch.equal(Context.of(some).answers(), every.flatten(2))
    assert some.task.grid(some) == (4, 4)
    assert torch.equal(some.labels, torch.from_numpy(y)[:, ::2, ::2].flatten(1))


def test_the_decision_that_an_attack_turns_is_the_one_that_is_judged():
    task = room(TASKS, "segmentation")
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(-1, 4, (400, 30), generator=generator)
    y[:, 0] = 0
    scores = torch.randn(400, 4, 30, generator=generator)
    scores.scatter_add_(
        1, y.clamp_min(0)[:, None], torch.rand(400, 1, 30, generator=generator) * 1.5
    )
    leave, view = task.as_decision(None, None, y)
    assert (leave == 0).all()
    good = task.quality_of(None, scores, y) > HALF
    assert 0.1 < good.double().mean() < 0.9
    assert torch.equal(view(scores, None).argmax(1) == 0, good)
    rows = torch.arange(0, 400, 3)
    assert torch.equal(view(scores[rows], rows).argmax(1) == 0, good[rows])


def test_each_class_of_a_sample_counts_alike():
    task = room(TASKS, "sequence_labelling")
    y = torch.tensor([[0] * 9 + [1], [1] * 10])
    said = torch.zeros(2, 10, dtype=torch.long)
    answers = nn.functional.one_hot(said, 2).double().movedim(2, 1)
    assert task.quality_of(None, answers, y).tolist() == pytest.approx([0.5, 0.0])


def test_an_attack_takes_most_of_a_picture_and_random_noise_does_not():
    x, y = pictures(wrong=0.0)
    subject = audit.Subject(Pixels().eval(), x, y, input={"range": (0, 1)})
    found = audit.check("robustness.pgd", eps=0.4).measure(subject)
    assert found.metric("robust_share", eps=0.4).value < 0.1
    assert all(v.passed for v in found.validity)


def test_overlap_is_that_of_scikit_learn():
    x, y = pictures(wrong=0.2)
    subject = audit.Subject(Pixels().eval(), x, y)
    said = Context.of(subject).answers().argmax(1).numpy().ravel()
    found = audit.check("performance.regions").measure(subject)
    assert found.metric("mean_iou").value == pytest.approx(
        jaccard_score(y.ravel(), said, average="macro")
    )
    each = jaccard_score(y.ravel(), said, average=None)
    for i, value in enumerate(each):
        assert found.metric("iou", **{"class": str(i)}).value == pytest.approx(value)


def test_regions_are_counted_within_their_own_sample():
    labels = np.array([[[1, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 2]]])
    others = np.array([[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 2, 2]]])
    found = regions(labels, others, background=0)
    assert found.sample.tolist() == [0, 1, 1]
    assert found.kind.tolist() == [1, 1, 2]
    assert found.size.tolist() == [2, 1, 1]
    assert found.overlap.tolist() == [0.5, 0.0, 0.5]


def test_an_untrained_segmentation_fails():
    x, y = pictures()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, CLASSES, 1)).eval()
    subject = audit.Subject(model, x, y, input={"range": (0, 1)})
    record = audit.run(subject, checks=["performance.*"], profile="quick")
    assert record.verdict.exit_code == 1


class Bigram(nn.Module):
    """The next token by the last one, in a chain that mostly counts upwards."""

    def __init__(self, words=12, sure=4.0):
        super().__init__()
        self.table = nn.Parameter(sure * torch.roll(torch.eye(words), 1, 1))

    def forward(self, ids):
        return self.table[ids]


def texts(words=12, n=60, t=16):
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(n, t, dtype=torch.long)
    x[:, 0] = torch.randint(1, words, (n,), generator=generator)
    for i in range(1, t):
        random = torch.randint(1, words, (n,), generator=generator)
        x[:, i] = torch.where(
            torch.rand(n, generator=generator) < 0.8, (x[:, i - 1] + 1) % words, random
        )
    for row in range(0, n, 3):
        x[row, t - 2 - row % 5 :] = 0
    return x


def test_the_perplexity_is_that_of_cross_entropy_over_tokens_that_are_no_padding():
    x, model = texts(), Bigram().eval()
    subject = audit.Subject(model, x, task="next_token")
    found = audit.check("performance.next_token").measure(subject)
    due = x.clone()
    trailing = (x == 0).flip(1).cumprod(1).flip(1).bool()
    due[trailing] = -100
    scores = model(x)[:, :-1].detach()
    loss = nn.functional.cross_entropy(scores.flatten(0, 1), due[:, 1:].flatten())
    assert found.metric("cross_entropy").value == pytest.approx(float(loss), rel=1e-4)
    assert found.metric("perplexity").value == pytest.approx(float(loss.exp()), rel=1e-4)
    assert found.metric("gain_over_frequencies").low > 0


def test_every_token_is_judged_whatever_the_vocabulary():
    words, x = 5000, texts(t=32)
    assert words * x.shape[1] > MOST_NUMBERS
    subject = audit.Subject(Bigram(words).eval(), x, task="next_token")
    assert subject.labels.shape == (len(x), 31)
    with pytest.raises(AuditError, match="take out stride"):
        audit.Subject(Bigram(words).eval(), x, task="next_token", stride=2)


def test_positions_that_were_never_trained_are_found_by_the_third_that_they_stand_in():
    class Lost(Bigram):
        def forward(self, ids):
            there = torch.arange(ids.shape[1])[:, None] < 10
            return torch.where(there, super().forward(ids), -super().forward(ids))

    x = texts()
    sound, lost = (
        audit.run(audit.Subject(m.eval(), x, task="next_token"), checks=["performance.next_token"])
        for m in (Bigram(), Lost())
    )
    assert sound.check("performance.next_token").state == "met"
    failed = [e for e in lost.check("performance.next_token").expectations if e.state == "failed"]
    assert any(e.slice.get("third") for e in failed)


def test_labels_that_are_the_tokens_themselves_say_that_the_next_one_is_predicted():
    x = texts()
    assert audit.Subject(Bigram().eval(), x, x.clone()).task.name == "next_token"


def test_a_model_that_sees_what_it_is_to_predict_is_refused():
    class Masked(Bigram):
        def forward(self, ids):
            return super().forward(ids) + super().forward(ids).mean(1, keepdim=True)

    with pytest.raises(AuditError, match="depend on the tokens after it"):
        audit.Subject(Masked().eval(), texts(), task="next_token")


def test_a_model_of_no_language_fails():
    torch.manual_seed(0)
    x = texts()
    model = nn.Sequential(nn.Embedding(12, 8), nn.Linear(8, 12)).eval()
    record = audit.run(audit.Subject(model, x, task="next_token"), checks=["performance.*"])
    assert record.verdict.exit_code == 1


@pytest.mark.parametrize("steps", [1, 3])
def test_a_model_that_looks_a_few_tokens_ahead_is_refused(steps):
    class Ahead(Bigram):
        def forward(self, ids):
            return torch.roll(super().forward(ids), -steps, 1)

    with pytest.raises(AuditError, match="depend on the tokens after it"):
        audit.Subject(Ahead().eval(), texts(), task="next_token")


def test_padding_makes_the_frequencies_of_tokens_no_easier_to_beat():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, 12, (100, 40), generator=generator)
    x[torch.arange(40) >= torch.randint(3, 7, (100, 1), generator=generator)] = 0

    class Flat(nn.Embedding):
        def forward(self, ids):
            return 0.0 * super().forward(ids)

    subject = audit.Subject(Flat(12, 12).eval(), x, task="next_token")
    gain = audit.check("performance.next_token").measure(subject).metric("gain_over_frequencies")
    assert gain.low < 0.01


def test_the_frequencies_of_tokens_themselves_are_no_gain():
    x = texts()
    judged = ~(x == 0).flip(1).cumprod(1).flip(1).bool()[:, 1:]

    class Constant(Bigram):
        def forward(self, ids):
            return 0.0 * super().forward(ids) + counts.log()

    counts = x[:, 1:][judged].bincount(minlength=12) + 1.0
    record = audit.run(
        audit.Subject(Constant().eval(), x, task="next_token"), checks=["performance.next_token"]
    )
    assert record.verdict.exit_code == 1


@pytest.mark.parametrize("several", [False, True])
def test_what_fills_texts_up_hides_no_class_that_is_never_found(several):
    class Tags(nn.Module):
        def __init__(self):
            super().__init__()
            self.sure = nn.Parameter(torch.tensor(4.0))

        def forward(self, ids, mask=None):
            said = ids % 3
            said = torch.where((said == 0) & (ids > 0), 1, said)
            return self.sure * nn.functional.one_hot(said, 3).float()

    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(30) < torch.randint(4, 9, (60, 1), generator=generator)
    ids = torch.randint(1, 30, (60, 30), generator=generator) * mask
    x = {"ids": ids, "mask": mask.long()} if several else ids
    subject = audit.Subject(Tags(), x, ids % 3, task="sequence_labelling")
    assert torch.equal(subject.labels >= 0, mask)
    found = audit.check("imbalance.classes").measure(subject)
    recall = next(m for m in found.metrics if m.name == "recall" and m.slice["class"] == "0")
    assert recall.value == 0


def test_what_is_said_of_units_calls_them_so_and_asks_for_more_samples():
    x, y = pictures(wrong=0.6)
    torch.manual_seed(0)
    record = audit.run(
        audit.Subject(nn.Conv2d(1, CLASSES, 1).eval(), x, y),
        ["performance.*", "calibration.reliability"],
    )
    told = [f for f in record.findings if f.check != "behaviour.determinism"]
    words = " ".join(f"{f.title} {m.what_happened}" for f in told for m in f.members)
    assert "of the pixels; the model gains" in words
    assert "Of the true regions of the smallest third" in words
    metrics = [*record.check("performance.classification").metrics]
    metrics += record.check("calibration.reliability").metrics
    assert {(m.limited_by.what, m.limited_by.n) for m in metrics} == {("samples", N)}


def test_what_is_of_everything_names_no_slice():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    torch.manual_seed(0)
    record = audit.run(
        audit.Subject(nn.Linear(3, 2), x, rng.normal(size=(200, 2)) + 3.0),
        ["performance.regression"],
    )
    titles = [f.title for f in record.findings if f.check == "performance.regression"]
    assert "The model is hardly closer to the truth than a constant" in titles
    assert not any("()" in title for title in titles)


def test_a_language_model_whose_task_nobody_said_is_asked_about_with_the_line_to_write():
    with pytest.raises(AuditError, match=r'under \[subject\] write .*task = "next_token"'):
        audit.Subject(Bigram(), texts())
