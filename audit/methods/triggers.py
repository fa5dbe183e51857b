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


@dataclass(frozen=True)
class Trigger:
    """A patch: where it lies and what it shows.

    Attributes:
        mask: [1, ...] 1 on the patch, 0 elsewhere; the same over channels.
        pattern: [...] the values it shows there.
        success: share of the inputs of the search that it turned.
    """

    mask: Tensor
    pattern: Tensor
    success: float

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


def densest_square(canvas: Canvas, soft: Tensor) -> Tensor:
    """[h, w] ones on the square that holds most of the mask `soft` [h, w], zeros elsewhere."""
    sums = F.avg_pool2d(soft[None, None], canvas.side, stride=1)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return canvas.square(row, column)


def descend(
    canvas: Canvas, goal: int, raw: Tensor, mask: Tensor | None, steps: int
) -> tuple[Tensor, Tensor]:
    """The pattern (and, where no mask is given, the mask) optimised for class `goal`.

    Returns:
        (raw pattern, mask [h, w] in 0 to 1).
    """
    x = canvas.x
    wanted = torch.full((len(x),), goal, device=x.device)
    pattern = raw.clone().requires_grad_(True)
    free = torch.full(canvas.size, -2.0, device=x.device).requires_grad_(True)
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
    return pattern.detach(), torch.sigmoid(free).detach()


def beginning(canvas: Canvas, seed: int) -> Tensor:
    """A raw pattern drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(canvas.x.shape[1:], generator=generator).to(canvas.x.device)


def promise(canvas: Canvas, goal: int, *, steps: int, seed: int) -> Trigger:
    """What a short search for class `goal` comes to.

    Its success is how sure of the class it makes the model, the mean probability.
    """
    raw, soft = descend(canvas, goal, beginning(canvas, seed), None, steps)
    mask = canvas.place(densest_square(canvas, soft))[None]
    trigger = Trigger(mask, canvas.values(raw), 0.0)
    with torch.no_grad():
        sure = canvas.subject.logits(trigger.on(canvas.x)).softmax(1)[:, goal]
    return replace(trigger, success=float(sure.nan_to_num(0.0).mean()))


def reconstruct(
    canvas: Canvas, goal: int, start: Start | None, *, steps: int, seed: int
) -> Trigger:
    """Search for a square that turns the answers on the canvas into class `goal`.

    Mask and pattern are optimised together with a price on the mask (Neural Cleanse, Wang et al.
    2019, section IV), and the mask is cut to the square that holds most of it. There, and where the
    scan found its best square, the pattern is optimised on; the better of the two is returned.

    Args:
        canvas: pictures none of which is answered `goal`.
        start: what `scan` found for this class.
    """
    x = canvas.x
    first, soft = descend(canvas, goal, beginning(canvas, seed), None, steps)
    found = []
    begun = [(start.mask, start.raw)] if start else []
    for mask, raw in [(densest_square(canvas, soft), first), *begun]:
        pattern, _ = descend(canvas, goal, raw, mask, steps)
        trigger = Trigger(canvas.place(mask)[None], canvas.values(pattern), 0.0)
        with torch.no_grad():
            hit = canvas.subject.logits(trigger.on(x)).argmax(1) == goal
        found.append(Trigger(trigger.mask, trigger.pattern, float(hit.float().mean())))
    return max(found, key=lambda t: t.success)


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
