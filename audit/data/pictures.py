"""One picture → numbers, by its mode; what would change its values in silence is counted instead."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.files import require_file

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
# Whatever the name says, only these are tried: EPS, for one, would start another program.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # one channel of more than 8 bits
CONVERSION = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
Depth = Literal["8 bits", "16 bits", "32 bits"]
RANGES: dict[Depth, tuple[float, float]] = {"8 bits": (0.0, 255.0), "16 bits": (0.0, 65535.0)}


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before its values are read.

    Attributes:
        grey: has it no colour, as no palette of greys has?
        pages: pictures in the file.
        depth: of the values as they will be read.
        cut: are 16 bits a channel read as their upper 8?
    """

    grey: bool
    pages: int
    depth: Depth
    cut: bool


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """The picture, not yet read.

    Raises:
        AuditError: it is of none of the formats, damaged, or larger than any real picture.
    """
    from PIL import Image, UnidentifiedImageError

    require_file(file, "The picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large, and below the limit
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except AuditError:
        raise
    except UnidentifiedImageError:
        raise AuditError(
            f"The content of {file} is no picture of a format that is read ({', '.join(FORMATS)}); "
            "convert it, or take it out."
        ) from None
    except Image.DecompressionBombError:
        raise AuditError(
            f"The picture {file} claims more pixels than any real one; take it out."
        ) from None
    except Exception as error:  # noqa: BLE001 - decoders raise what they like
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(f"The picture {file} cannot be read: {said[:200]}.") from None


def header(file: Path) -> Header:
    """Colour, pages and depth. Raises AuditError as `opened`."""
    with opened(file) as image:
        stored = " ".join(str(tile[3]) for tile in image.tile)
        depth: Depth = "8 bits"
        if image.mode in DEEP:
            # A PNG and a PPM of mode I have 16 bits; a TIFF's has 32.
            sixteen = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
            depth = "16 bits" if sixteen else "32 bits"
        cut = depth == "8 bits" and (";16" in stored or deep_ppm(file, image.format))
        grey = image.mode in ("1", "L", "LA", "La", *DEEP)
        if image.mode in ("P", "PA"):
            palette = np.reshape(image.getpalette() or [], (-1, 3))
            grey = bool((palette == palette[:, :1]).all())
        return Header(grey, int(getattr(image, "n_frames", 1)), depth, cut)


def deep_ppm(file: Path, format_: str) -> bool:
    """Is it a colour PPM of more than 8 bits? Pillow reads those as 8 without a word."""
    if format_ != "PPM":
        return False
    with file.open("rb") as opened_:
        words = [w.split(b"#")[0] for w in opened_.read(512).splitlines()]
    numbers = b" ".join(words).split()[1:4]
    return len(numbers) == 3 and numbers[2].isdigit() and int(numbers[2]) > 255


def read_picture(file: Path, channels: int) -> tuple[NDArray[np.float32], bool]:
    """[channels, height, width] floats, and whether something transparent was shown as if it were not.

    Args:
        channels: 1 (grey), 2 (grey and alpha), 3 (colour) or 4 (colour and alpha).

    Raises:
        AuditError: as `opened`.
    """
    with opened(file) as image:
        image.load()
        see_through = channels in (1, 3) and bool(
            image.mode in TRANSPARENT or "transparency" in image.info
        )
        if see_through:
            alpha = np.asarray(image.convert("RGBA").getchannel("A"))
            see_through = bool((alpha < 255).any())
        if image.mode in DEEP:
            pixels = np.asarray(image).astype(np.float32)
            if channels != 1:
                pixels = np.repeat(pixels[..., None], channels, axis=2)
        else:
            pixels = np.asarray(image.convert(CONVERSION[channels]), dtype=np.float32)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return pixels, see_through
