"""Evidence on disk is used only as it was kept: tampered with in any way, it is made again and counted."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import nn

import audit
from audit.checking import Check, Measurement
from audit.errors import AuditError
from audit.evidence import Store, producer
from audit.folders import alone_in
from audit.methods.predictions import predict
from audit.record import PARTIAL, AuditRecord, Metric, write_atomic
from audit.seal import Damaged, sealed_text, unsealed_text
from audit.sealing import sealed_tensors, unsealed_tensors
from audit.words import evidence_notes

N = 40


@producer(version=1)
def doubled(batch):
    return {"twice": 2 * batch.subject.logits(batch.x).detach(), "right": batch.y == 1}


@producer(version=1)
def tripled(batch):
    return {"twice": 3 * batch.subject.logits(batch.x).detach(), "right": batch.y == 1}


def subject(**more):
    torch.manual_seed(0)
    x = torch.randn(N, 3)
    return audit.Subject(nn.Linear(3, 2).eval(), x, (x[:, 0] > 0).long(), batch_size=20, **more)


def truncated(path, _):
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path, _):
    path.write_bytes(b"")


def bit_of_a_number(path, _):
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(bytes(content))


def bit_of_the_header(path, _):
    content = bytearray(path.read_bytes())
    content[20] ^= 4
    path.write_bytes(bytes(content))


def another_batch(path, others):
    path.write_bytes(next(p for p in others if p != path).read_bytes())


def another_producer(path, _):
    other = path.parent.parent / "tripled"
    path.write_bytes(next(other.iterdir()).read_bytes())


def without_seal(path, _):
    path.write_bytes(save(load(path.read_bytes())))


def without_a_field(path, _):
    found = load(path.read_bytes())
    del found["right"]
    path.write_bytes(save(found, metadata={"seal": json.dumps({"twice": "0"})}))


def of_another_type(path, _):
    found = load(path.read_bytes())
    path.write_bytes(save({**found, "twice": found["twice"].double()}))


def a_pickle(path, _):
    path.write_bytes(pickle.dumps({"twice": 1}))


def a_text(path, _):
    path.write_text("twice: 1\n" * 99)


def not_text(path, _):
    path.write_bytes(b"\xff\xfe\x00" * 50)


def without_a_field_and_its_seal(path, _):
    found = load(path.read_bytes())
    with safe_open(path, "pt") as file:
        seals = json.loads(file.metadata()["seal"])
    del found["right"], seals["right"]
    path.write_bytes(save(found, metadata={"seal": json.dumps(seals)}))


def nothing_sealed(path, _):
    path.write_bytes(save({}, metadata={"seal": "{}"}))


def a_pipe(path, _):
    path.unlink()
    os.mkfifo(path)


def a_device(path, _):
    path.unlink()
    path.symlink_to("/dev/zero")


TAMPERED = [
    without_a_field_and_its_seal,
    nothing_sealed,
    a_pipe,
    a_device,
    truncated,
    emptied,
    bit_of_a_number,
    bit_of_the_header,
    another_batch,
    another_producer,
    without_seal,
    without_a_field,
    of_another_type,
    a_pickle,
    a_text,
    not_text,
]


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda f: f.__name__)
def test_a_tampered_file_is_made_again_and_counted(tamper, tmp_path):
    honest = Store(subject(), folder=tmp_path).get(doubled, np.arange(N))
    Store(subject(), folder=tmp_path).get(tripled, np.arange(N))
    files = sorted((tmp_path / "doubled").iterdir())
    tamper(files[0], files)
    store = Store(subject(), folder=tmp_path)
    found = store.get(doubled, np.arange(N))
    assert all(torch.equal(found[k], honest[k]) for k in honest)
    assert (store.ledger.damaged, store.ledger.computed, store.ledger.reused) == (1, 1, 1)
    again = Store(subject(), folder=tmp_path)
    again.get(doubled, np.arange(N))
    assert (again.ledger.damaged, again.ledger.computed) == (0, 0)


def test_what_is_planted_with_a_seal_of_its_own_is_found_by_asking_again(tmp_path):
    honest = Store(subject(), folder=tmp_path).get(doubled, np.arange(N))
    for path in (tmp_path / "doubled").iterdir():
        found = load(path.read_bytes())
        found["twice"] = found["twice"].flip(1)
        path.write_bytes(sealed_tensors(path.name, found))
    store = Store(subject(), folder=tmp_path)
    found = store.get(doubled, np.arange(N))
    assert all(torch.equal(found[k], honest[k]) for k in honest)
    assert store.ledger.told["rejected"] == [doubled.name]
    assert (store.ledger.computed, store.ledger.reused) == (2, 0)


def test_honest_evidence_of_a_model_that_draws_lots_is_not_rejected(tmp_path):
    def drawing():
        torch.manual_seed(0)
        x = torch.randn(N, 3)
        model = nn.Sequential(nn.Linear(3, 2), Lots()).eval()
        return audit.Subject(model, x, (x[:, 0] > 0).long(), batch_size=20)

    class Lots(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x, 0.5, training=True)

    first = Store(drawing(), folder=tmp_path).get(predict, np.arange(N))
    for _ in range(5):
        store = Store(drawing(), folder=tmp_path)
        assert torch.equal(store.get(predict, np.arange(N))["logits"], first["logits"])
        assert not store.ledger.rejected


class Right(Check):
    """How many?"""

    id = "test.right"
    title = "How many?"

    def examine(self, context):
        right = float(context.predictions().correct.mean())
        return Measurement(
            answer="So many.",
            metrics=[Metric(name="right", value=right, low=0.0, high=1.0, n=context.subject.n)],
        )


def plant(folder, value):
    """Another measurement in the place of the one that is kept, with a seal of its own."""
    for path in (folder / "measured").iterdir():
        text = path.read_text().partition("\n")[2]
        record = json.loads(text)
        if record["id"] == "test.right":
            record["metrics"][0]["value"] = value
        path.write_text(sealed_text(path.name, json.dumps(record)))


def test_a_planted_measurement_is_found_when_it_is_drawn(tmp_path, monkeypatch):
    first = audit.run(subject(), [Right()], evidence=tmp_path)
    plant(tmp_path, 0.123)

    def drawn(_, known):
        return next((k for k in known if getattr(k[1], "id", "") == "test.right"), known[0])

    monkeypatch.setattr("random.SystemRandom.choice", drawn)
    second = audit.run(subject(), [Right()], evidence=tmp_path)
    value = second.check("test.right").metrics[0].value
    assert value == first.check("test.right").metrics[0].value
    assert second.timing["evidence"]["rejected"] == ["measured"]


def test_a_damaged_measurement_is_measured_again(tmp_path):
    first = audit.run(subject(), [Right()], evidence=tmp_path)
    for path in (tmp_path / "measured").iterdir():
        path.write_text(path.read_text().replace('"value"', '"valve"'))
    second = audit.run(subject(), [Right()], evidence=tmp_path)
    assert second.checks == first.checks
    assert second.timing["evidence"]["damaged"] > 0


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_time_it_would_save(tmp_path):
    folder = tmp_path / "evidence"
    folder.write_text("a file where the folder should be")
    record = audit.run(subject(), [Right()], evidence=folder)
    assert isinstance(record, AuditRecord)
    assert record.check("test.right").state != "broken"
    assert record.timing["evidence"]["unwritable"]


def test_files_are_what_they_were_kept_as(tmp_path):
    tensors = {
        "a": torch.randn(3, 2).bfloat16(),
        "b": torch.zeros(0, 4),
        "c": torch.tensor(True),
        "d": torch.arange(5),
    }
    path = tmp_path / "x"
    path.write_bytes(sealed_tensors("key", tensors))
    found = unsealed_tensors(path, "key")
    assert all(torch.equal(found[k], tensors[k]) for k in tensors)
    with pytest.raises(Damaged):
        unsealed_tensors(path, "another key")
    path.write_text(sealed_text("key", "text\nwith lines"))
    assert unsealed_text(path, "key") == "text\nwith lines"
    with pytest.raises(Damaged):
        unsealed_text(path, "another key")


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({"computed": 3, "reused": 1}, []),
        ({"damaged": 1}, ["1 file of evidence did not hold"]),
        ({"damaged": 2}, ["2 files of evidence did not hold"]),
        ({"rejected": ["a.b"]}, ["is not what the model gives (a.b)"]),
        ({"unwritable": "Read-only file system"}, ["could not be kept in the folder (Read-only"]),
    ],
)
def test_what_came_of_evidence_is_said(evidence, said):
    notes = evidence_notes(evidence)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_two_audits_do_not_write_into_one_folder(tmp_path):
    (tmp_path / "evidence").mkdir()
    left = tmp_path / "evidence" / f".record.json.1.ab{PARTIAL}"
    left.write_text("half")
    with alone_in(tmp_path):
        assert not left.exists()
        with pytest.raises(AuditError, match="another audit is writing there"), alone_in(tmp_path):
            pass
    with alone_in(tmp_path):
        pass


def test_files_that_are_being_written_have_names_of_their_own(tmp_path, monkeypatch):
    seen = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda self, to: (seen.append(self.name), replace(self, to))[1]
    )
    for _ in range(3):
        write_atomic(tmp_path / "record.json", "{}")
    assert len(set(seen)) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_folder_in_the_place_of_private_evidence_ends_no_audit(tmp_path):
    (tmp_path / "doubled" / "key.samples.safetensors").mkdir(parents=True)
    Store(subject(), folder=tmp_path, examples=False)


@pytest.mark.parametrize("what", ["pipe", "link"])
def test_the_lock_waits_for_no_pipe_and_follows_no_link(what, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / ".lock") if what == "pipe" else (out / ".lock").symlink_to(precious)
    with alone_in(out):
        pass
    assert precious.read_text() == "kept"
