"""How far a run is: in a log a line every half minute, with the time left by the passes declared."""

import torch

import audit
from audit.reports.console import Progress, duration
from audit.watching import Course, Tick


def test_a_log_gets_a_line_every_half_minute_with_the_time_left(capsys):
    now = [0.0]
    progress = Progress(clock=lambda: now[0])
    with progress:
        for second in range(0, 100, 10):
            now[0] = float(second)
            progress.check(Tick("robustness.pgd", 4, 38, "pgd", second, 200, 1000, second / 200))
    lines = capsys.readouterr().err.splitlines()
    where = "robustness.pgd (check 5 of 38), pgd"
    assert lines == [
        "38 checks, about 1,000 passes over 200 samples",
        f"{where} 30/200 samples: 30 s, about 3 min left",
        f"{where} 60/200 samples: 60 s, about 2 min left",
        f"{where} 90/200 samples: 2 min, about 2 min left",
    ]


def test_the_price_is_told_before_anything_is_measured(capsys):
    with Progress(clock=lambda: 0.0) as progress:
        for number in (0, 1):
            tick = Tick("robustness.pgd", number, 58, passes=1_238, seconds=125.0)
            progress.check(tick)
            assert progress.left(tick) == "about 2 min left"
    assert capsys.readouterr().err.splitlines() == [
        "58 checks, about 1,240 passes over 200 samples, about 2 min here"
    ]


def test_a_run_knows_its_seconds_by_a_pass_that_was_timed():
    ticks = []
    course = Course(["a", "b"], [100, 900], ticks.append, pace=0.01)
    course.begin(0)
    assert ticks[0].seconds == 10


def test_nothing_is_said_of_what_is_quick(capsys):
    with Progress(clock=lambda: 0.0) as progress:
        progress.check(Tick("performance.classification", 0, 3))
    assert not capsys.readouterr().err


def test_the_share_is_of_the_passes_and_never_goes_back():
    ticks = []
    course = Course(["a", "b"], [100, 900], ticks.append)
    course.begin(0)
    course.report("pgd", 50, 100)
    course.report("square", 10, 100)
    course.end(0)
    course.begin(1)
    course.report("pgd", 100, 100)
    shares = [t.share for t in ticks]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert 0.09 < shares[3] < 0.11
    assert ticks[0].passes == 5  # of 200 samples
    assert ticks[0].seconds is None


def test_durations_in_words():
    said = [duration(s) for s in (4, 89, 100, 5400, 7800)]
    assert said == ["4 s", "89 s", "2 min", "1 h 30 min", "2 h 10 min"]


def test_a_run_ticks_for_every_check():
    ticks = []
    torch.manual_seed(0)
    x = torch.randn(60, 4)
    model = torch.nn.Linear(4, 2).eval()
    audit.run(audit.Subject(model, x, model(x).argmax(1)), ["performance"], watch=ticks.append)
    assert {t.check for t in ticks} >= {"performance.classification", "behaviour.determinism"}
    assert all(0 <= t.share <= 1 for t in ticks)
