"""What is expensive and shared between checks: computed once, in batches, safe against a kill.

A producer is a function of `audit.methods`, decorated with `@producer(version)`. It answers for one
batch; the store runs it over all batches, keeps each as soon as it is done, and hands back the
whole. On disk as safetensors, never pickle; without a folder, in memory.
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

from audit.record import write_atomic
from audit.subject import Subject
from audit.wrapping import computing_in

Progress = Callable[[str, int, int], None]
PUBLIC, PRIVATE = ".safetensors", ".samples.safetensors"
# Beside what a producer made: the samples for which the model returned NaN or infinity meanwhile.
UNANSWERED = "unanswered"


@dataclass(frozen=True)
class Batch:
    """Some samples of a subject, and the random numbers that belong to them."""

    subject: Subject
    x: Tensor
    y: Tensor
    seeds: NDArray[np.uint64]

    def uniform(self, stream: int, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1), [len(batch), *shape].

        They depend on the audit's seed, the producer, the sample and `stream` alone: not on which
        samples are asked for, in which order, or in what batch.
        """
        make = on_host if self.x.device.type == "cpu" else on_device
        made = make(self.seeds, stream, int(np.prod(shape)), self.x.device)
        made = made.reshape(len(self.seeds), *shape)
        return made.to(self.x) if self.x.is_floating_point() else made


# splitmix64 (Steele, Lea and Flood 2014): a counter-based generator, vectorised.
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def on_host(
    seeds: NDArray[np.uint64], stream: int, per_sample: int, device: torch.device
) -> Tensor:
    """[n, per_sample] uniform numbers, made by numpy."""
    with np.errstate(over="ignore"):
        counter = np.arange(per_sample, dtype=np.uint64) + np.uint64(stream << 32)
        state = seeds[:, None] + (counter[None, :] + np.uint64(1)) * np.uint64(GOLDEN)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(FIRST)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(SECOND)
        state = state ^ (state >> np.uint64(31))
    unit = (state >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return torch.from_numpy(unit).to(device)


def on_device(
    seeds: NDArray[np.uint64], stream: int, per_sample: int, device: torch.device
) -> Tensor:
    """The same bits, made where they are needed: only the seeds travel."""

    def signed(word: int) -> int:
        """64 bits as torch holds them."""
        return word - (1 << 64) if word >> 63 else word

    def shifted(state: Tensor, by: int) -> Tensor:
        """A shift of unsigned numbers: what torch fills in from the sign is taken away."""
        return (state >> by) & ((1 << (64 - by)) - 1)

    own = torch.from_numpy(seeds.view(np.int64)).to(device)
    counter = torch.arange(1, per_sample + 1, device=device) + signed((stream << 32) % (1 << 64))
    state = own[:, None] + counter[None, :] * signed(GOLDEN)
    state = (state ^ shifted(state, 30)) * signed(FIRST)
    state = (state ^ shifted(state, 27)) * signed(SECOND)
    state = state ^ shifted(state, 31)
    return shifted(state, 40).to(torch.float32) / (1 << 24)


class Producer(Protocol):
    __name__: str
    version: int
    private: tuple[str, ...]

    def __call__(self, batch: Batch, **parameters: Any) -> dict[str, Tensor]: ...


def producer(
    version: int, *, private: tuple[str, ...] = ()
) -> Callable[[Callable[..., dict[str, Tensor]]], Producer]:
    """Mark a function as a producer of evidence.

    Args:
        version: raise it when the answers change.
        private: answers that show single samples of the data.
    """

    def mark(function: Callable[..., dict[str, Tensor]]) -> Producer:
        function.version, function.private = version, private  # type: ignore[attr-defined]
        return function  # type: ignore[return-value]

    return mark


@functools.cache
def library_versions() -> dict[str, str]:
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
    """

    subject: Subject
    seed: int = 0
    folder: Path | None = None
    examples: bool = True
    computed: int = 0
    reused: int = 0
    unanswered: int = 0
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
        name = f"{produce.__module__}.{produce.__name__}@{produce.version}"
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
                with self.subject.listening() as heard, computing_in(self.subject.inputs.dtype):
                    made = produce(Batch(self.subject, x, y, seeds), **parameters)
                kept = {k: v.detach().cpu().contiguous() for k, v in made.items()}
                if heard:
                    kept[UNANSWERED] = rows_of(heard, len(chosen))
                self.keep(produce, key, kept)
                self.computed += 1
                found = kept if fields is None else only(kept, fields)
            else:
                self.reused += 1
            lost = found.get(UNANSWERED)
            self.unanswered += 0 if lost is None else int(lost.sum())
            parts.append({k: v for k, v in found.items() if k != UNANSWERED})
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
                        if fields is None or name in fields or name == UNANSWERED:
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
    return {k: v for k, v in tensors.items() if k in fields or k == UNANSWERED}


def rows_of(heard: list[Tensor], n: int) -> Tensor:
    """[n] samples of a batch that were, at one call at least, answered with no number.

    Args:
        heard: of each call that held such answers, which rows they were. Calls of other sizes than
            whole batches only say how many there are at least.
    """
    rows = torch.zeros(n, dtype=torch.bool)
    for mask in heard:
        if len(mask) % n == 0:
            rows |= mask.reshape(-1, n).any(0)
    least = min(n, max(int(mask.sum()) for mask in heard))
    rows[(~rows).nonzero()[: max(0, least - int(rows.sum())), 0]] = True
    return rows
