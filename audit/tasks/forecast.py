"""Steps ahead of a series, each held against what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from audit.errors import AuditError
from audit.inputs import InputKind
from audit.meta import SubjectMeta
from audit.outputs import VALUES, values_of
from audit.rooms import INPUTS, room
from audit.tasks import Asked, Reading
from audit.values import Valued, counted, extents

if TYPE_CHECKING:
    from audit.subject.builder import Draft

CLEAR = 0.5  # share of the first label's variance that the last value of a channel must explain
FAINT = 0.1  # and that it must not, where the labels do not go on at all


class Forecast(Valued):
    """The next steps of one channel of a series, or of several."""

    forecasts: ClassVar[bool] = True
    tiny_width: ClassVar[int] = 4

    # What its values are called

    def outputs(self, meta: SubjectMeta, k: int) -> list[str]:
        horizon = meta.horizon or k
        names = self.channels(meta, k)
        of = [f"{name}, " for name in names] if len(names) > 1 else [""]
        return [f"{name}step {step + 1}" for step in range(horizon) for name in of]

    def fields(self, meta: SubjectMeta, k: int) -> dict[str, list[int]]:
        """The channels, of which all steps belong together."""
        names = self.channels(meta, k)
        return {name: list(range(i, k, len(names))) for i, name in enumerate(names)}

    def channels(self, meta: SubjectMeta, k: int) -> list[str]:
        """The names of what is forecast."""
        count = k // (meta.horizon or k)
        return list(meta.targets or [f"channel {i}" for i in range(count)])

    def spreads(self, values: Tensor, meta: SubjectMeta) -> Tensor:
        """Of a channel's values at all steps."""
        k = values.shape[1]
        found = torch.zeros(k, dtype=values.dtype)
        for at in self.fields(meta, k).values():
            found[at] = values[:, at].std()
        return found

    # What its contract is tried on

    def tiny_meta(self, kind: InputKind, x: Tensor) -> dict[str, Any]:
        return {"target_channel": [] if kind.over_time(x) is None else 0}

    # What it is told by

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        form = asked.meta.output if asked.meta.output in VALUES else "value"
        values = values_of(scores, form)
        if asked.meta.task == self.name:
            return Reading(form, "the task is forecast")
        labels = asked.labels
        if asked.y is None or not labels.several or labels.one_hot or asked.meta.input.kind is None:
            return None
        quantiles = values.shape[1:-1] == labels.shape[1:] and not labels.whole  # refused by name
        if set(labels.values) <= {0.0, 1.0} or not (
            quantiles or extents(values) == extents(labels)
        ):
            return None
        kind: InputKind = room(INPUTS, asked.meta.input.kind)
        series = kind.over_time(asked.inputs)
        if series is None or labels.shape[1] < 2 or len(labels.shape) > 3:
            return None
        known = carried_on(series, by_step(asked.y)[:, 0])
        same = known.shape[0] == known.shape[1] > 1
        # All channels ahead are a forecast of each, though some may go on at random.
        least = float(known.diagonal().max() if same else known.amax(0).min())
        if not kind.has_neighbours:  # columns of a table follow upon each other by chance alone
            least = min(least, float(carried_on(series[:, :-1], series[:, -1])[0, 0]))
        sure = least > CLEAR or (same and kind.has_neighbours and least > FAINT)
        if not sure and (least < FAINT or not kind.has_neighbours):
            return None
        told = f"{counted(extents(values))} a sample, and labels of as many"
        if sure:
            told += (
                f" that go on where the input ends (which explains {least:.0%} of the first step)"
            )
        return Reading(form, told, sure=sure)

    # What it needs to know

    def number_labels(self, draft: Draft) -> None:
        refuse_quantiles(draft)
        meta, k = draft.meta, draft.answers[0].numel()
        y = draft.arrays.labels
        shaped = draft.answers if y is None or draft.answers.ndim > y.ndim else y
        reason = "" if meta.horizon else "as many steps as an answer holds"
        meta.horizon = meta.horizon or (shaped.shape[1] if shaped.ndim > 1 else 1)
        if k % meta.horizon:
            raise AuditError(
                f"The horizon is {meta.horizon} and the model answers with {counted(extents(shaped))} a "
                "sample; correct [subject] horizon."
            )
        draft.add_fact("horizon", meta.horizon, reason)
        super().number_labels(draft)
        self.settle_channels(draft)
        if meta.season is not None:
            draft.add_fact("season", meta.season, "")

    def settle_names(self, draft: Draft) -> None:
        meta, k = draft.meta, draft.answers[0].numel()
        names = self.channels(meta, k)
        if len(names) * int(meta.horizon or k) != k:
            raise AuditError(
                f"{len(names)} targets are named and the model forecasts {k // (meta.horizon or k)} "
                "channels; correct [subject] targets."
            )
        if len(names) > 1:
            reason = "" if meta.targets else f"the model forecasts {len(names)} channels, unnamed"
            meta.targets = names
            draft.add_fact("targets", names, reason)

    def settle_channels(self, draft: Draft) -> None:
        """Which channels of the input go on in the labels.

        Raises:
            AuditError: nobody says it, and it cannot be told; or those that are given do not fit.
        """
        meta, y = draft.meta, draft.arrays.labels
        series = draft.kind.over_time(draft.arrays.inputs)
        count, reason = draft.answers[0].numel() // int(meta.horizon or 1), ""
        given = meta.target_channel
        if series is None:
            if given not in (None, []):
                raise AuditError(
                    f"The inputs are {draft.kind.noun}, which have no channel that could go on; leave out "
                    "[subject] target_channel."
                )
            found, reason = [], f"the inputs are {draft.kind.noun}, and no series that goes on"
        elif given is not None:
            found = given if isinstance(given, list) else [given]
        elif y is None:
            found, reason = [], "there are no labels to tell them by"
        else:
            found, reason = going_on(series, y.reshape(len(y), -1, count)[:, 0])
        inside = series is None or all(0 <= c < series.shape[2] for c in found)
        if not inside or len(found) not in (0, count):
            raise AuditError(
                f"target_channel = {given} is given, the input has "
                f"{0 if series is None else series.shape[2]} channels and the model forecasts {count}; give "
                "the number of each channel that goes on, counted from 0, or [] where none does."
            )
        meta.target_channel = found
        draft.add_fact("target channel", found, reason)


def by_step(y: Tensor) -> Tensor:
    """Labels [n, steps] or [n, steps, channels] as [n, steps, channels]."""
    return y[:, :, None] if y.ndim == 2 else y


def carried_on(series: Tensor, first: Tensor) -> Tensor:
    """[input channels, channels] share of the first step's variance that the last value explains.

    Args:
        series: [n, time, input channels], in any unit. first: [n, channels]
    """
    a, b = (standardised(v.double()) for v in (series[:, -1], first))
    return (a.T @ b / len(a)).square()


def standardised(values: Tensor) -> Tensor:
    """[n, channels] of mean 0 and spread 1; 0 of what is the same throughout."""
    centred = values - values.mean(0)
    return centred / values.std(0, unbiased=False).clamp_min(1e-12)


def going_on(series: Tensor, first: Tensor) -> tuple[list[int], str]:
    """The input channel that each channel of the first step [n, channels] goes on from, and why.

    Raises:
        AuditError: for one of them none does, or several do as well.
    """
    gaps = (series[:, -1][:, :, None] - first[:, None, :]).double().square().mean(0)
    kept = 1 - gaps / first.double().var(0, unbiased=False).clamp_min(1e-12)
    if kept.shape[0] == kept.shape[1] > 1 and float(kept.diagonal().max()) > CLEAR:
        return list(range(len(kept))), "as many channels as the input has, in its order"
    best = kept.topk(min(2, len(kept)), 0)
    clear = best.values[0] > CLEAR
    if len(kept) > 1:  # the next best leaves at least twice as much open
        clear &= (1 - best.values[1]) > 2 * (1 - best.values[0])
    if not bool(clear.all()):
        channel = int((~clear).nonzero()[0])
        of = f" for channel {channel} of the forecast" if len(clear) > 1 else ""
        raise AuditError(
            f"Which of the input's {len(kept)} channels goes on in the labels cannot be told{of} "
            f"(the last value of channel {int(best.indices[0, channel])} comes nearest); under [subject] "
            f"write target_channel = {int(best.indices[0, channel])}, or another, counted from 0, or "
            "target_channel = [] where the series that is forecast is no channel of the input."
        )
    share = float(best.values[0].min())
    return best.indices[0].tolist(), f"its last value explains {share:.0%} of the first step"


def refuse_quantiles(draft: Draft) -> None:
    """Raise AuditError where there are several values for each that the labels hold."""
    y, answers = draft.arrays.labels, draft.answers
    if y is None or answers.ndim != y.ndim + 1 or answers.shape[1:-1] != y.shape[1:]:
        return
    if answers.shape[-1] == 1:
        return
    q = answers.shape[-1]
    raise AuditError(
        f"The model returns {q} values for each step (quantiles?) and the labels hold one; forecasts of "
        f"quantiles are not judged yet: wrap the model so that it returns the middle one, out[..., {q // 2}]."
    )
