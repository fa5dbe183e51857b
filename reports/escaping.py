"""Text from outside: shown, never run, and never able to reorder or hide what is around it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

# Characters that reorder or hide the text around them, and control characters.
HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")


def visible(text: str) -> str:
    """Invisible and reordering characters by their number."""
    return HIDDEN.sub(lambda m: f"‹U+{ord(m[0]):04X}›", text)


def reveal(text: str) -> Markup:
    """Escaped for HTML, with nothing hidden."""
    return escape(visible(text))
