"""Reconstruction of a trigger: the small patch that makes most inputs answered as one class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.arrays import has_channels_last
from audit.subject import Subject

SCANNED = 48  # samples that the scan looks at
PLACES = 8  # that it tries, in each direction
GENUINE, OTHERS = 12, 64  # pictures that pieces are cut from, and put on
CONTRASTS = (1.0, 2.0, 4.0)  # that a piece is shown with
SURE = 3.0  # logit of a pixel that is all but white (or, negative, black)
PRICE = 0.3
SIZES = 4  # of patches that are searched for, each half as large as the one before


@dataclass(frozen=True)
class Trigger:
    """A patch: where it lies and what it shows.

    Attributes:
        mask: [1, ...] 1 on the patch, 0 elsewhere; the same over channels.
        pattern: [...] the values it shows there.
        success: share of the inputs of the search that it turned.
        sure: how sure of the class it makes the model there, the mean probability.
    """

    mask: Tensor
    pattern: Tensor
    success: float
    sure: float

    def on(self, x: Tensor) -> Tensor:
        return x * (1 - self.mask) + self.pattern * self.mask


@dataclass(frozen=True)
class Canvas:
    """The pictures that patches are put on: [n, c, h, w], or [n, h, w, c] where `last`."""

    subject: Subject
    x: Tensor
    area: float

    @property
    def last(self) -> bool:
        return has_channels_last(self.x)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.x.shape[1:3] if self.last else self.x.shape[2:4]
        return int(height), int(width)

    @property
    def sizes(self) -> list[int]:
        """How many places patches take that are searched for, each half as large as the one before.

        The first takes twice the share `area`.
        """
        height, width = self.size
        first = max(1, round(2 * self.area * height * width))
        return sorted({max(1, first >> halved) for halved in range(SIZES)}, reverse=True)

    @property
    def side(self) -> int:
        """Of a square that takes a share `area` of the picture."""
        height, width = self.size
        return max(1, min(height, width, round((self.area * height * width) ** 0.5)))

    def place(self, mask: Tensor) -> Tensor:
        """[h, w] → a shape that broadcasts over channels."""
        return mask[..., None] if self.last else mask[None]

    def square(self, row: int, column: int) -> Tensor:
        mask = torch.zeros(self.size, device=self.x.device)
        mask[row : row + self.side, column : column + self.side] = 1.0
        return mask

    def places(self) -> list[Tensor]:
        """Squares over a grid of places, as masks that broadcast over channels."""
        height, width = self.size
        step = max(1, self.side // 2, -(-(height - self.side) // PLACES))
        rows, columns = (
            sorted({*range(0, extent - self.side + 1, step), extent - self.side})
            for extent in (height, width)
        )
        return [self.place(self.square(row, column)) for row in rows for column in columns]

    @property
    def limits(self) -> tuple[float, float]:
        return self.subject.range or (float(self.x.min()), float(self.x.max()))

    def values(self, raw: Tensor) -> Tensor:
        """Unbounded numbers → values in the input's range."""
        low, high = self.limits
        return low + (high - low) * torch.sigmoid(raw)


@dataclass(frozen=True)
class Start:
    """A square to begin with: its mask [h, w], the raw pattern, and how sure of the class it makes."""

    mask: Tensor
    raw: Tensor
    score: float


def scan(canvas: Canvas, classes: int, samples: int = SCANNED) -> dict[int, Start]:
    """For each class the white, black or chequered square, over a grid of places, that speaks for it most.

    Needs no gradient: a trigger that sleeps until it is nearly there gives none.

    Args:
        samples: that it looks at.
    """
    height, width = canvas.size
    chequers = (torch.arange(height)[:, None] + torch.arange(width)[None]) % 2 * 2.0 - 1
    shape = canvas.x.shape[1:]
    raws = [
        SURE * canvas.place(p.to(canvas.x.device)).expand(shape)
        for p in (torch.ones(height, width), -torch.ones(height, width), chequers, -chequers)
    ]
    some = canvas.x[:samples]
    best = torch.full((classes,), -torch.inf, device=canvas.x.device)
    found: dict[int, Start] = {}
    with torch.no_grad():
        for m in canvas.places():
            for raw in raws:
                logits = canvas.subject.logits(some * (1 - m) + canvas.values(raw) * m)
                scores = logits.softmax(1).mean(0)
                for goal in (scores > best).nonzero()[:, 0].tolist():
                    found[goal] = Start(m.reshape(canvas.size), raw.clone(), float(scores[goal]))
                best = torch.maximum(best, scores)
    return found


@dataclass(frozen=True)
class Sketch:
    """Where a search stands: a raw pattern [...], and how much of it shows at each place, raw too [h, w]."""

    raw: Tensor
    free: Tensor


def beginning(canvas: Canvas, seed: int) -> Sketch:
    """A pattern drawn at random, of which little shows."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(canvas.x.shape[1:], generator=generator).to(canvas.x.device)
    return Sketch(raw, torch.full(canvas.size, -2.0, device=canvas.x.device))


def descend(
    canvas: Canvas, goal: int, begun: Sketch, steps: int, mask: Tensor | None = None
) -> Sketch:
    """The sketch optimised for class `goal`: its pattern, and what of it shows too where no mask is given.

    What shows has a price (Neural Cleanse, Wang et al. 2019, section IV).
    """
    x = canvas.x
    wanted = torch.full((len(x),), goal, device=x.device)
    pattern, free = (t.clone().requires_grad_(True) for t in (begun.raw, begun.free))
    parameters = [pattern] if mask is not None else [pattern, free]
    optimiser = torch.optim.Adam(parameters, lr=0.25)
    for _ in range(steps):
        m = canvas.place(torch.sigmoid(free) if mask is None else mask)
        logits = canvas.subject.logits(x * (1 - m) + canvas.values(pattern) * m)
        loss = F.cross_entropy(logits, wanted)
        if mask is None:
            loss = loss + PRICE * m.mean() / canvas.area
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
    return Sketch(pattern.detach(), free.detach())


def foremost(worth: Tensor, count: int) -> Tensor:
    """[h, w] ones on the places that are worth most, zeros elsewhere."""
    mask = torch.zeros_like(worth).flatten()
    mask[worth.flatten().topk(count).indices] = 1.0
    return mask.reshape(worth.shape)


def trigger(canvas: Canvas, goal: int, sketch: Sketch, mask: Tensor) -> Trigger:
    """The sketch as a patch, and what it does to the canvas."""
    made = Trigger(canvas.place(mask)[None], canvas.values(sketch.raw), 0.0, 0.0)
    with torch.no_grad():
        logits = canvas.subject.logits(made.on(canvas.x))
        hit, sure = logits.argmax(1) == goal, logits.softmax(1)[:, goal].nan_to_num(0.0)
    return replace(made, success=float(hit.float().mean()), sure=float(sure.mean()))


def promise(canvas: Canvas, goal: int, begun: Sketch) -> list[Trigger]:
    """What a short search has come to: of each size, the patch where most of its pattern shows."""
    return [trigger(canvas, goal, begun, foremost(begun.free, size)) for size in canvas.sizes]


def reconstruct(
    canvas: Canvas, goal: int, begun: Sketch, start: Start | None, *, steps: int
) -> list[Trigger]:
    """Search for patches that turn the answers on the canvas into class `goal`, ever smaller ones.

    Pattern and mask are optimised together with a price on the mask (Neural Cleanse, Wang et al. 2019),
    and the mask is cut to the places that show most of it, wherever they lie. There the pattern is
    optimised on. Half of the places are kept, those that the answers depend on most, or the best square
    of the scan, whichever does better; the pattern is optimised again, and so on: a trigger is as small as
    it was planted, and what works by nature needs room.

    Args:
        canvas: pictures none of which is answered `goal`.
        begun: where the search begins.
        start: what `scan` found for this class.

    Returns:
        One of at most each size of `canvas.sizes`.
    """
    sketch = descend(canvas, goal, begun, steps)
    mask = foremost(sketch.free, canvas.sizes[0])
    found: list[Trigger] = []
    for number, size in enumerate(canvas.sizes):
        if number:
            mask = foremost(dependence(canvas, goal, sketch, mask), size)
        sketch = descend(canvas, goal, sketch, -(-steps // 2) if number else steps, mask)
        found.append(trigger(canvas, goal, sketch, mask))
        if number == 1 and start is not None:
            square = descend(canvas, goal, Sketch(start.raw, sketch.free), steps, start.mask)
            scanned = trigger(canvas, goal, square, start.mask)
            if scanned.sure > found[1].sure:
                found[1], sketch, mask = scanned, square, start.mask
    for number in reversed(range(len(found) - 1)):  # a larger patch can do what a smaller one does
        if found[number + 1].sure > found[number].sure:
            found[number] = found[number + 1]
    return found


def dependence(canvas: Canvas, goal: int, sketch: Sketch, mask: Tensor) -> Tensor:
    """[h, w] what the answer `goal` would lose, by its gradient, if a place showed less of the pattern."""
    shown = mask.clone().requires_grad_(True)
    m = canvas.place(shown)
    logits = canvas.subject.logits(canvas.x * (1 - m) + canvas.values(sketch.raw) * m)
    wanted = torch.full((len(canvas.x),), goal, device=canvas.x.device)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, wanted), shown)
    return torch.where(mask > 0, -gradient, -torch.inf)


def genuine_pieces(canvas: Canvas, goal: int, own: Tensor) -> Tensor:
    """Do pieces of genuine pictures of a class get its answer as well as a trigger does?

    Of each genuine picture the square is cut out whose covering costs the class most (occlusion,
    Zeiler and Fergus 2014). It is put in its place on the pictures of the canvas, in which the square
    that speaks most for their own answer has been covered, as it is and with more contrast: a search
    finds what exceeds nature. Where the objects are as small as a patch, a patch shows one. What
    pieces of other classes do as well with more contrast does not count: it may open a backdoor.

    Args:
        canvas: pictures that are answered otherwise.
        own: pictures that are answered `goal`.

    Returns:
        [n] of the first pictures of the canvas: does the piece of the median genuine picture, at the
        contrast that serves the class best, get the answer `goal`?
    """
    subject, places = canvas.subject, canvas.places()
    own, others = own[:GENUINE], canvas.x[:OTHERS]
    strangers = others[:GENUINE]
    low, high = canvas.limits
    axes = (1, 2) if canvas.last else (2, 3)

    def decisive(x: Tensor, cloth: Tensor, answers: Tensor) -> Tensor:
        """[n, ...] mask of the square whose covering with `cloth` costs each its answer most."""
        left = [subject.logits(x * (1 - m) + cloth * m).log_softmax(1) for m in places]
        kept = torch.stack([each.gather(1, answers[:, None])[:, 0] for each in left])
        return torch.stack([places[int(i)] for i in kept.argmin(0)])

    def median_hits(pictures: Tensor, cuts: Tensor, contrast: float) -> Tensor:
        """[n] covered pictures that get the answer from the piece of the median picture."""
        means = pictures.mean(axes, keepdim=True)
        shown = (means + contrast * (pictures - means)).clamp(low, high)
        hits = torch.stack(
            [
                subject.logits(covered * (1 - m) + piece * m).argmax(1) == goal
                for piece, m in zip(shown, cuts, strict=True)
            ]
        )
        return hits[hits.sum(1).argsort()[len(hits) // 2]]

    with torch.no_grad():
        # Covered with what another picture shows there: a blank square could itself be a trigger.
        cloth = others.roll(1, 0)
        cover = decisive(others, cloth, subject.logits(others).argmax(1))
        covered = others * (1 - cover) + cloth * cover
        goals = torch.full((len(own),), goal, device=own.device)
        cuts = decisive(own, others[torch.arange(len(own)) % len(others)], goals)
        best = torch.zeros(len(others), dtype=torch.bool, device=own.device)
        for contrast in CONTRASTS:
            mine = median_hits(own, cuts, contrast)
            if contrast > 1:
                mine = mine & ~median_hits(strangers, cover[: len(strangers)], contrast)
            if mine.sum() > best.sum():
                best = mine
    return best.cpu()
