"""Pictures of every mode and format keep their values, or it is said which do not."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import audit
from audit.data import read_data
from audit.errors import AuditError
from audit.meta import SubjectMeta

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 5)).astype(np.uint16)
ALPHA = np.dstack([COLOUR, np.full((6, 5), 255, np.uint8)])


def put(path, picture, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    image.save(path, **how)


def both(tmp_path, picture, name, **how):
    """The same picture in two class folders."""
    for folder in ("a", "b"):
        put(tmp_path / folder / name, picture, **how)


def palette(picture):
    return Image.fromarray(picture).quantize(256)


MODES = {
    "1": (Image.fromarray(GREY).convert("1"), "png bmp tif"),
    "L": (GREY, "png bmp tif pgm"),
    "P of greys": (palette(GREY), "png bmp tif"),
    "P": (palette(COLOUR), "png bmp tif"),
    "LA": (Image.fromarray(ALPHA).convert("LA"), "png tif"),
    "RGB": (COLOUR, "png bmp tif ppm"),
    "RGBA": (ALPHA, "png tif webp"),
    "CMYK": (Image.fromarray(COLOUR).convert("CMYK"), "tif"),
    "16 bits": (DEEP, "png tif"),
    "32 bits": (Image.fromarray(DEEP.astype(np.int32)), "tif"),
    "fractions": (Image.fromarray(DEEP.astype(np.float32) / 7), "tif"),
}


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(mode, s) for mode, (_, suffixes) in MODES.items() for s in suffixes.split()],
)
def test_every_mode_in_every_format_keeps_its_values(tmp_path, mode, suffix):
    picture = MODES[mode][0]
    both(tmp_path, picture, f"0.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    found = read_data(str(tmp_path), SubjectMeta())
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    if mode in ("16 bits", "32 bits", "fractions"):
        expected = np.asarray(picture, dtype=np.float32)[None]
    elif mode in ("1", "L", "LA", "P of greys"):
        expected = np.asarray(image.convert("L"), dtype=np.float32)[None]
    else:
        expected = np.asarray(image.convert("RGB"), dtype=np.float32).transpose(2, 0, 1)
    assert np.array_equal(found.x, np.stack([expected, expected]))
    assert not found.left_out
    assert not found.notes
    ends = {"16 bits": (0, 65535), "32 bits": None, "fractions": None}.get(mode, (0, 255))
    assert found.range == ends


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        (None, 3),
        ([3, 6, 5], 3),
        ([4, 6, 5], 4),
        ([1, 6, 5], 1),
        ([2, 6, 5], 2),
    ],
)
def test_grey_and_coloured_pictures_together_are_read_alike_and_counted(tmp_path, shape, channels):
    put(tmp_path / "a" / "0.jpg", GREY)
    for name in ("a/1.png", "b/0.png", "b/1.png"):
        put(tmp_path / name, COLOUR)
    meta = SubjectMeta.model_validate({"input": {"shape": shape}} if shape else {})
    found = read_data(str(tmp_path), meta)
    assert found.x.shape == (4, channels, 6, 5)
    said = "1 of 4 pictures are grey" if channels >= 3 else "3 of 4 pictures have colour"
    assert said in found.notes[0]
    assert ("a/0.jpg" if channels >= 3 else "a/1.png") in found.notes[0]


def test_two_depths_in_one_set_are_two_scales(tmp_path):
    put(tmp_path / "a" / "0.png", DEEP)
    put(tmp_path / "b" / "0.png", GREY)
    with pytest.raises(
        AuditError, match=r"values of 16 bits and .* of 8 bits; bring all to one depth"
    ):
        read_data(str(tmp_path), SubjectMeta())


def test_transparent_parts_are_counted_where_they_are_read_as_if_they_were_not(tmp_path):
    hidden = ALPHA.copy()
    hidden[0, 0, 3] = 0
    put(tmp_path / "a" / "0.png", hidden)
    put(tmp_path / "b" / "0.png", ALPHA)
    assert (
        "1 of 2 pictures have transparent parts" in read_data(str(tmp_path), SubjectMeta()).notes[0]
    )
    whole = read_data(str(tmp_path), SubjectMeta.model_validate({"input": {"shape": [4, 6, 5]}}))
    assert whole.x[0, 3, 0, 0] == 0
    assert not whole.notes


def deep_colour_png(path):
    """Sixteen bits for each of three channels, which Pillow reads as eight."""
    rows = b"".join(b"\0" + np.full((5, 3), 30000, ">u2").tobytes() for _ in range(6))

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep_colour_ppm(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"P6\n# made by hand\n5 6\n65535\n" + np.full((6, 5, 3), 30000, ">u2").tobytes()
    )


@pytest.mark.parametrize(("suffix", "write"), [("png", deep_colour_png), ("ppm", deep_colour_ppm)])
def test_colour_of_16_bits_is_said_to_be_read_in_8(tmp_path, suffix, write):
    for name in ("a", "b"):
        write(tmp_path / name / f"0.{suffix}")
    found = read_data(str(tmp_path), SubjectMeta())
    assert found.range == (0, 255)
    assert found.x.max() == 30000 // 257 or found.x.max() == 30000 // 256
    assert "2 of 2 pictures hold 16 bits a channel" in found.notes[0]


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store",
        "Thumbs.db",
        "README",
        "README.md",
        "LICENSE.txt",
        "._0.png",
        "desktop.ini",
    ],
)
@pytest.mark.parametrize(
    "place", [".", "a", "a/deeper", ".ipynb_checkpoints", "__MACOSX", "@eaDir"]
)
def test_what_systems_leave_behind_is_no_data(tmp_path, name, place):
    both(tmp_path, GREY, "0.png")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / name).write_bytes(b"x")
    found = read_data(str(tmp_path), SubjectMeta(classes=["a", "b"]))
    assert found.x.shape == (2, 1, 6, 5)
    assert not found.left_out
    assert not found.notes


@pytest.mark.parametrize(
    ("name", "what", "why"),
    [
        ("0.png", "pictures", "beside the class folders"),
        ("a/0.gif", "files", "no format that is read"),
        ("a/deeper/0.heic", "files", "no format that is read"),
        ("a/scan", "files", "no format that is read"),
        ("b.zip", "files", "no format that is read"),
    ],
)
def test_files_that_are_not_read_are_counted_and_named(tmp_path, name, what, why):
    both(tmp_path, GREY, "1.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    (lacking,) = read_data(str(tmp_path), SubjectMeta()).left_out
    assert (lacking.what, lacking.how_many) == (what, 1)
    assert why in lacking.why
    assert name in lacking.why


def test_tables_beside_the_pictures_are_told_of(tmp_path):
    both(tmp_path, GREY, "1.png")
    (tmp_path / "labels.csv").write_text("a,b")
    found = read_data(str(tmp_path), SubjectMeta())
    assert not found.left_out
    assert "labels.csv" in found.notes[0]


def test_further_pages_of_a_file_are_counted(tmp_path):
    put(tmp_path / "a" / "0.tif", GREY, save_all=True, append_images=[Image.fromarray(GREY)] * 2)
    put(tmp_path / "b" / "0.tif", GREY)
    (lacking,) = read_data(str(tmp_path), SubjectMeta()).left_out
    assert (lacking.what, lacking.how_many) == ("pages of pictures", 2)


def test_deeper_pictures_are_of_their_class(tmp_path):
    both(tmp_path, GREY, "0.png")
    put(tmp_path / "b" / "2021" / "may" / "1.png", GREY)
    found = read_data(str(tmp_path), SubjectMeta())
    assert found.y.tolist() == [0, 1, 1]
    assert "1 of 3 pictures lie deeper" in found.notes[0]
    (tmp_path / "b" / "2021" / "again").symlink_to(tmp_path / "b")
    assert len(read_data(str(tmp_path), SubjectMeta()).y) == 3


def test_a_folder_of_training_and_test_folders_is_no_folder_of_classes(tmp_path):
    for part in ("train", "test"):
        both(tmp_path / part, GREY, "0.png")
    with pytest.raises(AuditError, match="only in folders within its folders"):
        read_data(str(tmp_path), SubjectMeta())
    with pytest.raises(AuditError, match=r"'test' in .* is not among the classes"):
        read_data(str(tmp_path), SubjectMeta(classes=["a", "b"]))


def bomb(path):
    put(path, GREY)
    whole = bytearray(path.read_bytes())
    whole[16:24] = struct.pack(">II", 60000, 60000)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    path.write_bytes(whole)


def cut_short(path):
    put(path, COLOUR)
    path.write_bytes(path.read_bytes()[:70])


def scribbled(path):
    put(path, GREY)
    whole = path.read_bytes()
    path.write_bytes(whole[:33] + b"\xff" * (len(whole) - 33))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bomb, "more pixels than any real one"),
        (cut_short, "cannot be read"),
        (scribbled, "no picture of a format that is read"),
        (lambda path: path.write_bytes(b""), "no picture of a format that is read"),
        (
            lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n"),
            "no picture of a format that is read",
        ),
    ],
)
def test_a_spoilt_picture_gets_one_sentence_with_its_name(tmp_path, spoil, message):
    both(tmp_path, GREY, "0.png")
    spoil(tmp_path / "b" / "0.png")
    with pytest.raises(AuditError, match=message) as raised:
        read_data(str(tmp_path), SubjectMeta())
    assert str(tmp_path / "b" / "0.png") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_left_out_reaches_the_subject_and_of_training_data_the_notes(tmp_path):
    both(tmp_path, GREY, "1.png")
    put(tmp_path / "2.png", GREY)
    torch.save(torch.nn.Linear(5, 2).state_dict(), tmp_path / "m.pt")
    (tmp_path / "m.pt").rename(tmp_path.parent / f"{tmp_path.name}.pt")
    subject = audit.load(
        tmp_path.parent / f"{tmp_path.name}.pt",
        arch="tests.data.test_folder:RowSums",
        data=str(tmp_path),
        train_data=str(tmp_path),
    )
    assert [(lacking.what, lacking.how_many) for lacking in subject.left_out] == [("pictures", 1)]
    assert any(note.startswith("Training data: 1 pictures were left out") for note in subject.notes)
    assert subject.range == (0, 255)
    assert not subject.range_is_inferred


class RowSums(torch.nn.Linear):
    def __init__(self):
        super().__init__(5, 2)

    def forward(self, x):
        return super().forward(x.sum((1, 2)))
