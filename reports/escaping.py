"""Text from outside: shown, never run, and never able to reorder or hide what is around it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from audit.text import clean

JOINERS = re.compile("[\u200c\u200d]")  # which names in some scripts need, and which are not seen


def visible(text: str) -> str:
    """Invisible and reordering characters by their number."""
    return JOINERS.sub(lambda m: f"‹U+{ord(m[0]):04X}›", clean(text, None))


def reveal(text: str) -> Markup:
    """Escaped for HTML, with nothing hidden."""
    return escape(visible(text))
