"""Figures as static SVG or inline PNG: the same for report and notebook."""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import hashlib
import importlib.util
import itertools
import json
import re
import struct
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from audit.record import Figure, check_spec, write_atomic
from audit.reports.escaping import reveal, visible

# Fonts of one width everywhere: labels are laid out here and drawn by the reader's browser.
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "padding": {"left": 8, "right": 8, "top": 6, "bottom": 6},
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12},
    "title": {"color": "currentColor", "fontSize": 12, "anchor": "start"},
    "text": {"color": "currentColor"},
}
START, DEADLINE = 60.0, 20.0  # seconds for the first figure, and for each after it
PATIENCE = 3  # figures in a row that may be waited for in vain
ROWS = 40
_serial = itertools.count()


class Draughtsman:
    """A child process that draws, so that a figure which ends the process costs itself alone.

    It is started with the first figure and ends with this process.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.in_vain = 0
        self.lock = threading.Lock()

    def start(self) -> subprocess.Popen[bytes]:
        found = importlib.util.find_spec("vl_convert")
        home = str(Path(found.origin).parent.parent) if found and found.origin else ""
        # Isolated (-I): no module of the working directory can take a name.
        return subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("draughtsman.py")), home],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> int:
        """End the process; how it ended."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what nobody read any more
                pipe.close()
        return process.wait()

    def draw(self, spec: str) -> str | None:
        """SVG of a specification on one line; None where it cannot be drawn."""
        with self.lock:
            if self.in_vain >= PATIENCE:
                return None
            seconds = DEADLINE
            if self.process is None or self.process.poll() is not None:
                self.end()
                self.process, seconds = self.start(), START
            process = self.process
            assert process.stdin is not None
            assert process.stdout is not None
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            answer = b""
            with contextlib.suppress(OSError):
                process.stdin.write(spec.encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            timer.cancel()
            if not answer.endswith(b"\n"):
                self.in_vain += self.end() == -9  # it crashed by itself, or in vain
                return None
            self.in_vain = 0
            drawn: str | None = json.loads(answer)
            return drawn


DRAUGHTSMAN = Draughtsman()
atexit.register(DRAUGHTSMAN.end)


# Of a drawing: elements that it is made of. Whatever else a kept one holds, it is drawn again.
ELEMENTS = {
    "circle", "clipPath", "defs", "g", "line", "linearGradient", "path", "rect", "stop", "svg",
    "text", "title", "tspan",
}  # fmt: skip
_kept: list[Path] = []


def keep_in(folder: Path) -> None:
    """Keep what is drawn from now on, and look there before anything is drawn."""
    _kept[:] = [folder]


@functools.lru_cache(maxsize=256)
def svg(spec: str, keep: bool = False) -> str | None:
    """A Vega-Lite specification as SVG, or None; nothing is fetched while it is drawn.

    Args:
        keep: may it lie on disk? Not where it shows single samples.
    """
    if not (keep and _kept):
        return DRAUGHTSMAN.draw(spec)
    name = hashlib.sha256(f"{version('vl-convert-python')}\n{spec}".encode()).hexdigest()[:32]
    path = _kept[0] / f"{name}.svg"
    with contextlib.suppress(OSError, ValueError):
        found = path.read_text(encoding="utf-8")
        if harmless(found):
            return found
    drawn = DRAUGHTSMAN.draw(spec)
    if drawn is not None and harmless(drawn):
        with contextlib.suppress(OSError):
            write_atomic(path, drawn)
    return drawn


def harmless(drawn: str) -> bool:
    """Is it a drawing and nothing else: no script, no address, no other element?"""
    if "<!" in drawn:  # a document type, which could name entities
        return False
    try:
        root = ElementTree.fromstring(drawn)
    except ElementTree.ParseError:
        return False
    for node in root.iter():
        if str(node.tag).rpartition("}")[2] not in ELEMENTS:
            return False
        for name, value in node.attrib.items():
            plain = name.rpartition("}")[2].lower()
            if plain.startswith("on") or (plain == "href" and not value.startswith("#")):
                return False
            if plain == "style" and "url(" in value.replace("url(#", ""):
                return False
    return str(root.tag).endswith("}svg")


def draw(figure: Figure) -> Markup:
    """The figure as markup that needs no script and no network; its data where it cannot be drawn.

    Its parts are hidden from screen readers: the caption says what it shows.
    """
    label = reveal(f"{figure.title}. {figure.caption}")
    if figure.png is not None:
        width, height = png_size(figure.png)
        return Markup(
            '<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">'
        ).format(Markup(figure.png), width, height, Markup(label))
    check_spec(figure.spec)
    spec = json.dumps({**(figure.spec or {}), "config": CONFIG}, sort_keys=True)
    text = svg(spec, not figure.example)
    if text is None:
        return undrawn(figure.spec)
    text = re.sub(r"<\?xml[^>]*\?>|<!DOCTYPE[^>]*>", "", text)
    # Parts of the drawing are no landmarks or headings of the page.
    text = re.sub(r'\s(role|aria-label|aria-roledescription|aria-hidden)="[^"]*"', "", text)
    prefix = f"f{next(_serial)}-"
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}", text)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return Markup(visible(text))


def undrawn(spec: Any) -> Markup:
    """What stands in the place of a figure that could not be drawn: a sentence, and its data."""
    rows = rows_of(spec)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = Markup("").join(
        Markup('<th scope="col">{}</th>').format(reveal(str(c))) for c in columns
    )
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<td>{}</td>").format(reveal(str(row.get(c, "")))) for c in columns
            )
        )
        for row in rows[:ROWS]
    )
    more = f" (the first {ROWS} of {len(rows):,} rows)" if len(rows) > ROWS else ""
    sentence = (
        f"This figure could not be drawn; its data{more}:"
        if rows
        else ("This figure could not be drawn.")
    )
    table = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)
    return Markup("<p>{}</p>{}").format(sentence, table if rows else "")


def rows_of(node: Any) -> list[dict[str, Any]]:
    """The rows of all inline data in a specification."""
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [row for part in parts for row in rows_of(part)]
    if isinstance(node, dict):
        inline = [node.get("values"), *(node.get("datasets") or {}).values()]
        found += [
            row
            for rows in inline
            if isinstance(rows, list)
            for row in rows
            if isinstance(row, dict)
        ]
    return found


def png_size(encoded: str) -> tuple[int, int]:
    """Width and height from the header, so that the page does not jump."""
    head = base64.b64decode(encoded[:64])
    width, height = struct.unpack(">II", head[16:24])
    return width, height
