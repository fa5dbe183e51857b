"""The whole result of an audit as one versioned JSON document.

Everything that the reports show is in here, and nothing else is: a record can be judged again
under another policy, and rendered again, without running anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from audit.entrypoints import reporter
from audit.errors import AuditError, NotThere
from audit.files import read_text, strict_json
from audit.text import LONGEST_TEXT, clean_all

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 2
PARTIAL = ".partial"  # the end of the name of a file that is being written

State = Literal["met", "undecided", "failed", "broken", "untested"]
# Why a state is what it is: the type that decisions read; the sentence beside it is for people.
Why = Literal[
    "",
    # undecided
    "straddles",
    "left_out",
    # untested
    "other_task",
    "not_applicable",
    "skipped",
    "profile",
    "budget",
    "not_selected",
    "no_data",
    "no_such_metric",
    "no_slice",
    "undefined",
    "not_in_record",
    "unpaired",
    "cannot_fail",
    "nothing_expected",
    # broken
    "raised",
    "not_importable",
    "validity_failed",
    "validity_missing",
    "not_finite",
    "no_interval",
]
Core = Literal["", "quality", "stability"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Verdict = Literal["pass", "fail", "inconclusive"]
Operator = Literal[">=", "<=", "not_shown_below", "not_shown_above", "not_worse_than_baseline"]

STATES: tuple[State, ...] = get_args(State)
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")

Slice = dict[str, str | float]


def round12(value: float) -> float:
    """`value` at 12 significant digits: what two runs on one kind of machine agree on."""
    return float(f"{value:.12g}") if math.isfinite(value) else value


class Part(BaseModel):
    """A part of the record: unknown keys are refused, so that a typo cannot pass for data."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")
    # Fields whose strings are no text (pictures, bits) and are never cut.
    uncut: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def fit(cls, field: str, value: Any) -> Any:
        """What is put into a field, its text made fit to be written."""
        return clean_all(value, None if field in cls.uncut else LONGEST_TEXT)

    @model_validator(mode="before")
    @classmethod
    def _fit_all(cls, values: Any) -> Any:
        return {k: cls.fit(k, v) for k, v in values.items()} if isinstance(values, dict) else values

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, self.fit(name, value))


class LeftOut(Part):
    """What belongs to a number and is not in it: rows, groups, files."""

    what: str = Field(description="in the plural, as in 'rows', 'files', 'samples'")
    how_many: int = Field(ge=0)
    why: str
    only_worse: bool = Field(
        default=False,
        description="could what is missing only make the number worse? (a group that "
        "is missing from a largest gap)",
    )
    metrics: list[str] = Field(
        default_factory=list, description="the metrics that lack it; empty: all of the check"
    )


class LimitedBy(Part):
    """The samples that decide how wide an interval is, where those are not all n."""

    what: str = Field(description="as in 'women with a positive label'")
    n: int = Field(ge=0)


class Metric(Part):
    """One number, with all that is needed to believe it."""

    name: str
    value: float | None = Field(description="the estimate; null where undefined, with a reason")
    low: float | None = Field(default=None, description="lower end of the 95 % interval")
    high: float | None = Field(default=None, description="upper end of the 95 % interval")
    n: int = Field(description="samples it was measured on")
    unit: str = Field(default="", description="'' for a plain ratio")
    direction: Literal["higher", "lower", "none"] = "none"
    slice: Slice = Field(default_factory=dict, description="{} for overall")
    estimator: str = Field(default="", description="how value and interval were computed")
    sufficient: dict[str, Any] = Field(
        default_factory=dict,
        description="what the interval can be recomputed from: successes and n, or quantiles",
    )
    edges: tuple[float | None, float | None] | None = Field(
        default=None, description="the lowest and the highest value it can have; null: no such end"
    )
    limited_by: LimitedBy | None = Field(
        default=None, description="the smallest number of samples that it rests on, where not n"
    )
    reason: str = Field(default="", description="why the value is null")

    def model_post_init(self, _context: Any) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None:
                setattr(self, name, round12(number))


class Bound(Part):
    """What a default asked for, where the user asks for something else instead."""

    op: Operator
    bound: float
    severity: Severity
    tolerates: float


class ExpectationResult(Part):
    """A bound on a metric, and how it was judged."""

    metric: str
    slice: Slice = Field(default_factory=dict)
    op: Operator
    bound: float
    severity: Severity
    gates: bool = Field(default=True, description="false: it is told, and gates at no severity")
    tolerates: float = Field(
        default=0.0,
        description="how far beyond the bound an undecided one may reach without "
        "blocking a pass, in the metric's unit",
    )
    state: State
    why: Why = ""
    source: Literal["default", "config", "baseline"] = "default"
    reason: str = ""
    reach: float | None = Field(
        default=None, description="undecided: how far beyond the bound the interval reaches"
    )
    needed_n: int | None = Field(
        default=None,
        description="undecided: about how many samples would decide it, if the "
        "estimate stays; null: no number would",
    )
    needed_of: str = Field(default="", description="what those samples are")
    replaces: Bound | None = Field(
        default=None, description="the check's own bound, where the user's stands in its place"
    )
    loosened: bool = Field(default=False, description="does it ask for less than what it replaces?")
    waived: str = Field(default="", description="owner, reason and expiry of the waiver, if any")
    cause: str = Field(
        default="", description="the weakness that it would show; several may show the same one"
    )


class Member(Part):
    """An expectation that a finding rests on, and what was measured of it."""

    check: str
    metric: str
    slice: Slice = Field(default_factory=dict)
    fingerprint: str = Field(default="", description="of the expectation, stable between runs")
    severity: Severity = "info"
    state: State = "failed"
    what_happened: str = ""
    waived: str = ""


class Finding(Part):
    """One weakness, in words a stakeholder reads, with everything that shows it.

    The first of its members speaks for it: the most severe of those that nobody has waived.
    """

    fingerprint: str = Field(description="of the cause, stable between runs")
    cause: str = Field(default="", description="the name of the weakness, as waivers may name it")
    severity: Severity
    state: Literal["failed", "undecided", "untested", "broken"]
    gates: bool = True
    title: str
    what_happened: str
    why_it_matters: str
    what_to_do: str
    tags: list[str] = Field(default_factory=list)
    waived: str = ""
    members: list[Member] = Field(default_factory=list)
    under: str = Field(default="", description="fingerprint of the finding that explains it")

    @property
    def check(self) -> str:
        """The check that it is told by."""
        return self.members[0].check

    @property
    def checks(self) -> list[str]:
        """All checks that show it."""
        return list(dict.fromkeys(member.check for member in self.members))


class Guidance(Part):
    """What a check has to say about one of its metrics when the expectation on it is not met.

    `what_happened` may use {value}, {low}, {high}, {n}, {bound}, {slice}, and what the check put
    into `words`.
    """

    title: str
    what_happened: str
    why_it_matters: str
    what_to_do: str
    tags: list[str] = Field(default_factory=list)
    words: dict[str, str] = Field(default_factory=dict)


class Validity(Part):
    """One piece of evidence for or against believing the check's numbers."""

    name: str
    passed: bool | None = Field(description="null: could not be established")
    detail: str
    metrics: list[str] = Field(
        default_factory=list, description="the metrics that rest on it; empty: all of the check"
    )
    doubt: str = Field(default="", description="what is suspected where it does not hold")


class Table(Part):
    """A table of a check's findings, a row a list as long as the columns."""

    title: str
    columns: list[str]
    rows: list[list[str | float | int | bool | None]]


FORBIDDEN_VEGA_KEYS = ("url", "href", "$schema", "loader", "usermeta")


class Figure(Part):
    """A Vega-Lite specification with inline values, or a PNG as base64; never an address."""

    uncut = ("png",)
    title: str
    caption: str = Field(description="what it shows, for a reader who cannot see it")
    spec: dict[str, Any] | None = None
    png: str | None = Field(default=None, pattern=r"^[A-Za-z0-9+/=]*$")
    example: bool = Field(default=False, description="shows single rows or pictures of the data")

    def model_post_init(self, _context: Any) -> None:
        check_spec(self.spec)

    def chart(self) -> Any:
        """The figure as an `altair.Chart`, to be changed and saved by altair's own means.

        Raises:
            AuditError: it is a picture.
        """
        import altair

        if self.spec is None:
            raise AuditError(f"{self.title!r} is a picture (PNG, in `png`) and no chart.")
        return altair.Chart.from_dict(self.spec)

    def _repr_html_(self) -> str:
        return reporter("notebook").figure(self)


def check_spec(node: Any) -> None:
    """Raise ValueError where a figure could reach the network or holds more than 2,000 rows."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in FORBIDDEN_VEGA_KEYS:
                raise ValueError(f"a figure may not hold the key {key!r}: inline values only")
            if key == "values" and isinstance(value, list) and len(value) > 2000:
                raise ValueError("a figure may hold at most 2,000 rows")
            check_spec(value)
    elif isinstance(node, list):
        for value in node:
            check_spec(value)


class Explained(Part):
    """One sample and what a method says speaks for its answer, as PNG: the same samples for all methods."""

    uncut = ("input", "map")
    sample: int = Field(ge=0, description="index among the samples")
    said: str = Field(description="the answer, how sure it is, and whether it is right")
    input: str = Field(pattern=r"^[A-Za-z0-9+/=]*$")
    map: str = Field(pattern=r"^[A-Za-z0-9+/=]*$")


class PerUnit(Part):
    """One bit per sample of the subject: was the outcome good? So that records can be paired."""

    uncut = ("bits",)
    metric: str
    slice: Slice = Field(default_factory=dict)
    indices: list[int] | None = Field(default=None, description="null: every sample, in order")
    n: int
    bits: str = Field(description="base64 of the bits, most significant first")

    @model_validator(mode="after")
    def _bits_fit(self) -> PerUnit:
        try:
            held = len(base64.b64decode(self.bits, validate=True))
        except ValueError:
            raise ValueError("the bits of a per-unit outcome are damaged") from None
        listed = self.n if self.indices is None else len(self.indices)
        if held != (self.n + 7) // 8 or listed != self.n:
            raise ValueError(f"a per-unit outcome holds {held} bytes of bits for n = {self.n}")
        return self


class CheckRecord(Part):
    """What one check asked and found, or why it did not, with how each expectation was judged."""

    id: str
    kind: Literal["question", "trial"]
    remedies: list[str] = Field(
        default_factory=list, description="of a trial: the checks that it would mend"
    )
    explained_by: list[str] = Field(
        default_factory=list, description="checks whose failure explains a failure of this one"
    )
    causes: dict[str, str] = Field(
        default_factory=dict,
        description="metric, or '*' for every other → the weakness that it shows, where several "
        "metrics or checks show the same one",
    )
    title: str
    core: Core = Field(default="", description="the core question that it answers, if any")
    state: State
    why: Why = ""
    needs_data: bool = Field(default=True, description="false: it looks at the weights alone")
    reason: str = ""
    answer: str = Field(default="", description="the answer to the title, with the number in it")
    conclusion: str = Field(default="", description="what follows from it, told by the state alone")
    conclusions: dict[State, str] = Field(
        default_factory=dict, description="the sentence for each state, to judge it again by"
    )
    method: str = Field(default="", description="how it was measured, and the source of the method")
    parameters: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, int] = Field(
        default_factory=dict, description="passes of one sample at most: forward, backward"
    )
    metrics: list[Metric] = Field(default_factory=list)
    expectations: list[ExpectationResult] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)
    per_unit: list[PerUnit] = Field(default_factory=list)
    validity: list[Validity] = Field(default_factory=list)
    tables: list[Table] = Field(default_factory=list)
    figures: list[Figure] = Field(default_factory=list)
    explained: list[Explained] = Field(default_factory=list)
    guidance: dict[str, Guidance] = Field(default_factory=dict)
    defaults: list[dict[str, Any]] = Field(
        default_factory=list, description="the check's own expectations, to judge it again by"
    )

    def metric(self, name: str, **slice: str | float) -> Metric:
        """The metric of that name and slice.

        Raises:
            NotThere: there is none; it names what there is.
        """
        from audit.frames import metric_among

        return metric_among(self.metrics, name, slice, f" in {self.id}")

    def frame(self) -> pd.DataFrame:
        """A row a metric, as `AuditRecord.frame`."""
        from audit.frames import judged

        return judged([self])

    def plot(self) -> list[Figure]:
        """Its figures; they show themselves in a notebook."""
        from audit.frames import Pictures

        return Pictures(self.figures)

    def _repr_html_(self) -> str:
        return reporter("notebook").check(self)


class Fact(Part):
    """Something known of the subject, and how it is known."""

    name: str
    value: Any
    source: Literal["given", "inferred"]
    reason: str = ""

    def model_post_init(self, _context: Any) -> None:
        self.value = to_jsonable_python(self.value)  # as it will be read again


class SubjectRecord(Part):
    """What was audited: the model by its digest, the data by their number, and what was inferred."""

    model: str = Field(description="the name shown; never a full path")
    architecture: str = ""
    digest: str = Field(default="", description="sha256 of weights and buffers")
    parameters: int | None = None
    format: str = ""
    trusted: bool = False
    data: str = ""
    data_digest: str = ""
    n: int = 0
    training_n: int = Field(default=0, description="training samples given; 0: none")
    training_digest: str = ""
    task: str = ""
    classes: list[str] = Field(default_factory=list)
    facts: list[Fact] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class Thinned(Part):
    """What a budget lowered of a check."""

    check: str
    what: Literal["samples", "steps"]
    before: int = Field(ge=0)
    after: int = Field(ge=0)
    wider: float | None = Field(
        default=None, description="about how many times as wide it makes the check's intervals"
    )

    def model_post_init(self, _context: Any) -> None:
        self.__dict__["wider"] = self.wider and round(self.wider, 2)


class PlanRecord(Part):
    """What was asked for, in passes: 200 samples through the network, forward or backward."""

    passes: int = Field(default=0, ge=0, description="that all checks declare")
    budget: int | None = Field(
        default=None, ge=1, description="passes that were allowed; null: as many as it takes"
    )
    batch: int = Field(default=0, ge=0, description="samples that are answered together")
    thinned: list[Thinned] = Field(default_factory=list, description="what the budget lowered")


class PolicyRecord(Part):
    """What the record was judged by, so that it can be judged so again."""

    fail_on: Severity = "high"
    on_inconclusive: Literal["block", "warn"] = "block"
    profile: str = "standard"
    expect: list[dict[str, Any]] = Field(default_factory=list)
    waivers: list[dict[str, Any]] = Field(default_factory=list)
    baseline: str = ""


class ReportRecord(Part):
    """What a reader is told of the model beyond what can be measured, `[report]` of the config."""

    purpose: str = Field(default="", description="what the model decides, and for whom")
    owner: str = Field(default="", description="who answers for it")
    version: str = Field(default="", description="of the model")
    contact: str = Field(default="", description="whom to ask about it")


class ChangeRecord(Part):
    """One number of two audits, compared sample by sample where they share samples."""

    check: str
    metric: str
    slice: Slice = Field(default_factory=dict)
    before: float
    after: float
    n: int
    lost: int = Field(description="samples whose outcome was good and is no longer")
    gained: int = Field(description="the reverse")
    p: float = Field(description="two-sided p-value of no difference")
    paired: bool
    beyond_chance: bool = Field(description="at 5 % over all numbers that are compared")


class ComparedRecord(Part):
    """What has changed since another audit, the baseline; without a digest there is none."""

    digest: str = ""
    model: str = ""
    date: str = ""
    changes: list[ChangeRecord] = Field(default_factory=list)
    new: list[str] = Field(default_factory=list, description="fingerprints of findings")
    unchanged: list[str] = Field(default_factory=list, description="fingerprints of findings")
    gone: list[str] = Field(default_factory=list, description="titles of the baseline's findings")


class VerdictRecord(Part):
    """The one word, its reason and the exit code that follows from it."""

    word: Verdict
    reason: str
    counts: dict[str, int] = Field(description="expectations by state")
    checks: dict[str, int] = Field(default_factory=dict, description="checks by state")
    loosened: int = Field(default=0, description="bounds that ask for less than the checks' own")
    exit_code: int
    notes: list[str] = Field(default_factory=list)


class AuditRecord(Part):
    """The record of one audit. `verdict.exit_code` is the gate."""

    schema_version: Literal[2] = 2
    verdict: VerdictRecord
    subject: SubjectRecord
    samples: list[str] = Field(default_factory=list, description="a digest of each sample")
    left_out: list[LeftOut] = Field(
        default_factory=list, description="what belongs to the data and was not read"
    )
    policy: PolicyRecord
    plan: PlanRecord = Field(default_factory=PlanRecord)
    report: ReportRecord = Field(default_factory=ReportRecord)
    compared: ComparedRecord = Field(default_factory=ComparedRecord)
    findings: list[Finding] = Field(default_factory=list)
    checks: list[CheckRecord]
    timing: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _outcomes_name_samples(self) -> AuditRecord:
        for check in self.checks:
            for outcomes in check.per_unit:
                last = (
                    outcomes.n
                    if outcomes.indices is None
                    else 1 + max(outcomes.indices, default=-1)
                )
                if last > len(self.samples) or min(outcomes.indices or [0]) < 0:
                    raise ValueError(
                        f"{check.id} holds outcomes of sample {last} and the record {len(self.samples)}"
                    )
        return self

    def to_json(self) -> str:
        return self.model_dump_json(indent=1) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the record, validated against the shipped schema first."""
        text = self.to_json()
        validate(json.loads(text))
        return write_atomic(path, text)

    @classmethod
    def load(cls, path: str | Path) -> AuditRecord:
        """Read a record.

        Raises:
            AuditError: the file is missing, not JSON, of another version, or does not fit.
        """
        path = Path(path)
        try:
            document = strict_json(read_text(path, "The record"))
        except (ValueError, RecursionError):
            raise AuditError(
                f"{path} is not JSON; name the record.json that an audit wrote."
            ) from None
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version not in (1, SCHEMA_VERSION):
            raise AuditError(
                f"{path} has schema version {version!r}, and this release reads versions 1 and "
                f"{SCHEMA_VERSION}; audit the model again."
            )
        try:
            return cls.model_validate(upgraded(document) if version == 1 else document)
        except (RecursionError, KeyError, TypeError, AttributeError):
            raise AuditError(
                f"{path} is no record of schema version {version}; audit the model again."
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise AuditError(
                f"{path} does not fit the record's schema at {where}: {first['msg']}; "
                "audit the model again."
            ) from None

    def digest(self) -> str:
        """sha256 of the record without what may differ between equal runs."""
        document = self.model_dump(mode="json", exclude={"timing", "environment"})
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def check(self, check_id: str) -> CheckRecord:
        """The record of one check.

        Raises:
            NotThere: no check of that id was part of the audit; it names those that were.
        """
        for check in self.checks:
            if check.id == check_id:
                return check
        raise NotThere.among("check", check_id, (c.id for c in self.checks), " in this record")

    def __getitem__(self, check_id: str) -> CheckRecord:
        return self.check(check_id)

    def frame(self) -> pd.DataFrame:
        """All metrics, a row each: check, metric, slice, value, low, high, n, bound, state.

        `slice` is in words, '' for overall. A metric of which nothing is expected has no bound and the
        state ''; of what was expected and not measured there is no value.
        """
        from audit.frames import judged

        return judged(self.checks)

    def findings_of(self, check_id: str) -> list[Finding]:
        """What one check shows, the most severe first."""
        return [f for f in self.findings if check_id in f.checks]

    def _repr_html_(self) -> str:
        return reporter("notebook").record(self)


def counts(judged: Iterable[CheckRecord | ExpectationResult]) -> dict[str, int]:
    """How many are in each of the five states."""
    states = [item.state for item in judged]
    return {state: states.count(state) for state in STATES}


# What version 1 called what became of a check or an expectation.
OUTCOMES_OF_1: dict[str, tuple[State, Why]] = {
    "passed": ("met", ""),
    "failed": ("failed", ""),
    "inconclusive": ("undecided", "straddles"),
    "not_applicable": ("untested", "not_applicable"),
    "skipped": ("untested", "skipped"),
    "error": ("broken", "raised"),
}


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A record of schema version 1 in the form of this one.

    Its states are no more than translated: `audit.judge.read_record` judges it anew, by its numbers.
    """
    new = json.loads(json.dumps(document)) | {"schema_version": SCHEMA_VERSION}
    for check in new.get("checks", []):
        check["state"], check["why"] = OUTCOMES_OF_1[check.pop("outcome")]
        check["core"] = core_of(check["id"])
        check["per_unit"] = check.pop("per_sample", [])
        check.pop("findings", None)
        for expectation in check.get("expectations", []):
            expectation["state"], expectation["why"] = OUTCOMES_OF_1[expectation.pop("outcome")]
    return new


def core_of(check_id: str) -> Core:
    """The core question that a check of version 1 answers."""
    if check_id == "behaviour.determinism":
        return "stability"
    return "quality" if check_id.startswith("performance.") else ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record, as shipped in `audit/record.schema.json`."""
    schema = AuditRecord.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$defs"]["Figure"]["properties"]["spec"] = {
        "anyOf": [{"type": "null"}, {"type": "object", "$ref": "#/$defs/VegaNode"}]
    }
    schema["$defs"]["VegaNode"] = {
        "description": "a Vega-Lite specification: inline values only, no address of any kind",
        "if": {"type": "object"},
        "then": {
            "propertyNames": {"not": {"enum": list(FORBIDDEN_VEGA_KEYS)}},
            "properties": {"values": {"maxItems": 2000}},
            "additionalProperties": {"$ref": "#/$defs/VegaNode"},
        },
        "else": {"if": {"type": "array"}, "then": {"items": {"$ref": "#/$defs/VegaNode"}}},
    }
    return schema


SCHEMA_FILE = Path(__file__).with_name("record.schema.json")


def validate(document: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError where `document` does not fit the shipped schema."""
    import jsonschema

    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Write a file so that a kill leaves the old one or the new one, never half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Who writes the same file meanwhile has a partial one of his own.
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
