"""What can be said of a subject besides its weights and data.

One schema for the checkpoint's `meta`, the config's `[subject]` and the keywords of `audit.Subject`. All
of it is optional; what is not given is inferred (`audit.subject.inference`), and the report says so.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from audit.errors import AuditError
from audit.rooms import INPUTS, TASKS, rooms
from audit.text import clean_name, clean_names, whole

Output = Literal[
    "logits",
    "log_probabilities",
    "probabilities",
    "sigmoid",
    "value",
    "log_rate",  # the logarithm of a count that is expected: Poisson regression
    "log_value",  # the logarithm of the value
    "mean_and_variance",  # a value, and how sure the model is of it: [n, 2], or a tuple of two
    "mean_and_log_variance",
    "mean_and_deviation",
    "reconstruction",  # the input again, as an autoencoder returns it
]


def among(group: str) -> AfterValidator:
    """One of the names that there are rooms for."""

    def check(name: str) -> str:
        known = sorted(rooms(group))
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ValueError(
                f"{name!r} is none of {', '.join(known)}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        return name

    return AfterValidator(check)


TaskName = Annotated[str, among(TASKS)]
InputName = Annotated[str, among(INPUTS)]


def parse_number(value: Any, plain: bool = False) -> Any:
    """`"8/255"` as a number, and where `plain` `"0.1"` too; anything else as it is."""
    if plain and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, str) and value.count("/") == 1:
        top, bottom = value.split("/")
        try:
            return float(top) / float(bottom)
        except (ValueError, ZeroDivisionError):
            return value
    return value


# As written in a config or given from Python: never NaN or infinite.
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(parse_number)]
Positive = Annotated[Number, Field(gt=0)]


def name_of_number(value: Any) -> Any:
    """Classes may be called 0 and 1."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(name_of_number)]


class MetaPart(BaseModel):
    """A part of the description: no key that is unknown, no number that is not finite."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _whole_characters(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            k: [whole(i) for i in v] if isinstance(v, (list, tuple)) else whole(v)
            for k, v in values.items()
        }


class Preprocess(MetaPart):
    """What happens to an input before the network: x * scale, (x − mean) / std, resize, channels.

    It runs as a module inside the subject, so eps, pictures and attributions stay in the units of
    the data.
    """

    scale: Number | None = Field(default=None, description="the input is multiplied by it")
    mean: list[Number] | None = Field(default=None, description="one per channel or column")
    std: list[Number] | None = Field(default=None, description="one per channel or column, > 0")
    resize: tuple[int, int] | None = Field(default=None, description="height, width; bilinear")
    channels: Literal["first", "last"] = Field(
        default="first", description="where the data has them; the network always gets them first"
    )

    @model_validator(mode="after")
    def _std_is_positive(self) -> Preprocess:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("every std must be above 0")
        return self


class InputMeta(MetaPart):
    """`[subject.input]`: what a sample is, in the units of the data, and what is done to it first."""

    kind: InputName | None = None
    shape: list[int] | None = Field(default=None, description="of one sample")
    dtype: str | None = None
    range: tuple[Number, Number] | None = Field(default=None, description="lowest, highest value")
    eps: Number | None = Field(
        default=None,
        gt=0,
        description="the change of a value that should not change the answer: what "
        "robustness is measured at; 8/255 of the range's width, for tables 0.1 standard deviations",
    )
    vocabulary: list[str] | None = Field(
        default=None, description="tokens: the word of each number, from 0"
    )
    preprocess: Preprocess | None = None

    @model_validator(mode="after")
    def _range_is_ordered(self) -> InputMeta:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("range must be [lowest, highest] with lowest < highest")
        return self


Role = Literal["mask", "padding", "lengths", "edges", "other"]


class NamedInput(InputMeta):
    """`[subject.inputs.NAME]`: one of several inputs, as `[subject.input]` says of the only one."""

    companion: bool | None = Field(
        default=None,
        description="does it only accompany another input? It is then never changed, counted or "
        "explained on its own",
    )
    role: Role | None = Field(
        default=None,
        description="of a companion: a mask is 1 where something is, padding is 1 where nothing is, "
        "lengths count the steps, edges join the nodes of a graph",
    )

    @model_validator(mode="after")
    def _a_role_is_a_companions(self) -> NamedInput:
        if self.role is not None:
            if self.companion is False:
                raise ValueError("only a companion has a role")
            self.companion = True
        if self.companion and self.kind is not None:
            raise ValueError("a companion has a role and no kind")
        return self


class Feature(MetaPart):
    """A named feature: a numeric column, or the one-hot columns of a category together."""

    name: str
    columns: list[int] = Field(description="indices into the model's input")
    kind: Literal["numeric", "categorical"] = "numeric"
    categories: list[str] | None = None
    mean: Number | None = None
    std: Number | None = None
    mutable: bool | None = Field(
        default=None, description="may an adversary change it? numeric features: yes, unless said"
    )
    whole: bool | None = Field(
        default=None,
        description="numeric: does it count in whole numbers? as the data do, unless said",
    )

    @model_validator(mode="after")
    def _columns_fit(self) -> Feature:
        if self.kind == "numeric" and len(self.columns) != 1:
            raise ValueError(f"the numeric feature {self.name!r} must have exactly one column")
        if self.categories is not None and len(self.categories) != len(self.columns):
            raise ValueError(
                f"the feature {self.name!r} has {len(self.categories)} categories and "
                f"{len(self.columns)} columns; it needs one column for each category"
            )
        return self

    @property
    def attackable(self) -> bool:
        return self.kind == "numeric" and self.mutable is not False


class Arrays(MetaPart):
    """`[subject] arrays`: which of several arrays are meant; of files, their names."""

    x: str | None = Field(default=None, description="the array of the samples")
    y: str | None = Field(default=None, description='of their labels; "" where there are none')


class SubjectMeta(MetaPart):
    """All optional; see the module's docstring."""

    name: str | None = None
    task: TaskName | None = None
    output: Output | None = None
    output_index: int | None = Field(default=None, description="which of a tuple of outputs")
    class_axis: Literal["first", "last"] | None = Field(
        default=None,
        description="where each token or pixel has an answer of its own: do its scores lie on the "
        "first axis of a sample's, as in [n, classes, height, width], or on the last?",
    )
    background: Name | None = Field(
        default=None,
        description="of tokens or pixels: the class of what is no object, or no name; the one that is "
        "called so, unless said",
    )
    ignore_label: int | None = Field(
        default=None, description="the label of tokens or pixels that are not to be judged"
    )
    stride: int | None = Field(
        default=None,
        ge=1,
        description="every which token, or pixel in both directions, is judged; all of them, unless "
        "their scores fill the memory",
    )
    input: InputMeta = Field(default_factory=InputMeta)
    inputs: dict[str, NamedInput] | None = Field(
        default=None, description="of a model that takes several: each by its name"
    )
    classes: list[Name] | None = None
    favourable: Name | None = Field(
        default=None, description="the favourable class (credit granted), where there is one"
    )
    similarity: Literal["cosine", "euclidean"] | None = Field(
        default=None, description="of embeddings: how two places are compared"
    )
    threshold: Number | None = Field(
        default=None, description="of an anomaly score: from it on, a sample is called an anomaly"
    )
    tolerance: Positive | list[Positive] | None = Field(
        default=None,
        description="of values: the smallest change of an answer that matters; one for all of several "
        "values, or one for each",
    )
    targets: list[Name] | None = Field(
        default=None,
        description="of several values: what each is called; in a table, the columns of the labels",
    )
    horizon: int | None = Field(
        default=None,
        ge=1,
        description="forecast: steps ahead; as many as the labels hold, unless said",
    )
    target_channel: int | list[int] | None = Field(
        default=None,
        description="forecast: the channel of the input that goes on in the labels, counted from 0, or "
        "one for each channel of the labels; [] where none does",
    )
    season: int | None = Field(
        default=None,
        ge=2,
        description="forecast: steps after which the series is about the same again",
    )
    features: list[Feature] | None = None
    target: str | None = Field(
        default=None, description="column of the labels in a table, or their array"
    )
    arrays: Arrays | None = Field(
        default=None, description="the arrays of samples and labels, where they are not x and y"
    )
    sensitive: list[str] | None = Field(
        default=None, description="columns of a table, or arrays, that name people's groups"
    )
    sensitive_bins: dict[str, list[Number]] | None = Field(
        default=None,
        description="of a sensitive column of numbers: where it is cut into groups, as "
        "in {age = [30, 50, 65]}; without it, into five of about as many people",
    )
    groups: str | None = Field(
        default=None, description="column or array of the clusters (writer, patient, speaker)"
    )

    @model_validator(mode="after")
    def _named_ones_are_classes(self) -> SubjectMeta:
        names = self.classes or []
        for key, given in (("favourable", self.favourable), ("background", self.background)):
            if given is not None and names and given not in names:
                raise ValueError(
                    f"the {key} class {given!r} is not among the classes "
                    f"({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
                )
        return self

    def over(self, other: SubjectMeta) -> SubjectMeta:
        """This description, with the gaps filled from `other`.

        Raises:
            AuditError: the two do not go together.
        """
        merged = other.model_dump(exclude_none=True)
        mine = self.model_dump(exclude_none=True)
        merged["input"] = {**merged.get("input", {}), **mine.pop("input", {})}
        several = mine.pop("inputs", {})
        for name, described in merged.get("inputs", {}).items():
            several[name] = {**described, **several.get(name, {})}
        if several:
            merged["inputs"] = several
        try:
            return SubjectMeta.model_validate({**merged, **mine})
        except ValidationError as error:
            raise AuditError(f"[subject] {describe_errors(error, '')}.") from None

    def named_cleanly(self) -> SubjectMeta:
        """The same, with every name that will be shown fit to be written.

        Raises:
            ValueError: two classes or two features have one name.
        """
        found = self.model_copy(deep=True)
        found.name = None if self.name is None else clean_name(self.name)
        if found.classes is not None:
            found.classes = clean_names(found.classes, "classes")
        if found.favourable is not None:
            found.favourable = clean_name(found.favourable)
        if found.background is not None:
            found.background = clean_name(found.background)
        if found.features is not None:
            names = clean_names((f.name for f in found.features), "features")
            for feature, name in zip(found.features, names, strict=True):
                feature.name = name
                if feature.categories is not None:
                    feature.categories = clean_names(feature.categories, f"categories of {name!r}")
        return found


def describe_errors(error: Any, where: str) -> str:
    """The first complaint of a pydantic ValidationError as one sentence."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    place = f"{where}{'.' if path and where else ''}{path}"
    return f"{place}: {message}" if place else message
