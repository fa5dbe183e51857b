"""Figures as static SVG or inline PNG: the same for report and notebook."""

from __future__ import annotations

import functools
import itertools
import json
import re
from typing import Any

from markupsafe import Markup

from audit.record import Figure, check_spec
from audit.reports.escaping import reveal, visible

# Fonts of one width everywhere: labels are laid out here and drawn by the reader's browser.
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "padding": {"left": 8, "right": 8, "top": 6, "bottom": 6},
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
        "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12},
    "title": {"color": "currentColor", "fontSize": 12, "anchor": "start"},
    "text": {"color": "currentColor"},
}  # fmt: skip
_serial = itertools.count()


@functools.lru_cache(maxsize=256)
def svg(spec: str) -> str:
    """A Vega-Lite specification as SVG; nothing is fetched while it is drawn."""
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[], show_warnings=False)
    return drawn


def draw(figure: Figure) -> Markup:
    """The figure as markup that needs no script and no network.

    Its parts are hidden from screen readers: the caption says what it shows.
    """
    label = reveal(f"{figure.title}. {figure.caption}")
    if figure.png is not None:
        width, height = png_size(figure.png)
        return Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
            Markup(figure.png), width, height, Markup(label)
        )
    check_spec(figure.spec)
    text = svg(json.dumps({**(figure.spec or {}), "config": CONFIG}, sort_keys=True))
    text = re.sub(r"<\?xml[^>]*\?>|<!DOCTYPE[^>]*>", "", text)
    # Parts of the drawing are no landmarks or headings of the page.
    text = re.sub(r'\s(role|aria-label|aria-roledescription|aria-hidden)="[^"]*"', "", text)
    prefix = f"f{next(_serial)}-"
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}", text)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return Markup(visible(text))


def png_size(encoded: str) -> tuple[int, int]:
    """Width and height from the header, so that the page does not jump."""
    import base64
    import struct

    head = base64.b64decode(encoded[:64])
    width, height = struct.unpack(">II", head[16:24])
    return width, height
