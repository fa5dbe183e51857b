"""A folder of class folders of images, matched to the classes by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audit.data import Dataset
from audit.errors import AuditError
from audit.meta import SubjectMeta

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_folder(path: Path, meta: SubjectMeta) -> Dataset:
    """Images [n, channels, height, width] in 0–255, in the order of their names.

    Grey images have one channel. The class is the folder's name.

    Raises:
        AuditError: no images, unequal sizes, or folders that are not classes.
    """
    from PIL import Image, UnidentifiedImageError

    folders = sorted(p for p in path.iterdir() if p.is_dir())
    files = [(f, c) for c in folders for f in sorted(c.iterdir()) if f.suffix.lower() in SUFFIXES]
    if not files:
        raise AuditError(
            f"{path} holds no class folders with images ({', '.join(SUFFIXES)}); put the images of "
            "each class into a folder of its name."
        )
    classes = meta.classes or [f.name for f in folders]
    strangers = [f.name for f in folders if f.name not in classes]
    if strangers:
        raise AuditError(
            f"The folder {strangers[0]!r} in {path} is not among the classes "
            f"({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''}); rename it, or correct "
            "[subject] classes."
        )
    images: list[np.ndarray] = []
    shape: tuple[int, ...] | None = None
    grey = meta.input.shape is not None and meta.input.shape[0] == 1
    for file, _ in files:
        try:
            with Image.open(file) as image:
                mode = "L" if grey or image.mode in ("1", "L", "I;16") else "RGB"
                pixels = np.asarray(image.convert(mode), dtype=np.float32)
        except (UnidentifiedImageError, OSError) as error:
            raise AuditError(f"The image {file} cannot be read: {error}.") from None
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if shape is None:
            shape = pixels.shape
        if pixels.shape != shape:
            raise AuditError(
                f"The image {file} has shape {list(pixels.shape)} and the first has {list(shape)}; "
                "bring all to one size."
            )
        images.append(pixels)
    y = np.array([classes.index(folder.name) for _, folder in files])
    return Dataset(np.stack(images), y, name=path.name, classes=list(classes))
