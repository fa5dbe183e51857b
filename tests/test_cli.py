"""The outside face: commands, exit codes, sentences."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

import audit
from audit.cli import main
from audit.zoo.digits_cnn import MODEL

from .conftest import image_data

ARCH = MODEL.arch


def run(*arguments, **more):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **more,
    )


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The digits model as a bare state_dict, safetensors, a pickle and a script; its data as npz."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("files")
    subject = audit.load("zoo:digits-cnn")
    test = MODEL.data()[1]
    np.savez(folder / "data.npz", x=test.x[:300], y=test.y[:300])
    torch.save(subject.core.state_dict(), folder / "state.pt")
    save_file(subject.core.state_dict(), folder / "state.safetensors")
    torch.save(subject.core, folder / "full.pt")
    torch.jit.trace(subject.core, torch.zeros(1, 1, 8, 8)).save(str(folder / "script.pt"))
    (folder / "audit.toml").write_text(
        "[subject.input]\nrange = [0, 16]\n[subject.input.preprocess]\nscale = '1/16'\n"
    )
    return folder


QUICK = ("--profile", "quick", "--check", "robustness.pgd", "--check", "performance.*")


@pytest.mark.parametrize("name", ["state.pt", "state.safetensors", "full.pt", "script.pt"])
def test_the_same_weights_in_every_file_give_the_same_numbers(files, name, here, capsys):
    code = main(
        [
            "run",
            str(files / name),
            "--arch",
            ARCH,
            "--data",
            str(files / "data.npz"),
            "--config",
            str(files / "audit.toml"),
            "--out",
            "out",
            *QUICK,
        ]
    )
    record = json.loads((here / "out" / "record.json").read_text())
    metrics = {c["id"]: c["metrics"] for c in record["checks"]}
    accuracy = metrics["performance.classification"][0]["value"]
    assert accuracy == pytest.approx(0.98, abs=0.02)
    robust = [m["value"] for m in metrics["robustness.pgd"] if m["name"] == "robust_accuracy"]
    assert robust[0] == pytest.approx(0.935, abs=0.03)
    assert code == record["verdict"]["exit_code"] == 0
    for file in ("report.html", "summary.md", "junit.xml"):
        assert (here / "out" / file).stat().st_size > 500
    shown = capsys.readouterr().out
    assert "PASS" in shown
    assert "out/report.html" in shown
    assert len(shown.splitlines()) <= 24


def saved_whole(model, kind, path):
    """A model that is more than its weights: pickled, as TorchScript or exported."""
    if kind == "full.pt":
        torch.save(model, path)
    elif kind == "script.pt":
        torch.jit.trace(model, torch.zeros(1, 1, 8, 8)).save(str(path))
    else:
        batch = torch.export.Dim("batch", min=1, max=4096)
        program = torch.export.export(
            model, (torch.zeros(4, 1, 8, 8),), dynamic_shapes=({0: batch},)
        )
        torch.export.save(program, path)


@pytest.mark.parametrize("kind", ["full.pt", "script.pt", "export.pt2"])
def test_trusted_files_are_audited_whole_and_the_report_says_so(cnn, here, kind):
    x, y = image_data(300, seed=1)
    np.savez("data.npz", x=x, y=y)
    saved_whole(cnn, kind, here / kind)
    (here / "audit.toml").write_text("[subject.input]\nrange = [0, 1]\n")
    code = main(["run", kind, "--trust", "--data", "data.npz", "--profile", "quick"])
    record = audit.AuditRecord.load("audit-report/record.json")
    assert {c.id: c.reason for c in record.checks if c.state == "broken"} == {}
    assert record.check("performance.classification").metrics[0].value > 0.9
    assert code == record.verdict.exit_code
    assert record.subject.trusted
    assert "because --trust said so" in (here / "audit-report/report.html").read_text()


def test_gate(files, here):
    common = [
        "run",
        str(files / "state.pt"),
        "--arch",
        ARCH,
        "--data",
        str(files / "data.npz"),
        "--check",
        "performance.*",
    ]
    config = here / "audit.toml"
    expect = "[[expect]]\ncheck='performance.classification'\nmetric='accuracy'\nbound={}\n"
    head = "[subject.input]\nrange = [0, 16]\n[subject.input.preprocess]\nscale = '1/16'\n"
    for bound, code in ((0.5, 0), (0.999, 1), (0.985, 3)):
        config.write_text(head + expect.format(bound))
        assert main(common) == code
        assert (
            main(["render", "audit-report/record.json", "--format", "junit", "--out", "j.xml"])
            == code
        )
    config.write_text(head + expect.format(0.999) + "severity='low'\n")
    assert main(common) == 0
    assert main(["render", "audit-report/record.json", "--fail-on", "low", "--out", "r.html"]) == 1
    assert main([*common, "--fail-on", "low"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "gone.pt"], "gone.pt cannot be opened"),
        (["run", "zoo:digits-cnnn"], "did you mean zoo:digits-cnn?"),
        (["run", "zoo:digits-cnn", "--check", "robust.pgd"], "did you mean robustness.pgd?"),
        (["run", "zoo:digits-cnn", "--config", "gone.toml"], "gone.toml cannot be read"),
        (["run", "zoo:digits-cnn", "--baseline", "gone.json"], "gone.json cannot be read"),
        (["run", "STATE"], "pass --arch"),
        (["run", "STATE", "--arch", ARCH], "pass --data"),
        (["run", "STATE", "--arch", "nowhere:Net", "--data", "x.npz"], "no module 'nowhere'"),
        (["run", "STATE", "--arch", "torch.nn:Linear", "--data", "x.npz"], "raised TypeError"),
        (
            ["run", "STATE", "--arch", "torch.nn:Flatten", "--data", "x.npz"],
            "unknown to the architecture",
        ),
        (["run", "STATE", "--arch", ARCH, "--data", "x.npz"], "no data file x.npz"),
        (
            ["run", "FULL"],
            "asks for audit.zoo.digits_cnn:DigitsCNN; if you trust that code, pass --arch",
        ),
        (["run", "SCRIPT", "--check", "training.weights"], "TorchScript"),
        (["render", "gone.json"], "gone.json cannot be read"),
        (["explain", "robustness.pdg"], "did you mean robustness.pgd?"),
        (["checks", "robustnes"], "there are"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_2(files, here, capsys, arguments, words):
    names = {"STATE": "state.pt", "FULL": "full.pt", "SCRIPT": "script.pt"}
    given = [str(files / names[a]) if a in names else a for a in arguments]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '\n[checks."robustness.pgd"]\nsteps = 3\nepps = 1\n',
            "audit.toml, line 4: robustness.pgd has no parameter 'epps'; did you mean 'eps'?",
        ),
        (
            '[checks."robustness.pgd"]\nsteps = 0\n',
            "line 2: robustness.pgd: steps: Input should be",
        ),
        (
            '[checks."robustness.pdg"]\nsteps = 3\n',
            "line 1: There is no check 'robustness.pdg'; did you",
        ),
        (
            "[[expect]]\ncheck = 'robustness.pdg'\nmetric = 'm'\nbound = 1\n",
            "line 2: There is no check",
        ),
        (
            "[[waive]]\ncheck = 'a.b'\nowner = 'o'\nreason = 'r'\nexpires = 2026-01-01\n",
            "line 2: There is",
        ),
    ],
)
def test_a_config_that_names_what_is_not_there(here, capsys, text, words):
    (here / "audit.toml").write_text(text)
    assert main(["run", "zoo:digits-cnn"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_usage_is_exit_2():
    for arguments in ([], ["run"], ["run", "m", "--profile", "fast"], ["nonsense"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_an_untrusted_pickle_with_a_payload_runs_nothing(here):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {here / 'ran'}",)

    (here / "evil.pt").write_bytes(pickle.dumps({"state_dict": Payload()}))
    found = run("run", "evil.pt", "--arch", ARCH, "--data", "x.npz", cwd=here)
    assert found.returncode == 2
    assert "calls posix.system" in found.stderr
    assert found.stderr.count("\n") == 1
    assert not (here / "ran").exists()


def test_weights_only(files, here, capsys):
    assert main(["run", str(files / "state.pt"), "--check", "training.weights"]) == 3
    assert "only the weights" in capsys.readouterr().out
    assert (
        main(
            [
                "run",
                str(files / "state.pt"),
                "--check",
                "training.weights",
                "--check",
                "performance.*",
            ]
        )
        == 3
    )
    record = json.loads((here / "audit-report/record.json").read_text())
    assert {c["id"]: c["why"] for c in record["checks"]} == {
        "performance.anomaly": "no_data",
        "performance.classification": "no_data",
        "performance.embedding": "no_data",
        "performance.forecast": "no_data",
        "performance.multilabel": "no_data",
        "performance.next_token": "no_data",
        "performance.regions": "no_data",
        "performance.regression": "no_data",
        "performance.survival": "no_data",
        "behaviour.determinism": "no_data",
        "training.weights": "",
    }


def test_init_writes_a_config_that_can_be_used(files, here, capsys):
    flags = ["--arch", ARCH, "--data", str(files / "data.npz")]
    assert main(["init", str(files / "state.pt"), *flags]) == 0
    text = (here / "audit.toml").read_text()
    assert 'kind = "image"  # inferred: samples of shape (1, 8, 8)' in text
    assert main(["init", str(files / "state.pt"), *flags]) == 2
    assert main(["run", str(files / "state.pt"), "--check", "performance.*"]) == 0
    from audit.config import read_config

    assert read_config(here / "audit.toml").subject.task == "multiclass"


def test_init_writes_the_config_that_is_named_and_not_there_yet(files, here, capsys):
    model, flags = str(files / "state.pt"), ["--arch", ARCH, "--data", str(files / "data.npz")]
    (here / "audit.toml").write_text('[subject]\ntask = "regression"\n')
    assert main(["init", model, *flags, "--config", "mine.toml"]) == 0
    assert f"audit run {model} --config mine.toml" in capsys.readouterr().out
    assert 'task = "multiclass"' in (here / "mine.toml").read_text()


def test_init_of_a_table_reads_back(here):
    assert main(["init", "zoo:adult-mlp"]) == 0
    from audit.config import read_config

    assert read_config(here / "audit.toml").subject.features[0].name == "age"


def test_a_table_whose_labels_have_a_name_of_their_own(files, here, capsys):
    """From the column's name to a config that says it, and keeps what was said already."""
    rows = np.load(files / "data.npz")
    table = pd.DataFrame(rows["x"].reshape(len(rows["x"]), -1)[:, :5]).assign(kind=rows["y"] % 2)
    table.to_csv("eval.csv", index=False)
    torch.save(torch.nn.Linear(5, 2).state_dict(), "linear.pt")
    (here / "nets.py").write_text("import torch\ndef net(): return torch.nn.Linear(5, 2)\n")
    flags = ["linear.pt", "--arch", "nets:net", "--data", "eval.csv"]
    assert main(["init", *flags]) == 2
    assert "--target" in capsys.readouterr().err
    (here / "audit.toml").write_text("[subject]\nclasses = ['low', 'high']\n")
    assert main(["init", *flags, "--target", "kind", "--force"]) == 0
    text = (here / "audit.toml").read_text()
    assert 'target = "kind"' in text
    assert 'classes = ["low", "high"]  # given' in text
    assert main(["run", "linear.pt", "--check", "performance.*"]) in (0, 1, 3)
    assert audit.AuditRecord.load("audit-report/record.json").subject.n == len(table)


@pytest.mark.parametrize("name", ["adult-mlp", "snippets-textcnn"])
def test_a_config_that_is_found_describes_no_reference_model(here, capsys, name):
    """Not of `audit init` in the same folder, and not one of another model."""
    run = ["run", f"zoo:{name}", "--check", "performance.*", "--profile", "quick"]
    assert main(["init", f"zoo:{name}"]) == 0
    assert main(run) == 0
    said = capsys.readouterr().err
    assert "so subject, report of audit.toml are left aside; pass --config audit.toml" in said
    assert said.count("\n") == 1
    (here / "audit.toml").write_text(
        "arch = 'gone:Net'\ndata = 'gone.npz'\nseed = 3\n[subject]\nclasses = ['one']\n"
    )
    assert main(run) == 0
    assert "arch, data, subject of audit.toml" in capsys.readouterr().err
    assert audit.AuditRecord.load("audit-report/record.json").environment["seed"] == 3
    assert main(["init", f"zoo:{name}", "--force"]) == 0
    (here / "audit.toml").write_text("[subject]\nclasses = ['one']\n")
    assert main([*run, "--config", "audit.toml"]) == 2
    assert "class" in capsys.readouterr().err  # the one that was passed counts


def test_the_version_and_help_without_a_command(capsys):
    for arguments, code, words in ((["--version"], 0, "audit 0."), ([], 2, "COMMAND")):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == code
        printed = capsys.readouterr()
        assert words in (printed.err if code else printed.out)


def test_checks_explain_and_zoo_tell(capsys):
    assert main(["checks"]) == 0
    assert "robustness.pgd" in capsys.readouterr().out
    assert main(["checks", "fairness"]) == 0
    assert capsys.readouterr().out.startswith("fairness.groups")
    assert main(["explain", "robustness.pgd"]) == 0
    told = capsys.readouterr().out
    assert "Madry et al. 2018" in told
    assert "steps = quick 10, standard 20, deep 50" in told
    assert main(["zoo"]) == 0
    assert "adult-mlp" in capsys.readouterr().out
    assert main(["zoo", "digits-cnn"]) == 0
    assert "CC BY 4.0" in capsys.readouterr().out


def test_own_modules_called_checks_and_reports_do_not_collide(here):
    (here / "checks.py").write_text("raise RuntimeError('mine')\n")
    (here / "reports").mkdir()
    (here / "reports" / "__init__.py").write_text("raise RuntimeError('mine')\n")
    for command in (["checks"], ["run", "zoo:digits-cnn", "--check", "training.weights"]):
        found = run(*command, cwd=here)
        assert "mine" not in found.stderr
        assert found.returncode == 0, found.stderr


def test_a_kill_in_the_middle_loses_a_batch_at_most(here):
    """kill -9 once some evidence is on disk; the same command goes on and does it not again."""
    command = [sys.executable, "-m", "audit", "run", "zoo:vowels-lstm", "--check", "robustness.pgd"]
    process = subprocess.Popen(
        command, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    evidence = here / "audit-report" / "evidence"
    deadline = time.monotonic() + 120
    while len(list(evidence.glob("pgd/*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {p.name: p.stat().st_mtime_ns for p in evidence.glob("*/*.safetensors")}
    assert len(done) >= 2
    assert not (here / "audit-report" / "record.json").exists()
    subprocess.run(command, cwd=here, capture_output=True, timeout=300, check=False)
    record = json.loads((here / "audit-report" / "record.json").read_text())
    assert record["timing"]["evidence"]["reused"] >= len(done)
    for path in evidence.glob("*/*.safetensors"):
        assert path.stat().st_mtime_ns == done.get(path.name, path.stat().st_mtime_ns)


def test_compare(files, here, capsys):
    for seed, out in ((0, "a"), (0, "b")):
        main(
            ["run", "zoo:digits-cnn", "--check", "performance.*", "--seed", str(seed), "--out", out]
        )
    capsys.readouterr()
    assert main(["compare", "a/record.json", "b/record.json"]) == 0
    assert "same" in capsys.readouterr().out
    record = audit.AuditRecord.load("b/record.json")
    from audit.outcomes import pack, unpack

    changed = record.check("performance.classification")
    bits = unpack(changed.per_unit[0])
    bits[:60] = False
    changed.per_unit = [pack("accuracy", bits)]
    record.save("c.json")
    assert main(["compare", "a/record.json", "c.json"]) == 1
    assert "WORSE" in capsys.readouterr().out
    assert main(["render", "c.json", "--baseline", "a/record.json", "--out", "r.html"]) == 1


def test_step_summary(here, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "step.md"))
    (here / "step.md").write_text("before\n")
    main(["run", "zoo:digits-cnn", "--check", "performance.*"])
    text = (here / "step.md").read_text()
    assert text.startswith("before\n## ✔ Audit of digits")


def test_an_internal_error_is_exit_4(monkeypatch, capsys):
    monkeypatch.setattr("audit.cli.command_checks", lambda _: 1 / 0)
    assert main(["checks"]) == 4
    assert "internal error: ZeroDivisionError" in capsys.readouterr().err


def test_interrupted_is_exit_130(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("audit.cli.command_checks", interrupted)
    assert main(["checks"]) == 130


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("shuttle-autoencoder", "threshold"),
        ("crime-regression", "tolerance"),
    ],
)
def test_init_writes_what_counts_as_another_answer(here, name, key):
    assert main(["init", f"zoo:{name}"]) == 0
    line = next(line for line in (here / "audit.toml").read_text().splitlines() if key in line)
    assert "# inferred: " in line
    assert main(["run", f"zoo:{name}", "--check", "performance", "--profile", "quick"]) == 0


def test_training_data_that_do_not_fit_are_one_sentence(here, capsys):
    x = np.random.default_rng(0).random((50, 1, 9, 9)).astype("f4")
    np.savez("train.npz", x=x, y=np.arange(50) % 10)
    assert main(["run", "zoo:digits-mlp", "--train-data", "train.npz"]) == 2
    assert "training data have samples of shape [1, 9, 9]" in capsys.readouterr().err


def test_init_does_not_guess_the_order_of_named_classes(here, capsys):
    """It writes the line, to be corrected; until then a run asks for it."""
    x = np.random.default_rng(0).normal(size=(80, 3)).astype("f4")
    table = pd.DataFrame(x, columns=list("abc")).assign(paid=np.where(x[:, 0] > 0, "yes", "no"))
    table.to_csv("eval.csv", index=False)
    torch.save(torch.nn.Linear(3, 2).state_dict(), "linear.pt")
    (here / "ordered_net.py").write_text("import torch\ndef net(): return torch.nn.Linear(3, 2)\n")
    flags = ["linear.pt", "--arch", "ordered_net:net", "--data", "eval.csv", "--target", "paid"]
    assert main(["init", *flags]) == 0
    assert "write the classes in the order of the model's outputs" in capsys.readouterr().out
    text = (here / "audit.toml").read_text()
    assert '\n# classes = ["no", "yes"]  # put them in the order of' in text
    assert main(["run", "linear.pt", "--check", "performance.*"]) == 2
    assert 'write classes = ["no", "yes"] under [subject]' in capsys.readouterr().err
    (here / "audit.toml").write_text(
        text.replace('# classes = ["no", "yes"]', 'classes = ["yes", "no"]')
    )
    assert main(["run", "linear.pt", "--check", "performance.*"]) in (0, 1, 3)


@pytest.mark.parametrize(("flag", "name"), [([], "raw"), (["--weights", "ema"], "averaged")])
def test_the_report_says_which_of_several_weights_were_audited(files, here, flag, name):
    raw = torch.load(files / "state.pt")
    torch.save(
        {"state_dict": raw, "state_dict_ema": {k: v + 0.001 for k, v in raw.items()}}, "m.pt"
    )
    flags = ["--arch", ARCH, "--data", str(files / "data.npz"), "--check", "training.weights"]
    assert main(["run", "m.pt", *flags, *flag]) == 0
    said = (here / "audit-report/report.html").read_text()
    other = "state_dict" if flag else "state_dict_ema"
    assert f"`{other}`, which fits too" in said
    record = audit.AuditRecord.load("audit-report/record.json")
    (fact,) = (f for f in record.subject.facts if f.name == "weights")
    assert name in fact.value
    assert fact.source == ("given" if flag else "inferred")
