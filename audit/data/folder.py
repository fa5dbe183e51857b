"""A folder of class folders of pictures, matched to the classes by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audit.data import Dataset
from audit.data.pictures import RANGES, SUFFIXES, Depth, Header, header, read_picture
from audit.errors import AuditError
from audit.meta import SubjectMeta
from audit.record import LeftOut

# What systems leave behind, and what people write beside their data.
NO_DATA_FOLDERS = (
    "__macosx",
    "@eadir",
    "__pycache__",
    "lost+found",
    "$recycle.bin",
    "system volume information",
)
NO_DATA_FILES = (
    "thumbs.db",
    "desktop.ini",
    "readme",
    "license",
    "licence",
    "copying",
    "notice",
    "citation",
    "changelog",
    "authors",
    "md5sums",
    "sha256sums",
)
NO_DATA_SUFFIXES = (
    ".md",
    ".rst",
    ".html",
    ".pdf",
    ".py",
    ".ipynb",
    ".sh",
    ".log",
    ".ini",
    ".md5",
    ".sha1",
    ".sha256",
    ".lock",
    ".bak",
    ".tmp",
)
# Words about pictures, perhaps; no pictures.
BESIDE = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml")
FEW = 3  # names shown


@dataclass
class Found:
    """What a folder holds, as paths in the order of their names.

    Attributes:
        pictures: of each class, by the class folder's name.
        loose: pictures without a class.
        other: files that may be data and are not read.
        beside: texts and tables beside the pictures.
    """

    pictures: dict[str, list[Path]] = field(default_factory=dict)
    loose: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)


def read_folder(path: Path, meta: SubjectMeta) -> Dataset:
    """Pictures [n, channels, height, width] in the order of their names, with the values of the files.

    These are 0–255, or 0–65535 where they have 16 bits. The class is the folder's name; what lies in
    folders deeper down is of the class too. Where one picture has colour, or the described shape has, grey
    ones are made colour.

    Raises:
        AuditError: no pictures, unequal sizes or depths, folders that are no classes, or a picture
            that cannot be read.
    """
    found = look(path)
    files = [(name, file) for name, own in found.pictures.items() for file in own]
    if not files:
        held = f"; it holds {listed(found.loose, path)}" if found.loose else ""
        raise AuditError(
            f"{path} holds no class folders with pictures ({', '.join(SUFFIXES)}){held}; put the "
            "pictures of each class into a folder of its name."
        )
    classes = match_classes(path, found, meta)
    headers = [header(file) for _, file in files]
    depth = one_depth(files, headers)
    channels = channels_of(headers, meta)
    images: list[np.ndarray] = []
    see_through: list[Path] = []
    for _, file in files:
        pixels, hidden = read_picture(file, channels)
        if hidden:
            see_through.append(file)
        if images and pixels.shape != images[0].shape:
            raise AuditError(
                f"The image {file} has shape {list(pixels.shape)} and the first has "
                f"{list(images[0].shape)}; bring all to one size."
            )
        images.append(pixels)
    y = np.array([classes.index(name) for name, _ in files])
    return Dataset(
        np.stack(images),
        y,
        name=path.name,
        classes=list(classes),
        range=RANGES.get(depth),
        left_out=left_out(path, found, files, headers),
        notes=[
            *notes_on_conversion(files, headers, channels, see_through, path),
            *notes_on_places(found, files, path),
        ],
    )


def look(path: Path) -> Found:
    """Sort what lies in the folder; hidden files, thumbnails and read-me files are no data."""
    found = Found()
    for entry in sorted(path.iterdir()):
        if not entry.is_dir():
            sort_file(entry, found, found.loose)
        elif is_data_folder(entry.name):
            own = found.pictures.setdefault(entry.name, [])
            for file in files_below(entry):
                sort_file(file, found, own)
    return found


def is_data_folder(name: str) -> bool:
    """May a folder of this name hold samples, or is it what tools leave behind?"""
    return not name.startswith(".") and name.lower() not in NO_DATA_FOLDERS


def files_below(folder: Path) -> Iterator[Path]:
    """All files under a folder, links followed but never in a circle."""
    seen = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if is_data_folder(name))
        yield from (Path(place, name) for name in sorted(names))


def sort_file(file: Path, found: Found, pictures: list[Path]) -> None:
    """Put a file among the pictures or among what was left out, and say why."""
    name, suffix = file.name.lower(), file.suffix.lower()
    if name.startswith(".") or name in NO_DATA_FILES or file.stem.lower() in NO_DATA_FILES:
        return
    if suffix in SUFFIXES:
        pictures.append(file)
    elif suffix in BESIDE:
        found.beside.append(file)
    elif suffix not in NO_DATA_SUFFIXES:
        found.other.append(file)


def match_classes(path: Path, found: Found, meta: SubjectMeta) -> list[str]:
    """The classes in the order of the model's answers.

    Raises:
        AuditError: a folder with pictures is none of them, or it cannot be told which folders are.
    """
    if meta.classes is None:
        if not any(
            file.parent == path / name for name, own in found.pictures.items() for file in own
        ):
            first = next(own[0] for own in found.pictures.values() if own)
            raise AuditError(
                f"{path} holds pictures only in folders within its folders "
                f"({first.parent.relative_to(path)}); give the folder whose own folders are the "
                "classes, or name these in [subject] classes."
            )
        return list(found.pictures)
    strangers = [name for name, own in found.pictures.items() if own and name not in meta.classes]
    if strangers:
        raise AuditError(
            f"The folder {strangers[0]!r} in {path} is not among the classes "
            f"({', '.join(meta.classes[:5])}{', …' if len(meta.classes) > 5 else ''}); rename it, or "
            "correct [subject] classes."
        )
    return meta.classes


def one_depth(files: list[tuple[str, Path]], headers: list[Header]) -> Depth:
    """The depth of all pictures; two would put them on two scales.

    Raises:
        AuditError: there are two.
    """
    depths = {h.depth: file for h, (_, file) in zip(headers, files, strict=True)}
    if len(depths) > 1:
        (a, first), (b, second) = list(depths.items())[:2]
        raise AuditError(
            f"The picture {first} holds values of {a} and {second} of {b}; bring all to one depth."
        )
    return next(iter(depths))


def channels_of(headers: list[Header], meta: SubjectMeta) -> int:
    """How many channels all pictures are read with: as described, else colour where one has colour."""
    shape = meta.input.shape
    if shape is not None and len(shape) == 3 and 1 <= shape[0] <= 4:
        return shape[0]
    return 1 if all(h.grey for h in headers) else 3


def left_out(
    path: Path, found: Found, files: list[tuple[str, Path]], headers: list[Header]
) -> list[LeftOut]:
    """What belongs to the data and is not read."""
    lacking = []
    if found.loose:
        lacking.append(
            LeftOut(
                what="pictures",
                how_many=len(found.loose),
                why=f"they lie beside the class folders, so their class is not known "
                f"({listed(found.loose, path)})",
            )
        )
    if found.other:
        lacking.append(
            LeftOut(
                what="files",
                how_many=len(found.other),
                why=f"they are of no format that is read from a folder ({listed(found.other, path)})",
            )
        )
    paged = [file for h, (_, file) in zip(headers, files, strict=True) if h.pages > 1]
    if paged:
        lacking.append(
            LeftOut(
                what="pages of pictures",
                how_many=sum(h.pages - 1 for h in headers),
                why=f"of a file with several pages the first is read ({listed(paged, path)})",
            )
        )
    return lacking


def notes_on_conversion(
    files: list[tuple[str, Path]],
    headers: list[Header],
    channels: int,
    see_through: list[Path],
    path: Path,
) -> list[str]:
    """Which pictures were read as something else than they are."""
    pairs = [(h, file) for h, (_, file) in zip(headers, files, strict=True)]
    grey = [file for h, file in pairs if h.grey and channels >= 3]
    colour = [file for h, file in pairs if not h.grey and channels <= 2]
    cut = [file for h, file in pairs if h.cut]
    n = len(files)
    told = [
        (grey, "are grey among pictures of colour and were made colour, all channels alike"),
        (colour, "have colour and were made grey"),
        (cut, "hold 16 bits a channel, of which the upper 8 are read"),
        (see_through, "have transparent parts, which are read as if they were not"),
    ]
    return [
        f"{len(which):,} of {n:,} pictures {what} ({listed(which, path)})."
        for which, what in told
        if which
    ]


def notes_on_places(found: Found, files: list[tuple[str, Path]], path: Path) -> list[str]:
    """Where pictures were found that somebody may not expect, and what lies beside them."""
    deep = [file for name, file in files if file.parent != path / name]
    notes = []
    if deep:
        notes.append(
            f"{len(deep):,} of {len(files):,} pictures lie deeper than their class folder and count as "
            f"of that class ({listed(deep, path)})."
        )
    if found.beside:
        notes.append(
            f"{len(found.beside):,} files beside the pictures hold words or tables and were not read "
            f"({listed(found.beside, path)})."
        )
    return notes


def listed(files: list[Path], path: Path) -> str:
    """The first few by name, with their number where there are more."""
    names = ", ".join(file.relative_to(path).as_posix() for file in files[:FEW])
    return names + (f" and {len(files) - FEW:,} more" if len(files) > FEW else "")
