"""A plan knows its price, and a budget thins it: the same passes, the same samples, and it is said."""

import pytest
import torch
from pydantic import Field
from torch import nn

import audit
from audit.budget import parse_budget
from audit.checking import Check, Cost, Expectation, Measurement
from audit.cli import main
from audit.config import read_config
from audit.entrypoints import reporter
from audit.errors import AuditError
from audit.judge import Policy
from audit.plan import Planned
from audit.pricing import rows_of, seconds_of_a_pass, within
from audit.record import AuditRecord
from audit.statistics import proportion
from audit.watching import ROWS


class Searching(Check):
    """Asks the model ten times about each sample."""

    id = "test.searching"
    title = "Does it hold?"
    severity: str = "high"
    samples: int = 400
    steps: int = 10

    def cost(self, subject):
        return Cost(forward=min(self.samples, subject.n) * self.steps)

    def examine(self, context):
        chosen = context.samples(self.samples)
        with torch.no_grad():
            for _ in range(self.steps):
                good = context.subject.logits(context.subject.batch(chosen)[0]).argmax(1) >= 0
        return Measurement(answer="It does.", metrics=[proportion("good", good.cpu().numpy())])

    def expectations(self, subject):
        return [Expectation(metric="good", bound=0.5, severity=self.severity)]


class Telling(Searching):
    id = "test.telling"
    severity: str = "info"


@pytest.fixture(scope="module")
def subject():
    torch.manual_seed(0)
    x = torch.randn(400, 4)
    model = nn.Linear(4, 2).eval()
    return audit.Subject(model, x, model(x).argmax(1))


def sampled(record, check="test.searching"):
    return record.check(check).metrics[0].n


@pytest.mark.parametrize(
    ("text", "seconds", "passes"),
    [
        ("90s", 90, None),
        ("10m", 600, None),
        ("1h30m", 5400, None),
        ("1.5 h", 5400, None),
        ("1,240 passes", None, 1240),
        ("1 pass", None, 1),
    ],
)
def test_a_budget_is_a_time_or_passes(text, seconds, passes):
    budget = parse_budget(text)
    assert (budget.seconds, budget.passes) == (seconds, passes)


@pytest.mark.parametrize(
    "text", ["0", "0s", "-5m", "10", "ten minutes", "", "0 passes", "10m5", "m"]
)
def test_nonsense_is_refused_in_one_sentence(text, subject, tmp_path, monkeypatch, capsys):
    with pytest.raises(AuditError, match="give a time above zero"):
        audit.run(subject, [Searching()], budget=text)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "zoo:digits-mlp", f"--budget={text}"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("audit: --budget")
    assert len(said.splitlines()) == 1


def test_a_budget_lowers_the_samples_and_says_so(subject):
    free = audit.run(subject, [Searching()])
    assert free.plan.passes >= 20
    assert not free.plan.thinned
    record = audit.run(subject, [Searching()], budget="15 passes")
    n = sampled(record)
    assert sampled(free) == 400 > n
    assert record.plan.passes <= 15
    (thinned,) = record.plan.thinned
    assert (thinned.check, thinned.what, thinned.before, thinned.after) == (
        "test.searching",
        "samples",
        400,
        n,
    )
    assert thinned.wider == pytest.approx((400 / n) ** 0.5, abs=0.01)
    assert "A budget of 15 passes thinned 1 check" in record.verdict.notes[0]
    widths = [
        m.high - m.low for m in (r.check("test.searching").metrics[0] for r in (free, record))
    ]
    assert widths[1] > widths[0]


def test_the_reports_say_what_was_thinned(subject):
    record = audit.run(subject, [Searching()], budget="15 passes")
    n = sampled(record)
    page, summary = (reporter(name).render(record) for name in ("html", "markdown"))
    assert "What the budget thinned" in page
    assert f"<td>400</td><td>{n}</td>" in page
    assert '--budget "15 passes"' in page.replace("&#34;", '"')
    assert f"`test.searching`: {n} instead of 400 samples, intervals about" in summary
    free = audit.run(subject, [Searching()])
    assert "What the budget thinned" not in reporter("html").render(free)


def test_core_questions_are_asked_of_everything(subject):
    record = audit.run(subject, [Searching()], budget="15 passes")
    assert record.check("performance.classification").metrics[0].n == 400


def test_what_gates_gets_more_than_what_only_tells(subject):
    record = audit.run(subject, [Searching(), Telling()], budget="25 passes")
    assert sampled(record) == pytest.approx(2 * sampled(record, "test.telling"), abs=1)


def test_what_was_undecided_before_gets_most(subject):
    planned = [Planned(Searching()), Planned(Telling(severity="high"))]
    before = audit.run(subject, [Searching(samples=12)])
    before.check("test.searching").expectations[0].state = "undecided"
    chosen, _ = within(planned, subject, 25, Policy(), before)
    assert chosen[0].check.samples > chosen[1].check.samples


def test_the_recorded_passes_make_the_same_record_again(subject, tmp_path):
    timed = audit.run(subject, [Searching()], budget="0.001s", evidence=tmp_path / "a")
    again = audit.run(subject, [Searching()], budget=f"{timed.plan.budget} passes")
    assert timed.digest() == again.digest()
    assert timed.timing["budget"] == "0.001s"


def test_a_time_becomes_passes_once(subject, tmp_path, monkeypatch):
    first = audit.run(subject, [Searching()], budget="2s", evidence=tmp_path)
    monkeypatch.setattr("audit.runner.seconds_of_a_pass", lambda _: 1.0)
    resumed = audit.run(subject, [Searching()], budget="2s", evidence=tmp_path)
    elsewhere = audit.run(subject, [Searching()], budget="2s")
    assert resumed.plan.budget == first.plan.budget
    assert elsewhere.plan.budget == 2


def test_where_the_fewest_samples_are_too_many_steps_follow_and_then_checks(subject):
    class Stubborn(Searching):
        id = "test.stubborn"
        samples: int = Field(default=400, ge=300)

    fewer_steps = audit.run(subject, [Stubborn()], budget="12 passes").plan.thinned
    assert {t.what for t in fewer_steps} == {"samples", "steps"}
    left_out = audit.run(subject, [Stubborn()], budget="1 pass")
    check = left_out.check("test.stubborn")
    assert (check.state, check.why) == ("untested", "budget")
    assert left_out.verdict.word == "inconclusive"
    assert "does not reach test.stubborn" in left_out.verdict.reason


def test_what_is_shared_is_paid_once(subject):
    class Leaning(Searching):
        id = "test.leaning"

        def cost(self, subject):
            other = Searching().cost(subject)
            return Cost(other.forward + 50, 0, {"test.searching": other})

    planned = [Planned(Leaning()), Planned(Searching(samples=100))]
    costs = [p.check.cost(subject) for p in planned]
    assert rows_of(planned, costs) == [1050, 0]
    assert rows_of(planned[:1], costs[:1]) == [4050]


def test_a_pass_is_timed(subject):
    seconds = seconds_of_a_pass(subject)
    assert 0 < seconds < 1


def test_a_network_that_raises_is_not_timed(subject):
    class Silent(nn.Linear):
        silent = False

        def forward(self, x):
            if self.silent:
                raise RuntimeError("not today")
            return super().forward(x)

    broken = audit.Subject(Silent(4, 2), subject.inputs, subject.labels)
    broken.core.silent = True
    assert seconds_of_a_pass(broken) is None


def test_the_config_names_budget_and_batch(tmp_path):
    path = tmp_path / "audit.toml"
    path.write_text('[run]\nbudget = "10m"\nbatch = 32\n')
    config = read_config(path)
    assert (config.run.budget, config.run.batch) == ("10m", 32)
    path.write_text("[run]\nbatch = 0\n")
    with pytest.raises(AuditError, match="line 2"):
        read_config(path)


def test_a_record_with_a_plan_is_read_back(subject, tmp_path):
    record = audit.run(subject, [Searching()], budget="15 passes")
    assert AuditRecord.load(record.save(tmp_path / "record.json")).plan == record.plan
    assert ROWS == 200
