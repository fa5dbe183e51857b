"""What `audit run` is asked for, and how its subject is opened. Imports no torch until it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from audit.config import Config
from audit.judge import Policy
from audit.record import AuditRecord

if TYPE_CHECKING:
    from audit.runner import Here


@dataclass(frozen=True)
class Job:
    """A model file, what is asked of it, and what it is judged by.

    Attributes:
        model: a path, or 'zoo:NAME'.
        evidence: the folder that keeps what is expensive.
        shared: do other processes use it meanwhile?
    """

    model: str
    config: Config
    policy: Policy
    baseline: AuditRecord | None
    evidence: Path
    shared: bool = False

    def opened(self) -> Here:
        """The subject in this process, with all that is asked of it.

        Raises:
            AuditError: the model, its data or what is asked for cannot be used; says why.
        """
        from audit.loading import load
        from audit.runner import Here

        config = self.config
        weights_only = self.looked_through()
        subject = load(
            self.model,
            arch=config.arch,
            data=config.data,
            train_data=config.train_data,
            meta=config.subject,
            trust=config.trust,
            device=config.device,
            batch_size=config.run.batch,
            weights_only=weights_only,
            weights=config.weights,
        )
        return Here(
            subject,
            config.check or None,
            skip=config.skip,
            profile=config.profile,
            seed=config.seed,
            parameters=config.checks,
            policy=self.policy,
            baseline=self.baseline,
            evidence=self.evidence,
            examples=not config.no_examples,
            budget=config.run.budget,
            timed=True,
            shared=self.shared or config.run.workers > 1,
        )

    def looked_through(self) -> bool:
        """Is there a check for all that the config names? Is one asked for that needs no data?

        Raises:
            AuditError: it names one that there is none of, or a parameter that it has not.
        """
        from audit.plan import build_check, known_check, select
        from audit.registry import registry

        config = self.config
        chosen = select(config.check, "--check") if config.check else set()
        if config.skip:
            select(config.skip, "--skip")
        for check_id, parameters in config.checks.items():
            place = partial(config.place, "checks", check_id)
            build_check(check_id, config.profile, parameters, place)
        tables: dict[str, list[str | None]] = {
            "expect": [e.check for e in config.expect],
            "waive": [w.check for w in config.waive],
        }
        for table, named in tables.items():
            for index, check in enumerate(named):
                if check is not None:  # a waiver may name a cause
                    known_check(check, config.place(table, str(index), "check"))
        return any(not registry().checks[i].needs_data for i in chosen)
