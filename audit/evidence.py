"""What is expensive and shared between checks: computed once, in batches, safe against a kill.

A producer is a function decorated with `@producer(version)`. It answers for one batch; the store runs it
over all batches, keeps each as soon as it is done, and hands back the whole. On disk as safetensors with a
seal (`audit.sealing`), never pickle; without a folder, in memory.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.draws import Draws
from audit.errors import AuditError
from audit.folders import turn
from audit.ledger import Ledger
from audit.record import write_atomic
from audit.seal import Damaged, sealed_text, unsealed_text
from audit.sealing import sealed_tensors, unsealed_tensors
from audit.subject import Subject
from audit.subject.wrapping import computing_in

Progress = Callable[[str, int, int], None]
PUBLIC, PRIVATE = ".safetensors", ".samples.safetensors"
# Beside what a producer made: the samples for which the model returned NaN or infinity meanwhile.
UNANSWERED = "unanswered"
# And the passes that it took, forward and backward.
PASSES = "passes"
BESIDE = (UNANSWERED, PASSES)
FEW = 8  # samples that are asked again, of a producer whose kept answers are used
CLOSE = 1e-3


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


@dataclass(frozen=True)
class Asked:
    """One batch that a producer is asked for.

    Attributes:
        chosen: indices of its samples.
        key: of what is kept.
    """

    produce: Producer
    parameters: Mapping[str, Any]
    chosen: NDArray[np.intp]
    key: str

    @property
    def folder(self) -> str:
        return self.produce.__name__


@dataclass
class Store:
    """Evidence about one subject, keyed by all that decides it.

    What is found on disk is used where its seal holds, and where what is made again agrees: of the first
    answers of each producer that are reused, a few samples of one batch, drawn at random, are asked again.

    Attributes:
        folder: where batches are kept; None keeps them in memory.
        examples: may the folder hold what shows single samples?
        unanswered: how many samples were answered with NaN or infinity, over all that was asked.
        asked: of each batch that was asked for, the passes forward and backward that it took when it was
            made; who wants to know what is asked from now on empties it.
        verify: raises where the subject is another than it was, so that nothing is made of it.
        shared: do other processes of this audit use the folder meanwhile?
    """

    subject: Subject
    seed: int = 0
    folder: Path | None = None
    examples: bool = True
    unanswered: int = 0
    asked: dict[str, tuple[int, int]] = field(default_factory=dict)
    progress: Progress | None = None
    verify: Callable[[], None] = lambda: None
    memory: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    shared: bool = False

    def __post_init__(self) -> None:
        if self.folder is not None and not self.examples:
            for path in self.folder.glob("*/*.samples.*"):
                remove(path)  # of an earlier run that was allowed to

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

    def beside(self, subject: Subject) -> Store:
        """The store of another subject of the same audit."""
        return Store(
            subject,
            self.seed,
            self.folder,
            self.examples,
            progress=self.progress,
            verify=self.verify,
            memory=self.memory,
            ledger=self.ledger,
            shared=self.shared,
        )

    def forget(self, keys: set[str]) -> None:
        """Throw away what was made under these keys, and all that was made of the subject."""
        self.subject.forget_derived()
        self.ledger.made -= keys
        for key in keys:
            self.memory.pop(key, None)
            for path in self.folder.glob(f"*/{key}*") if self.folder is not None else ():
                remove(path)

    def once(self, name: str, asked: str, value: int) -> int:
        """A number that was settled for this subject when it was first asked for; now, where it never was."""
        if self.folder is None:
            return value
        key = hashlib.sha256(f"{self.base}\n{asked}".encode()).hexdigest()[:32]
        path = self.folder / name / f"{key}.json"
        try:
            return int(json.loads(unsealed_text(path, key)))
        except (OSError, ValueError, TypeError):
            pass
        except Damaged:
            self.ledger.damaged += 1
        self.write(path, sealed_text(key, json.dumps(value)))
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
        batches = list(self.batches(produce, samples, parameters))
        found: dict[int, dict[str, Tensor]] = {}
        reused: list[tuple[Asked, dict[str, Tensor]]] = []
        # What somebody else is at is left for the end.
        for wait in (False, True):
            for start, asked in batches:
                if start not in found:
                    if self.progress:
                        self.progress(produce.__name__, start, len(samples))
                    part = self.had(asked, fields, reused, wait=wait)
                    if part is not None:
                        found[start] = part
        parts = [found[start] for start, _ in batches]
        if not self.confirm(reused):
            self.ledger.rejected.add(produce.name)
            self.ledger.reused -= len(reused)
            return self.get(produce, samples, fields, **parameters)
        for (_, asked), part in zip(batches, parts, strict=True):
            lost = part.get(UNANSWERED)
            self.unanswered += 0 if lost is None else int(lost.sum())
            if PASSES in part:
                forward, backward = part[PASSES][0].tolist()
                self.asked[asked.key] = (forward, backward)
        if self.progress:
            self.progress(produce.__name__, len(samples), len(samples))
        names = [name for name in parts[0] if name not in BESIDE] if parts else []
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    def had(
        self,
        asked: Asked,
        fields: Sequence[str] | None,
        reused: list[tuple[Asked, dict[str, Tensor]]],
        *,
        wait: bool,
    ) -> dict[str, Tensor] | None:
        """One batch, found or made.

        Args:
            reused: is added to where it was found.
            wait: until somebody else who makes it has made it; else None where somebody does.
        """
        found = self.load(asked, fields)
        if found is None:
            with turn(self.folder if self.shared else None, asked.key, wait=wait) as mine:
                if not mine:
                    return None
                found = self.load(asked, fields) if self.shared else None
                if found is None:
                    kept = self.make(asked)
                    self.keep(asked, kept)
                    self.ledger.computed += 1
                    return kept if fields is None else only(kept, fields)
        self.ledger.reused += 1
        reused.append((asked, found))
        return found

    def batches(
        self, produce: Producer, samples: NDArray[np.intp], parameters: Mapping[str, Any]
    ) -> Iterator[tuple[int, Asked]]:
        """The batches in which samples are asked, each with where it begins."""
        digests = self.subject.sample_digests()
        request = json.dumps(
            [f"{produce.name}@{produce.version}", parameters], sort_keys=True, default=repr
        )
        for start in range(0, len(samples), self.subject.batch_size):
            chosen = samples[start : start + self.subject.batch_size]
            content = "".join(digests[i] for i in chosen)
            key = hashlib.sha256(f"{self.base}\n{request}\n{content}".encode()).hexdigest()[:32]
            yield start, Asked(produce, parameters, chosen, key)

    def make(self, asked: Asked) -> dict[str, Tensor]:
        """The producer's answers for one batch, and what stands beside them."""
        self.verify()
        digests = self.subject.sample_digests()
        name = f"{asked.produce.name}@{asked.produce.version}"
        x, y = self.subject.batch(asked.chosen)
        seeds = np.array(
            [
                int.from_bytes(
                    hashlib.blake2b(
                        f"{self.seed} {name} {digests[i]}".encode(), digest_size=8
                    ).digest(),
                    "little",
                )
                for i in asked.chosen
            ],
            dtype=np.uint64,
        )
        network = self.subject.network
        with (
            network.collecting_unanswered() as unanswered,
            network.counting() as passes,
            computing_in(self.subject.inputs.dtype),
        ):
            made = asked.produce(Batch(self.subject, x, y, seeds), **asked.parameters)
        kept = {k: v.detach().cpu().contiguous() for k, v in made.items()}
        if unanswered:
            kept[UNANSWERED] = rows_of(unanswered, len(asked.chosen))
        kept[PASSES] = torch.tensor([passes])
        return kept

    def confirm(self, reused: list[tuple[Asked, dict[str, Tensor]]]) -> bool:
        """Are kept answers the same when they are asked again? A few of one batch, drawn at random.

        Whole batches only where answers depend on the company that samples come in.
        """
        if not reused or self.folder is None or reused[0][0].produce.name in self.ledger.confirmed:
            return True
        lots = random.SystemRandom()  # nobody who plants something knows what will be drawn
        asked, found = lots.choice(reused)
        self.ledger.confirmed.add(asked.produce.name)
        rows = np.array(sorted(lots.sample(range(len(asked.chosen)), min(FEW, len(asked.chosen)))))
        few = self.make(replace(asked, chosen=asked.chosen[rows]))
        return agree(found, few, rows) or agree(
            found, self.make(asked), np.arange(len(asked.chosen))
        )

    def load(self, asked: Asked, fields: Sequence[str] | None) -> dict[str, Tensor] | None:
        """What is kept of a batch; None: nothing that can be used."""
        known = self.memory.get(asked.key)
        if known is not None:
            return known if fields is None else only(known, fields)
        if self.folder is None:
            return None
        if asked.produce.name in self.ledger.rejected and asked.key not in self.ledger.made:
            return None
        private = asked.produce.private
        parts = [PUBLIC]
        if private and (fields is None or set(fields) & set(private)):
            parts.append(PRIVATE)
        found: dict[str, Tensor] = {}
        try:
            for part in parts:
                found |= unsealed_tensors(
                    self.folder / asked.folder / f"{asked.key}{part}",
                    asked.key + part,
                    lambda name: fields is None or name in fields or name in BESIDE,
                )
        except OSError:
            return None
        except Damaged:
            self.ledger.damaged += 1
            return None
        sized = all(
            len(v) == len(asked.chosen) for name, v in found.items() if name != PASSES and v.ndim
        )
        return found if sized and (fields is None or set(fields) <= set(found)) else None

    def keep(self, asked: Asked, tensors: dict[str, Tensor]) -> None:
        """Keep what was made: in the folder, or in memory where there is none that can be written."""
        self.ledger.made.add(asked.key)
        if self.folder is None:
            self.memory[asked.key] = tensors
            return
        private = {k: v for k, v in tensors.items() if k in asked.produce.private}
        public = {k: v for k, v in tensors.items() if k not in asked.produce.private}
        for part, held in ((PRIVATE, private if self.examples else {}), (PUBLIC, public)):
            path = self.folder / asked.folder / f"{asked.key}{part}"
            if held and not self.write(path, sealed_tensors(asked.key + part, held)):
                self.memory[asked.key] = tensors

    def write(self, path: Path, content: str | bytes) -> bool:
        """Write a file that is only kept to save time; was it written?"""
        try:
            write_atomic(path, content)
        except OSError as error:
            self.ledger.unwritable = (
                self.ledger.unwritable or error.strerror or type(error).__name__
            )
            return False
        return True


def remove(path: Path) -> None:
    """Remove a file that was kept; what else has its name holds nothing of ours.

    Raises:
        AuditError: it stays.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AuditError(
            f"{path} cannot be removed ({error.strerror}), and what it holds is not to be kept; remove it."
        ) from None


def agree(found: Mapping[str, Tensor], made: Mapping[str, Tensor], rows: NDArray[np.intp]) -> bool:
    """Are the rows of what was found those that were made, but for the last digits?"""
    for name, kept in found.items():
        if name in BESIDE:
            continue
        own, again = kept[rows], made.get(name)
        if again is None or again.shape != own.shape or again.dtype != own.dtype:
            return False
        if own.is_floating_point():
            if not torch.allclose(own, again, rtol=CLOSE, atol=CLOSE, equal_nan=True):
                return False
        elif not torch.equal(own, again):
            return False
    return True


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
