"""The commands, thin. `--help`, `checks` and `explain` import no check and nothing numerical."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from audit.ending import ending
from audit.errors import AuditError
from audit.process import ending_on_signals, guarded
from audit.streams import complain, say, settle_streams

if TYPE_CHECKING:
    from audit.capture import Manifest
    from audit.conducting import Place
    from audit.config import Config
    from audit.job import Job
    from audit.record import AuditRecord

# Two threads that wait by spinning are slower than one on a loaded machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SEVERITIES = ("info", "low", "medium", "high", "critical")
PRINTABLE = ("html", "pdf")  # on pages
REPORTS = {"html": "report.html", "markdown": "summary.md", "junit": "junit.xml"}  # always written
ASKED = {  # where they are asked for
    "csv": "metrics.csv",
    "gitlab": "gl-code-quality-report.json",
    "pdf": "report.pdf",
    "sarif": "audit.sarif",
}
FORMATS = (*REPORTS, *ASKED, "console", "json")
STEP_SUMMARY_LIMIT = 1 << 20
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Version(argparse.Action):
    """Print the version; it is looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version"
        )

    def __call__(self, top: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        say(f"audit {version('neural-audit')}")
        top.exit()


def parser() -> argparse.ArgumentParser:
    """The commands with their flags; what acts on each is in `act`."""
    top = argparse.ArgumentParser(
        prog="audit", description="Audits a trained PyTorch model and gates on what it finds."
    )
    top.add_argument("--version", action=Version)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for add in (add_run, add_pieces, add_init, add_render, add_compare, add_told, add_selftest):
        add(commands)
    return top


def add_run(commands: Commands) -> None:
    """`audit run`."""
    run = commands.add_parser(
        "run",
        help="audit a model and write the report",
        epilog="Exit codes: 0 pass, 1 fail, 2 usage or input error, 3 inconclusive, 4 internal "
        "error, 130 interrupted, 143 and 129 ended by SIGTERM and SIGHUP.",
    )
    add_run_flags(run)
    run.set_defaults(act=command_run, alone=True)


def add_pieces(commands: Commands) -> None:
    """`audit plan`, `work` and `collect`: the same in pieces."""
    plan = commands.add_parser("plan", help="plan an audit, to be worked at in pieces")
    add_run_flags(plan)
    plan.set_defaults(act=command_plan, alone=True)
    work = commands.add_parser("work", help="answer some pieces of a plan")
    work.add_argument("manifest", metavar="MANIFEST", help="what `audit plan` wrote")
    work.add_argument(
        "--select", metavar="I/N", default="1/1", help="every N-th piece, from the I-th on"
    )
    work.set_defaults(act=command_work, alone=True)
    collect = commands.add_parser("collect", help="judge a plan whose pieces are answered")
    collect.add_argument("manifest", metavar="MANIFEST", help="what `audit plan` wrote")
    collect.set_defaults(act=command_collect, alone=True)


def add_run_flags(run: argparse.ArgumentParser) -> None:
    """What is audited, and how."""
    run.add_argument("model", metavar="MODEL", help="a model file, or zoo:NAME")
    add_subject_flags(run)
    run.add_argument("--out", metavar="DIR", help="where to write (default: audit-report/)")
    run.add_argument("--profile", choices=("quick", "standard", "deep"))
    run.add_argument("--check", action="append", metavar="GLOB", help="only these checks")
    run.add_argument("--skip", action="append", metavar="GLOB", help="not these checks")
    run.add_argument("--seed", type=int)
    run.add_argument(
        "--budget",
        metavar="TIME",
        help="what it may cost, as 10m or '1240 passes': checks then measure fewer samples",
    )
    run.add_argument(
        "--executor",
        choices=("local", "ray", "slurm"),
        help="who starts the workers (default: this machine)",
    )
    run.add_argument("--device", choices=("auto", "cpu", "cuda"))
    run.add_argument("--baseline", metavar="RECORD", help="an earlier record.json to hold against")
    run.add_argument(
        "--fail-on", choices=SEVERITIES, help="gate from this severity (default: high)"
    )
    run.add_argument(
        "--format",
        action="append",
        choices=tuple(ASKED),
        help="also write this: metrics.csv, gl-code-quality-report.json, report.pdf, audit.sarif",
    )
    run.add_argument(
        "--no-examples",
        action="store_true",
        default=None,
        help="keep single rows and pictures of the data out of all outputs",
    )


def add_init(commands: Commands) -> None:
    """`audit init`."""
    init = commands.add_parser("init", help="write an audit.toml with all that can be inferred")
    init.add_argument("model", metavar="MODEL")
    add_subject_flags(init)
    init.add_argument("--force", action="store_true", help="overwrite an audit.toml that is there")
    init.set_defaults(act=command_init)


def add_render(commands: Commands) -> None:
    """`audit render`."""
    render = commands.add_parser("render", help="make the reports again from a record")
    render.add_argument("record", metavar="RECORD")
    render.add_argument("--config", metavar="FILE", help="judge it again under this policy")
    render.add_argument("--baseline", metavar="RECORD")
    render.add_argument("--fail-on", choices=SEVERITIES)
    render.add_argument("--format", choices=FORMATS, default="html")
    render.add_argument("--out", metavar="FILE", help="default: standard output")
    render.add_argument(
        "--full",
        action="store_true",
        help="of html and pdf: print every check, not only the first page and the findings",
    )
    render.set_defaults(act=command_render)


def add_compare(commands: Commands) -> None:
    """`audit compare`."""
    compare = commands.add_parser("compare", help="what got worse between two records")
    compare.add_argument("baseline", metavar="BASELINE")
    compare.add_argument("record", metavar="RECORD")
    compare.set_defaults(act=command_compare)


def add_told(commands: Commands) -> None:
    """`audit checks`, `explain` and `zoo`, which tell what there is."""
    checks = commands.add_parser("checks", help="list the checks")
    checks.add_argument("area", nargs="?", metavar="AREA")
    checks.set_defaults(act=command_checks)

    explain = commands.add_parser("explain", help="what a check asks, how, and its parameters")
    explain.add_argument("check", metavar="CHECK")
    explain.set_defaults(act=command_explain)

    zoo = commands.add_parser("zoo", help="list the reference models, or describe one")
    zoo.add_argument("name", nargs="?", metavar="NAME")
    zoo.set_defaults(act=command_zoo)


def add_selftest(commands: Commands) -> None:
    """`audit selftest`."""
    selftest = commands.add_parser(
        "selftest",
        help="plant faults in reference models: does the audit find them?",
        epilog="Exit codes: 0 all faults are flagged and no clean twin raises the alarm, 1 not so.",
    )
    selftest.add_argument("fault", nargs="*", metavar="FAULT", help="only these (default: all)")
    selftest.add_argument("--list", action="store_true", help="list the planted faults")
    selftest.add_argument(
        "--out",
        metavar="DIR",
        default="audit-selftest",
        help="where to write (default: audit-selftest/)",
    )
    selftest.add_argument("--profile", choices=("quick", "standard", "deep"), default="quick")
    selftest.add_argument("--seed", type=int, default=0)
    selftest.set_defaults(act=command_selftest)


def add_subject_flags(command: argparse.ArgumentParser) -> None:
    """The flags that say what is audited, for every command that loads a model."""
    command.add_argument("--arch", metavar="PKG.MOD:CALLABLE", help="your class or function")
    command.add_argument("--data", metavar="PATH", help="evaluation data")
    command.add_argument("--train-data", metavar="PATH", help="training data")
    command.add_argument("--target", metavar="COLUMN", help="the column of a table's labels")
    command.add_argument(
        "--weights",
        metavar="KEY",
        help="of several in a file, these: ema for averaged ones (default: the raw ones)",
    )
    command.add_argument("--config", metavar="FILE", help="default: audit.toml, or [tool.audit]")
    command.add_argument(
        "--trust",
        action="store_true",
        default=None,
        help="load files that carry code by running it: only from people you trust",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the return value is the exit code.

    Args:
        arguments: as on a command line; where None, this process's own, and code of other people is
            run in child processes (`audit.workers`, `audit.process`).
    """
    if arguments is None:
        settle_streams()
    top = parser()
    options = top.parse_args(arguments)
    if options.command is None:
        top.print_help(sys.stderr)
        top.exit(2)
    options.apart = arguments is None and hasattr(os, "fork")
    if not options.apart:
        return attempt(options)
    if getattr(options, "alone", False):  # what it runs of other people is in workers
        with ending_on_signals():
            return attempt(options)
    return guarded(lambda: attempt(options))


def attempt(options: argparse.Namespace) -> int:
    """The command's exit code; what it raises becomes a sentence."""
    try:
        code: int = options.act(options)
        return code
    except BaseException as error:  # noqa: BLE001 - the last resort: say it is our fault
        code, text = ending(error)
        complain(text)
        return code


def settled(options: argparse.Namespace, *, fresh: bool = False) -> Config:
    """The config with the command line's flags laid over it; over none where it is `fresh`."""
    from audit.config import find_config, read_config

    path = Path(options.config) if options.config else find_config()
    config = read_config(None if fresh else path)
    if options.config is None and str(options.model).startswith("zoo:"):
        ignored = config.forget_subject()
        if ignored:
            complain(
                f"audit: {options.model} brings its own architecture, data and description, so "
                f"{', '.join(ignored)} of {path} are left aside; pass --config {path} to apply them."
            )
    for name in (
        "arch",
        "data",
        "train_data",
        "weights",
        "out",
        "profile",
        "check",
        "skip",
        "seed",
        "device",
        "baseline",
        "no_examples",
        "trust",
    ):
        value = getattr(options, name, None)
        if value is not None:
            setattr(config, name, value)
    if options.target is not None:
        config.subject = config.subject.model_copy(update={"target": options.target})
    if getattr(options, "budget", None) is not None:
        config.run.budget = options.budget
    if getattr(options, "executor", None) is not None:
        config.run.executor = options.executor
    if getattr(options, "format", None):
        config.run.format = options.format
    if config.seed < 0:
        raise AuditError(f"--seed {config.seed}: a seed is a whole number from 0 on.")
    return config


def command_run(options: argparse.Namespace) -> int:
    """Audit a model and write the reports; the verdict's exit code."""
    from audit.folders import alone_in

    config, out = asked_of(options)
    with alone_in(out):
        forget(out, config.baseline)
        if config.run.executor == "local":
            return audit_into(out, config, options)
        return audit_elsewhere(out, config, options)


def asked_of(options: argparse.Namespace) -> tuple[Config, Path]:
    """The config, and the folder that is written into, which is made."""
    from audit.budget import parse_budget
    from audit.folders import make_folder

    config = settled(options)
    if config.run.budget is not None:
        parse_budget(config.run.budget)
    out = Path(config.out)
    make_folder(out)
    return config, out


def audit_into(out: Path, config: Config, options: argparse.Namespace) -> int:
    """Audit the model as it is asked for, and write the reports into a folder; the verdict's exit code."""
    from audit.entrypoints import reporter
    from audit.job import Job
    from audit.judge import read_record

    baseline = read_record(config.baseline) if config.baseline else None
    policy = config.judge_policy(options.fail_on)
    job = Job(options.model, config, policy, baseline, out / "evidence")
    with reporter("console").Progress() as progress:
        progress.stage(f"Opening {options.model}")
        with place_of(job, apart=options.apart) as place:
            return concluded(place, job, out, progress)


def concluded(place: Place, job: Job, out: Path, progress: Any) -> int:
    """Ask at a place, judge, and write the reports; the verdict's exit code."""
    from audit.conducting import conduct
    from audit.entrypoints import reporter

    record = conduct(
        place,
        policy=job.policy,
        profile=job.config.profile,
        baseline=job.baseline,
        budget=job.config.run.budget,
        watch=progress.check,
    )
    progress.stage("Writing the report")
    record.report = job.config.report
    paths = write_reports(record, out, job.config.run.format)
    say(reporter("console").summary(record, paths["html"]))
    return record.verdict.exit_code


def audit_elsewhere(out: Path, config: Config, options: argparse.Namespace) -> int:
    """Have an executor work at the pieces, and judge them; the verdict's exit code."""
    from audit.capture import Answers
    from audit.entrypoints import reporter
    from audit.executors import EXECUTORS

    asked = config.run
    with reporter("console").Progress() as progress:
        progress.stage(f"Opening {options.model}")
        manifest, path = planned(out, config, options)
        progress.stage(f"{len(manifest.asked())} pieces on {asked.executor}")
        EXECUTORS[asked.executor](path, asked.workers, asked.address)
        return concluded(Answers(manifest, out), manifest.job(out), out, progress)


def planned(out: Path, config: Config, options: argparse.Namespace) -> tuple[Manifest, Path]:
    """Plan an audit; its manifest, and where that is written."""
    from audit.capture import Manifest
    from audit.job import Job
    from audit.judge import read_record

    baseline = read_record(config.baseline) if config.baseline else None
    policy = config.judge_policy(options.fail_on)
    job = Job(options.model, config, policy, baseline, out / "evidence", shared=True)
    with place_of(job, apart=options.apart) as place:
        agenda = place.agenda()
    manifest = Manifest(
        model=options.model,
        config=config.model_dump(mode="json"),
        fail_on=options.fail_on,
        agenda=agenda,
    )
    return manifest, manifest.write(out)


def command_plan(options: argparse.Namespace) -> int:
    """Plan an audit and write its manifest."""
    from audit.entrypoints import reporter
    from audit.folders import alone_in

    config, out = asked_of(options)
    with alone_in(out), reporter("console").Progress() as progress:
        progress.stage(f"Opening {options.model}")
        manifest, path = planned(out, config, options)
    say(f"{path}: {len(manifest.asked())} pieces")
    return 0


def command_work(options: argparse.Namespace) -> int:
    """Answer those pieces of a plan that are selected and have no answer yet."""
    from audit.capture import Answers, Manifest, only, selected
    from audit.conducting import course_of
    from audit.entrypoints import reporter
    from audit.ledger import Ledger

    path = Path(options.manifest)
    manifest = Manifest.read(path)
    numbers = selected(options.select, manifest.asked())
    known = Answers(manifest, path.parent)
    open_ = [n for n in numbers if known.read(n) is None]
    if open_:
        job, agenda = manifest.job(path.parent), only(manifest.agenda, open_)
        with reporter("console").Progress() as progress:
            progress.stage(f"Opening {manifest.model}")
            with place_of(job, apart=options.apart) as place:
                place.follow(agenda, Ledger())
                for number, answer in place.answers(agenda, course_of(agenda, progress.check)):
                    known.write(number, answer)
    say(f"{path}: {len(numbers)} pieces answered, {len(open_)} of them now")
    return 0


def command_collect(options: argparse.Namespace) -> int:
    """Judge a plan whose pieces are answered, and write the reports; the verdict's exit code."""
    from audit.capture import Answers, Manifest
    from audit.entrypoints import reporter
    from audit.folders import alone_in

    path = Path(options.manifest)
    manifest, out = Manifest.read(path), path.parent
    job = manifest.job(out)
    with alone_in(out), reporter("console").Progress() as progress:
        answers = Answers(manifest, out)
        answers.agenda()
        forget(out, job.config.baseline)
        return concluded(answers, job, out, progress)


@contextlib.contextmanager
def place_of(job: Job, *, apart: bool) -> Iterator[Place]:
    """Where the checks of a job are asked: in processes apart, or in this one."""
    from audit.budget import bytes_of, seconds_of

    if not apart:
        yield job.opened()
        return
    from audit.workers import Workers

    asked = job.config.run
    with Workers(
        job,
        number=asked.workers if asked.executor == "local" else 1,
        deadline=seconds_of(asked.deadline) if asked.deadline else None,
        memory=bytes_of(asked.memory) if asked.memory else None,
    ) as workers:
        yield workers


def forget(out: Path, baseline: str | None) -> None:
    """Remove the reports of an earlier run, so that nobody takes them for those of this one."""
    for name in ("record.json", *REPORTS.values(), *ASKED.values()):
        path = out / name
        if baseline is None or path.resolve() != Path(baseline).resolve():
            path.unlink(missing_ok=True)


def write_reports(record: AuditRecord, out: Path, asked: Sequence[str] = ()) -> dict[str, Path]:
    """record.json, report.html, summary.md, junit.xml, and the step summary where one is set.

    Args:
        asked: formats beside them; one that cannot be written costs itself and nothing else.
    """
    from audit.entrypoints import reporter
    from audit.record import write_atomic

    paths = {"json": record.save(out / "record.json")}
    reporter("html").keep_drawings(out / "evidence" / "drawings")
    for name, file in REPORTS.items():
        paths[name] = write_atomic(out / file, reporter(name).render(record))
    for name in dict.fromkeys(asked):
        try:
            paths[name] = write_atomic(out / ASKED[name], reporter(name).render(record))
        except Exception as error:  # noqa: BLE001 - the record and the verdict stand without it
            complain(f"audit: {ASKED[name]} could not be written ({error}).")
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if step:
        summary = paths["markdown"].read_text(encoding="utf-8")
        try:
            with open(step, "a", encoding="utf-8") as stream:
                stream.write(summary[: STEP_SUMMARY_LIMIT - 1024])
        except OSError as error:
            complain(f"audit: the step summary could not be written ({error.strerror}).")
    return paths


def command_init(options: argparse.Namespace) -> int:
    """Write an audit.toml with all that can be inferred of a model."""
    from audit.initialising import write_config

    fresh = options.config is not None and not Path(options.config).exists()
    path = Path(options.config if fresh else "audit.toml")
    if path.exists() and not options.force:
        raise AuditError(
            "audit.toml is already there; pass --force to write it anew: its [subject] is kept."
        )
    say(write_config(options.model, settled(options, fresh=fresh), path))
    return 0


def command_render(options: argparse.Namespace) -> int:
    """Make a report from a record again, judged anew where a policy or baseline is given."""
    from audit.config import read_config
    from audit.entrypoints import reporter
    from audit.judge import Policy, judge, read_record
    from audit.record import write_atomic

    record = read_record(options.record)
    if options.config or options.baseline or options.fail_on:
        if options.config:
            config = read_config(Path(options.config))
            policy = config.judge_policy(options.fail_on)
            record.report = config.report
        else:
            policy = Policy.of(record.policy)
            policy.fail_on = options.fail_on or policy.fail_on
        baseline = read_record(options.baseline) if options.baseline else None
        record = judge(record, policy, baseline=baseline)
    printable = {"full": options.full} if options.format in PRINTABLE else {}
    made: str | bytes = (
        record.to_json()
        if options.format == "json"
        else reporter(options.format).render(record, **printable)
    )
    if options.out:
        write_atomic(options.out, made)
        say(options.out)
    elif isinstance(made, str):
        say(made)
    else:
        raise AuditError(f"--format {options.format} is no text; name a file with --out.")
    return record.verdict.exit_code


def command_compare(options: argparse.Namespace) -> int:
    """Say what got worse between two records; 1 where something did, beyond chance."""
    from audit.entrypoints import reporter
    from audit.judge import read_record
    from audit.judge.comparison import compare
    from audit.judge.judging import ALPHA

    changes = compare(read_record(options.baseline), read_record(options.record))
    if not changes:
        raise AuditError("The two records share no check with outcomes per sample.")
    threshold = ALPHA / len(changes)
    say(reporter("console").comparison(changes, threshold))
    return int(any(c.worse and c.p < threshold for c in changes))


def command_checks(options: argparse.Namespace) -> int:
    """List the checks in the reader's order, and the plug-ins that cannot be imported."""
    from audit.manifest import manifest, order

    found = manifest()
    areas = sorted({check.area for check in found.checks.values()})
    if options.area and options.area not in areas:
        raise AuditError(f"There is no area {options.area!r}; there are {', '.join(areas)}.")
    width = max(map(len, found.checks))
    for check_id in sorted(found.checks, key=order):
        if not options.area or found.checks[check_id].area == options.area:
            say(f"{check_id:<{width}}  {found.checks[check_id].title}")
    for name, message in found.broken.items():
        complain(f"audit: the plug-in {name} could not be imported: {message}")
    return 0


def command_explain(options: argparse.Namespace) -> int:
    """Tell what a check asks, how it measures, and its parameters in each profile."""
    from audit.manifest import known, manifest

    checks = manifest().checks
    check = checks[known(options.check, checks)]
    say(f"{check.id} ({check.kind})\n\n{check.explanation}\n\nParameters:")
    for parameter in check.parameters:
        shown = {profile: literal(value) for profile, value in parameter.defaults.items()}
        same = len(set(shown.values())) == 1
        told = shown["standard"] if same else ", ".join(f"{p} {v}" for p, v in shown.items())
        more = f"\n      {parameter.description}" if parameter.description else ""
        say(f"  {parameter.name} = {told}{more}")
    return 0


def literal(value: object) -> str:
    """A parameter's value as it may be written in a config."""
    return f"{value:g}" if isinstance(value, float) else repr(value)


def command_zoo(options: argparse.Namespace) -> int:
    """List the reference models, or describe one by measuring it."""
    from audit.entrypoints import zoo
    from audit.loading import zoo_model

    if options.name:
        say(describe_zoo(zoo_model(options.name)))
        return 0
    width = max(map(len, zoo()))
    for name, entry in zoo().items():
        say(f"{name:<{width}}  {entry.load().summary}")
    return 0


def command_selftest(options: argparse.Namespace) -> int:
    """Plant faults in reference models; 0 where all are found and no clean twin is flagged."""
    from audit.entrypoints import reporter
    from audit.folders import alone_in, make_folder
    from audit.record import write_atomic
    from audit.selftesting import chosen, selftest

    if options.list:
        for fault in chosen(options.fault):
            say(f"{fault.name:<22} {fault.check:<28} {fault.what}")
        return 0
    import torch

    torch.set_num_threads(1)  # tiny models: a second thread costs more than it saves
    chosen(options.fault)
    out = Path(options.out)
    make_folder(out)
    with alone_in(out), reporter("console").Progress() as progress:
        record = selftest(
            options.fault,
            profile=options.profile,
            seed=options.seed,
            out=out,
            stage=progress.stage,
            watch=progress.check,
        )
        page = write_atomic(out / "selftest.html", reporter("html").render_selftest(record))
    say(reporter("console").selftest(record, page))
    return 0 if record.passed else 1


def measured_quality(subject: Any) -> Any:
    """The headline of the check that answers the core question how good a model of its task is."""
    from audit.plan import plan

    check = next(p.check for p in plan(subject) if p.check.core == "quality" and not p.state)
    return check.measure(subject).metrics[0]


def describe_zoo(model: Any) -> str:
    """The card of a reference model, a fact a line; its quality is measured now."""
    import audit
    from audit.words import value_text

    subject = audit.load(f"zoo:{model.name}")
    quality = measured_quality(subject)
    fails = "; ".join(model.fails) or "no expectation of severity high or above"
    lines = {
        "model": f"zoo:{model.name}: {model.summary}",
        "task": subject.meta.task,
        "architecture": model.arch,
        "parameters": f"{subject.summary().parameters:,}",
        "quality": f"{quality.name.replace('_', ' ')} {value_text(quality)}",
        "data": model.source,
        "recipe": model.recipe,
        "limits": model.limits,
        "audit fails": f"{fails} (exit code {model.exit_code})",
        "undecided": "; ".join(model.undecided) or "nothing beyond what is tolerated",
        "digest": subject.weights_digest(),
    }
    return "\n".join(f"{key:<13} {value}" for key, value in lines.items())
