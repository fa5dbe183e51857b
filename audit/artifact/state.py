"""Where in a file are weights? One search for described and for real objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Where weights are usually put, the usual first: what is taken where no architecture can tell.
USUAL = (
    "",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
# Where names of classes are usually put.
CLASSES = (
    "classes",
    "class_names",
    "classnames",
    "label_names",
    "target_names",
    "labels",
    "id2label",
    "idx_to_class",
    "idx2class",
    "index_to_class",
    "label2id",
    "class_to_idx",
    "class2idx",
    "names",
)
WORDS = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
DEEPEST = 40
MOST = (
    1_000_000  # places that are looked at: a few dictionaries may refer to each other 2 ** n times
)


class Endless(Exception):
    """What the file holds refers to itself, or to the same things over and over."""


@dataclass
class Held:
    """The tensors that one dictionary, list or module of a file holds.

    Attributes:
        path: the keys that lead to it, joined by dots; '' for the file's own.
        tensors: name → tensor.
        listed: they stand in a list, and their names are numbers.
        mostly: it holds more tensors than other things, as weights do.
        cls: of a module, its class.
    """

    path: str
    tensors: dict[str, Any] = field(default_factory=dict)
    listed: bool = False
    mostly: bool = True
    cls: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """How unusual a place it is, and how few tensors it has."""
        key = self.path.rsplit(".", 1)[-1]
        usual = USUAL.index(key) if key in USUAL else len(USUAL)
        return usual, -len(self.tensors)


def joined(path: str, name: str) -> str:
    """'a.b' of 'a' and 'b'."""
    return f"{path}.{name}" if path else name


def is_optimizer(value: Mapping[Any, Any]) -> bool:
    """Is it an optimiser's state? Its tensors are no weights."""
    return "param_groups" in value and "state" in value


def collect(
    root: Any,
    is_tensor: Callable[[Any], bool],
    opened: Callable[[str, Any], Held | Mapping[Any, Any] | None],
) -> list[Held]:
    """All tensors of a loaded file, by the dictionary, list or module that holds them.

    Args:
        is_tensor: tells tensors (or their descriptions) from other values.
        opened: what is in an object (its place, itself) that is no dictionary, list or tuple: a
            module's tensors, the attributes of something else, or None.

    Raises:
        Endless: what it holds refers to itself.
    """
    found: list[Held] = []
    todo: list[tuple[str, Any, int]] = [("", root, 0)]
    looked_at = 0
    while todo:
        path, value, depth = todo.pop()
        listed = isinstance(value, (list, tuple))
        if not listed and not isinstance(value, Mapping):
            value = opened(path, value)
            if isinstance(value, Held):
                value.path = path
                found.append(value)
                continue
        if value is None or depth > DEEPEST or (not listed and is_optimizer(value)):
            continue
        held, deeper = Held(path, listed=listed), []
        items = enumerate(value) if listed else value.items()
        for key, item in items:
            if is_tensor(item):
                held.tensors[str(key)] = item
            elif not isinstance(item, (str, bytes, int, float, bool, type(None))):
                deeper.append((joined(path, str(key)), item, depth + 1))
        looked_at += 1 + len(held.tensors) + len(deeper)
        if looked_at > MOST:
            raise Endless
        todo += reversed(deeper)
        if held.tensors:
            held.mostly = len(held.tensors) * 2 > len(value)
            found.append(held)
    return found


def default(held: list[Held]) -> Held | None:
    """The weights that are taken where nothing else tells: raw ones, in the usual place."""
    weights = [h for h in held if h.mostly]
    return min(weights, key=lambda h: (h.listed, is_average(h.path), *h.rank), default=None)


def is_average(path: str) -> bool:
    """Does a place say that weights were averaged over the steps of training?"""
    words = {word.lower() for word in WORDS.findall(path)}
    marks = {"ema", "swa", "shadow", "averaged", "average", "polyak", "averaging"}
    return not marks.isdisjoint(words)


def class_names(root: Any, attributes: Callable[[Any], Any]) -> dict[str, list[str]]:
    """Names of classes in the model's order, by the place in the file that tells them.

    Args:
        attributes: of an object that is no dictionary, its attributes, or None.
    """
    found: dict[str, list[str]] = {}
    seen: set[int] = set()
    todo = [("", root, 0)]
    while todo:
        path, value, depth = todo.pop()
        value = value if isinstance(value, Mapping) else attributes(value)
        if not isinstance(value, Mapping) or id(value) in seen or is_optimizer(value):
            continue
        seen.add(id(value))
        for key, item in value.items():
            names = in_order(key, item) if key in CLASSES else None
            if names is not None:
                found[joined(path, key)] = names
            elif depth < 3:
                todo.append((joined(path, str(key)), item, depth + 1))
    return found


def in_order(key: str, value: Any) -> list[str] | None:
    """The names of classes that a list, or a dictionary of names and numbers, tells; None: none."""
    names: list[Any]
    if isinstance(value, (list, tuple)) and key != "names":
        names = list(value)
    elif isinstance(value, Mapping):
        pairs = list(value.items())
        if all(is_number(v) for _, v in pairs):
            pairs = [(v, k) for k, v in pairs]
        if not all(is_number(k) for k, _ in pairs):
            return None
        numbered = {int(k): v for k, v in pairs}
        if sorted(numbered) != list(range(len(pairs))):
            return None
        names = [numbered[i] for i in range(len(pairs))]
    else:
        return None
    if len(names) < 2 or not all(isinstance(n, str) and n for n in names):
        return None
    unnamed = all(n.upper() == f"LABEL_{i}" for i, n in enumerate(names))  # as nobody named them
    return None if unnamed or len(set(names)) < len(names) else names


def is_number(value: Any) -> bool:
    """Is it a class's number, or one as JSON writes keys?"""
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) < 7
    return isinstance(value, int) and not isinstance(value, bool)
