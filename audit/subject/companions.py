"""Several inputs as they are given → what each of them is, and how the model takes them.

What each is, is told by its name and what it holds: a mask of 0 and 1 that ends where something else is
empty, a length that counts the steps of a mask, edges between nodes. The report says of each which, and
why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from audit.arrays import as_inputs
from audit.errors import AuditError
from audit.inputs import FirstLayer, inferred
from audit.meta import InputMeta, NamedInput, Role, SubjectMeta
from audit.packing import EXACT, Feed, Layout, Member, taken_by, ways, which_arrays
from audit.record import Fact
from audit.rooms import INPUTS, room
from audit.subject.inference import infer_range
from audit.subject.wrapping import PreprocessModule

SEVERAL = "several"
PICTURE = 3  # axes of a sample from which on whole numbers are values, not numbers of things
LENGTHS = ("length", "lengths", "len", "lens", "sizes", "num_nodes", "n_nodes", "n_words")
EDGES = ("edges", "edge_index", "edge_list", "adj", "adjacency", "adjacency_matrix", "adj_matrix")
SEGMENTS = ("token_type_ids", "segment_ids", "segments", "position_ids", "positions", "pos")
CODES = ("codes", "cat", "cats", "categories", "categorical", "x_cat", "cat_idx")


def named_inputs(x: Any, model: nn.Module) -> dict[str, Any] | None:
    """Name → what is given for it; None where one input is given.

    A mapping names its inputs; those of a tuple are named as the model's `forward` names them.
    """
    if isinstance(x, Mapping):
        if not x:
            raise AuditError("The inputs are an empty mapping; give an array for each input.")
        return {str(name): values for name, values in x.items()}
    if isinstance(x, tuple) and x and all(isinstance(v, (Tensor, np.ndarray)) for v in x):
        parameters = taken_by(model) or []
        names = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        names = names[: len(x)] + [f"input {i + 1}" for i in range(len(names), len(x))]
        return dict(zip(names, x, strict=True))
    return None


def tensors(named: Mapping[str, Any]) -> dict[str, Tensor]:
    """Inputs as tensors [n, ...] or [n].

    Raises:
        AuditError: one holds no numbers, or not as many samples as another.
    """
    found: dict[str, Tensor] = {}
    for name, values in named.items():
        array = values if isinstance(values, Tensor) else np.asarray(values)
        if array.ndim == 0:
            raise AuditError(f"The input {name!r} is a single value; one for each sample is due.")
        truths = str(array.dtype) in ("bool", "torch.bool")
        try:
            tensor = as_inputs(array[:, None] if array.ndim == 1 else array, torch.float64)
        except AuditError as error:
            raise AuditError(f"Of the input {name!r}: {error}") from None
        tensor = tensor[:, 0] if array.ndim == 1 else tensor
        if not tensor.is_floating_point() and bool((tensor.double().long() != tensor).any()):
            raise AuditError(
                f"The input {name!r} holds whole numbers above 2^53, which would be rounded; number "
                "what they stand for from 0."
            )
        if truths:
            tensor = tensor.bool()
        elif tensor.is_floating_point() or tensor.ndim > PICTURE:
            tensor = tensor.double()
        found[name] = tensor
    counts = {name: len(tensor) for name, tensor in found.items()}
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            raise AuditError(
                f"The input {name!r} holds {count:,} samples and {first!r} {counts[first]:,}; one entry "
                "for each sample is due."
            )
    return found


def held_in(found: Mapping[str, Tensor], precision: torch.dtype) -> torch.dtype:
    """The type of a row that holds all of them exactly."""
    large = any(
        not t.is_floating_point() and t.numel() and int(t.abs().max()) >= EXACT
        for t in found.values()
        if t.dtype != torch.bool
    )
    return torch.float64 if large or precision == torch.float64 else torch.float32


def fed(
    model: nn.Module,
    found: Mapping[str, Tensor],
    meta: SubjectMeta,
    precision: torch.dtype,
    place: torch.device,
) -> Feed:
    """How the model takes the inputs: as its signature says, or as it takes the first two samples.

    Raises:
        AuditError: it takes them in no way; with what it said first.
    """
    strangers = [name for name in meta.inputs or {} if name not in found]
    if strangers:
        raise AuditError(
            f"[subject.inputs] names {strangers[0]!r}, and the data hold {', '.join(found)}."
        )
    layout = Layout.of(found)
    prepare = {
        name: PreprocessModule(told.preprocess, found[name].ndim, precision).to(place)
        for name, told in (meta.inputs or {}).items()
        if told.preprocess is not None
    }
    # Whole numbers of a table may stand for values: a linear layer takes none.
    values = replace(
        layout,
        members=tuple(
            replace(m, dtype=precision) if m.counted and m.dtype != torch.bool else m
            for m in layout.members
        ),
    )
    said = ""
    for way in ways(model, layout.names):
        for tried in (layout, values):
            feed = Feed(tried, precision, way, prepare)
            row = tried.pack({n: t[:2] for n, t in found.items()}, torch.float64).to(place)
            try:
                with torch.no_grad():
                    feed(model, row)
                return feed
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                said = said or (str(error) or type(error).__name__).splitlines()[0]
    told = ", ".join(f"{m.name} {list(m.shape)} {str(m.dtype)[6:]}" for m in layout.members)
    raise AuditError(
        f"The model does not accept the data: on samples of {told} it says «{said[:300]}»; check the "
        "names, shapes and dtypes, and [subject.inputs.NAME.preprocess]; where not all of them are inputs, "
        f"write {which_arrays(layout.names)}."
    )


@dataclass(frozen=True)
class Taken:
    """The inputs as the model takes them, on the CPU, and what is settled of them.

    Attributes:
        values: name → [n, ...]. given: what the user says of them. firsts: the layer that each comes to.
        settled: what each is; facts: how that was found.
    """

    layout: Layout
    values: Mapping[str, Tensor]
    given: Mapping[str, NamedInput]
    firsts: Mapping[str, FirstLayer]
    settled: dict[str, NamedInput] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)

    def add_fact(self, name: str, value: Any, reason: str) -> None:
        """Add a fact: inferred, for that reason; given, where there is none."""
        source: Literal["given", "inferred"] = "inferred" if reason else "given"
        self.facts.append(Fact(name=name, value=value, source=source, reason=reason))

    def settle_companions(self) -> None:
        """What only accompanies others: first, as contents are told by their masks."""
        for member in self.layout.members:
            told = self.given.get(member.name, NamedInput())
            if told.kind is not None or told.companion is False:
                continue
            role, reason = (told.role, "") if told.role else role_of(member, self)
            if told.companion and role is None:
                role, reason = "other", ""
            if role is not None:
                self.settled[member.name] = told.model_copy(
                    update={"companion": True, "role": role}
                )
                self.add_fact(f"input {member.name}", ROLES[role], reason)

    def settle_contents(self, vocabulary: list[str] | None) -> None:
        """The kind of all others, and the range of those that have one."""
        for member in self.layout.members:
            if member.name in self.settled:
                continue
            told = self.given.get(member.name, NamedInput()).model_copy(deep=True)
            told.companion, reason = False, ""
            told.vocabulary = told.vocabulary or vocabulary
            if told.kind is None:
                told.kind, reason = kind_of(member, self)
            self.add_fact(f"input {member.name}", told.kind, reason)
            kind = room(INPUTS, told.kind)
            if kind.common_unit and kind.continuous:
                reason = ""
                if told.range is None:
                    told.range, reason = infer_range(self.values[member.name])
                self.add_fact(f"range of {member.name}", told.range, reason)
            self.settled[member.name] = told


def told_apart(
    meta: SubjectMeta, model: nn.Module, feed: Feed, row: Tensor
) -> tuple[SubjectMeta, list[Fact]]:
    """The description with what each input is, and the facts.

    Args:
        model: on the device of `row` [n, width].

    Raises:
        AuditError: of one it cannot be told, or all only accompany others.
    """
    meta, names = meta.model_copy(deep=True), ", ".join(feed.layout.names)
    values = {m.name: m.of(row).cpu() for m in feed.layout.members}
    taken = Taken(feed.layout, values, meta.inputs or {}, first_layers(model, feed, row[:2]))
    reason = f"the data name them; the model takes them {feed.way}"
    taken.add_fact("input kind", f"{SEVERAL}: {names}", reason)
    taken.settle_companions()
    taken.settle_contents(meta.input.vocabulary)
    meta.inputs = {name: taken.settled[name] for name in feed.layout.names}
    contents = [told for told in meta.inputs.values() if not told.companion]
    if not contents:
        raise AuditError(
            f"Each of the inputs ({names}) seems only to accompany another; say what one of them is, as "
            f'with kind = "tokens" under [subject.inputs.{feed.layout.names[0]}].'
        )
    moving = [told for told in contents if room(INPUTS, str(told.kind)).continuous]
    meta.input = InputMeta(
        kind=SEVERAL,
        eps=next((told.eps for told in moving[:1] if told.eps is not None), meta.input.eps),
        range=next((told.range for told in moving if told.range is not None), None),
        vocabulary=next((told.vocabulary for told in contents if told.vocabulary), None),
    )
    if moving and moving[0].eps is None:
        moving[0].eps = meta.input.eps
    return meta, taken.facts


ROLES: dict[Role, str] = {
    "mask": "a mask, 1 where something is",
    "padding": "a mask, 1 where nothing is",
    "lengths": "lengths",
    "edges": "edges between nodes",
    "other": "accompanies the others",
}


def role_of(member: Member, taken: Taken) -> tuple[Role | None, str]:
    """The role of an input that only accompanies others, and why; None: it is none."""
    for told in (role_by_name, role_by_content):
        role, reason = told(member, taken)
        if role is not None:
            return role, reason
    return None, ""


def role_by_name(member: Member, taken: Taken) -> tuple[Role | None, str]:
    """The role that its name says, where it holds what the name says."""
    name, x = member.name.lower(), taken.values[member.name]
    whole = bool((x == x.round()).all())
    if name.endswith(("mask", "masks", "padding")) and truths(x):
        return polarity(member, taken)
    if name in LENGTHS or name.endswith(("_len", "_lens", "_length", "_lengths")):
        return ("lengths", "its name") if whole and member.width == 1 else (None, "")
    if name in EDGES and (square(member) or (whole and 2 in member.shape[-2:])):
        return "edges", "its name"
    if name.startswith("edge_") or (whole and member.counted and name in SEGMENTS):
        return "other", "its name"
    return None, ""


def role_by_content(member: Member, taken: Taken) -> tuple[Role | None, str]:
    """The role that its values show beside the others'."""
    x, flat = taken.values[member.name], len(member.shape) == 1 and member.width > 1
    if flat and prefixes(x):
        partners = [m.name for m in taken.layout.members if hides(member, m, taken)]
        if partners:
            return "mask", f"0 and 1, and {partners[0]} holds nothing where it is 0"
    if member.counted and member.width == 1:
        for other in taken.layout.members:
            steps, why = filled(other, taken.values[other.name])
            if steps is not None and bool((steps == x.reshape(-1)).all()):
                return "lengths", why
    counts = torch.arange(member.width, dtype=x.dtype)
    if member.counted and flat and bool((x == counts).all()):
        return "other", "it counts the steps"
    if square(member) and bool(torch.equal(x, x.transpose(1, 2))):
        nodes = [
            m.name
            for m in taken.layout.members
            if len(m.shape) == 2 and m.name != member.name and m.shape[0] == member.shape[0]
        ]
        if nodes:
            return "edges", f"a square of as many as {nodes[0]} has nodes, the same both ways"
    return None, ""


def polarity(member: Member, taken: Taken) -> tuple[Role, str]:
    """Does 1 stand for something or for nothing? What is hidden is the same over and over."""
    x = taken.values[member.name].flatten(1)
    steps = [m for m in taken.layout.members if m != member and member.width in m.shape]
    if not steps:
        return "other", "its name; it has no step for each step of another"
    shown, hidden = (
        max(variety(m, taken.values[m.name], x == value) for m in steps) for value in (1, 0)
    )
    if hidden > shown or (hidden == shown and "pad" in member.name.lower()):
        return "padding", "its name, and what the others hold where it is 1"
    return "mask", "its name"


def variety(member: Member, x: Tensor, where: Tensor) -> int:
    """How many different values a member holds at some steps [n, steps]."""
    axis = 1 + member.shape.index(where.shape[1])
    return len(x.movedim(axis, 1)[where][:1000].unique())


def truths(x: Tensor) -> bool:
    """Are there only 0 and 1?"""
    return bool(((x == 0) | (x == 1)).all())


def prefixes(x: Tensor) -> bool:
    """Are rows [n, steps] of 0 and 1 ones that end, not all at once?"""
    ends = truths(x) and bool((x[:, 0] == 1).all()) and bool((x[:, 1:] <= x[:, :-1]).all())
    return ends and len(x.sum(1).unique()) > 1


def hides(mask: Member, other: Member, taken: Taken) -> bool:
    """Does the other hold one value over and over where the mask is 0?"""
    if other == mask or mask.width not in other.shape:
        return False
    return variety(other, taken.values[other.name], taken.values[mask.name] == 0) == 1


def filled(member: Member, x: Tensor) -> tuple[Tensor | None, str]:
    """[n] the steps of samples before they end in zeros, and how that is said; None: they never do."""
    if len(member.shape) not in (1, 2) or member.shape[0] < 2:
        return None, ""
    steps = (x.reshape(len(x), member.shape[0], -1) != 0).any(2)
    last = (steps * torch.arange(1, member.shape[0] + 1)).amax(1)
    said = f"the steps of {member.name} before it ends in zeros"
    return (last, said) if len(last.unique()) > 1 else (None, "")


def square(member: Member) -> bool:
    """Has a sample as many rows as columns?"""
    return len(member.shape) >= 2 and member.shape[0] == member.shape[1] > 1


def kind_of(member: Member, taken: Taken) -> tuple[str, str]:
    """The kind of an input that is no companion, and why.

    Raises:
        AuditError: none fits, or several do.
    """
    x, first = taken.values[member.name], taken.firsts.get(member.name)
    roles = {name: told.role for name, told in taken.settled.items() if told.companion}
    edges = [name for name, role in roles.items() if role == "edges"]
    if edges and len(member.shape) == 2:
        return "graph", f"nodes with features; {edges[0]} joins them"
    if member.counted and member.dtype != torch.bool and len(member.shape) <= 1:
        embedded = member.width > 1 and first is not None and first.kind.startswith("Embedding")
        masks = [
            name
            for name, role in roles.items()
            if role in ("mask", "padding") and taken.layout[name].width == member.width
        ]
        if member.name.lower() in CODES or not (embedded or masks):
            return "codes", "whole numbers, each column with numbers of its own"
        return "tokens", f"whole numbers; {masks[0]} is their mask" if masks else (
            "whole numbers, of which one layer of embeddings takes all"
        )
    try:
        return inferred((x if member.shape else x[:, None]).float(), first)
    except AuditError as error:
        said = str(error).replace("[subject.input]", f"[subject.inputs.{member.name}]")
        raise AuditError(f"Of the input {member.name!r}: {said}") from None


@torch.no_grad()
def first_layers(model: nn.Module, feed: Feed, row: Tensor) -> dict[str, FirstLayer]:
    """Name of an input → the first layer that its values come to, in whatever order and shape."""
    given = feed.inputs(row)
    sorted_ = {name: x.flatten().double().sort().values for name, x in given.items()}
    seen: dict[str, FirstLayer] = {}

    def watch(layer_name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...]) -> None:
            if not args or not isinstance(args[0], Tensor):
                return
            for name, values in sorted_.items():
                if name not in seen and args[0].numel() == values.numel():
                    came = args[0].flatten().double().sort().values
                    if torch.equal(came, values):
                        seen[name] = FirstLayer(
                            type(layer).__name__, layer_name, tuple(args[0].shape)
                        )

        return hook

    hooks = [
        layer.register_forward_pre_hook(watch(name))
        for name, layer in model.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
        and not isinstance(layer, torch.jit.ScriptModule)
    ]
    try:
        feed(model, row)
    except Exception:  # noqa: BLE001 - the probe asks again, and says what is wrong
        return {}
    finally:
        for handle in hooks:
            handle.remove()
    return seen
