"""What is expensive and shared between checks: computed once, in batches, safe against a kill.

A producer is a function decorated with `@producer(version)`. It answers for one batch; the store runs it
over all batches, keeps each as soon as it is done, and hands back the whole. On disk as safetensors, never
pickle; without a folder, in memory.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from audit.draws import Draws
from audit.record import write_atomic
from audit.subject import Subject
from audit.subject.wrapping import computing_in

Progress = Callable[[str, int, int], None]
PUBLIC, PRIVATE = ".safetensors", ".samples.safetensors"
# Beside what a producer made: the samples for which the model returned NaN or infinity meanwhile.
UNANSWERED = "unanswered"
# And the passes that it took, forward and backward.
PASSES = "passes"
BESIDE = (UNANSWERED, PASSES)


@dataclass(frozen=True)
class Batch:
    """Some samples of a subject, and the random numbers that belong to them."""

    subject: Subject
    x: Tensor
    y: Tensor
    seeds: NDArray[np.uint64]

    def uniform(self, stream: int, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1), [len(batch), *shape]: see `Draws`."""
        return self.draws.uniform(stream, shape, self.x)

    @property
    def draws(self) -> Draws:
        """The samples' random numbers."""
        return Draws(self.seeds)


class Producer(Protocol):
    """A function of `audit.methods` that gives tensors [n, ...] for a batch of n samples.

    Attributes:
        version: raised whenever its answers change; older ones on disk are then made again.
        private: fields that show the data, which are not kept where `--no-examples` is given.
    """

    __name__: str
    name: str
    version: int
    private: tuple[str, ...]

    def __call__(self, batch: Batch, **parameters: Any) -> dict[str, Tensor]: ...


def producer(
    version: int, *, private: tuple[str, ...] = (), name: str = ""
) -> Callable[[Callable[..., dict[str, Tensor]]], Producer]:
    """Mark a function as a producer of evidence.

    Args:
        version: raise it when the answers change.
        private: answers that show single samples of the data.
        name: of the evidence; its module and its own where none is given. Random numbers follow from
            it: it stays when the function moves.
    """

    def mark(function: Callable[..., dict[str, Tensor]]) -> Producer:
        function.version, function.private = version, private  # type: ignore[attr-defined]
        function.name = name or f"{function.__module__}.{function.__name__}"  # type: ignore[attr-defined]
        return function  # type: ignore[return-value]

    return mark


@functools.cache
def library_versions() -> dict[str, str]:
    """The versions that evidence depends on: of another one it is made again."""
    names = (
        "torch",
        "numpy",
        "captum",
        "shap",
        "lime",
        "adversarial-robustness-toolbox",
        "fairlearn",
        "scikit-learn",
        "scipy",
    )
    return {name: package_version(name) for name in names}


@dataclass
class Store:
    """Evidence about one subject, keyed by all that decides it.

    Attributes:
        folder: where batches are kept; None keeps them in memory.
        examples: may the folder hold what shows single samples?
        computed, reused: how many batches were made, and how many were found.
        unanswered: how many samples were answered with NaN or infinity, over all that was asked.
        asked: of each batch that was asked for, the passes forward and backward that it took when it was
            made; who wants to know what is asked from now on empties it.
    """

    subject: Subject
    seed: int = 0
    folder: Path | None = None
    examples: bool = True
    computed: int = 0
    reused: int = 0
    unanswered: int = 0
    asked: dict[str, tuple[int, int]] = field(default_factory=dict)
    progress: Progress | None = None
    memory: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None and not self.examples:
            for path in self.folder.glob("*/*.samples.*"):
                path.unlink()  # of an earlier run that was allowed to

    @functools.cached_property
    def base(self) -> str:
        parts = [
            self.subject.behaviour_digest(),
            self.subject.data_digest(),
            str(self.seed),
            json.dumps(library_versions(), sort_keys=True),
            str(self.subject.batch_size),
            str(self.subject.device),
            str(torch.get_num_threads()),
            platform.machine(),
            torch.backends.cpu.get_cpu_capability(),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def once(self, name: str, asked: str, value: int) -> int:
        """A number that was settled for this subject when it was first asked for; now, where it never was."""
        if self.folder is None:
            return value
        key = hashlib.sha256(f"{self.base}\n{asked}".encode()).hexdigest()[:32]
        path = self.folder / name / f"{key}.json"
        try:
            return int(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            write_atomic(path, json.dumps(value))
            return value

    def get(
        self,
        produce: Producer,
        samples: NDArray[np.intp],
        fields: Sequence[str] | None = None,
        **parameters: Any,
    ) -> dict[str, Tensor]:
        """The producer's answers for `samples`, in their order, on the CPU.

        Args:
            fields: which of the answers to load; all where None.
        """
        digests = self.subject.sample_digests()
        name = f"{produce.name}@{produce.version}"
        request = json.dumps([name, parameters], sort_keys=True, default=repr)
        parts: list[dict[str, Tensor]] = []
        size = self.subject.batch_size
        for start in range(0, len(samples), size):
            chosen = samples[start : start + size]
            content = "".join(digests[i] for i in chosen)
            key = hashlib.sha256(f"{self.base}\n{request}\n{content}".encode()).hexdigest()[:32]
            if self.progress:
                self.progress(produce.__name__, start, len(samples))
            found = self.load(produce, key, fields)
            if found is None:
                x, y = self.subject.batch(chosen)
                seeds = np.array(
                    [
                        int.from_bytes(
                            hashlib.blake2b(
                                f"{self.seed} {name} {digests[i]}".encode(), digest_size=8
                            ).digest(),
                            "little",
                        )
                        for i in chosen
                    ],
                    dtype=np.uint64,
                )
                network = self.subject.network
                with (
                    network.collecting_unanswered() as unanswered,
                    network.counting() as passes,
                    computing_in(self.subject.inputs.dtype),
                ):
                    made = produce(Batch(self.subject, x, y, seeds), **parameters)
                kept = {k: v.detach().cpu().contiguous() for k, v in made.items()}
                if unanswered:
                    kept[UNANSWERED] = rows_of(unanswered, len(chosen))
                kept[PASSES] = torch.tensor([passes])
                self.keep(produce, key, kept)
                self.computed += 1
                found = kept if fields is None else only(kept, fields)
            else:
                self.reused += 1
            lost = found.get(UNANSWERED)
            self.unanswered += 0 if lost is None else int(lost.sum())
            if PASSES in found:
                forward, backward = found[PASSES][0].tolist()
                self.asked[key] = (forward, backward)
            parts.append({k: v for k, v in found.items() if k not in BESIDE})
        if self.progress:
            self.progress(produce.__name__, len(samples), len(samples))
        return {k: torch.cat([part[k] for part in parts]) for k in parts[0]} if parts else {}

    def load(
        self, produce: Producer, key: str, fields: Sequence[str] | None
    ) -> dict[str, Tensor] | None:
        if self.folder is None:
            kept = self.memory.get(key)
            return kept if kept is None or fields is None else only(kept, fields)
        parts = [self.folder / produce.__name__ / f"{key}{PUBLIC}"]
        if produce.private and (fields is None or set(fields) & set(produce.private)):
            parts.append(self.folder / produce.__name__ / f"{key}{PRIVATE}")
        found: dict[str, Tensor] = {}
        try:
            for path in parts:
                with safe_open(path, framework="pt") as file:
                    for name in list(file.keys()):
                        if fields is None or name in fields or name in BESIDE:
                            found[name] = file.get_tensor(name)
        except (SafetensorError, OSError):
            return None  # not there, or damaged: made again
        return found

    def keep(self, produce: Producer, key: str, tensors: dict[str, Tensor]) -> None:
        if self.folder is None:
            self.memory[key] = tensors
            return
        private = {k: v for k, v in tensors.items() if k in produce.private}
        public = {k: v for k, v in tensors.items() if k not in produce.private}
        place = self.folder / produce.__name__
        if private and self.examples:
            write_atomic(place / f"{key}{PRIVATE}", save(private))
        write_atomic(place / f"{key}{PUBLIC}", save(public))


def only(tensors: dict[str, Tensor], fields: Sequence[str]) -> dict[str, Tensor]:
    """The fields that are asked for, and what stands beside them."""
    return {k: v for k, v in tensors.items() if k in fields or k in BESIDE}


def rows_of(masks: list[Tensor], n: int) -> Tensor:
    """[n] samples of a batch that were, at one call at least, answered with no number.

    Args:
        masks: of each call that held such answers, which rows they were. Calls of other sizes than
            whole batches only say how many there are at least.
    """
    rows = torch.zeros(n, dtype=torch.bool)
    for mask in masks:
        if len(mask) % n == 0:
            rows |= mask.reshape(-1, n).any(0)
    least = min(n, max(int(mask.sum()) for mask in masks))
    rows[(~rows).nonzero()[: max(0, least - int(rows.sum())), 0]] = True
    return rows
