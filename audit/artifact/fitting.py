"""Which of a file's tensors are the weights of an architecture?

Every tensor has a place, the keys that lead to it joined by dots. An architecture fits wherever the names
of all its tensors stand behind one prefix, in their shapes: `state_dict.module.` is a key and what a
wrapper puts before names, and nothing need know which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from audit.artifact.opening import Artifact
from audit.artifact.state import Held, default, is_average, joined
from audit.errors import AuditError
from audit.record import Fact
from audit.text import clean_name
from audit.words import count

SHOWN = 3
# Modules that stand around others and change nothing: DataParallel, compile, FSDP, checkpointing.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# The same tensors by torch's two ways to normalise weights.
RENAMED = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}
ADAPTER = ("lora_A", "lora_B", "lora_down", "lora_up")
COUNTER = "num_batches_tracked"  # older files have none, and no answer needs it


@dataclass
class Fit:
    """Tensors for an architecture.

    Attributes:
        place: what stands before all their names, e.g. 'ema_state_dict.module.'.
        tensors: the architecture's names → tensors; those of `missing` are not there.
        extra: names at that place that the architecture does not know.
        shapes: sentences about those of another shape, or of another type of numbers.
        aside: places of tensors that stand beside these and were not taken.
        note: what was done to the names, beyond taking `place` off.
    """

    place: str
    tensors: dict[str, Tensor]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    note: str = ""
    averaged: bool = False

    @property
    def whole(self) -> bool:
        return not (self.missing or self.extra or self.shapes)

    @property
    def name(self) -> str:
        """As `--weights` may name it."""
        return self.place.strip(".")

    def called(self, name: str) -> bool:
        """Does `--weights NAME` mean these?"""
        parts = self.name.split(".")
        asked = name.strip(".").split(".")
        inside = any(parts[i : i + len(asked)] == asked for i in range(len(parts)))
        return inside or (self.averaged and name == "ema")

    def same(self, other: Fit) -> bool:
        """Are they the same numbers?"""
        if self.tensors.keys() != other.tensors.keys():
            return False
        pairs = ((t, other.tensors[name]) for name, t in self.tensors.items())
        return all(a is b or torch.equal(a, b) for a, b in pairs)


@dataclass
class Wanted:
    """The tensors of an architecture.

    Attributes:
        shapes: name → shape; None where the first input will settle it.
        parameters: names of those that are trained.
        transient: names of buffers that a state_dict leaves out.
        real: names of those that hold real numbers.
    """

    shapes: dict[str, torch.Size | None]
    parameters: list[str]
    transient: set[str]
    real: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, model: nn.Module) -> Wanted:
        own = {k: v for k, v in model.state_dict().items() if isinstance(v, Tensor)}
        return cls(
            {k: None if is_lazy(v) else v.shape for k, v in own.items()},
            [name for name, p in model.named_parameters() if p.requires_grad],
            {name for name, _ in model.named_buffers()} - own.keys(),
            {k for k, v in own.items() if v.is_floating_point()},
        )

    @cached_property
    def needed(self) -> set[str]:
        """Those that a file must hold."""
        return {name for name in self.shapes if not name.endswith(COUNTER)}

    @cached_property
    def anchors(self) -> list[str]:
        """A few names by which a place is found: specific ones, and the first and last."""
        trained = [name for name in self.parameters if name in self.shapes] or [*self.shapes]
        return [*dict.fromkeys([max(trained, key=len), trained[0], trained[-1]])] if trained else []


@dataclass
class Names:
    """The file's places and the architecture's names, in one way of writing them.

    Attributes:
        places: as written here → as the file has them.
        wanted: as written here → as the architecture has them.
        note: what was done to the names.
    """

    places: dict[str, str]
    wanted: dict[str, str]
    note: str = ""


def ways(places: Iterable[str], wanted: Iterable[str]) -> Iterator[Names]:
    """How the names of a file and an architecture may be compared, the plainest way first."""
    places, wanted = list(places), list(wanted)
    yield Names({k: k for k in places}, {k: k for k in wanted})
    # Without wrappers, and by one name for normalised weights.
    plain = Names(
        {plainly(k): k for k in places},
        {plainly(k): k for k in wanted},
        "names that wrappers and weight normalisation put into them were made alike",
    )
    if len(plain.places) == len(places) and len(plain.wanted) == len(wanted):
        yield plain
    # Without the architecture's own first name: a module around the trained one adds one.
    shorter, taken = wanted, ""
    while shorter:
        first = shorter[0].split(".")[0] + "."
        if not all(name.startswith(first) for name in shorter):
            return
        taken += first
        shorter = [name.removeprefix(first) for name in shorter]
        note = f"the architecture's prefix `{taken}` was put before them"
        yield Names({k: k for k in places}, {k: taken + k for k in shorter}, note)


def plainly(name: str) -> str:
    """A name without wrappers, and with torch's older name of a normalised weight."""
    for new, old in RENAMED.items():
        if name.endswith(new):
            name = name.removesuffix(new) + old
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def fits(held: list[Held], wanted: Wanted) -> list[Fit]:
    """All places of a file where the architecture's tensors are, whole ones first; else the nearest.

    Args:
        held: by what holds them.
    """
    tensors = {joined(h.path, name): t for h in held for name, t in h.tensors.items()}
    homes = {joined(h.path, name): h for h in held for name in h.tensors}
    found: dict[str, Fit] = {}
    for names in ways(tensors, [*wanted.shapes, *wanted.transient]):
        tried = [fit_at(p, names, tensors, wanted) for p in prefixes(names, wanted, held)]
        complete = [fit for fit in tried if not fit.missing and not fit.shapes]
        look_around(complete, names, homes)
        for fit in tried:
            found.setdefault(fit.place, fit)
            if fit.whole:
                found[fit.place] = fit
        if any(fit.whole for fit in tried):
            break
    counted = {h.path for h in held if "n_averaged" in h.tensors}
    for fit in found.values():
        fit.averaged = (
            is_average(fit.place) or fit.place.removesuffix("module.").rstrip(".") in counted
        )
    raws = [fit for fit in found.values() if fit.whole and not fit.averaged]
    for fit in found.values():  # what is averaged may be kept beside its average
        fit.averaged = fit.averaged and not (fit.whole and any(fit.same(r) for r in raws))
    listed = [in_a_list(h, wanted) for h in held if h.listed]
    found |= {fit.place: fit for fit in listed if fit is not None}
    for fit in found.values():
        if fit.averaged and fit.tensors and not fit.shapes and fit.missing and raws:
            complete_from(raws[0], fit)
    return sorted(found.values(), key=lambda fit: (not fit.whole, -len(fit.tensors)))


def prefixes(names: Names, wanted: Wanted, held: list[Held]) -> list[str]:
    """What may stand before the architecture's names: where a name of its is the end of a place."""
    here = {there: name for name, there in names.wanted.items()}
    ends = [here[anchor] for anchor in wanted.anchors if anchor in here]
    found = dict.fromkeys(
        place[: len(place) - len(end)]
        for end in ends
        for place in names.places
        if place == end or place.endswith(f".{end}")
    )
    usual = dict.fromkeys(f"{h.path}." if h.path else "" for h in held if h.mostly and not h.listed)
    return [*(found | usual)]


def fit_at(prefix: str, names: Names, tensors: Mapping[str, Tensor], wanted: Wanted) -> Fit:
    """The architecture's tensors behind one prefix."""
    fit = Fit(prefix, {}, note=names.note)
    for name, own in names.wanted.items():
        place = names.places.get(prefix + name)
        if place is None or own not in wanted.shapes:
            fit.missing += [own] if own in wanted.needed else []
            continue
        tensor, due = tensors[place], wanted.shapes[own]
        if due is not None and tensor.shape != due:
            fit.shapes.append(
                f"{own} is {list(tensor.shape)} in the file and {list(due)} in the architecture"
            )
        elif own in wanted.real and not tensor.is_floating_point():
            fit.shapes.append(
                f"{own} is {str(tensor.dtype)[6:]} in the file and holds real numbers in the architecture"
            )
        fit.tensors[own] = tensor
    return fit


def look_around(complete: list[Fit], names: Names, homes: Mapping[str, Held]) -> None:
    """What stands beside the tensors of each fit: unknown ones at its place, and others elsewhere."""
    fits = {fit.place: fit for fit in complete}
    used: dict[str, set[str]] = {}
    around: dict[str, list[int]] = {}
    for fit in complete:
        taken = (names.places.get(fit.place + name) for name in names.wanted)
        used[fit.place] = {place for place in taken if place is not None}
        around[fit.place] = [*{id(homes[place]) for place in used[fit.place] or homes}]
    elsewhere: dict[int, list[str]] = {}  # by what holds them
    for place, original in names.places.items():
        home = id(homes[original])
        inside = innermost(place, fits)
        if inside is None:
            elsewhere.setdefault(home, []).append(original)
        elif original not in used[inside.place] and home in around[inside.place]:
            inside.extra.append(place.removeprefix(inside.place))
    for fit in complete:
        beside = [elsewhere[home] for home in around[fit.place] if home in elsewhere]
        fit.aside = beside[0] if len(beside) == 1 else [name for part in beside for name in part]


def innermost(place: str, fits: Mapping[str, Fit]) -> Fit | None:
    """Of the fits at whose place this stands, the one with the longest; None where there is none."""
    end = len(place)
    while end > 0:
        end = place.rfind(".", 0, end)
        if place[: end + 1] in fits:
            return fits[place[: end + 1]]
    return None


def in_a_list(held: Held, wanted: Wanted) -> Fit | None:
    """The trained tensors in the order in which the architecture has them, as averages are kept."""
    trained = [name for name in wanted.parameters if name in wanted.shapes]
    tensors = list(held.tensors.values())
    alike = len(tensors) == len(trained) and all(
        wanted.shapes[name] in (None, tensor.shape)
        for name, tensor in zip(trained, tensors, strict=True)
    )
    if not alike or not trained:
        return None
    found = dict(zip(trained, tensors, strict=True))
    missing = [n for n in wanted.shapes if n in wanted.needed and n not in found]
    note = "they stand in a list, in the order of the architecture's parameters"
    return Fit(f"{held.path}.", found, missing, note=note, averaged=is_average(held.path))


def complete_from(raw: Fit, fit: Fit) -> None:
    """Averages are often kept of the trained tensors alone; the others are the raw ones."""
    fit.tensors |= {name: raw.tensors[name] for name in fit.missing}
    others = count(len(fit.missing), "tensor")
    said = f"{others} without an average taken from {quoted(raw.name)}"
    fit.note = "; ".join(filter(None, [fit.note, said]))
    fit.missing = []


def choose(artifact: Artifact, wanted: Wanted, reference: str, weights: str | None) -> Fit:
    """The weights that are audited; what was chosen, and what not, is told in the artifact.

    Args:
        weights: the name that the user gave; None: the raw ones.

    Raises:
        AuditError: none fit, or several; the sentence says which there are.
    """
    found = fits(artifact.held, wanted)
    whole = [fit for fit in found if fit.whole]
    if weights is not None:
        meant = [fit for fit in whole if fit.called(weights)]
        if weights == "ema":
            meant = [fit for fit in meant if fit.averaged] or meant
        if not meant:
            near = [fit for fit in found if fit.called(weights) and fit.tensors]
            if near:
                raise AuditError(complaint(artifact, near[0], wanted, reference))
            raise AuditError(f"--weights {weights}: {offered(artifact, whole)}.")
    else:
        meant = [fit for fit in whole if not fit.averaged] or whole
    if not meant:
        raise AuditError(complaint(artifact, nearest(found), wanted, reference))
    first = meant[0]
    if any(not fit.same(first) for fit in meant[1:]):
        names = " and ".join(quoted(fit.name) for fit in meant[:5])
        example = clean_name(next(fit.name for fit in meant if fit.name))
        raise AuditError(
            f"{artifact.path} holds several sets of weights that fit --arch {reference}, {names}; say "
            f'which with --weights {example}, or weights = "{example}" in audit.toml.'
        )
    tell(artifact, first, whole, weights)
    return first


def named_weights(artifact: Artifact, weights: str | None) -> dict[str, Tensor]:
    """The weights that are looked at where no architecture can tell which fit.

    Raises:
        AuditError: there are none of that name.
    """
    sets = [h for h in artifact.held if h.mostly]
    first = default(sets)
    if weights is not None:
        named = [Fit(f"{h.path}.", h.tensors, averaged=is_average(h.path)) for h in sets]
        fit = next((fit for fit in named if fit.called(weights)), None)
        if fit is None:
            raise AuditError(f"--weights {weights}: {offered(artifact, named)}.")
        first = next(h for h in sets if h.path == fit.name)
    if first is None:
        return {}
    if first.path:
        artifact.notes.append(f"The weights were found under the key {quoted(first.path)}.")
    rest = [f"{quoted(h.path)} ({count(len(h.tensors), 'tensor')})" for h in sets if h is not first]
    if rest:
        artifact.notes.append(f"Not taken from the model file: {'; '.join(rest)}.")
    return first.tensors


def offered(artifact: Artifact, whole: list[Fit]) -> str:
    """What `--weights` may name, for a sentence about what it may not."""
    names = [quoted(fit.name) for fit in whole if fit.name]
    if not names:
        return f"{artifact.path} holds one set of weights, and it has no name; leave the flag out"
    return f"{artifact.path} holds no weights of that name that fit; it holds {', '.join(names)}"


def nearest(found: list[Fit]) -> Fit:
    """Of several places that do not fit, the one with most of the names."""
    return max(
        found,
        key=lambda f: (len(f.tensors) - len(f.shapes), not f.averaged, -len(f.extra)),
        default=Fit("", {}),
    )


def complaint(artifact: Artifact, fit: Fit, wanted: Wanted, reference: str) -> str:
    """The sentence about weights that do not fit."""
    extra = fit.extra or unknown(artifact.held, fit)
    complaints = [
        f"{len(found)} {what} ({listing(found)})"
        for found, what in (
            (fit.missing, "missing from the file"),
            (extra, "unknown to the architecture"),
            (fit.shapes, "of another shape or type"),
        )
        if found
    ]
    where = f", {quoted(fit.name)}" if fit.name else ""
    others = [h.path for h in artifact.held if h.mostly and h.path and h.path != fit.name]
    also = f" (it also holds {', '.join(map(quoted, others[:SHOWN]))})" if others else ""
    return (
        f"--arch {reference} does not fit the weights of {artifact.path}{where}{also}: "
        f"{'; '.join(complaints)}; {advice(fit, extra, wanted)}."
    )


def advice(fit: Fit, extra: list[str], wanted: Wanted) -> str:
    """What to do about weights that do not fit."""
    if any(part in name for name in [*extra, *fit.aside] for part in ADAPTER):
        return "they hold adapters (LoRA): call merge_and_unload() and save the model again"
    if fit.tensors and not fit.shapes and not fit.missing:
        return (
            "name the class that has them too; or, if the model answers without them, save the weights "
            "that it has: torch.save({k: state[k] for k in model.state_dict()}, path)"
        )
    if (
        fit.tensors
        and not fit.shapes
        and not set(fit.missing) & set(wanted.parameters)
        and not extra
    ):
        return "they are no parameters, so an average leaves them out: save model.state_dict() beside it"
    return "name the class that these weights were trained with"


def unknown(held: list[Held], fit: Fit) -> list[str]:
    """Names at a place that were not taken."""
    return [
        place.removeprefix(fit.place)
        for place in (joined(h.path, name) for h in held for name in h.tensors)
        if place.startswith(fit.place) and place.removeprefix(fit.place) not in fit.tensors
    ]


def tell(artifact: Artifact, fit: Fit, whole: list[Fit], weights: str | None) -> None:
    """Say which weights were taken, what was done to their names, and what was left aside."""
    if fit.place:
        homes = {h.path for h in artifact.held}
        key = max((h for h in homes if fit.place.startswith(f"{h}.")), key=len, default="")
        prefix = fit.place.removeprefix(f"{key}.") if key else fit.place
        if key:
            artifact.notes.append(f"The weights were found under the key {quoted(key)}.")
        if prefix:
            artifact.notes.append(
                f"The prefix {quoted(prefix)} was taken off the names of the weights."
            )
    if fit.note:
        artifact.notes.append(f"Of the names of the weights: {fit.note}.")
    others = [o for o in whole if o is not fit and not o.same(fit)]
    taken = {id(tensor) for o in whole for tensor in o.tensors.values()}
    rest = [h for h in artifact.held if h.mostly and h.path and not taken & ids(h)]
    left = [
        *(f"{quoted(o.name)}, which fits too" for o in others),
        *(f"{quoted(h.path)} ({count(len(h.tensors), 'tensor')})" for h in rest),
    ]
    if fit.aside:
        left.append(f"{count(len(fit.aside), 'tensor')} beside them ({listing(fit.aside)})")
    if left:
        artifact.notes.append(f"Not taken from the model file: {'; '.join(left)}.")
    kind = "averaged over the steps of training" if fit.averaged else "raw"
    if fit.averaged or others:
        artifact.chosen = chosen(
            fit, f"{clean_name(fit.name) or 'the file itself'}, {kind}", weights
        )


def chosen(fit: Fit, value: str, weights: str | None) -> Fact:
    """The fact that says which weights are audited, where there is something to choose from."""
    if weights is not None:
        return Fact(name="weights", value=value, source="given")
    reason = (
        "no raw ones fit" if fit.averaged else "raw ones are taken unless --weights says others"
    )
    return Fact(name="weights", value=value, source="inferred", reason=reason)


def ids(held: Held) -> set[int]:
    """Of its tensors."""
    return {id(tensor) for tensor in held.tensors.values()}


def listing(names: list[str]) -> str:
    """The first few names, and that there are more."""
    return ", ".join(map(clean_name, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")


def quoted(place: str) -> str:
    """A place in a file, for a sentence."""
    return f"`{clean_name(place)}`" if place else "the file itself"
