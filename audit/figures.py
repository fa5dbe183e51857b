"""Figures for a record: Vega-Lite specifications built with Altair, and pictures as PNG.

Categories are told apart by shape as well as by colour (Okabe and Ito 2008); sequences are cividis;
signed maps are symmetrical about zero. Altair and Pillow are imported when a figure is made.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.record import Figure

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
PALETTE = [BLUE, ORANGE, GREEN, RED, PURPLE, "#56B4E9", "#999999"]

Rows = Sequence[dict[str, Any]]


def finish(chart: Any, title: str, caption: str, *, example: bool = False) -> Figure:
    """A chart as a figure of the record: its data in it, its looks left to the report."""
    import altair as alt

    with alt.data_transformers.enable("default", consolidate_datasets=False):
        spec = chart.to_dict()
    for key in ("$schema", "config", "usermeta"):
        spec.pop(key, None)
    return Figure(title=title, caption=caption, spec=spec, example=example)


def number_rows(rows: Rows) -> list[dict[str, Any]]:
    """Plain JSON values at six digits: figures need no more."""

    def plain(value: Any) -> Any:
        if isinstance(value, (bool, str)) or value is None:
            return value
        return float(f"{float(value):.6g}")

    return [{k: plain(v) for k, v in row.items()} for row in rows]


def curve(
    rows: Rows,
    *,
    x: str,
    y: str,
    series: str,
    title: str,
    caption: str,
    bound: float | None = None,
    domain: tuple[float, float] | None = (0, 1),
    log: bool = False,
    asked: float | None = None,
) -> Figure:
    """Lines with interval bars; rows hold `x`, `y`, 'low', 'high' and `series`.

    Args:
        asked: where on the horizontal axis the answer is read off; a dotted line.
        domain: of the vertical axis; as the values need it where None.
        log: the horizontal axis is logarithmic.
    """
    import altair as alt

    base = alt.Chart(alt.Data(values=number_rows(rows)))
    order = list(dict.fromkeys(row[series] for row in rows))
    legend = alt.Legend(orient="top") if len(order) > 1 else None
    colour = alt.Color(
        f"{series}:N",
        title=None,
        sort=order,
        legend=legend,
        scale=alt.Scale(domain=order, range=PALETTE[: len(order)]),
    )
    shape = alt.Shape(  # over the same domain as the colour, so that they share one legend
        f"{series}:N", title=None, sort=order, legend=legend, scale=alt.Scale(domain=order)
    )
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    along = alt.Scale(type="log", nice=False) if log else alt.Undefined
    at, value = alt.X(f"{x}:Q", title=x, scale=along), alt.Y(f"{y}:Q", title=y, scale=scale)
    layers = [
        base.mark_line().encode(at, value, colour),
        base.mark_rule(strokeWidth=1.5).encode(
            at, alt.Y("low:Q", scale=scale, title=y), alt.Y2("high:Q"), colour
        ),
        base.mark_point(size=60, filled=True, opacity=1).encode(at, value, colour, shape),
    ]
    if bound is not None:
        layers.append(bound_rule(bound, horizontal=True))
    if asked is not None:
        place = alt.Chart(alt.Data(values=[{x: asked}]))
        layers.append(
            place.mark_rule(strokeDash=[2, 4], strokeWidth=1.5, color="currentColor").encode(at)
        )
    return finish(alt.layer(*layers).properties(width=440, height=240), title, caption)


def bound_rule(bound: float, *, horizontal: bool) -> Any:
    """A dashed line where the bound lies."""
    import altair as alt

    values = alt.Data(values=[{"bound": bound}])
    mark = alt.Chart(values).mark_rule(strokeDash=[5, 4], color=RED, strokeWidth=1.5)
    return mark.encode(y=alt.Y("bound:Q")) if horizontal else mark.encode(x=alt.X("bound:Q"))


def intervals(
    rows: Rows,
    *,
    value: str,
    title: str,
    caption: str,
    bound: float | None = None,
    domain: tuple[float, float] | None = (0, 1),
) -> Figure:
    """A dot and its interval a row; rows hold 'label', 'value', 'low', 'high'."""
    import altair as alt

    shown = number_rows(rows)
    order = list(dict.fromkeys(row["label"] for row in shown))
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    label = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(alt.Data(values=shown))
    layers = [
        base.mark_rule(strokeWidth=2, color=BLUE).encode(
            label, alt.X("low:Q", title=value, scale=scale), alt.X2("high:Q")
        ),
        base.mark_point(size=60, filled=True, opacity=1, color=BLUE).encode(
            label, alt.X("value:Q", title=value, scale=scale)
        ),
    ]
    if bound is not None:
        layers.append(bound_rule(bound, horizontal=False))
    return finish(alt.layer(*layers).properties(width=360), title, caption)


def reliability(rows: Rows, *, title: str, caption: str) -> Figure:
    """Accuracy against confidence; rows hold 'confidence', 'accuracy', 'low', 'high', 'share'."""
    import altair as alt

    base = alt.Chart(alt.Data(values=number_rows(rows)))
    unit = alt.Scale(domain=[0, 1])
    at = alt.X("confidence:Q", title="confidence", scale=unit)
    diagonal = alt.Chart(
        alt.Data(values=[{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    ).mark_line(strokeDash=[5, 4], color=RED, strokeWidth=1.5)
    bars = base.mark_bar(color=ORANGE, opacity=0.35, width=8).encode(
        at, alt.Y("share:Q", title="accuracy, and share of samples (bars)", scale=unit)
    )
    rules = base.mark_rule(strokeWidth=2, color=BLUE).encode(
        at, alt.Y("low:Q", scale=unit), alt.Y2("high:Q")
    )
    points = base.mark_point(size=60, filled=True, opacity=1, color=BLUE).encode(
        at, alt.Y("accuracy:Q", scale=unit)
    )
    line = diagonal.encode(at, alt.Y("accuracy:Q", scale=unit))
    chart = alt.layer(bars, line, rules, points).properties(width=320, height=280)
    return finish(chart, title, caption)


def matrix(rows: Rows, *, x: str, y: str, value: str, title: str, caption: str) -> Figure:
    """A heat map with its numbers written in; rows hold `x`, `y` and `value` in [0, 1]."""
    import altair as alt

    shown = number_rows(rows)
    across = list(dict.fromkeys(row[x] for row in shown))
    down = list(dict.fromkeys(row[y] for row in shown))
    base = alt.Chart(alt.Data(values=shown)).encode(
        alt.X(f"{x}:N", sort=across, title=x, axis=alt.Axis(labelLimit=120)),
        alt.Y(f"{y}:N", sort=down, title=y, axis=alt.Axis(labelLimit=160)),
    )
    colour = alt.Color(f"{value}:Q", scale=alt.Scale(scheme="cividis", domain=[0, 1]), title=value)
    cells = base.mark_rect().encode(colour)
    text = base.mark_text(fontSize=11).encode(
        alt.Text(f"{value}:Q", format=".2f"),
        color=alt.condition(f"datum['{value}'] > 0.5", alt.value("#000"), alt.value("#fff")),
    )
    size = max(26, min(46, 420 // max(len(across), 1)))
    chart = alt.layer(cells, text).properties(width=size * len(across), height=size * len(down))
    return finish(chart, title, caption)


def pair_matrix(labels: Sequence[str], values: NDArray[np.float64], x: str, y: str) -> Rows:
    """A row for each pair of labels, with the value of that cell."""
    return [
        {y: labels[i], x: labels[j], "share": values[i, j]}
        for i in range(len(labels))
        for j in range(len(labels))
    ]


# Pictures

TILE = 112
GAP = 8
LEAST = 24


def signed_colours(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """[h, w] → [h, w, 3]: blue below zero, white at zero, red-orange above, scaled to the map."""
    scale = float(np.abs(values).max()) or 1.0
    unit = np.clip(values / scale, -1, 1)[..., None]
    positive, negative = np.array([213, 94, 0]), np.array([0, 114, 178])
    white = np.array([255, 255, 255])
    tint = np.where(unit >= 0, positive, negative)
    return (white + (tint - white) * np.abs(unit)).astype(np.uint8)


def grey_or_rgb(image: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.uint8]:
    """[c, h, w] or [h, w] in [low, high] → [h, w, 3]."""
    if image.ndim == 3 and image.shape[0] not in (1, 3) and image.shape[-1] in (1, 3):
        image = image.transpose(2, 0, 1)
    if image.ndim == 3:
        image = image[:3] if image.shape[0] >= 3 else image[:1]
        image = image.transpose(1, 2, 0)
        if image.shape[-1] == 1:
            image = image[..., 0]
    unit = np.clip((np.nan_to_num(image, nan=low) - low) / ((high - low) or 1.0), 0, 1)
    shades = (unit * 255).astype(np.uint8)
    return np.repeat(shades[..., None], 3, -1) if shades.ndim == 2 else shades


def frame(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height at which a picture is drawn: the longer side is `TILE`, nothing under `LEAST`."""
    height, width = picture.shape[:2]
    scale = TILE / max(height, width)
    return max(LEAST, round(width * scale)), max(LEAST, round(height * scale))


def picture(pixels: NDArray[np.uint8]) -> str:
    """[h, w, 3] as a PNG in base64, no larger than a tile."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def tiles(rows: Sequence[Sequence[NDArray[np.uint8]]], *, title: str, caption: str) -> Figure:
    """Pictures side by side as one PNG with a transparent ground, the longer side of each 112 pixels.

    All of a row have the frame of the first of them: a coarser map lies on the same places.
    """
    from PIL import Image, ImageDraw

    frames = [frame(row[0]) for row in rows]
    height = sum(h + GAP for _, h in frames) - GAP
    width = max(len(row) * (w + GAP) for row, (w, _) in zip(rows, frames, strict=True)) - GAP
    sheet = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    top = -GAP
    for row, size in zip(rows, frames, strict=True):
        top += GAP
        for j, picture in enumerate(row):
            tile = Image.fromarray(picture).convert("RGBA")
            grows = max(size) > max(tile.size)
            resampling = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
            tile = tile.resize(size, resampling)
            left = j * (size[0] + GAP)
            sheet.paste(tile, (left, top))
            # A picture that is white at its edges ends somewhere, too.
            outline = (left, top, left + tile.width - 1, top + tile.height - 1)
            ImageDraw.Draw(sheet).rectangle(outline, outline=(128, 128, 128, 255))
        top += size[1]
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Figure(title=title, caption=caption, png=encoded, example=True)
