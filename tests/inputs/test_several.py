"""Several inputs: how they are told apart, passed, and left alone where they must be."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.errors import AuditError
from audit.inputs import Parts
from audit.methods.attacks.budgets import Budget
from audit.packing import Layout
from audit.producers.budgets import budget
from audit.subject.companions import Taken, role_of

WORDS = ["<pad>", "<unk>", *(a + b for a in "bcdfg" for b in "aeiou")]


def text(n=200, steps=8, seed=0):
    """Ids, mask, lengths and labels: does the text hold more of the first words?"""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, steps + 1, n)
    mask = (np.arange(steps) < lengths[:, None]).astype(np.int64)
    ids = rng.integers(2, len(WORDS), (n, steps)) * mask
    return ids, mask, lengths, ((ids > 8) * mask).sum(1) * 2 > lengths


class Masked(nn.Module):
    """The mean over what the mask leaves of a score for each word."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 2)
        with torch.no_grad():
            self.words.weight[:] = torch.tensor(
                [[0.0, 1.0 if i > 8 else -1.0] for i in range(len(WORDS))]
            )

    def forward(self, ids, mask):
        return (self.words(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def masked(**known):
    ids, mask, _, y = text()
    return audit.Subject(
        Masked(), {"ids": ids, "mask": mask}, y, input={"vocabulary": WORDS}, **known
    )


# How the model is asked


class ByPosition(Masked):
    def forward(self, a, b):
        return super().forward(a, b)


class ByKeyword(Masked):
    def forward(self, *, mask, ids):
        return super().forward(ids, mask)


class AsOneDict(Masked):
    def forward(self, batch):
        return super().forward(batch["ids"], batch["mask"])


class Open(Masked):
    def forward(self, *args, **named):
        return super().forward(named["ids"], named["mask"])


@pytest.mark.parametrize(
    ("model", "way"),
    [
        (Masked, "by keyword"),
        (ByKeyword, "by keyword"),
        (ByPosition, "by position"),
        (AsOneDict, "as one dict"),
        (Open, "by keyword"),
    ],
)
def test_inputs_are_passed_as_the_signature_says(model, way):
    ids, mask, _, y = text()
    subject = audit.Subject(model(), {"ids": ids, "mask": mask}, y)
    assert subject.network.feed.way == way
    expected = Masked()(torch.as_tensor(ids), torch.as_tensor(mask))
    assert torch.equal(subject.logits(subject.inputs), expected)


def test_a_tuple_is_named_as_the_forward_names_its_inputs():
    ids, mask, _, y = text()
    assert audit.Subject(Masked(), (ids, mask), y).network.feed.layout.names == ["ids", "mask"]


def test_an_input_that_is_not_taken_is_told():
    ids, mask, lengths, y = text()
    with pytest.raises(
        AuditError, match=r"takes \(ids, mask\) and the data hold 'lens', which it does not"
    ):
        audit.Subject(Masked(), {"ids": ids, "mask": mask, "lens": lengths}, y)


def test_the_model_gets_its_own_shapes_and_types():
    seen = {}

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, code, flag, rows):
            seen.update(
                code=(code.dtype, code.shape),
                flag=flag.dtype,
                rows=rows.dtype,
                large=int(code.max()),
            )
            return self.layer(rows) + code.double()[:, None] * 0

    large = 2**25 + 1
    inputs = {
        "code": np.array([1, large] * 8),
        "flag": np.array([True, False] * 8),
        "rows": np.random.rand(16, 3),
    }
    subject = audit.Subject(Spy(), inputs, [0, 1] * 8)
    subject.logits(subject.inputs)
    assert seen == {
        "code": (torch.int64, (16,)),
        "flag": torch.bool,
        "rows": torch.float64,
        "large": large,
    }


def test_gradients_reach_the_numbers_and_no_mask():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, series, mask):
            return (self.layer(series) * mask[..., None]).sum(1)

    series = np.random.default_rng(0).random((30, 6, 4), dtype=np.float32)
    mask = (np.arange(6) < np.random.default_rng(1).integers(2, 7, (30, 1))).astype(np.float32)
    subject = audit.Subject(
        Sum(),
        {"series": series, "mask": mask},
        [0, 1] * 15,
        inputs={"series": {"kind": "sequence", "range": (0, 1), "eps": 0.1}},
    )
    x = subject.inputs.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(subject.logits(x).sum(), x)
    layout = subject.network.feed.layout
    assert bool((slope[:, layout["series"].columns] != 0).any())
    ball = budget(subject, 0.1).around(subject.inputs)
    may_move = ball.low < ball.high
    assert not bool(may_move[:, layout["mask"].columns].any())
    hidden = torch.as_tensor(mask)[..., None].expand(30, 6, 4).flatten(1) == 0
    assert not bool(may_move[:, layout["series"].columns][hidden].any())
    assert bool(may_move[:, layout["series"].columns][~hidden].any())
    free = budget(subject, 0.0, free=True).around(subject.inputs)
    assert not bool((free.low < free.high)[:, layout["mask"].columns].any())


# What accompanies others


def taken(**named):
    values = {name: torch.as_tensor(v) for name, v in named.items()}
    layout = Layout.of(values)
    return Taken(layout, {n: v.double() for n, v in values.items()}, {}, {})


IDS, MASK, LENGTHS, _ = text()


@pytest.mark.parametrize(
    ("named", "role"),
    [
        ({"attention_mask": MASK, "ids": IDS}, "mask"),
        ({"key_padding_mask": MASK == 0, "ids": IDS}, "padding"),
        ({"my_mask": MASK == 0, "ids": IDS}, "padding"),
        ({"z": MASK, "ids": IDS}, "mask"),
        ({"z": LENGTHS, "ids": IDS}, "lengths"),
        ({"z": LENGTHS, "m": MASK}, "lengths"),
        ({"lens": LENGTHS, "ids": IDS + 1}, "lengths"),
        ({"z": np.tile(np.arange(8), (200, 1)), "ids": IDS}, "other"),
        ({"token_type_ids": MASK * 0, "ids": IDS}, "other"),
        ({"z": np.random.default_rng(0).integers(0, 2, (200, 8)), "ids": IDS}, None),
        ({"age": LENGTHS + 1, "ids": IDS}, None),
        ({"mask": np.random.default_rng(0).random((200, 8)), "ids": IDS}, None),
    ],
)
def test_a_companion_is_told_by_its_name_and_what_it_holds(named, role):
    found = taken(**named)
    assert role_of(found.layout.members[0], found)[0] == role


def test_what_is_inferred_of_each_is_a_fact_with_its_reason():
    facts = {f.name: (f.value, f.source) for f in masked().facts}
    assert facts["input ids"] == ("tokens", "inferred")
    assert facts["input mask"][1] == "inferred"
    given = masked(inputs={"mask": {"role": "mask"}, "ids": {"kind": "tokens"}})
    assert {f.source for f in given.facts if f.name in ("input ids", "input mask")} == {"given"}


def test_an_input_described_that_is_not_there_is_told():
    with pytest.raises(AuditError, match="names 'idz'"):
        masked(inputs={"idz": {"kind": "tokens"}})


# Texts with a mask


@pytest.mark.parametrize("kind", ["typos", "substitutions"])
def test_words_are_changed_where_the_mask_lets_them_be_seen(kind):
    from audit.evidence import Store
    from audit.producers.attacks import reworded

    subject = masked()
    found = Store(subject).get(reworded, np.arange(60), kind=kind, edits=3)
    layout = subject.network.feed.layout
    before, after = subject.inputs[:60], found["x"]
    moved = before != after
    mask = before[:, layout["mask"].columns]
    assert torch.equal(mask, after[:, layout["mask"].columns])
    assert bool(moved[:, layout["ids"].columns].any())
    assert not bool(moved[:, layout["ids"].columns][mask == 0].any())


def test_text_with_a_mask_is_asked_what_text_alone_is_asked():
    ids, _, _, y = text()

    class Alone(Masked):
        def forward(self, x):
            return super().forward(x, (x != 0).float())

    alone = audit.Subject(Alone(), ids, y, input={"vocabulary": WORDS})
    from audit.plan import plan

    def asked(subject):
        return {p.check.id for p in plan(subject) if not p.state}

    assert asked(masked()) >= asked(alone)
    record = audit.run(masked(), checks=["robustness.typos"], profile="quick")
    assert record.check("robustness.typos").state in ("met", "failed", "undecided")


# What is left out takes its mask and its edges with it


def test_a_word_left_out_takes_its_mask_with_it():
    subject = masked()
    parts, layout = subject.kind.parts(subject), subject.network.feed.layout
    assert parts.count == 8
    assert parts.grid == (1, 8)
    assert torch.equal(parts.member[layout["ids"].columns], parts.member[layout["mask"].columns])
    absent = subject.kind.baseline(subject)
    assert absent[0, layout["mask"].columns].tolist() == [1, *[0] * 7]  # a text of no word is none
    keep = parts.expand(torch.ones(1, 8, dtype=torch.bool).index_fill(1, torch.tensor([1]), False))
    one = torch.where(keep, subject.inputs[:1], absent)
    shorter = subject.inputs[:1].clone()
    shorter[:, layout["mask"].columns.start + 1] = 0
    assert torch.allclose(subject.logits(one), subject.logits(shorter))


def test_a_value_of_no_part_always_stays_and_an_edge_goes_with_either_node():
    member = torch.tensor([0, 1, 2, 0, 0])
    parts = Parts(member, ["a", "b"], None, torch.tensor([0, 1, 2, 1, 0]))
    keep = parts.expand(torch.tensor([[True, False], [False, True]]))
    assert keep.tolist() == [[True, False, True, False, True], [False, True, True, False, False]]
    assert parts.total(torch.ones(1, 5)).tolist() == [[3.0, 1.0]]


def test_a_companion_is_never_noisy_and_never_rescaled():
    subject = masked()
    assert not bool(subject.kind.noise_spread(subject).any())
    assert (
        not bool(subject.kind.reach(subject, 1.0).radius.any()) if subject.kind.continuous else True
    )


# Eps of several


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 2), nn.Linear(3, 2)

    def forward(self, image, rows):
        return self.a(image.flatten(1)) + self.b(rows)


def both(**inputs):
    rng = np.random.default_rng(0)
    x = {"image": rng.random((40, 1, 8, 8), dtype=np.float32), "rows": rng.normal(size=(40, 3))}
    return audit.Subject(Both(), x, [0, 1] * 20, inputs=inputs or None)


def test_the_eps_asked_is_the_first_inputs_and_the_others_go_in_proportion():
    subject = both(image={"eps": 0.1, "range": (0, 1)}, rows={"eps": 0.5})
    layout = subject.network.feed.layout
    radius = subject.kind.reach(subject, 0.2).radius
    assert torch.allclose(radius[:, layout["image"].columns], torch.tensor(0.2))
    spread = subject.moments.std[:, layout["rows"].columns]
    assert torch.allclose(radius[:, layout["rows"].columns], spread, rtol=1e-4)
    said = subject.kind.change(subject, 0.1, "linf")
    assert "in 'image'" in said
    assert "in 'rows'" in said
    assert "0.5 standard deviations" in said


def test_only_a_range_that_was_guessed_is_left_open():
    subject = both(image={"kind": "image"})
    layout = subject.network.feed.layout
    allowed: Budget = budget(subject, 0.1)
    assert bool(torch.isinf(allowed.high[:, layout["image"].columns]).all())
    assert not bool(torch.isinf(allowed.high[:, layout["rows"].columns]).any())
    given = both(image={"range": (0, 1)})
    assert not given.kind.bounds_are_guessed(given)


def test_parts_and_corruptions_are_those_of_each_input():
    subject = both()
    parts = subject.kind.parts(subject)
    assert parts.names[0].startswith("image: ")
    assert parts.names[-1] == "rows: column 2"
    x = subject.inputs[:4]
    layout = subject.network.feed.layout
    disturbed = subject.kind.corruptions(subject)["contrast"](x, 5, lambda *_: torch.rand(4))
    assert not torch.equal(disturbed[:, layout["image"].columns], x[:, layout["image"].columns])
    assert torch.equal(disturbed[:, layout["rows"].columns], x[:, layout["rows"].columns])


# Graphs


class Mean(nn.Module):
    """The mean over the nodes that are there, of what each and its neighbours hold."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, nodes, adj, mask):
        seen = self.layer(nodes + adj @ nodes)
        return (seen * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def graphs(n=40):
    rng = np.random.default_rng(0)
    there = (np.arange(6) < rng.integers(3, 7, (n, 1))).astype(np.float32)
    nodes = rng.normal(size=(n, 6, 3)).astype(np.float32) * there[..., None]
    edges = np.triu(rng.random((n, 6, 6)) < 0.5, 1).astype(np.float32)
    edges = (edges + edges.transpose(0, 2, 1)) * there[:, None] * there[:, :, None]
    return {"nodes": nodes, "adj": edges, "mask": there}


def test_nodes_with_edges_are_a_graph_and_a_node_left_out_takes_its_edges_with_it():
    subject = audit.Subject(Mean(), graphs(), [0, 1] * 20)
    facts = {f.name: f.value for f in subject.facts}
    assert facts["input nodes"] == "graph"
    assert facts["input adj"] == "edges between nodes"
    parts, layout = subject.kind.parts(subject), subject.network.feed.layout
    assert parts.names == [f"node {i + 1}" for i in range(6)]
    x, absent = subject.inputs[:1], subject.kind.baseline(subject)
    out = torch.ones(1, 6, dtype=torch.bool).index_fill(1, torch.tensor([2]), False)
    left = layout["adj"].of(torch.where(parts.expand(out), x, absent))[0]
    assert not bool(left[2].any())
    assert not bool(left[:, 2].any())
    others = [0, 1, 3, 4, 5]
    assert torch.equal(left[others][:, others], layout["adj"].of(x)[0][others][:, others])
    assert bool(torch.isfinite(subject.logits(absent)).all())


def test_nodes_move_and_edges_do_not():
    subject = audit.Subject(Mean(), graphs(), [0, 1] * 20)
    ball, layout = budget(subject, 0.1).around(subject.inputs), subject.network.feed.layout
    may_move = ball.low < ball.high
    assert not bool(may_move[:, layout["adj"].columns].any())
    there = torch.as_tensor(graphs()["mask"])[..., None].expand(40, 6, 3).flatten(1) > 0
    assert torch.equal(may_move[:, layout["nodes"].columns], there)


# What every input does


def test_what_is_hidden_is_filled_with_what_is_seen_elsewhere():
    subject = masked()
    uniform = torch.rand(200, 8, generator=torch.Generator().manual_seed(0))
    changed = subject.kind.scrambled(subject, subject.inputs, "ids", lambda *_: uniform)
    layout = subject.network.feed.layout
    ids, mask = layout["ids"].columns, layout["mask"].columns
    hidden = subject.inputs[:, mask] == 0
    assert torch.equal(changed[:, ids][~hidden], subject.inputs[:, ids][~hidden])
    assert bool((changed[:, ids][hidden] > 1).all())
    assert torch.equal(subject.logits(changed), subject.logits(subject.inputs))


# Volumes


def test_volumes_are_told_moved_and_explained_by_blocks():
    x = torch.rand(30, 1, 6, 8, 10, generator=torch.Generator().manual_seed(0))

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(384, 2)
            )

        def forward(self, x):
            return self.body(x)

    subject = audit.Subject(Flat(), x, [0, 1] * 15)
    assert subject.kind.name == "volume"
    parts = subject.kind.parts(subject)
    assert parts.grid == (3, 4, 4)
    assert parts.member.shape == (1, 6, 8, 10)
    assert parts.count == 48
    for move in subject.kind.displacements(subject, 0, 0.1, 3):
        moved = move(x)
        assert moved.shape == x.shape
        assert not torch.equal(moved, x)
    for corruption in subject.kind.corruptions(subject).values():
        changed = corruption(x, 3, lambda _, shape: torch.rand(30, *shape))
        assert changed.shape == x.shape
        assert bool(((changed >= 0) & (changed <= 1)).all())
    assert subject.kind.drawn_map(subject, x[0].numpy()).shape == (8, 10)


def test_bounds_are_no_question_of_several_inputs_or_of_half_precision():
    from audit.errors import NotApplicable

    check = audit.check("robustness.certified")
    with pytest.raises(NotApplicable, match="more than one input"):
        check.measure(both())
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).bfloat16()
    half = audit.Subject(model, torch.randn(40, 3), [0, 1] * 20)
    assert half.network.dtype == torch.bfloat16
    assert bool(torch.isfinite(half.logits(half.inputs)).all())
    with pytest.raises(NotApplicable, match="computes in bfloat16"):
        check.measure(half)


def test_positions_that_all_samples_share_are_no_layer_that_is_starved():
    from audit.evidence import Store
    from audit.methods.activations import layer_flow

    class Placed(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(len(WORDS), 4), nn.Embedding(8, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, ids):
            return self.head((self.words(ids) + self.places(torch.arange(8)[None])).mean(1))

    subject = audit.Subject(Placed(), text()[0], [0, 1] * 100)
    found = Store(subject).get(layer_flow, np.arange(20))
    assert {k for k in found if k.startswith("gradient")} == {"gradient words", "gradient head"}
    assert bool((found["gradient words"] > 0).all())


def test_an_array_that_the_model_does_not_take_is_told_with_how_to_leave_it_out():
    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(x)

    named = {"x": torch.randn(20, 3), "weight": torch.rand(20)}
    with pytest.raises(AuditError, match=r"hold 'weight'.*arrays = \{x = \"x\", y = \"…\"\}"):
        audit.Subject(Takes(), named, torch.arange(20) % 2)


def test_whole_numbers_that_no_row_holds_are_refused():
    class Codes(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x, code):
            return self.layer(x) * (1 - 2 * (code % 2))[:, None]

    def subject(code):
        return audit.Subject(Codes(), {"x": x, "code": code}, torch.arange(20) % 2)

    x, code = torch.randn(20, 3), torch.arange(20) * 2 + 1
    assert subject(code + (1 << 40)).n == 20
    with pytest.raises(AuditError, match="'code' holds whole numbers above 2\\^53"):
        subject(code + (1 << 60))
