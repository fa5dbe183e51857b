"""A figure that cannot be drawn costs itself alone."""

import os
import signal
import time

import pytest

from audit.record import Figure
from audit.reports import drawing
from audit.reports.drawing import Draughtsman, draw


def bars(label="a", **more):
    return {
        "mark": "bar",
        "data": {"values": [{"what": label, "share": 0.5}]},
        "encoding": {
            "x": {"field": "what", "type": "nominal"},
            "y": {"field": "share", "type": "quantitative"},
        },
        **more,
    }


def figure(spec):
    """As it is, not cleaned: what a figure may hold that nobody thought of."""
    return Figure.model_construct(
        title="Shares", caption="By what.", spec=spec, png=None, example=False
    )


@pytest.fixture
def draughtsman(monkeypatch):
    fresh = Draughtsman()
    monkeypatch.setattr(drawing, "DRAUGHTSMAN", fresh)
    drawing.svg.cache_clear()
    yield fresh
    drawing.svg.cache_clear()
    if fresh.process is not None:
        fresh.process.kill()
        fresh.process.communicate()


BROKEN = {
    "control character": bars("refuse\x02"),
    "half a character": bars("\ud800"),
    "no mark": bars(mark={}),
    "no character": bars("\ufffe"),
    "no specification": {},
    "a mark that is none": bars(mark="pie"),
}


def test_broken_figures_are_told_in_their_place_and_the_others_are_drawn(draughtsman):
    for name, spec in BROKEN.items():
        drawn = draw(figure(spec))
        if not drawn.startswith("<svg"):
            assert "This figure could not be drawn" in drawn, name
            assert ("<td>0.5</td>" in drawn) == ("data" in spec)
            assert "\x02" not in drawn
        assert draw(figure(bars(f"after {name}"))).startswith("<svg")


def test_a_crash_of_whatever_draws_costs_one_figure(draughtsman):
    assert draw(figure(bars("first"))).startswith("<svg")
    draughtsman.process.send_signal(signal.SIGSTOP)
    os.kill(draughtsman.process.pid, signal.SIGABRT)
    os.kill(draughtsman.process.pid, signal.SIGCONT)
    drawn = [draw(figure(bars(name))) for name in ("second", "third")]
    assert sum(d.startswith("<svg") for d in drawn) >= 1
    assert drawn[1].startswith("<svg")


def test_one_that_never_ends_is_given_up_and_several_are_waited_for_no_more(
    draughtsman, monkeypatch
):
    monkeypatch.setattr(drawing, "START", 1.5)
    monkeypatch.setattr(
        Draughtsman,
        "start",
        lambda _: drawing.subprocess.Popen(["sleep", "60"], stdin=-1, stdout=-1),
    )
    began = time.monotonic()
    drawn = [draw(figure(bars(str(i)))) for i in range(12)]
    assert time.monotonic() - began < 15
    assert all("could not be drawn" in d for d in drawn)


def test_it_draws_many_with_one_child(draughtsman):
    draw(figure(bars("one")))
    child = draughtsman.process.pid
    for index in range(5):
        draw(figure(bars(str(index))))
    assert draughtsman.process.pid == child


@pytest.fixture
def kept(tmp_path, draughtsman):
    drawing.keep_in(tmp_path)
    yield tmp_path
    drawing._kept.clear()


def test_a_figure_is_drawn_once(kept, draughtsman, monkeypatch):
    first = draw(figure(bars()))
    (path,) = kept.iterdir()
    drawing.svg.cache_clear()  # another process
    monkeypatch.setattr(draughtsman, "draw", lambda spec: pytest.fail("drawn again"))
    assert "<path" in draw(figure(bars()))
    assert path.read_text().count("<path") == first.count("<path")


def test_what_shows_samples_is_not_kept(kept):
    shows = figure(bars()).model_copy(update={"example": True})
    assert "<svg" in draw(shows)
    assert not list(kept.iterdir())


@pytest.mark.parametrize(
    "planted",
    [
        "",
        "<svg",
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'></svg>",
        "<svg xmlns='http://www.w3.org/2000/svg'><a href='https://x.org'><text>x</text></a></svg>",
        "<svg xmlns='http://www.w3.org/2000/svg'><g style='fill: url(https://x.org)'/></svg>",
        "<!DOCTYPE svg [<!ENTITY a 'b'>]><svg xmlns='http://www.w3.org/2000/svg'>&a;</svg>",
        "<html></html>",
    ],
)
def test_what_was_planted_among_kept_figures_is_drawn_again(kept, planted):
    whole = draw(figure(bars()))
    (path,) = kept.iterdir()
    path.write_text(planted)
    drawing.svg.cache_clear()
    again = draw(figure(bars()))
    assert "alert" not in again
    assert "x.org" not in again
    assert again.count("<path") == whole.count("<path") > 0
