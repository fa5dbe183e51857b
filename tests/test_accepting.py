"""What a check hands over costs that check where it is no measurement, and never the report."""

import pytest
import torch
from torch import nn

import audit
from audit.checking import Check, Measurement
from audit.record import Figure, Guidance, Metric, PerUnit, Table


def metric(**parts):
    found = Metric(name="odd", value=0.5, low=0.0, high=1.0, n=3)
    found.__dict__.update(parts)
    return found


def figure(**parts):
    found = Figure(title="F", caption="F")
    found.__dict__.update(parts)
    return found


def table(rows, columns=("a", "b")):
    return Table.model_construct(title="A table", columns=list(columns), rows=rows)


HANDED_OVER = {
    "nothing": None,
    "a number": 0.5,
    "a dictionary": {"answer": "yes"},
    "no text": Measurement(answer=3),
    "a text for a value": Measurement(answer="A.", metrics=[metric(value="high")]),
    "a list for a value": Measurement(answer="A.", metrics=[metric(value=[0.5])]),
    "samples below none": Measurement(answer="A.", metrics=[metric(n=-1)]),
    "half a sample": Measurement(answer="A.", metrics=[metric(n=2.5)]),
    "a metric without a name": Measurement(answer="A.", metrics=[metric(name=None)]),
    "an interval beside its value": Measurement(answer="A.", metrics=[metric(value=2.0)]),
    "an interval upside down": Measurement(answer="A.", metrics=[metric(low=1.0, high=0.0)]),
    "a slice of lists": Measurement(answer="A.", metrics=[metric(slice={"eps": [1]})]),
    "a dictionary for a metric": Measurement(answer="A.", metrics=[{"nome": "odd"}]),
    "not a list": Measurement(answer="A.", metrics=7),
    "too many metrics": Measurement(answer="A.", metrics=[metric()] * 20_001),
    "too wide a table": Measurement(
        answer="A.", tables=[table([["x"] * 400] * 400, columns=["c"] * 400)]
    ),
    "a tensor in a table": Measurement(answer="A.", tables=[table([[torch.ones(2), 1]])]),
    "a figure with an address": Measurement(
        answer="A.",
        figures=[figure(spec={"data": {"url": "http://x"}})],
    ),
    "a picture that is none": Measurement(answer="A.", figures=[figure(png="<script>")]),
    "bits of other samples": Measurement(
        answer="A.", per_unit=[PerUnit.model_construct(metric="odd", n=999, bits="AA==")]
    ),
    "advice that is none": Measurement(
        answer="A.", guidance={"odd": Guidance.model_construct(title=None)}
    ),
    "an unknown state": Measurement(answer="A.", conclusions={"fine": "All is fine."}),
}


class Odd(Check):
    """Odd?"""

    id = "test.odd"
    title = "Odd?"
    what: str = ""

    def examine(self, context):
        return HANDED_OVER[self.what]


def subject():
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    return audit.Subject(nn.Linear(3, 2).eval(), x, (x[:, 0] > 0).long())


@pytest.mark.parametrize("what", HANDED_OVER)
def test_what_is_no_measurement_breaks_its_check_alone(what, tmp_path):
    record = audit.run(subject(), [Odd(what=what)], evidence=tmp_path)
    found = record.check("test.odd")
    assert found.state == "broken", found
    assert found.reason
    assert len(found.reason) < 400
    assert all(c.state != "broken" for c in record.checks if c.id != "test.odd")
    assert audit.AuditRecord.load(record.save(tmp_path / "record.json")) == record
    from audit.entrypoints import reporter

    for name in ("html", "markdown", "junit"):
        assert "test.odd" in reporter(name).render(record)
