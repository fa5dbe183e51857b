"""Every format in, nothing runs, and each hostile file ends in one sentence in time."""

import argparse
import collections
import contextlib
import datetime
import io
import json
import os
import pathlib
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import audit
from audit.artifact.building import build
from audit.artifact.opening import open_artifact
from audit.errors import AuditError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 3)
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


@pytest.fixture
def net():
    return Net().eval()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


def same(artifact, net):
    own = net.state_dict()
    assert set(artifact.state) == set(own)
    for name, tensor in own.items():
        assert artifact.state[name].dtype == tensor.dtype
        assert torch.equal(artifact.state[name], tensor), name


# What is accepted


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dict_tensor_by_tensor(net, path, zipped):
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
    artifact = open_artifact(path)
    assert artifact.format == ("torch zip" if zipped else "torch legacy")
    same(artifact, net)


@pytest.mark.parametrize("zipped", [True, False])
def test_full_pickle_is_lifted_tensor_by_tensor(net, path, zipped):
    torch.save(net, path, _use_new_zipfile_serialization=zipped)
    artifact = open_artifact(path)
    assert artifact.format == "full pickle"
    assert artifact.asks_for.endswith("Net")
    same(artifact, net)


def test_torchscript_is_lifted_tensor_by_tensor(net, path, monkeypatch):
    torch.jit.trace(net, torch.zeros(2, 4)).save(str(path))
    artifact = open_artifact(path)
    assert artifact.format == "TorchScript"
    monkeypatch.setattr("audit.artifact.building.import_user_object", lambda *_: Net)
    built = build(
        artifact, "x:Net"
    )  # the script also holds the buffer that a state_dict leaves out
    assert artifact.state.pop("scratch").tolist() == [1, 1]
    same(artifact, net)
    assert torch.equal(built.body[1].running_var, net.body[1].running_var)


def test_safetensors(net, path):
    save_file(net.state_dict(), path)
    same(open_artifact(path), net)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "ema"])
def test_wrappers(net, path, key):
    torch.save({key: net.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=1)}, path)
    same(open_artifact(path), net)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_prefixes(net, path, prefix, monkeypatch):
    torch.save({prefix + k: v for k, v in net.state_dict().items()}, path)
    artifact = open_artifact(path)
    monkeypatch.setattr("audit.artifact.building.import_user_object", lambda *_: Net)
    built = build(artifact, "x:Net")
    assert torch.equal(built.head.weight, net.head.weight)


def test_strided_shared_and_exotic_tensors(path):
    base = torch.arange(24.0).reshape(4, 6)
    tied = torch.randn(3, 3)
    state = {
        "t": base.t(),
        "slice": base[1:3, ::2],
        "tied": tied,
        "again": tied,
        "zero": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        "half": torch.randn(3).half(),
        "bf": torch.randn(3).bfloat16(),
        "bool": torch.tensor([True, False]),
        "i8": torch.tensor([1, -2], dtype=torch.int8),
        "expanded": torch.ones(1, 3).expand(5, 3),
        "f8": torch.randn(4).to(torch.float8_e4m3fn),
        "c": torch.randn(2, dtype=torch.complex64),
    }
    torch.save(state, path)
    found = open_artifact(path).state
    for name, tensor in state.items():
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name].contiguous().view(-1), tensor.contiguous().view(-1)), name


def test_own_checkpoint_round_trip(net, tmp_path):
    for name in ("m.pt", "m.safetensors"):
        audit.save(net, tmp_path / name, meta={"task": "multiclass", "classes": ["a", "b", "c"]})
        artifact = open_artifact(tmp_path / name)
        assert artifact.meta["classes"] == ["a", "b", "c"]
        assert artifact.arch.endswith(":Net")
        same(artifact, net)
    assert torch.load(tmp_path / "m.pt", weights_only=True)["format"] == "audit-model"


def test_tied_weights_survive_both_formats(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    for name in ("t.pt", "t.safetensors"):
        audit.save(net, tmp_path / name)
        state = open_artifact(tmp_path / name).state
        assert torch.equal(state["0.weight"], state["1.weight"])


# What asks for trust


def test_missing_arch_names_what_the_file_asks_for(net, path):
    torch.save(net, path)
    with pytest.raises(AuditError, match=r"asks for .*Net; if you trust that code, pass --arch"):
        build(open_artifact(path), None)


def test_trusted_files_are_loaded_whole(net, path, tmp_path):
    torch.jit.trace(net, torch.zeros(2, 4)).save(str(path))
    artifact = open_artifact(path, trust=True)
    assert artifact.trusted
    assert artifact.modules
    exported = tmp_path / "e.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(2, 4),)), exported)
    assert open_artifact(exported, trust=True).modules
    with pytest.raises(AuditError, match=r"torch\.export program.*--trust"):
        open_artifact(exported)


# What is refused: one sentence, in time, nothing run


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def refused(path, *words):
    began = time.monotonic()
    with pytest.raises(AuditError) as caught:
        open_artifact(path)
    assert time.monotonic() - began < 16
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize("writer", ["torch", "legacy", "pickle", "protocol0"])
def test_a_payload_does_not_run_and_is_named(path, tmp_path, writer):
    proof = tmp_path / "ran"
    load = {"state_dict": {"w": torch.ones(2)}, "x": Payload(f"touch {proof}")}
    if writer == "torch":
        torch.save(load, path)
    elif writer == "legacy":
        torch.save(load, path, _use_new_zipfile_serialization=False)
    else:
        protocol = 0 if writer == "protocol0" else 4
        path.write_bytes(pickle.dumps(Payload(f"touch {proof}"), protocol=protocol))
    refused(path, "posix.system")
    assert not proof.exists()


def test_a_payload_inside_a_module_does_not_run(net, path, tmp_path):
    proof = tmp_path / "ran"
    net.extra = Payload(f"touch {proof}")
    torch.save(net, path)
    refused(path, "posix.system")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.float64(0.5), "numpy"),
        (pathlib.Path("a"), "paths"),
        (datetime.date(2026, 1, 1), "dates"),
    ],
)
def test_values_that_need_a_call_are_named_with_advice(net, path, value, word):
    torch.save({"state_dict": net.state_dict(), "note": value}, path)
    refused(path, word, "save")


def test_zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", b"\0" * (200 << 20))
    assert path.stat().st_size < 1 << 20
    refused(path, "compressed")


def forged(path, body, storages=(("0", b"\0" * 4096),)):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/version", b"3\n")
        for key, content in storages:
            archive.writestr(f"archive/data/{key}", content)


def tensor_pickle(size, stride, offset=0, numel=1024):
    """A state_dict of one tensor with any geometry."""
    out = io.BytesIO()
    out.write(
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\n"
    )

    def number(value):
        data = value.to_bytes(8, "little", signed=True)
        return b"\x8a\x08" + data

    out.write(b"U\x010U\x03cpu" + number(numel) + b"tQ")
    out.write(number(offset))
    out.write(b"(" + b"".join(map(number, size)) + b"t")
    out.write(b"(" + b"".join(map(number, stride)) + b"t")
    out.write(b"\x89ccollections\nOrderedDict\n)RtRs.")
    return out.getvalue()


def test_a_forged_but_honest_tensor_is_read(path):
    forged(path, tensor_pickle([4, 2], [2, 1]))
    assert open_artifact(path).state["w"].shape == (4, 2)


def test_stride_zero_tensor_of_2_to_the_40_elements(path):
    forged(path, tensor_pickle([1 << 20, 1 << 20], [0, 0]))
    refused(path, "declare")


@pytest.mark.parametrize(
    ("size", "stride", "offset", "words"),
    [
        ([2000], [1], 0, "beyond its storage"),
        ([10], [1], 2000, "beyond its storage"),
        ([10, 10], [500, 3], 0, "beyond its storage"),
        ([4], [-1], 3, "does not write"),
    ],
)
def test_tensors_beyond_their_storage(path, size, stride, offset, words):
    forged(path, tensor_pickle(size, stride, offset))
    refused(path, words)


@pytest.mark.parametrize(
    ("numel", "words"),
    [
        (1 << 40, "declares 4,398,046,511,104 bytes and holds 4,096"),
        (1025, "declares 4,100 bytes"),
        (-5, "declares no size"),
    ],
)
def test_storages_that_declare_what_they_do_not_hold(path, numel, words):
    forged(path, tensor_pickle([4], [1], numel=numel))
    refused(path, words)


def test_more_axes_than_torch_allows(path):
    forged(path, tensor_pickle([1] * 65, [1] * 65))
    refused(path, "65 axes")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../x",
        "archive/../../x",
        "..",
        "archive\\..\\..\\x",
        "C:\\x",
        "\\\\host\\x",
        "/archive/data.pkl",
    ],
)
def test_members_that_lead_out_of_the_archive(net, path, name):
    torch.save(net.state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    refused(path, "leads out of the archive")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"shape": [2]}, "of shape [2] needs 8 bytes and has 4"),
        ({"dtype": "F64"}, "needs 8 bytes"),
        ({"shape": [1 << 40, 1 << 40]}, "needs"),
        ({"shape": [-1]}, "no whole number"),
        ({"shape": [1.0]}, "no whole number"),
        ({"shape": [True]}, "no whole number"),
        ({"data_offsets": [-4, 0]}, "no whole number"),
        ({"data_offsets": [0, 4.0]}, "no whole number"),
        ({"data_offsets": [4, 0]}, "overlaps"),
        ({"data_offsets": [0]}, "does not describe"),
        ({"dtype": "Q9"}, "damaged"),
        ({"shape": "1"}, "no whole number"),
        ({"shape": None}, "does not describe"),
    ],
)
def test_safetensors_that_contradict_themselves(path, entry, words):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **entry}
    header = json.dumps({"a": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    refused(path, words)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{}", "no tensors"),
        (b'{"__metadata__": {}}', "no tensors"),
        (b'{"\xff": {}}', "not JSON"),
        (b'{"a": ' + b"[" * 100_000, "not JSON"),
        (b'{"__metadata__": [1], "a": 1}', "metadata"),
        (b'{"__metadata__": {"a": 1}, "a": 1}', "metadata"),
    ],
)
def test_safetensors_headers_that_say_nothing(path, header, words):
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    refused(path, words)


def test_exponential_hash_key(path):
    nested = ()
    for _ in range(60):
        nested = (nested, nested)
    out = io.BytesIO()
    # {(((..),(..)),...): 1} by memo: built by hand so that no hash is taken here
    out.write(b"\x80\x02})")
    for _ in range(60):
        out.write(b"q\x000h\x00h\x00\x86")
    out.write(b"K\x01s.")
    forged(path, out.getvalue())
    refused(path, "tuple")


def test_fifo(path):
    os.mkfifo(path)
    refused(path, "pipe")


def test_directory(path):
    path.mkdir()
    refused(path, "directory")


def test_missing(path):
    refused(path, "No such file")


def test_empty(path):
    path.touch()
    refused(path, "empty")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_truncated(net, path, zipped, share):
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


def test_truncated_safetensors(net, path):
    save_file(net.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "declares")


def test_wrong_crc(net, path):
    torch.save(net.state_dict(), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = next(m for m in archive.infolist() if m.filename.endswith("data/0"))
    at = member.header_offset + 30 + len(member.filename)
    at += int.from_bytes(content[member.header_offset + 28 : member.header_offset + 30], "little")
    content[at + 5] ^= 0xFF
    path.write_bytes(content)
    refused(path, "checksum")


def test_member_twice(net, path):
    torch.save(net.state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"other")
    refused(path, "twice")


def test_key_twice(path):
    body = tensor_pickle([2], [1])
    again = body[3:-2]  # the item once more
    forged(path, body[:-1] + again + b"s.")
    refused(path, "twice")


def test_key_twice_in_safetensors(path):
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = f'{{"a":{entry},"a":{entry}}}'.encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    refused(path, "twice")


def test_overlapping_safetensors(path):
    header = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    refused(path, "overlaps")


def test_sparse_and_quantised_get_a_sentence(path):
    torch.save({"s": torch.eye(3).to_sparse(), "w": torch.ones(2)}, path)
    refused(path, "sparse")
    torch.save({"q": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, path)
    refused(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x93NUMPY\x01\x00", "numpy"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"hello world, I am a text", "no format"),
    ],
)
def test_other_files_are_recognised(path, content, word):
    path.write_bytes(content)
    refused(path, word)


def test_a_plain_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, "data.pkl")


def test_endless_pickle_ends_at_the_deadline(path, monkeypatch):
    monkeypatch.setattr("audit.artifact.opening.DEADLINE", 3.0)
    # a pickle that doubles a list without end in memory: limits, not patience, end it
    body = b"\x80\x02](K\x01K\x01e" + b"q\x00(h\x00h\x00e" * 400_000 + b"."
    forged(path, body)
    refused(path)


def test_mismatch_names_keys_and_shapes(net, path, monkeypatch):
    class Wider(Net):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 5)
            self.more = nn.Linear(2, 2)

    torch.save(net.state_dict(), path)
    monkeypatch.setattr("audit.artifact.building.import_user_object", lambda *_: Wider)
    with pytest.raises(AuditError) as caught:
        build(open_artifact(path), "x:Wider")
    message = str(caught.value)
    assert "2 missing from the file (more.weight, more.bias)" in message
    assert "head.weight is [3, 8] in the file and [5, 8] in the architecture" in message


def test_ordered_dict_attributes_and_counters_are_plain(path):
    state = collections.OrderedDict(w=torch.ones(2))
    torch.save({"state_dict": state, "c": collections.Counter("ab"), "s": {1, 2}}, path)
    assert torch.equal(open_artifact(path).state["w"], torch.ones(2))


@pytest.mark.parametrize(
    "damage",
    [
        {"arch_kwargs": "x"},
        {"meta": [1]},
        {"format_version": 2},
        {"aliases": {"a": "gone"}},
    ],
)
def test_a_checkpoint_with_odd_fields(net, tmp_path, damage):
    from safetensors.torch import save

    header = {"format": "audit-model", "format_version": 1, "arch": "a:B", **damage}
    path = tmp_path / "m.safetensors"
    path.write_bytes(save(net.state_dict(), metadata={"audit": json.dumps(header)}))
    refused(path)


def test_flipped_bytes_end_in_a_sentence_or_in_tensors(net, tmp_path):
    """Whatever is damaged, the reader neither crashes nor lets something unexpected through."""
    from audit.artifact.pickles import Refused
    from audit.artifact.reader import read

    rng = np.random.default_rng(0)
    for zipped in (True, False):
        torch.save(net, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
        whole = (tmp_path / "m.pt").read_bytes()
        for _ in range(150):
            content = bytearray(whole)
            for at in rng.integers(0, min(len(content), 3000), 4):
                content[at] = rng.integers(0, 256)
            (tmp_path / "f.pt").write_bytes(content)
            # The last four are turned into a sentence by the child's main.
            with contextlib.suppress(
                Refused, MemoryError, OverflowError, RecursionError, ValueError
            ):
                assert read(tmp_path / "f.pt", tmp_path)["tensors"] > 0
