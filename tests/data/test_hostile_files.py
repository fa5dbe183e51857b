"""Files that nobody should send: each is refused, or read, in one sentence, at once and in little memory."""

import io
import json
import os
import resource
import socket
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from audit.config import read_config
from audit.data import read_data
from audit.errors import AuditError
from audit.judge import read_record
from audit.meta import SubjectMeta
from audit.subject import Subject
from tests.data.test_folder import bomb

GIB = 1 << 30
META = SubjectMeta(target="y")


def grey(path, size=(5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 100).save(path, "PNG")


# Pictures: each writes what lies at a/1.png, beside three good ones.


def eps(path):
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n(/etc/passwd) run\n")


def psd(path):
    path.write_bytes(b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 4, 5, 8, 3) + b"\0" * 80)


def gif(path):
    Image.new("P", (5, 4)).save(path, "GIF")


def cut(path):
    Image.effect_noise((50, 40), 90).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:900])


def cut_jpeg(path):
    Image.effect_noise((50, 40), 90).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:900])


def cut_tiff(path):
    Image.effect_noise((50, 40), 90).save(path, "TIFF")
    path.write_bytes(path.read_bytes()[:900])


def swollen(path):
    """A PNG whose one row unpacks to a hundred million bytes."""
    grey(path)
    whole = path.read_bytes()
    packed = zlib.compress(b"\0" * 100_000_000)
    chunk = b"IDAT" + packed
    path.write_bytes(
        whole[:33] + struct.pack(">I", len(packed)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


def sock(path):
    with socket.socket(socket.AF_UNIX) as held:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket may not be long
        held.bind(path.name)
        os.chdir(here)


PICTURES = {
    "EPS": (eps, "no picture of a format that is read"),
    "PSD": (psd, "no picture of a format that is read"),
    "GIF": (gif, "no picture of a format that is read"),
    "SVG": (lambda p: p.write_text("<svg/>"), "no picture of a format that is read"),
    "nothing": (lambda p: p.write_bytes(b""), "no picture of a format that is read"),
    "more pixels than any": (bomb, "claims more pixels than any real one"),
    "a PNG cut short": (cut, "cannot be read"),
    "a JPEG cut short": (cut_jpeg, "cannot be read"),
    "a TIFF cut short": (cut_tiff, "cannot be read"),
    "another size": (lambda p: grey(p, (4, 5)), "bring all to one size"),
    "a pipe": (os.mkfifo, "not a regular file"),
    "a socket": (sock, "not a regular file"),
    "a device": (lambda p: p.symlink_to("/dev/zero"), "not a regular file"),
    "a link to nothing": (lambda p: p.symlink_to(p.parent / "gone"), "cannot be read"),
    "a link to itself": (lambda p: p.symlink_to(p), "cannot be read"),
}


@pytest.mark.parametrize("what", PICTURES)
def test_a_hostile_picture_is_one_sentence(tmp_path, what):
    spoil, message = PICTURES[what]
    for name in ("a/0.png", "b/0.png", "b/1.png"):
        grey(tmp_path / name)
    spoil(tmp_path / "a" / "1.png")
    refused(lambda: read_data(str(tmp_path), SubjectMeta()), message)


@pytest.mark.parametrize(
    ("mode", "format_"),
    [
        ("CMYK", "JPEG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
        ("1", "TIFF"),
        ("LA", "PNG"),
        ("RGB", "WEBP"),
    ],
)
def test_pictures_of_odd_modes_are_read(tmp_path, mode, format_):
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / name).parent.mkdir()
        Image.new(mode, (5, 4)).save(tmp_path / name, format_)
    assert np.isfinite(read_data(str(tmp_path), SubjectMeta()).x).all()


def test_a_folder_that_links_to_itself_is_read_once(tmp_path):
    for name in ("a/0.png", "b/0.png"):
        grey(tmp_path / name)
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    assert len(read_data(str(tmp_path), SubjectMeta()).x) == 2


def test_what_a_png_holds_beyond_its_pixels_is_not_unpacked(tmp_path):
    for name in ("a/0.png", "b/0.png"):
        grey(tmp_path / name)
    swollen(tmp_path / "a" / "1.png")
    before = peak()
    assert read_data(str(tmp_path), SubjectMeta()).x.shape == (3, 1, 4, 5)
    assert peak() - before < 64 << 20


# Tables: each gives the bytes of a CSV.

TABLES = {
    "a million columns": (b",".join(b"c%d" % i for i in range(1_000_000)), "1,000,000 columns"),
    "a cell of 20 MB": (b"a,y\n" + b"1" * (20 << 20) + b",0\n", "line of more than 16 MiB"),
    "a long cell of words": (b"a,y\n" + b"x" * 100_000 + b",0\n1,1\n", "where a number is due"),
    "nothing but its target": (b"y\n0\n1\n", "no column that may be an input"),
    "nothing": (b"", "cannot be read as a table"),
    "no rows": (b"a,y\n", "has no rows"),
    "rows of several lengths": (b"a,y\n1,0\n1,2,3,0\n", "cannot be read as a table"),
    "UTF-16": ("a,y\n1,0\n".encode("utf-16"), "cannot be read as a table"),
    "latin-1": ("é,y\n1,0\n".encode("latin-1"), "cannot be read as a table"),
    "decimal commas": (b'a,y\n"1,5",0\n"2,5",1\n', "where a number is due"),
    "an open quotation mark": (b'a,y\n"1,0\n2,1\n', "cannot be read as a table|number is due"),
    "infinity": (b"a,b,y\ninf,1,0\n1,1,1\n", "NaN or Inf"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_hostile_table_is_one_sentence(tmp_path, what):
    content, message = TABLES[what]
    (tmp_path / "d.csv").write_bytes(content)

    def read():
        data = read_data(str(tmp_path / "d.csv"), META)
        Subject(torch.nn.Linear(data.x.shape[1], 2), data.x, data.y)

    refused(read, message)


def test_a_byte_order_mark_of_a_table_belongs_to_no_name(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbfa,y\n1,0\n2,1\n")
    assert [f.name for f in read_data(str(tmp_path / "d.csv"), META).features] == ["a"]


def test_a_parquet_that_swells_is_refused(tmp_path):
    zeros = pa.array(np.zeros(4_000_000))
    block = pa.table({"a": zeros, "y": zeros})
    with pq.ParquetWriter(tmp_path / "d.parquet", block.schema) as writer:
        for _ in range(10):
            writer.write_table(block)
    assert (tmp_path / "d.parquet").stat().st_size < 1 << 20
    refused(lambda: read_data(str(tmp_path / "d.parquet"), META), "unpacks to")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([None, None]), None),
        (pa.array(["1", "x"]).dictionary_encode(), "number is due"),
        (pa.array([{"b": 1}, {"b": 2}]), "number is due|cannot be read"),
        (pa.array([b"\xff", b"\xfe"]), "number is due"),
    ],
    ids=["nothing but empty cells", "dictionary", "nested", "bytes"],
)
def test_a_parquet_of_odd_types(tmp_path, column, message):
    pq.write_table(pa.table({"a": column, "y": pa.array([0, 1])}), tmp_path / "d.parquet")
    if message is None:
        assert np.isnan(read_data(str(tmp_path / "d.parquet"), META).x).all()
    else:
        refused(lambda: read_data(str(tmp_path / "d.parquet"), META), message)


# Arrays: each gives x; y is as long.


def header(shape, descr="<f8"):
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        held, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return held.getvalue()


ARRAYS = {
    "objects": (np.array([{}, {}, {}], object), "unpickled"),
    "dates": (np.zeros((3, 2), "M8[s]"), "where numbers are due"),
    "records": (np.zeros((3, 2), [("a", "f4")]), "where numbers are due"),
    "complex numbers": (np.zeros((3, 2), complex), "where numbers are due"),
    "words": (np.full((3, 2), "a"), "where numbers are due"),
    "no rows": (np.zeros((0, 2)), "0 samples"),
    "one number": (np.float64(3), "single value"),
    "infinity": (np.full((3, 2), np.inf), "NaN or Inf"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_hostile_arrays_are_one_sentence(tmp_path, what):
    x, message = ARRAYS[what]
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(len(np.atleast_1d(x)), int))

    def read():
        data = read_data(str(tmp_path / "d.npz"), SubjectMeta())
        Subject(torch.nn.Linear(2, 2), data.x, data.y)

    refused(read, message)


@pytest.mark.parametrize("order", [">f4", ">f8", ">i2"])
def test_the_other_order_of_bytes_is_read(tmp_path, order):
    x = np.arange(40).reshape(20, 2)
    np.savez(
        tmp_path / "d.npz", x=np.asfortranarray(x).astype(order), y=(x[:, 0] % 2).astype(">i8")
    )
    data = read_data(str(tmp_path / "d.npz"), SubjectMeta())
    assert Subject(torch.nn.Linear(2, 2), data.x, data.y).samples.inputs.tolist() == x.tolist()


def npz(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            with file.open(name, "w", force_zip64=True) as member:
                for block in content:
                    member.write(block)


def test_an_npz_that_swells_is_refused(tmp_path):
    block = bytes(16 << 20)
    npz(tmp_path / "d.npz", [("x.npy", [header((20 << 20, 4)), *[block] * 40])])
    assert (tmp_path / "d.npz").stat().st_size < 2 << 20
    refused(lambda: read_data(str(tmp_path / "d.npz"), SubjectMeta()), "unpacks to 640")


@pytest.mark.parametrize("shape", [(1 << 40, 4), (1 << 62, 1 << 10), (-1, 2)])
def test_a_header_that_claims_more_than_there_is(tmp_path, shape):
    npz(tmp_path / "d.npz", [("x.npy", [header(shape), b"\0" * 64])])
    refused(lambda: read_data(str(tmp_path / "d.npz"), SubjectMeta()), "damaged|cannot be read")


# Configs.

CONFIGS = {
    "bound of no number": (
        b'[[expect]]\ncheck="robustness.pgd"\nmetric="a"\nop=">="\nbound=nan\n',
        "line 5: .*finite number",
    ),
    "an eps without end": (b"[subject.input]\neps = inf\n", "finite number"),
    "a negative eps": (b"[subject.input]\neps = -1\n", "greater than 0"),
    "a key twice": (b"seed = 1\nseed = 2\n", "is not TOML"),
    "a number of 5,000 digits": (b"seed = " + b"9" * 5000, "is not TOML"),
    "nested without end": (b"a = " + b"[" * 100_000, "is not TOML"),
    "NUL": (b"seed = 1\0", "is not TOML"),
    "latin-1": (b'out = "\xe9"', "not UTF-8"),
    "5 MB": (b"#" * (5 << 20), "at most 4 are read"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_hostile_config_is_one_sentence(tmp_path, what):
    content, message = CONFIGS[what]
    (tmp_path / "audit.toml").write_bytes(content)
    refused(lambda: read_config(tmp_path / "audit.toml"), message)


def test_a_config_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "audit.toml").write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert read_config(tmp_path / "audit.toml").seed == 3


def test_a_tool_that_is_no_table_configures_nothing(tmp_path):
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    assert read_config(tmp_path / "pyproject.toml").seed == 0


@pytest.mark.parametrize("read", [read_config, read_record])
def test_neither_a_pipe_nor_a_folder_is_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link", ""):
        refused(lambda name=name: read(tmp_path / name), "is not a regular file")
    refused(lambda: read(tmp_path / "gone"), "cannot be read")


# Records: each changes a good one.


def sparse(path):
    path.write_bytes(b"{")
    os.truncate(path, 200 << 20)


RECORDS = {
    "200 MB": (sparse, "at most 64 are read"),
    "deep": (lambda p: p.write_text('{"a":' * 100_000), "is not JSON"),
    "a list": (lambda p: p.write_text("[]"), "schema version None"),
    "a version to come": (lambda p: p.write_text('{"schema_version": 99}'), "schema version 99"),
    "a list for a version": (lambda p: p.write_text('{"schema_version": [2]}'), "schema version"),
    "nothing but its version": (lambda p: p.write_text('{"schema_version": 2}'), "Field required"),
    "version 1 and no more": (
        lambda p: p.write_text('{"schema_version": 1, "checks": [3]}'),
        "no record of schema version 1",
    ),
    "a key twice": (
        lambda p: p.write_text('{"schema_version": 99, "schema_version": 2}'),
        "is not JSON",
    ),
    "NaN": (lambda p: p.write_text('{"schema_version": 2, "plan": NaN}'), "is not JSON"),
    "latin-1": (lambda p: p.write_bytes(b'{"a": "\xe9"}'), "not UTF-8"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_hostile_record_is_one_sentence(tmp_path, what):
    write, message = RECORDS[what]
    write(tmp_path / "record.json")
    refused(lambda: read_record(tmp_path / "record.json"), message)


def fewer_samples(document):
    document["samples"] = document["samples"][:2]


def an_address(document):
    for check in document["checks"]:
        for figure in check["figures"]:
            if figure.get("spec"):
                figure["spec"]["data"] = {"url": "http://a.invalid"}


@pytest.mark.parametrize(
    ("change", "message"),
    [(fewer_samples, "holds outcomes of sample"), (an_address, "may not hold the key 'url'")],
)
def test_a_record_that_was_changed_is_one_sentence(tmp_path, digits_record, change, message):
    document = json.loads(digits_record.to_json())
    change(document)
    (tmp_path / "record.json").write_text(json.dumps(document))
    refused(lambda: read_record(tmp_path / "record.json"), message)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused(act, message):
    before = peak()
    with pytest.raises(AuditError, match=message) as raised:
        act()
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 1000
    assert peak() - before < GIB
