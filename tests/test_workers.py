"""What one check does costs its own answer: the others answer as they would have, whoever is lost."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from audit.framing import Garbled, Messages, framed
from audit.limits import memory_limit

from .conftest import table_data
from .driving import driven

PLUGIN = """
import ctypes, gc, os, signal, sys, threading, time
import numpy as np
import torch
from audit import Check, Measurement, Metric
from audit.framing import framed, write_all

HOARD = []

class Odd(Check):
    title = "Is it odd?"
    kind = "question"

    def examine(self, context):
        self.act(context)
        return Measurement("It is not.", metrics=[Metric(name="a", value=0.5, low=0.4, high=0.6, n=9)])

def odd(name, act):
    return type(name, (Odd,), {"id": f"odd.{name}", "__module__": __name__, "act": act,
                               "__doc__": "Is it odd?"})

def forever(size):
    while True:
        HOARD.append(np.zeros(size, np.uint8))

def fork_and_stay():
    if os.fork() == 0:
        time.sleep(1000)

def fork_and_go_on():
    os.fork()

def write_everywhere():
    for pipe in range(3, 64):
        try:
            os.write(pipe, b"garbage")
        except OSError:
            pass

def forge(message):
    for pipe in range(3, 64):
        try:
            write_all(pipe, framed(message))
        except OSError:
            pass
    time.sleep(1000)

def raise_(error):
    raise error

def kill_once():
    # as an operator or the system would: from outside
    if not os.path.exists("killed"):
        open("killed", "w").close()
        if os.fork() == 0:
            os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)

A = odd("a_harmless", lambda self, c: None)
B = odd("b_hangs", lambda self, c: time.sleep(1000))
C = odd("c_exits", lambda self, c: os._exit(0))
D = odd("d_segfaults", lambda self, c: ctypes.string_at(0))
E = odd("e_kills_itself", lambda self, c: os.kill(os.getpid(), signal.SIGKILL))
F = odd("f_allocates", lambda self, c: forever(1 << 28))
G = odd("g_floods", lambda self, c: [print("x" * 10_000) for _ in range(2_000)])
H = odd("h_garbles", lambda self, c: write_everywhere())
I = odd("i_mutates", lambda self, c: c.subject.core.weight.data.neg_())
J = odd("j_leaves_a_thread", lambda self, c: threading.Thread(target=time.sleep, args=(1000,)).start())
K = odd("k_leaves_a_child", lambda self, c: fork_and_stay())
L = odd("l_forks_itself", lambda self, c: fork_and_go_on())
M = odd("m_closes_its_output", lambda self, c: (os.close(1), os.close(2)))
N = odd("n_closes_everything", lambda self, c: os.closerange(3, 1000))
O = odd("o_raises_SystemExit", lambda self, c: sys.exit(0))
P = odd("p_raises_KeyboardInterrupt", lambda self, c: raise_(KeyboardInterrupt()))
Q = odd("q_is_killed_once", lambda self, c: kill_once())
R = odd("r_aborts", lambda self, c: os.abort())
S = odd("s_hoards", lambda self, c: HOARD.append(np.zeros(1_500_000_000, np.uint8)))
T = odd("t_needs_memory", lambda self, c: np.zeros(1_500_000_000, np.uint8))
U = odd("u_steers", lambda self, c: print("\\x1b[2J::error::it is all over", end="", flush=True))
V = odd("v_ends_by_a_thread", lambda self, c: (
    threading.Thread(target=lambda: os._exit(7)).start(), time.sleep(1000)))
W = odd("w_answers_for_another", lambda self, c: forge(
    {"answer": {"record": {"id": "odd.a_harmless", "state": "met", "title": "", "kind": "question"},
                "seconds": 0, "ledger": {}}, "ledger": {}}))
X = odd("x_answers_nonsense", lambda self, c: forge({"answer": 5, "ledger": {}}))
Y = odd("y_ticks_nonsense", lambda self, c: forge({"tick": ["a"]}))
Z = odd("z_counts_nonsense", lambda self, c: forge({"answer": 5, "ledger": {"made": 3}}))
"""
HARMLESS = {
    "a_harmless": "",
    "j_leaves_a_thread": "",
    "k_leaves_a_child": "",
    "l_forks_itself": "",
    "m_closes_its_output": "",
    "q_is_killed_once": "",
    "s_hoards": "",
    "t_needs_memory": "",
    "u_steers": "",
}
BREAKS = {
    "b_hangs": "it had not answered in time",
    "c_exits": "ended the process with exit code 0",
    "d_segfaults": "was ended by SIGSEGV",
    "e_kills_itself": "was ended by SIGKILL (the system may have run out of memory)",
    "f_allocates": "it asked for more memory than there is",
    "g_floods": "it printed more than 10 MB",
    "h_garbles": "wrote into the pipe",
    "i_mutates": "the check changed the model's weights or buffers",
    "n_closes_everything": "closed the pipe",
    "o_raises_SystemExit": "sys.exit(0)",
    "p_raises_KeyboardInterrupt": "it raised KeyboardInterrupt",
    "r_aborts": "was ended by SIGABRT",
    "v_ends_by_a_thread": "ended the process with exit code 7",
    "w_answers_for_another": "wrote into the pipe",
    "x_answers_nonsense": "wrote into the pipe",
    "y_ticks_nonsense": "wrote into the pipe",
    "z_counts_nonsense": "wrote into the pipe",
}
COMMAND = ["run", "m.pt", "--arch", "net:Net", "--data", "d.npz", "--profile", "quick"]
NET = "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(4, 2)\n"


def lay_out(folder, *, plug_in=None, run="", net=NET, bias=0.0):
    """A model that is right, its data, a config, and a plug-in where one is given."""
    x, y = table_data(400)
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-2.0, -2, 0, 0], [2, 2, 0, 0]]))
        linear.bias.fill_(bias)
    torch.save(linear.state_dict(), folder / "m.pt")
    np.savez(folder / "d.npz", x=x, y=y)
    (folder / "net.py").write_text(net)
    (folder / "audit.toml").write_text(f"[run]\n{run}\n")
    if plug_in is not None:
        (folder / "oddplugin.py").write_text(plug_in)
        described = folder / "oddplugin-1.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: oddplugin\nVersion: 1.0\n"
        )
        (described / "entry_points.txt").write_text("[audit.checks]\nodd = oddplugin\n")
    return folder


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """Every fault in one audit, the same audit without any, and others that are cut short."""
    root = tmp_path_factory.mktemp("faults")
    names = ("odd", "clean", "import", "plug-in", "forward", "memory", "forged")
    folders = {name: root / name for name in names}
    for folder in folders.values():
        folder.mkdir()
    hanging = "import time; time.sleep(1000)"
    lay_out(folders["odd"], plug_in=PLUGIN, run="deadline = '12s'\nmemory = '4GB'")
    lay_out(folders["clean"])
    lay_out(folders["import"], net=f"{hanging}\n{NET}", run="deadline = '2s'")
    lay_out(folders["plug-in"], plug_in=hanging, run="deadline = '12s'")
    forward = f"{NET}    def forward(self, x):\n        {hanging}\n"
    lay_out(folders["forward"], net=forward, run="deadline = '2s'")
    held = "import numpy as np\nheld = [np.zeros(1 << 30, np.uint8) for _ in range(9)]\n"
    lay_out(folders["memory"], net=NET + held, run="memory = '4GB'")
    forging = (
        "import os\nfrom audit.framing import framed\nfor pipe in range(3, 64):\n    try:\n"
        "        os.write(pipe, framed({'refused': [0, 'all is well']}))\n    except OSError:\n        pass\n"
    )
    lay_out(folders["forged"], net=forging + NET)
    command = [*COMMAND, "--check", "performance.*"]
    commands = {name: command for name in names} | {"odd": [*command, "--check", "odd.*"]}
    return dict(
        zip(names, driven([(folders[name], commands[name]) for name in names]), strict=True)
    )


def checks(result):
    return {check["id"]: check for check in result[2]["checks"]}


@pytest.mark.parametrize("name", BREAKS)
def test_a_check_that_ruins_its_process_is_broken_and_says_how(faults, name):
    check = checks(faults["odd"])[f"odd.{name}"]
    assert (check["state"], check["why"]) == ("broken", "raised")
    assert BREAKS[name] in check["reason"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_harms_nobody_is_measured(faults, name):
    check = checks(faults["odd"])[f"odd.{name}"]
    assert check["state"] != "broken", check["reason"]
    assert check["metrics"][0]["value"] == 0.5


def test_the_other_checks_answer_as_if_nothing_had_happened(faults):
    code, _, record = faults["odd"]
    clean_code, said, clean = faults["clean"]
    assert (clean_code, clean["verdict"]["word"], said) == (0, "pass", "")
    assert (code, record["verdict"]["word"]) == (3, "inconclusive")
    ours = [c for c in record["checks"] if not c["id"].startswith("odd.")]
    assert ours == clean["checks"]


def test_what_a_check_prints_is_shown_and_steers_nothing(faults):
    said = faults["odd"][1]
    assert "it is all over" in said
    assert "\x1b" not in said
    assert "\n::error" not in said
    assert len(said) < 300_000
    assert "more was printed" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("import", "audit: the model was not opened: the process had not answered in time"),
        ("forward", "audit: the model was not opened: the process had not answered in time"),
        ("memory", "importing net raised"),
        ("forged", "the model was not opened: something that the process runs wrote into the pipe"),
    ],
)
def test_a_model_that_ruins_its_process_is_one_sentence(faults, name, words):
    code, said, record = faults[name]
    assert (code, record) == (2, None)
    assert words in said
    assert said.count("\n") == 1


def test_a_plug_in_that_hangs_when_it_is_imported_is_left_out_and_told_of(faults):
    code, _, record = faults["plug-in"]
    assert code == 3
    told = checks(faults["plug-in"])["plugin.odd"]
    assert told["state"] == "broken"
    assert "in time" in told["reason"]
    assert record["checks"][:-1] == faults["clean"][2]["checks"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a system without /proc")
def test_nobody_is_left_behind(faults, tmp_path_factory):
    assert faults
    places = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            places.append(os.readlink(f"/proc/{pid}/cwd"))
    mine = str(tmp_path_factory.getbasetemp())
    assert not [p for p in places if p.startswith(mine) and "/faults" in p]


def test_the_parent_has_nothing_of_others_in_it(tmp_path):
    """Nor anything of torch: it holds data alone."""
    lay_out(
        tmp_path, plug_in=PLUGIN.replace("b_hangs", "b_hung").replace("sleep(1000))", "sleep(0))")
    )
    code = (
        "import sys; sys.argv = ['audit', *sys.argv[1:]]; from audit import cli; code = cli.main(); "
        "print(*sorted({m.split('.')[0] for m in sys.modules})); print(*sorted(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *COMMAND, "--check", "performance.*"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
    )
    *_, packages, modules = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert not {"torch", "net", "oddplugin", "sklearn", "captum"} & set(packages.split())
    assert not {
        "audit.checking",
        "audit.subject",
        "audit.runner",
        "audit.registry",
        "audit.checks",
    } & set(modules.split())
    record = json.loads((tmp_path / "audit-report/record.json").read_text())
    assert record["environment"]["process"] == "workers"


def test_a_message_is_whole_or_none():
    messages = Messages()
    both = framed({"a": 1}) + framed({"b": float("inf")})
    for byte in both[:-1]:
        messages.add(bytes([byte]))
    assert messages.next() == {"a": 1}
    assert messages.next() is None
    messages.add(both[-1:])
    assert messages.next() == {"b": float("inf")}
    for bad in (
        b"x",
        framed({"a": 1})[:-1] + b"?",
        framed({"a": 1})[1:],
        b"\x00adt" + b"\xff" * 20,
    ):
        garbled = Messages()
        garbled.add(bad)
        with pytest.raises(Garbled):
            garbled.next()


def test_a_limit_is_found():
    assert 1 << 28 < memory_limit() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def without_clock(record):
    return {k: v for k, v in record.items() if k not in ("timing", "environment")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A whole quick audit by one worker, and the same by two."""
    root = tmp_path_factory.mktemp("several")
    commands = []
    for number in (1, 2):
        folder = root / str(number)
        folder.mkdir()
        lay_out(folder, run=f"workers = {number}")
        commands.append((folder, COMMAND))
    return driven(commands)


def test_two_workers_make_the_record_that_one_makes(alone):
    (code, _, one), (other_code, said, two) = alone
    assert code == other_code, said
    assert without_clock(one) == without_clock(two)
    assert two["environment"]["workers"] == 2


def test_two_workers_make_no_evidence_twice(alone):
    made = [record["timing"]["evidence"]["computed"] for _, _, record in alone]
    assert made[0] == made[1]


def workers_of(parent):
    """The workers that a process has started: each leads a session."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
            _, above, _, session = stat.read().rpartition(")")[2].split()[:4]
            if int(above) == parent and session == pid:  # not one that draws
                found.append(int(pid))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a system without /proc")
def test_workers_that_are_killed_at_any_time_change_no_number(alone, tmp_path):
    lay_out(tmp_path, run="workers = 2")
    process = subprocess.Popen(
        [sys.executable, "-m", "audit", *COMMAND],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lots = random.Random(0)
    killed = 0
    while process.poll() is None and killed < 4:
        time.sleep(lots.uniform(1.5, 5))
        for worker in lots.sample(found := workers_of(process.pid), min(1, len(found))):
            os.kill(worker, signal.SIGKILL)
            killed += 1
    _, said = process.communicate(timeout=120)
    assert killed, said
    record = json.loads((tmp_path / "audit-report/record.json").read_text())
    assert without_clock(record) == without_clock(alone[0][2])
    assert process.returncode == alone[0][0]


ASKED_TO_END = """
import os, signal, time
from audit import Check, Measurement

class Ending(Check):
    id = "odd.ending"
    title = "Does it end?"

    def examine(self, context):
        os.kill(os.getppid(), {number})
        time.sleep(1000)
        return Measurement("It does not.")
"""
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}
STREAMS = {
    "closed": "[os.close(n) for n in (0, 1, 2)]",
    "read by nobody": "r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.dup2(w, 2)",
    "full": "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)",
}
# As on a disk that is full: what is longer cannot be written.
FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (12288, 12288))"


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory):
    """A signal, what became of the standard streams, or a full disk → what came of it, and the folder."""
    root, commands = tmp_path_factory.mktemp("cut_short"), {}
    command = [*COMMAND, "--check", "performance.*"]
    for number in SIGNALS:
        folder = root / f"signal {int(number)}"
        folder.mkdir()
        lay_out(folder, plug_in=ASKED_TO_END.format(number=int(number)))
        commands[number] = (folder, [*command, "--check", "odd.*"])
    for name, before in {**STREAMS, "disk": FULL}.items():
        (root / name).mkdir()
        commands[name] = (lay_out(root / name), command, before)
    found = driven(list(commands.values()))
    return {
        key: (*done, commands[key][0] / "audit-report")
        for key, done in zip(commands, found, strict=True)
    }


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_an_audit_in_a_sentence_and_keeps_what_was_measured(cut_short, number):
    code, said, record, out = cut_short[number]
    assert (code, record) == (SIGNALS[number], None)
    if number != signal.SIGKILL:
        assert said.count("\n") == 1
        assert "what was measured is kept" in said
    assert list((out / "evidence/measured").iterdir())


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a system without /proc")
def test_no_worker_outlives_its_parent(cut_short, tmp_path_factory):
    assert cut_short
    for _ in range(50):
        places = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                places.append(os.readlink(f"/proc/{pid}/cwd"))
        mine = str(tmp_path_factory.getbasetemp())
        left = [p for p in places if p.startswith(mine) and "/cut_short" in p]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)


@pytest.mark.parametrize("how", STREAMS)
def test_streams_that_are_closed_or_full_take_no_record_away(cut_short, how):
    code, said, record, _ = cut_short[how]
    assert record["verdict"]["word"] == "pass"
    # That a summary could not be said is told; that nobody listens is not.
    assert (code, said.count("\n")) == ((2, 1) if how == "full" else (0, 0))


def test_a_disk_that_is_full_is_one_sentence_and_what_fits_is_kept(cut_short):
    code, said, record, out = cut_short["disk"]
    assert (code, record, said.count("\n")) == (2, None, 1), said
    assert "cannot use" in said
    assert list((out / "evidence").rglob("*.safetensors"))
    assert not list(out.rglob("*.partial"))
