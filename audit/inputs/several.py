"""Several inputs: [width], one beside the other in a row; each is what its own kind says it is.

What accompanies others (a mask, lengths, segments, edges) is never changed, counted or explained on its
own. What a mask or a length hides is no part of a sample, and a part that is left out takes its mask and
its edges with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.errors import NotApplicable
from audit.inputs import Corruption, FirstLayer, InputKind, Move, Parts, Reach, Uniform, Ways
from audit.meta import Feature, NamedInput, SubjectMeta
from audit.packing import Layout, Member
from audit.record import Figure, Table
from audit.rooms import INPUTS, room

if TYPE_CHECKING:
    from audit.subject import Subject

Found = TypeVar("Found")
TRIFLE = 1e-6  # that numbers without a tolerance may differ by and be the same


class Several(InputKind):
    """Several inputs.

    Attributes:
        layout: which columns of a row hold which input.
        told: what each is.
        kinds: of those that do not only accompany others.
        pads: what shorter samples of an input are filled up with, where that shows.
    """

    noun: ClassVar[str] = "several inputs"
    layout: Layout
    told: Mapping[str, NamedInput]
    kinds: Mapping[str, InputKind]
    pads: Mapping[str, Tensor]

    def of(self, layout: Layout | None, meta: SubjectMeta, x: Tensor) -> InputKind:
        """The same with what is known of each input; alike in all where only one is no companion."""
        if layout is None:
            return self
        made = Several()
        made.name, made.layout, made.told = self.name, layout, meta.inputs or {}
        made.kinds = {n: room(INPUTS, str(t.kind)) for n, t in made.told.items() if not t.companion}
        kinds = list(made.kinds.values())
        alone = kinds[0] if len(kinds) == 1 else None
        vars(made).update(
            noun=" and ".join(dict.fromkeys(k.noun for k in kinds)),
            value=alone.value if alone else "value",
            axes=alone.axes if alone else "",
            continuous=any(k.continuous for k in kinds),
            common_unit=alone is not None and alone.common_unit,
            noisy=any(k.noisy for k in kinds),
            edits=tuple(dict.fromkeys(e for k in kinds for e in k.edits)),
        )
        found = {n: k.pad(made.values(layout[n], x)) for n, k in made.kinds.items()}
        made.pads = {n: pad for n, pad in found.items() if pad is not None}
        return made

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        return ""

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Any, dict[str, Any]]:
        words = ["<pad>", "<unk>", *(a + b for a in "bcdfg" for b in "aeiou")]
        lengths = torch.randint(2, 7, (n, 1), generator=generator)
        mask = (torch.arange(6) < lengths).long()
        ids = torch.randint(2, len(words), (n, 6), generator=generator)
        series = torch.rand(n, 5, 2, generator=generator)
        return {
            "rows": torch.randn(n, 3, generator=generator),
            "ids": ids * mask,
            "mask": mask,
            "series": series,
        }, {
            "vocabulary": words,
            "inputs": {
                "rows": {"kind": "tabular", "eps": 0.1},
                "series": {"kind": "sequence", "range": (0, 1), "eps": 0.05},
            },
        }

    # One input among several

    def values(self, member: Member, x: Tensor) -> Tensor:
        """[n, width] → [n, ...] of one input, in the form of its kind."""
        own = member.of(x)
        own = own if member.shape else own[:, None]
        return own if self.kinds[member.name].continuous else own.round().long()

    def with_values(self, x: Tensor, name: str, values: Tensor) -> Tensor:
        """Samples [n, width] with other values [n, ...] of one input."""
        made = x.clone() if len(x) == len(values) else x.expand(len(values), -1).clone()
        made[:, self.layout[name].columns] = values.flatten(1).to(made)
        return made

    def row(self, values: Mapping[str, Tensor], like: Tensor, rest: float = 0.0) -> Tensor:
        """[b, width] of what some inputs have, [b or 1, ...] each, and `rest` of all others."""
        b = max((len(v) for v in values.values()), default=1)
        made = torch.full((b, self.layout.width), rest, dtype=like.dtype, device=like.device)
        for name, v in values.items():
            made[:, self.layout[name].columns] = v.flatten(1).to(made).expand(b, -1)
        return made

    def each(self, subject: Subject) -> Iterable[tuple[str, InputKind, Subject]]:
        """Name, kind, and the subject as if that input were all."""
        return [(name, kind, subject.only(name)) for name, kind in self.kinds.items()]

    def those(
        self, subject: Subject, ask: Callable[[InputKind, Subject], Found]
    ) -> dict[str, tuple[InputKind, Subject, Found]]:
        """Of the inputs to which a question applies, the answers.

        Raises:
            NotApplicable: it applies to none; with all reasons.
        """
        found, reasons = {}, list[str]()
        for name, kind, own in self.each(subject):
            try:
                found[name] = kind, own, ask(kind, own)
            except NotApplicable as reason:
                reasons.append(str(reason))
        if not found:
            raise NotApplicable("; ".join(dict.fromkeys(reasons)))
        return found

    @property
    def main(self) -> str:
        """The input that is shown where one can be: the first that is drawn, else the first."""
        drawn = [n for n, k in self.kinds.items() if k.common_unit]
        return (drawn or list(self.kinds))[0]

    def called(self, name: str, what: str) -> str:
        """What belongs to an input, with the input's name where there are several."""
        return what if len(self.kinds) == 1 else f"{name}: {what}"

    # What hides, and what is hidden

    def covering(self, name: str) -> list[tuple[Member, NamedInput]]:
        """The masks and lengths of an input: those that count as many steps as it has."""
        axis = self.kinds[name].steps_axis
        shape = self.layout[name].shape
        if axis is None or not shape:
            return []
        found = []
        for other, told in self.told.items():
            member = self.layout[other]
            masks = told.role in ("mask", "padding") and member.width == shape[axis]
            if masks or (told.role == "lengths" and member.width == 1):
                found.append((member, told))
        return found

    def hidden(self, x: Tensor, name: str) -> Tensor | None:
        """[n, steps] of samples [n, width], the steps of an input that are none; None: it has no mask."""
        axis, shape = self.kinds[name].steps_axis, self.layout[name].shape
        found = None
        for member, told in self.covering(name):
            assert axis is not None
            own = member.of(x).flatten(1) if member.shape else member.of(x)[:, None]
            if told.role == "lengths":
                lost = torch.arange(shape[axis], device=x.device) >= own
            else:
                lost = own < 0.5 if told.role == "mask" else own > 0.5
            found = lost if found is None else found | lost
        return found

    def along(self, name: str, steps: Tensor) -> Tensor:
        """[n, steps] → [n, *shape of the input], the same for all values of a step."""
        axis, shape = self.kinds[name].steps_axis, self.layout[name].shape
        assert axis is not None
        view = [1] * len(shape)
        view[axis] = shape[axis]
        return steps.reshape(len(steps), *view).expand(len(steps), *shape)

    def pad(self, x: Tensor) -> Tensor | None:
        hides = any(self.covering(name) for name in self.kinds) or self.pads
        return torch.zeros(1) if hides else None

    def padding(self, x: Tensor, pad: Tensor) -> Tensor:
        pads = torch.zeros_like(x, dtype=torch.bool)
        for name, kind in self.kinds.items():
            member, lost = self.layout[name], self.hidden(x, name)
            if lost is not None:
                pads[:, member.columns] |= self.along(name, lost).flatten(1)
                for other, told in self.covering(name):
                    if told.role != "lengths":
                        pads[:, other.columns] |= lost
            elif name in self.pads:
                own = kind.padding(self.values(member, x), self.pads[name])
                pads[:, member.columns] |= own.flatten(1)
        return pads

    def ended(self, x: Tensor, extents: tuple[int, ...]) -> Tensor | None:
        """Where a mask or a length says so; else where the input itself ends."""
        found: Tensor | None = None
        for name, kind in self.kinds.items():
            lost = self.hidden(x, name)
            if lost is None:
                lost = kind.ended(self.values(self.layout[name], x), extents)
            if lost is not None and tuple(lost.shape[1:]) == extents:
                found = lost if found is None else found | lost
        return found

    def blank(self, subject: Subject, name: str) -> float | None:
        """What stands in an input where a mask hides it, most often; None: no mask can hide it."""
        masked = [m for m, told in self.covering(name) if told.role != "lengths"]
        if not masked:
            return None
        lost = self.hidden(subject.inputs, name)
        assert lost is not None
        own = self.layout[name].of(subject.inputs)[self.along(name, lost)]
        return float(own.mode().values) if len(own) else 0.0

    # One of several

    def inputs(self, subject: Subject) -> list[str]:
        return list(self.kinds)

    def hiding(self, subject: Subject) -> list[str]:
        found = [(n, self.hidden(subject.inputs, n)) for n in self.kinds]
        return [name for name, lost in found if lost is not None and bool(lost.any())]

    def exchanged(self, subject: Subject, x: Tensor, name: str, donors: Tensor) -> Tensor:
        made = x.clone()
        others = {m.name for n in self.kinds if n != name for m, _ in self.covering(n)}
        for member in (self.layout[name], *(m for m, _ in self.covering(name))):
            if member.name not in others:
                made[:, member.columns] = donors[:, member.columns].to(x)
        return made

    def scrambled(self, subject: Subject, x: Tensor, name: str, uniform: Uniform) -> Tensor:
        """Each hidden value is one that the input holds elsewhere, where it is seen."""
        member, lost = self.layout[name], self.hidden(subject.inputs, name)
        here = self.hidden(x, name)
        assert lost is not None
        assert here is not None
        seen = member.of(subject.inputs)[~self.along(name, lost)]
        drawn = (uniform(0, member.shape) * len(seen)).long().clamp(max=len(seen) - 1).cpu()
        own = member.of(x)
        return self.with_values(
            x, name, torch.where(self.along(name, here), seen[drawn].to(own), own)
        )

    # What a small change is

    def default_eps(self, subject: Subject) -> float:
        """Of the first input that can be changed by small steps; the others' go with it."""
        name, kind, own = self.moving(subject)[0]
        return self.own_eps(name, kind, own)

    def moving(self, subject: Subject) -> list[tuple[str, InputKind, Subject]]:
        """The inputs that can be changed by small steps."""
        return [found for found in self.each(subject) if found[1].continuous]

    def own_eps(self, name: str, kind: InputKind, own: Subject) -> float:
        """How much of one input must not matter: as it is said, else as its kind does."""
        said = self.told[name].eps
        return kind.default_eps(own) if said is None else said

    def sizes(self, subject: Subject, eps: float) -> dict[str, float]:
        """Of a change of size `eps` of the first input, the size in each."""
        moving = self.moving(subject)
        base = self.own_eps(*moving[0])
        return {name: eps * self.own_eps(name, kind, own) / base for name, kind, own in moving}

    def reach(self, subject: Subject, eps: float) -> Reach:
        sizes = self.sizes(subject, eps) if self.continuous else {}
        found = {
            name: kind.reach(own, sizes[name])
            for name, kind, own in self.each(subject)
            if name in sizes
        }
        like = subject.moments.low
        return Reach(
            self.row({n: r.radius for n, r in found.items()}, like),
            self.row({n: r.low for n, r in found.items()}, like),
            self.row({n: r.high for n, r in found.items()}, like),
        )

    def guessed(self, subject: Subject) -> Tensor:
        like = subject.moments.low
        found = {name: kind.guessed(own) for name, kind, own in self.each(subject)}
        return self.row(found, like) > 0.5

    def moves_numbers(self, subject: Subject) -> bool:
        return any(kind.moves_numbers(own) for _, kind, own in self.moving(subject))

    def require_movable(self, subject: Subject, eps: float) -> None:
        sizes, reasons = self.sizes(subject, eps), list[str]()
        for name, kind, own in self.moving(subject):
            try:
                return kind.require_movable(own, sizes[name])
            except NotApplicable as reason:
                reasons.append(str(reason))
        raise NotApplicable("; ".join(dict.fromkeys(reasons)))

    def movable(self, subject: Subject) -> int:
        return sum(kind.movable(own) for _, kind, own in self.moving(subject))

    def change(self, subject: Subject, size: float, norm: str) -> str:
        """'Changing each pixel of 'scan' by …, and column 0 of 'person' by …'."""
        sizes = self.sizes(subject, size)
        said = {
            name: kind.change(own, sizes[name], norm) for name, kind, own in self.moving(subject)
        }
        if len(self.kinds) == 1:
            return next(iter(said.values()))
        return ", and ".join(
            f"{text if i == 0 else text[0].lower() + text[1:]} in {name!r}"
            for i, (name, text) in enumerate(said.items())
        )

    def range_told(self, subject: Subject) -> str:
        found = [(n, k.range_told(o)) for n, k, o in self.moving(subject) if k.common_unit]
        return ", ".join(self.called(name, said) for name, said in found)

    # What can be left out

    def features(self, x: Tensor, described: list[Feature] | None) -> list[Feature]:
        """Those of every table among the inputs, by their columns of the row."""
        found = []
        for name, kind in self.kinds.items():
            member = self.layout[name]
            own = kind.features(self.values(member, x), described)
            found += [self.moved(member, feature) for feature in own]
        return found

    def moved(self, member: Member, feature: Feature) -> Feature:
        """A feature of one input, by its columns of the row."""
        columns = [c + member.start for c in feature.columns]
        name = self.called(member.name, feature.name)
        return feature.model_copy(update={"columns": columns, "name": name})

    def parts(self, subject: Subject) -> Parts:
        count, names = 0, list[str]()
        nowhere = -1
        member = torch.full((self.layout.width,), nowhere)
        between = member.clone()
        grid = None
        for name, kind, own in self.each(subject):
            parts = kind.parts(own)
            grid = parts.grid
            mine = torch.where(parts.member == parts.count, nowhere, parts.member + count)
            member[self.layout[name].columns] = between[self.layout[name].columns] = mine.flatten()
            for at, first, second in self.tied(name, mine):
                member[at.columns], between[at.columns] = first.flatten(), second.flatten()
            names += [self.called(name, n) for n in parts.names]
            count += parts.count
        member[member == nowhere] = count
        between[between == nowhere] = count
        alike = bool((member == between).all())
        return Parts(
            member, names, grid if len(self.kinds) == 1 else None, None if alike else between
        )

    def tied(self, name: str, mine: Tensor) -> Iterable[tuple[Member, Tensor, Tensor]]:
        """The companions that a part of an input takes with it: [width] their parts, one and other.

        Args:
            mine: [*shape] the parts of the input.
        """
        axis = self.kinds[name].steps_axis
        if axis is None:
            return
        steps = mine.movedim(axis, 0).reshape(mine.shape[axis], -1)
        if not bool((steps == steps[:, :1]).all()):
            return  # a step is of several parts, so that none takes it away
        one = steps[:, 0]
        for member, told in self.covering(name):
            if told.role != "lengths":
                yield member, one, one
        for other, told in self.told.items():
            member, n = self.layout[other], len(one)
            if told.role == "edges" and member.shape[:2] == (n, n):
                each = [n, n, *[1] * (len(member.shape) - 2)]
                rows = one[:, None].expand(n, n).reshape(each).expand(member.shape)
                yield member, rows, rows.transpose(0, 1)

    def taken_away(self, subject: Subject, found: dict[str, Tensor]) -> Tensor:
        """[b, width] of what stands for each absent input, and of its mask and its edges: nothing.

        The first step stays, empty: who takes means over steps has no answer to a sample without any.
        """
        made = self.row(found, subject.moments.mean)
        for name in self.kinds:
            blank = None if self.kinds[name].continuous else self.blank(subject, name)
            if blank is not None:
                made[:, self.layout[name].columns] = blank
            for member, told in self.covering(name):
                if told.role != "lengths":
                    made[:, member.columns] = 0.0 if told.role == "mask" else 1.0
                    made[:, member.start] = 1.0 if told.role == "mask" else 0.0
        return made

    def baseline(self, subject: Subject) -> Tensor:
        found = {name: kind.baseline(own) for name, kind, own in self.each(subject)}
        return self.taken_away(subject, found)

    def absent(self, subject: Subject, rows: int) -> Tensor:
        found = {name: kind.absent(own, rows) for name, kind, own in self.each(subject)}
        return self.taken_away(subject, found)

    def unmoved(self, subject: Subject) -> Tensor | None:
        """All but the inputs that can be changed by small steps."""
        like = subject.moments.low
        moved = {n: torch.ones(1, self.layout[n].width) for n, _, _ in self.moving(subject)}
        return self.row(moved, like) < 0.5

    def extents(self, subject: Subject) -> tuple[int, ...]:
        raise NotApplicable(f"the inputs are {self.noun}, which lie in no one space or time")

    def fillings(self, subject: Subject) -> list[tuple[Feature, str]]:
        found = []
        for name, (kind, _, ways) in self.those(subject, lambda k, s: k.fillings(s)).items():
            member = self.layout[name]
            number = torch.arange(member.width).reshape(1, *(member.shape or (1,)))
            for feature, how in ways:
                at = number[kind.values_of(number, feature.columns)].flatten() + member.start
                moved = {"columns": at.tolist(), "name": self.called(name, feature.name)}
                found.append((feature.model_copy(update=moved), how))
        return found

    # What is written

    def written(self, subject: Subject) -> list[str]:
        """The inputs that hold words, all of one vocabulary."""
        found = [n for n, k in self.kinds.items() if k.edits]
        if not found:
            raise NotApplicable(f"the inputs are no words but {self.noun}")
        return [n for n in found if self.told[n].vocabulary == self.told[found[0]].vocabulary]

    def vocabulary(self, subject: Subject) -> list[str] | None:
        return subject.only(self.written(subject)[0]).meta.input.vocabulary

    def texts(self, subject: Subject, x: Tensor) -> Tensor:
        return torch.cat([self.values(self.layout[n], x) for n in self.written(subject)], 1)

    def reworded(self, subject: Subject, x: Tensor, texts: Tensor) -> Tensor:
        made, start = x, 0
        for name in self.written(subject):
            words = self.layout[name].width
            made = self.with_values(made, name, texts[:, start : start + words])
            start += words
        return made

    def unwritten(self, subject: Subject, x: Tensor) -> Tensor | None:
        pads = subject.padding(x)
        if pads is None:
            return None
        return torch.cat([pads[:, self.layout[n].columns] for n in self.written(subject)], 1)

    # What it meets in life

    def corruptions(self, subject: Subject) -> dict[str, Corruption]:
        """Those of each input, which the others see unchanged."""
        each = {n: (k, o, k.corruptions(o)) for n, k, o in self.each(subject)}
        disturbed = [n for n, (_, _, found) in each.items() if found]

        def of(name: str, corruption: Corruption) -> Corruption:
            def made(x: Tensor, severity: int, uniform: Uniform) -> Tensor:
                own = self.values(self.layout[name], x)
                return self.with_values(x, name, corruption(own, severity, uniform))

            return made

        return {
            what if len(disturbed) == 1 else f"{name}: {what}": of(name, corruption)
            for name in disturbed
            for what, corruption in each[name][2].items()
        }

    def noise_spread(self, subject: Subject) -> Tensor:
        noisy = {n: k.noise_spread(o) for n, k, o in self.moving(subject) if k.noisy}
        return self.row(noisy, subject.moments.std)

    def displaced(self, subject: Subject) -> tuple[str, InputKind, Subject]:
        """The first input whose place could be another."""
        found = self.those(subject, lambda k, _: k.displacement(0, ""))
        name, (kind, own, _) = next(iter(found.items()))
        return name, kind, own

    def displacements(
        self, subject: Subject, degrees: float, shift: float, grid: int
    ) -> list[Move]:
        name, kind, own = self.displaced(subject)

        def of(move: Move) -> Move:
            def made(x: Tensor) -> Tensor:
                moved = self.with_values(x, name, move(self.values(self.layout[name], x)))
                pads = subject.padding(x)
                return moved if pads is None else torch.where(pads, x, moved)

            return made

        return [of(move) for move in kind.displacements(own, degrees, shift, grid)]

    def displacement(self, degrees: float, shift: str) -> tuple[str, str]:
        for kind in self.kinds.values():
            with contextlib.suppress(NotApplicable):
                return kind.displacement(degrees, shift)
        raise NotApplicable(f"{self.noun} have no place that could be another")

    def rescalings(self, subject: Subject) -> Ways:
        moving = self.moving(subject)

        def of(name: str, own: Subject, way: Callable[[Subject, Tensor], Tensor]) -> Any:
            return lambda _, x: self.with_values(
                x, name, way(own, self.values(self.layout[name], x))
            )

        return {
            what if len(moving) == 1 else f"{name}: {what}": of(name, own, way)
            for name, kind, own in moving
            for what, way in kind.rescalings(own).items()
        }

    def spread(self, subject: Subject) -> Tensor:
        like = subject.moments.std
        found = {
            n: k.spread(o).expand(1, *(self.layout[n].shape or (1,)))
            for n, k, o in self.moving(subject)
        }
        return self.row(found, like, 1.0)

    def near(self, subject: Subject, training: Tensor) -> tuple[float, Tensor]:
        found = {}
        for name, kind, own in self.each(subject):
            tolerance, unit = kind.near(own, self.values(self.layout[name], training))
            found[name] = unit * max(tolerance, TRIFLE)
        return 1.0, self.row(found, training.float(), TRIFLE)

    # How it is drawn

    def shown(self, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Of one sample [width] the input that is shown."""
        found: NDArray[np.floating[Any]] = (
            self.values(self.layout[self.main], torch.from_numpy(x)[None])[0].float().numpy()
        )
        return found

    def tile(self, subject: Subject, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return self.kinds[self.main].tile(subject.only(self.main), self.shown(x))

    def drawn_map(
        self, subject: Subject, values: NDArray[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        if values.shape == (self.layout.width,):
            values = self.layout[self.main].of(torch.from_numpy(values)[None])[0].numpy()
        return self.kinds[self.main].drawn_map(subject.only(self.main), values)

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        """Those of each input that was changed."""
        tables, pictures = list[Table](), list[Figure]()
        for name, kind, own in self.each(subject):
            before, after = (self.values(self.layout[name], x) for x in (original, changed))
            if torch.equal(before, after.to(before)):
                continue
            more = kind.examples(own, before, after, said)
            for table in more[0]:
                table.title = self.called(name, table.title)
            for picture in more[1]:
                picture.title = self.called(name, picture.title)
            tables, pictures = [*tables, *more[0]], [*pictures, *more[1]]
        return tables, pictures
