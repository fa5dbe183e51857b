"""Exit code 0 follows a written record of a pass and nothing else, whatever the code that is run does."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from audit.process import believed

from .conftest import table_data
from .driving import driven

HOW = {
    "sys.exit(0)": "import sys; sys.exit(0)",
    "sys.exit(text)": "import sys; sys.exit('done')",
    "os._exit(0)": "import os; os._exit(0)",
    "abort": "import os; os.abort()",
    "BaseException": "raise type('Stop', (BaseException,), {})('enough')",
}
NET = """
import torch, traceback
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        {constructor}
        super().__init__(4, 2)

    def forward(self, x):
        if not {late} or "run_one" in (f.name for f in traceback.extract_stack()):
            {forward}
        return super().forward(x)

def data():
    import numpy
    {data}
    return dict(numpy.load("d.npz"))

{module}
"""
PLUGIN = """
import sys
from audit import Check, Measurement
{module}

class Odd(Check):
    id = "odd.check"
    title = "Is it odd?"

    def applies(self, subject):
        {applies}
        pass

    def examine(self, context):
        {examine}
        return Measurement("It is not.")
"""
WHERE = (
    "module",
    "constructor",
    "forward",
    "late forward",
    "data",
    "plug-in module",
    "plug-in applies",
    "plug-in check",
)
RARE = {
    "exit()": "exit()",
    "os._exit(1)": "import os; os._exit(1)",
    "a fork that ends": "import os; os.fork() or os._exit(0); sys.exit(0)",
}
CASES = [*((w, h) for w in WHERE for h in HOW), *(("module", h) for h in RARE)]
INSIDE_A_CHECK = ("late forward", "plug-in module", "plug-in applies", "plug-in check")
OLD = {"verdict": {"word": "pass", "exit_code": 0}}


def lay_out(folder, where="", how="pass"):
    """A model that is right, its data, an old record of a pass; and code that ends the process."""
    x, y = table_data(400)
    net = nn.Linear(4, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-2.0, -2, 0, 0], [2, 2, 0, 0]]))
        net.bias.zero_()
    torch.save(net.state_dict(), folder / "m.pt")
    np.savez(folder / "d.npz", x=x, y=y)
    places = {"constructor": "pass", "forward": "pass", "data": "pass", "module": "", "late": False}
    if where == "late forward":
        places |= {"forward": how, "late": True}
    elif where in places:
        places[where] = how
    (folder / "net.py").write_text(NET.format(**places))
    if where.startswith("plug-in"):
        parts = {"module": "", "applies": "", "examine": ""}
        parts[{"module": "module", "applies": "applies", "check": "examine"}[where.split()[1]]] = (
            how
        )
        (folder / "oddplugin.py").write_text(PLUGIN.format(**parts))
        described = folder / "oddplugin-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: oddplugin\nVersion: 1.0\n"
        )
        (described / "entry_points.txt").write_text("[audit.checks]\nodd = oddplugin\n")
    (folder / "audit-report").mkdir()
    for name in ("record.json", "junit.xml"):
        (folder / "audit-report" / name).write_text(json.dumps(OLD))
    more = []
    if where.endswith(("applies", "check")):
        more = ["--check", "odd.*"]
    elif where == "late forward":
        more = ["--check", "training.gradient_flow"]
    return [
        "run",
        "m.pt",
        "--arch",
        "net:Net",
        "--data",
        "net:data",
        "--profile",
        "quick",
        "--check",
        "performance.*",
        *more,
    ]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """(where, how) → exit code, what was said on standard error, the record or None."""
    cases, commands = {}, []
    for where, how in [("", "pass"), *CASES]:
        folder = tmp_path_factory.mktemp("case")
        cases[where, how] = folder
        commands.append((folder, lay_out(folder, where, {**HOW, **RARE}.get(how, how))))
    return dict(zip(cases, driven(commands), strict=True))


def test_without_such_code_the_same_audit_passes(ended):
    code, said, record = ended["", "pass"]
    assert (code, said) == (0, "")
    assert record["verdict"]["word"] == "pass"


@pytest.mark.parametrize(("where", "how"), CASES)
def test_code_that_ends_the_process_never_ends_it_in_a_pass(ended, where, how):
    code, said, record = ended[where, how]
    assert code in (2, 3, 4)
    assert record is None or record["verdict"]["word"] != "pass"  # the old one is gone
    if record is None:
        assert said.startswith("audit: ")
        assert said.count("\n") == 1, said
        assert code == 2
    else:
        assert where in INSIDE_A_CHECK
        assert code == record["verdict"]["exit_code"] == 3


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            ("module", "sys.exit(0)"),
            "--arch net:Net: importing net called sys.exit(0); put what the module "
            'does when it is run under `if __name__ == "__main__":`.',
        ),
        (("module", "sys.exit(text)"), "called sys.exit('done')"),
        (("module", "BaseException"), "importing net raised Stop: enough"),
        (("module", "os._exit(0)"), "ended the process with exit code 0"),
        (("module", "abort"), "the model was not opened: its process was ended by SIGABRT"),
        (("constructor", "sys.exit(0)"), "building the model called sys.exit(0)."),
        (("data", "sys.exit(0)"), "--data net:data called sys.exit(0)."),
        (("forward", "sys.exit(0)"), "Running the model of m.pt called sys.exit(0)"),
    ],
)
def test_the_sentence_says_where_and_what(ended, case, words):
    assert words in ended[case][1]


def test_what_happens_after_the_verdict_does_not_change_it():
    assert believed(b"1", 0) == 1
    assert believed(b"0", -signal.SIGSEGV) == 0


def test_who_falls_silent_before_has_failed(capsys):
    assert believed(b"", 0) == 2
    assert believed(b"", -signal.SIGSEGV) == 4
    assert believed(b"", -signal.SIGTERM) == 143
    assert capsys.readouterr().err.count("\n") == 3


def heard():
    """A test run in the background ignores signals, and what it starts would ignore them too."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def waiting(tmp_path):
    """An audit in the middle of something, in a session of its own."""
    arguments = lay_out(
        tmp_path, "module", "open('here', 'w').close(); import time; time.sleep(300)"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "audit", *arguments],
        cwd=tmp_path,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heard,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "here").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [
        (signal.SIGINT, "parent", 130),
        (signal.SIGINT, "all", 130),
        (signal.SIGTERM, "parent", 143),
        (signal.SIGHUP, "all", 129),
    ],
)
def test_a_signal_ends_both_with_its_own_exit_code(waiting, number, whom, code):
    (os.killpg if whom == "all" else os.kill)(waiting.pid, number)
    _, error = waiting.communicate(timeout=60)
    assert waiting.returncode == code
    assert error.count("\n") == 1
    assert "the same command goes on from there" in error


def test_a_parent_that_is_killed_takes_its_child_along(waiting):
    waiting.kill()
    waiting.communicate(timeout=60)  # the child would hold the other end of the pipes


CLOSED = {
    "read by nobody": "{} | head -c 0; exit ${{PIPESTATUS[0]}}",
    "both": "{} 2>&1 | head -c 0; exit ${{PIPESTATUS[0]}}",
    "closed": "{} >&-",
    "errors closed": "{} 2>&-",
    "all closed": "{} >&- 2>&- <&-",
}


@pytest.mark.parametrize("how", CLOSED.values(), ids=CLOSED)
def test_closed_streams_change_no_exit_code(how, tmp_path):
    (tmp_path / "talks.py").write_text("print('x' * 100_000)\n")
    code = (
        'import sys, talks; from audit import cli; cli.command_zoo = lambda _: (cli.say("y"), 1)[1]; '
        'sys.argv = ["audit", "zoo"]; sys.exit(cli.main())'
    )
    command = f"{sys.executable} -c '{code}'"
    done = subprocess.run(
        ["bash", "-c", how.format(command)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "Exception ignored" not in done.stderr


def test_the_parent_imports_no_torch():
    code = (
        "import sys, audit.cli; sys.exit(bool({'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
