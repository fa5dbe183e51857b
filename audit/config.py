"""`audit.toml`, or `[tool.audit]` in `pyproject.toml`: parsed, validated, every error with its line."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator

from audit.budget import bytes_of, seconds_of
from audit.errors import AuditError
from audit.files import read_text
from audit.judge.policy import CheckExpectation, Policy, Waiver
from audit.meta import SubjectMeta
from audit.record import Part, ReportRecord, Severity

MOST_CONFIG = 4 << 20  # bytes


class PolicyTable(Part):
    """`[policy]`: from which severity on a failure blocks, and whether an open question does."""

    fail_on: Severity = "high"
    on_inconclusive: Literal["block", "warn"] = "block"


class RunTable(Part):
    """`[run]`: how much an audit may cost, and how it is cut."""

    budget: str | None = Field(default=None, description="as 10m or '1240 passes'")
    batch: int | None = Field(default=None, ge=1, description="samples that are answered together")
    format: list[Literal["csv", "gitlab", "pdf", "sarif"]] = Field(
        default_factory=list, description="what is written beside the report"
    )
    workers: int = Field(default=1, ge=1, le=1024, description="processes that ask checks at once")
    executor: Literal["local", "ray", "slurm"] = Field(
        default="local",
        description="who starts the workers: this machine, a Ray cluster, a Slurm array",
    )
    address: str | None = Field(
        default=None, description="of a Ray cluster; one is started here where none is given"
    )
    deadline: str | None = Field(
        default=None,
        description="as 30m: what opening the model, and each check, may take; by default an hour, and ten "
        "times as long as a check was thought to take, ten minutes at least",
    )
    memory: str | None = Field(
        default=None,
        description="as 8GB: what all workers may take; by default most of the machine's",
    )

    @field_validator("deadline")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is not None and not seconds_of(value):
            raise ValueError("give a time above zero, as 90s, 10m or 1h30m")
        return value

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        if value is not None and not bytes_of(value):
            raise ValueError("give a size above zero, as 800MB or 8GB")
        return value


class Config(Part):
    """The keys of a configuration file; the flags of `audit run` override them."""

    arch: str | None = None
    data: str | None = None
    train_data: str | None = None
    weights: str | None = Field(
        default=None, description="the key of those that are meant, where a file holds several"
    )
    out: str = "audit-report"
    profile: Literal["quick", "standard", "deep"] = "standard"
    check: list[str] = Field(default_factory=list)
    skip: list[str] = Field(default_factory=list)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    baseline: str | None = None
    no_examples: bool = False
    trust: bool = False
    subject: SubjectMeta = Field(default_factory=SubjectMeta)
    policy: PolicyTable = Field(default_factory=PolicyTable)
    report: ReportRecord = Field(default_factory=ReportRecord)
    run: RunTable = Field(default_factory=RunTable)
    checks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    expect: list[CheckExpectation] = Field(default_factory=list)
    waive: list[Waiver] = Field(default_factory=list)
    _path: Path | None = PrivateAttr(default=None)

    @classmethod
    def fit(cls, _field: str, value: Any) -> Any:
        return value  # paths are taken as they are given; what is shown of them is cleaned later

    def place(self, *location: str) -> str:
        """'audit.toml, line 7': where a key stands, for a sentence about it."""
        if self._path is None:
            return "the config"
        text = read_text(self._path, "The config", MOST_CONFIG)
        prefix = ["tool", "audit"] if self._path.name == "pyproject.toml" else []
        line = line_of(text, [*prefix, *location])
        return f"{self._path}, line {line}" if line else str(self._path)

    def judge_policy(self, fail_on: Severity | None = None) -> Policy:
        return Policy(
            fail_on=fail_on or self.policy.fail_on,
            on_inconclusive=self.policy.on_inconclusive,
            expect=self.expect,
            waive=self.waive,
        )

    def forget_subject(self) -> list[str]:
        """Take out what describes another model than the one that is audited.

        Returns:
            The names of the keys that were given.
        """
        about: tuple[str, ...] = ("arch", "data", "train_data", "weights", "subject", "report")
        given = [name for name in about if name in self.model_fields_set]
        for name in given:
            setattr(
                self, name, type(self).model_fields[name].get_default(call_default_factory=True)
            )
        return given


def find_config() -> Path | None:
    """`audit.toml` in the working directory, or a `pyproject.toml` there with `[tool.audit]`."""
    if Path("audit.toml").is_file():
        return Path("audit.toml")
    project = Path("pyproject.toml")
    if project.is_file() and "[tool.audit" in project.read_text(encoding="utf-8", errors="replace"):
        return project
    return None


def read_config(path: Path | None) -> Config:
    """Read a configuration; the defaults where `path` is None.

    Raises:
        AuditError: the file is missing, not TOML, or holds what it should not; with the line.
    """
    if path is None:
        return Config()
    text = read_text(path, "The config", MOST_CONFIG)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{path} is not TOML: {error}.") from None
    prefix: tuple[str, ...] = ()
    endless = not_finite(document)
    if endless is not None:
        line = line_of(text, endless)
        where = f"{path}, line {line}" if line else str(path)
        raise AuditError(
            f"{where}: {'.'.join(endless)}: input should be a finite number, not inf or nan."
        )
    if path.name == "pyproject.toml":
        tool = document.get("tool")
        document = tool.get("audit", {}) if isinstance(tool, dict) else {}
        prefix = ("tool", "audit")
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise AuditError(explain(error, path, text, prefix)) from None
    config._path = path
    for name in ("data", "train_data", "baseline"):
        value = getattr(config, name)
        if value is not None and (path.parent / value).exists():
            setattr(config, name, str(path.parent / value))
    return config


def not_finite(node: Any, location: tuple[str, ...] = ()) -> list[str] | None:
    """Where the first number stands that is none: infinite, or not a number."""
    if isinstance(node, float) and not math.isfinite(node):
        return list(location)
    parts = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in parts:
        found = not_finite(value, (*location, str(key)))
        if found is not None:
            return found
    return None


def explain(error: ValidationError, path: Path, text: str, prefix: tuple[str, ...]) -> str:
    """The first complaint, with its line and, for an unknown key, the nearest known one."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    line = line_of(text, [*prefix, *location])
    where = f"{path}, line {line}" if line else str(path)
    name = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1].replace("-", "_"), known, 1)
        hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(known)}"
        return (
            f"{where}: unknown key {name!r}; {hint}?"
            if near
            else (f"{where}: unknown key {name!r}; {hint}.")
        )
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {name}: {message[0].lower()}{message[1:]}."


def known_keys(location: list[str]) -> list[str]:
    """The keys that a table of the config may have, for the sentence about a wrong one."""
    model: Any = Config
    for part in location:
        if (
            part.isdigit() or part not in model.model_fields
        ):  # a number, or a name given by the user
            continue
        candidates = [model.model_fields[part].annotation]
        while candidates and not hasattr(candidates[0], "model_fields"):
            candidates = [*candidates[1:], *getattr(candidates[0], "__args__", ())]
        model = candidates[0] if candidates else None
        if model is None:
            return []
    return sorted(model.model_fields)


def line_of(text: str, location: list[str]) -> int | None:
    """Where a key stands: its table's header is followed by position, then the key is looked for."""
    names = [part for part in location if not part.isdigit()]
    numbers = [int(part) for part in location if part.isdigit()]
    table: list[str] = []
    seen: dict[str, int] = {}
    best = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$", line)
        if header:
            table = [p.strip("\"' ") for p in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", header[1])]
            if line.lstrip().startswith("[["):
                seen[".".join(table)] = seen.get(".".join(table), -1) + 1
            if table == names[: len(table)]:
                best = best or number
                if table == names and (not numbers or seen.get(".".join(table), 0) == numbers[0]):
                    return number
            continue
        key = re.match(r"""\s*(["']?)([\w.-]+)\1\s*=""", line)
        if key and [*table, *key[2].split(".")] == names[: len(table) + len(key[2].split("."))]:
            index = seen.get(".".join(table))
            if index is None or not numbers or index == numbers[0]:
                return number
    return best
