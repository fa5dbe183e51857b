"""Configuration: every error with its line, and the nearest known key."""

import datetime

import pytest

from audit.config import find_config, read_config
from audit.errors import AuditError


def write(here, text, name="audit.toml"):
    (here / name).write_text(text)
    return here / name


FULL = """
arch = "net:Net"
profile = "quick"

[subject]
task = "binary"
classes = ["no", "yes"]

[subject.input]
range = [0, "255/1"]

[policy]
fail_on = "medium"

[checks."robustness.pgd"]
eps = "8/255"

[[expect]]
check = "robustness.pgd"
metric = "robust_accuracy"
slice = {eps = 0.1}
bound = "1/2"

[[waive]]
check = "fairness.groups"
owner = "Ada"
reason = "known"
expires = 2026-01-31
"""


def test_everything_in_one_file(here):
    config = read_config(write(here, FULL))
    assert config.subject.input.range == (0, 255)
    assert config.expect[0].bound == 0.5
    assert config.judge_policy().fail_on == "medium"
    assert config.judge_policy("low").fail_on == "low"
    assert config.waive[0].expires.year == 2026


def test_pyproject(here):
    write(
        here,
        "[tool.audit]\nprofile = 'deep'\n[tool.audit.subject]\ntask = 'binary'\n",
        "pyproject.toml",
    )
    assert read_config(find_config()).profile == "deep"
    write(here, "profile = 'quick'\n")
    assert read_config(find_config()).profile == "quick"


WAIVER = "[[waive]]\ncheck = 'a'\nowner = '{owner}'\nreason = '{reason}'\nexpires = {expires}\n"


@pytest.mark.parametrize(
    "number",
    [
        "nan",
        "-nan",
        "inf",
        "-inf",
        "'nan'",
        "'inf'",
        "'1e308/1e-308'",
        "'inf/2'",
    ],
)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[expect]]\ncheck = 'a'\nmetric = 'm'\nbound = {}\n", 4),
        ("[[expect]]\ncheck = 'a'\nmetric = 'm'\nbound = 1\ntolerates = {}\n", 5),
        ("[subject]\ntolerance = {}\n", 2),
        ("[subject.input]\neps = {}\n", 2),
        ("[subject.input]\nrange = [0, {}]\n", 2),
        ("[subject.input.preprocess]\nmean = [0.5, {}]\n", 2),
        ("[[subject.features]]\nname = 'a'\ncolumns = [0]\nstd = {}\n", 4),
    ],
)
def test_a_number_without_end_is_refused_with_its_line(here, text, line, number):
    with pytest.raises(AuditError, match=rf"line {line}: .*finite number"):
        read_config(write(here, text.format(number)))


def test_a_number_without_end_is_refused_in_tables_that_are_read_later(here):
    for text in (
        "[[expect]]\ncheck = 'a'\nmetric = 'm'\nslice = {eps = nan}\nbound = 1\n",
        "\n[checks.'robustness.pgd']\nseed = 1\neps = inf\n",
    ):
        with pytest.raises(AuditError, match=r"line 4: .*finite number"):
            read_config(write(here, text))
    from audit.plan import build_check

    with pytest.raises(AuditError, match="finite number"):
        build_check("robustness.pgd", "quick", {"eps": "inf"})


def test_a_slice_may_name_its_number_as_a_fraction(here):
    text = (
        "[[expect]]\ncheck = 'a'\nmetric = 'm'\nslice = {eps = '8/255', sex = 'F/M'}\nbound = 1\n"
    )
    assert read_config(write(here, text)).expect[0].slice["sex"] == "F/M"


def test_a_waiver_may_last_a_year(here):
    day = datetime.date.today() + datetime.timedelta(days=365)
    text = WAIVER.format(owner="o", reason="r", expires=day)
    assert read_config(write(here, text)).waive[0].expires == day


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profle = 'quick'\n", r"line 1: unknown key 'profle'; did you mean 'profile'\?"),
        (
            "\n\nprofile = 'fast'\n",
            r"line 3: profile: input should be 'quick', 'standard' or 'deep'",
        ),
        (
            "seed = 1\n[subject]\ntsk = 'binary'\n",
            r"line 3: unknown key 'subject.tsk'; did you mean 'task'",
        ),
        ("[subject.input]\nrange = [1, 0]\n", r"line \d: subject.input: range must be"),
        (WAIVER.format(owner="", reason="r", expires="2026-01-01"), r"line 3: waive.0.owner"),
        (
            WAIVER.format(owner=" \t", reason="r", expires="2026-01-01"),
            r"line 3: waive.0.owner: a waiver needs",
        ),
        (
            WAIVER.format(owner="o", reason="  ", expires="2026-01-01"),
            r"line 4: waive.0.reason: a waiver needs",
        ),
        (
            WAIVER.format(owner="o", reason="r", expires="2999-01-01"),
            r"line 5: waive.0.expires: a waiver holds",
        ),
        (
            "[[expect]]\ncheck='a'\nmetric='m'\nbound=1\n[[expect]]\ncheck='b'\nmetric='m'\nbound='x'\n",
            r"line 8: expect.1.bound",
        ),
        (
            "[policy]\nfail-on = 'high'\n",
            r"line 2: unknown key 'policy.fail-on'; did you mean 'fail_on'",
        ),
        ("profile = \n", "not TOML"),
        (
            "[subject.input]\neps = inf\n",
            r"line 2: subject.input.eps: input should be a finite number",
        ),
        ("[subject.input]\neps = nan\n", r"line 2: subject.input.eps: input should be"),
        (
            "[subject.input]\nrange = [nan, nan]\n",
            r"line 2: subject.input.range.0: input should be a finite",
        ),
        (
            "[subject.input]\nrange = [0, inf]\n",
            r"line 2: subject.input.range.1: input should be a finite",
        ),
        (
            '[subject.input]\neps = "1/0"\n',
            r"line 2: subject.input.eps: input should be a valid number",
        ),
        (
            "[[expect]]\ncheck='a'\nmetric='m'\nbound=nan\n",
            r"line 4: expect.0.bound: input should be a finite",
        ),
        (
            "[subject]\nclasses = ['a', 'b']\nfavourable = 'c'\n",
            r"the favourable class 'c' is not among the classes \(a, b\)",
        ),
    ],
)
def test_errors_have_a_line(here, text, message):
    with pytest.raises(AuditError, match=message):
        read_config(write(here, text))


def test_every_number_of_every_check_may_be_a_fraction_and_must_be_finite():
    from pydantic import TypeAdapter, ValidationError

    from audit.registry import registry

    def holds_float(annotation):
        return annotation is float or any(map(holds_float, getattr(annotation, "__args__", ())))

    for check in registry().checks.values():
        for name, field in check.model_fields.items():
            if not holds_float(field.annotation):
                continue
            several = "list" in str(field.annotation)
            reader = TypeAdapter(check)
            made = reader.validate_python({name: ["1/8"] if several else "1/8"})
            assert getattr(made, name) == ([0.125] if several else 0.125), (check.id, name)
            for wild in ("inf", "nan"):
                with pytest.raises(ValidationError):
                    reader.validate_python({name: [float(wild)] if several else float(wild)})


def test_a_missing_config(here):
    with pytest.raises(AuditError, match="cannot be read"):
        read_config(here / "gone.toml")


def test_what_is_nested_without_end_is_no_config(tmp_path):
    path = tmp_path / "audit.toml"
    path.write_text("a=" + "[" * 100_000)
    with pytest.raises(AuditError, match="is not TOML"):
        read_config(path)
