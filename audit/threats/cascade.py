"""Attacks one after the other, cheap first, each on what the ones before left (Croce and Hein 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.checking import Context
from audit.producers.attacks import apgd, minimum_eps, recategorised, smallest_l2, square, unmasked
from audit.threats.attack import Attack
from audit.threats.threat import Threat

REACH = 4.0  # times eps: how far the search for the smallest change goes
HALVINGS = 7
FIRST_STEPS = 20  # of the search for the smallest budget, and of the L2 cascade's first attack
DEEPFOOL_STEPS, NEAREST = 50, 3
ROUNDS, REFINING = 2, 30  # of Carlini and Wagner
NEARLY = 1.4  # times eps: what the search broke there is attacked for longer within eps
NEARLY_STARTS = 3
MOST_AIMED = 9
GRADIENTS = ("loss_rose", "zero_gradient")  # what the first attack tells of the model's gradients

On = Literal["all", "standing", "nearly", "masked"]


@dataclass(frozen=True)
class Stage:
    """An attack, and what it is run on.

    All samples (a search for the smallest change), what stands, what nearly fell, or what stands where
    gradients seem masked.

    Attributes:
        white: does it follow the gradients that masking would hide?
    """

    attack: Attack
    on: On = "standing"
    white: bool = False


@dataclass(frozen=True)
class Fallen:
    """What attacks did to samples.

    Attributes:
        broken: [n] the answer was made wrong, or was wrong before.
        white: [n] the same, by attacks that follow gradients alone.
        gradients: what the first attack tells of them: `loss_rose` and `zero_gradient`, each [n].
        stage: [n] the number of the stage that broke it; −1 for none.
        ran: the stages that were run, by number.
        masked: do gradients seem to be masked?
        x: [n, ...] the adversarial points, where they were asked for.
    """

    broken: Tensor
    white: Tensor
    gradients: dict[str, Tensor]
    stage: Tensor
    ran: dict[int, str] = field(default_factory=dict)
    masked: bool = False
    x: Tensor | None = None

    @classmethod
    def by(cls, made: dict[str, Tensor], name: str) -> Fallen:
        """By one attack, from its evidence."""
        broken = made["broken"].clone()
        return cls(
            broken,
            broken,
            {name: made[name] for name in GRADIENTS if name in made},
            torch.where(broken, 0, -1),
            {0: name},
            x=made["x"].clone() if "x" in made else None,
        )

    def joined(self, number: int, name: str, hit: Tensor, x: Tensor | None) -> Fallen:
        """With what a further stage broke.

        Args:
            hit: [m] indices. x: [m, ...] the points.
        """
        broken, stage, points = self.broken.clone(), self.stage.clone(), self.x
        broken[hit], stage[hit] = True, number
        if points is not None and x is not None:
            points = points.clone()
            points[hit] = x
        return replace(self, broken=broken, stage=stage, x=points, ran={**self.ran, number: name})

    def steps(self, good: NDArray[np.bool_]) -> list[tuple[str, int, int]]:
        """(attack, how many stood before it, how many it broke), in order.

        Args:
            good: [n] was the answer good before?
        """
        stage, standing, rows = self.stage.numpy()[good], int(good.sum()), []
        for number, name in self.ran.items():
            broke = int((stage == number).sum())
            rows.append((name, standing, broke))
            standing -= broke
        return rows


@dataclass(frozen=True)
class Cascade:
    """Stages in order. The first is asked of all samples, and its evidence tells whether gradients vanish."""

    threat: Threat
    stages: tuple[Stage, ...]

    def run(
        self,
        context: Context,
        samples: NDArray[np.intp],
        good: NDArray[np.bool_],
        masked: Callable[[Fallen], bool],
        *,
        points: bool = False,
    ) -> Fallen:
        """Who falls, and by what.

        Args:
            samples: [n] indices. good: [n] was the answer good before?
            masked: does what gradients broke look as if they were masked? Asked before the first stage
                that is for masked ones.
            points: are the adversarial points wanted?
        """
        x = ["x"] if points else []
        first, *others = self.stages
        made = first.attack.on(context, samples, ["broken", *GRADIENTS, *x])
        found, right = Fallen.by(made, first.attack.name), torch.from_numpy(good)
        white, asked, near = True, False, right
        for number, stage in enumerate(others, 1):
            if white and not stage.white:
                found, white = replace(found, white=found.broken), False
            if stage.on == "masked" and not asked:
                found, asked = replace(found, masked=masked(found)), True
            if stage.on == "masked" and not found.masked:
                continue
            name, open_ = stage.attack.name, ~found.broken & right
            if stage.on == "all":
                made = stage.attack.on(context, samples, ["eps", *x])
                hit = (open_ & (made["eps"] <= self.threat.size)).nonzero()[:, 0]
                near = right & (made["eps"] <= NEARLY * self.threat.size)
                found = found.joined(number, name, hit, made["x"][hit] if points else None)
                continue
            rows = (open_ & near if stage.on == "nearly" else open_).nonzero()[:, 0]
            hit, at = rows[:0], None
            if len(rows):
                made = stage.attack.on(context, samples[rows.numpy()], ["broken", *x])
                hit, at = rows[made["broken"]], made["x"][made["broken"]] if points else None
            found = found.joined(number, name, hit, at)
        return replace(found, white=found.broken) if white else found


def smallest_change(threat: Threat, *, around: bool = False, changes: int = 0) -> Attack:
    """The search for the smallest change: evidence `eps` [n] and `x` [n, ...].

    Args:
        around: masked gradients.
        changes: categories that are others before the numbers move.
    """
    name = "search for the smallest change"
    if threat.norm == "l2":
        return Attack(
            name,
            smallest_l2,
            {
                "steps": DEEPFOOL_STEPS,
                "nearest": NEAREST,
                "rounds": ROUNDS,
                "refining": REFINING,
                "around": around,
            },
        )
    return Attack(
        name,
        minimum_eps,
        {
            "highest": REACH * threat.size,
            "halvings": HALVINGS,
            "steps": FIRST_STEPS,
            "around": around,
            "changes": changes,
        },
    )


def blind_search(threat: Threat, queries: int, asked_of: tuple[int, ...] = ()) -> Attack:
    """The search without gradients, with so many queries of a sample: evidence `broken` [n]."""
    return Attack("Square", square, {**threat.parameters, "queries": queries}, asked_of)


def other_categories(count: int) -> str:
    """How many categories of a row are others, in words."""
    return "one other category" if count == 1 else f"{count} other categories"


def worst_case(
    threat: Threat,
    first: Attack,
    *,
    classes: int,
    steps: int,
    restarts: int,
    targets: int,
    queries: int,
    smallest: bool = True,
    blind_of: tuple[int, ...] = (),
    changes: int = 0,
    draws: int = 1,
) -> Cascade:
    """The cascade of `robustness.worst_case`.

    Args:
        first: the attack that all samples see.
        classes: that an answer may be driven to, the right one among them.
        steps, restarts: of each Auto-PGD. targets: other classes that are aimed at, nearest first.
        queries: of the search without gradients.
        smallest: is the smallest change searched, and what it broke just beyond the budget attacked longer?
        blind_of: samples that others ask the search without gradients of (`Attack.asked_of`).
        changes: categories of a row that may be others at once.
        draws: that an answer around masked gradients is the mean of.
    """

    def auto(name: str, on: On, **parameters: Any) -> Stage:
        return Stage(Attack(name, apgd, {**threat.parameters, **parameters}), on, white=True)

    def blind(name: str, on: On, search: Attack) -> Stage:
        return Stage(replace(search, name=name), on)

    def around(name: str, loss: str) -> Stage:
        parameters = {**threat.parameters, "steps": steps, "draws": draws, "loss": loss}
        return Stage(Attack(f"around masked gradients, {name}", unmasked, parameters), "masked")

    aimed = range(min(targets, classes - 1) if classes > 2 else 0)
    aimed_longer = range(min(MOST_AIMED, classes - 1) if classes > 2 else 0)
    usual, longer = {"steps": steps, "restarts": restarts}, {"steps": 2 * steps}
    nearly = "longer, on what nearly fell"
    starts = {"restarts": NEARLY_STARTS}
    near = [
        Stage(smallest_change(threat), "all", white=True),
        auto(f"{nearly}, difference of logits", "nearly", **longer, **starts, loss="dlr"),
        *(
            auto(
                f"{nearly}, aimed at other class {rank + 1}",
                "nearly",
                **longer,
                loss="targeted",
                rank=rank,
                restarts=1 if rank else NEARLY_STARTS,
            )
            for rank in aimed_longer
        ),
    ]
    stages = [
        Stage(first, "all", white=True),
        auto("Auto-PGD, cross-entropy", "standing", **usual, loss="ce"),
        auto("Auto-PGD, difference of logits", "standing", **usual, loss="dlr"),
        *(
            auto(
                f"Auto-PGD, aimed at other class {rank + 1}",
                "standing",
                **usual,
                loss="targeted",
                rank=rank,
            )
            for rank in aimed
        ),
        *(near if smallest else []),
        blind("search without gradients", "standing", blind_search(threat, queries, blind_of)),
        around("cross-entropy", "ce"),
        around("difference of logits", "dlr"),
    ]
    if draws == 1:
        longest = blind_search(threat, 2 * queries)
        stages.append(blind("longer search without gradients", "masked", longest))
    for count in range(1, changes + 1):
        parameters = {"eps": threat.size, "steps": steps, "changes": count}
        stages.append(Stage(Attack(other_categories(count), recategorised, parameters)))
    return Cascade(threat, tuple(stages))
