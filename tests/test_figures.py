"""Pictures of a sheet: in one frame a row."""

import base64
import io

import numpy as np
from PIL import Image

from audit import figures


def sheet(*rows):
    made = figures.tiles(rows, title="t", caption="c")
    return Image.open(io.BytesIO(base64.b64decode(made.png)))


def of(h, w, shade):
    return np.full((h, w, 3), shade, np.uint8)


def test_a_coarser_map_lies_in_the_frame_of_its_input():
    """A series of 12 channels and 29 steps, and its map of 12 by 6 parts."""
    drawn = sheet([of(12, 29, 10), of(12, 6, 200)])
    height = round(12 * figures.TILE / 29)
    assert drawn.size == (2 * figures.TILE + figures.GAP, height)
    pixels = np.asarray(drawn)
    assert (pixels[1:-1, figures.TILE + figures.GAP + 1 : -1, 0] == 200).all()


def test_rows_are_as_high_as_what_is_in_them():
    drawn = sheet([of(8, 8, 0)], [of(2, 8, 0)])
    assert drawn.size == (figures.TILE, figures.TILE + figures.GAP + figures.TILE // 4)
