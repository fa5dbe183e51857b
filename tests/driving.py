"""Commands in processes of their own, without an import of torch for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Imports torch once; then each line of standard input is a command, run as from a shell.
DRIVER = """
import json, os, resource, signal, sys
import torch
import audit.loading, audit.runner, audit.reports.html
from audit import cli
from audit.registry import registry
torch.set_num_threads(1)
registry()
registry.cache_clear()
for line in sys.stdin:
    folder, arguments, before = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.path[:0] = [folder]
        sys.argv = ["audit", *arguments]
        for name, number in (("said", 2), ("told", 1)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGINT, signal.SIGHUP):  # which a test in the background ignores
            signal.signal(number, signal.SIG_DFL)
        exec(before)
        try:
            code = cli.main()
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    print("code", os.waitstatus_to_exitcode(status), flush=True)
"""


def driven(
    commands: Sequence[tuple[Path, list[str]] | tuple[Path, list[str], str]], timeout: float = 500
) -> list[tuple[int, str, Any]]:
    """Of each command in its folder: exit code, what it said on standard error, the record or None.

    Args:
        commands: the folder, the arguments, and Python that is run in the process before the command is.
    """
    lines = [
        json.dumps([str(folder), arguments, "".join(before)])
        for folder, arguments, *before in commands
    ]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=timeout,
    )
    codes = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("code ")]
    found = []
    for code, (folder, *_) in zip(codes, commands, strict=True):
        record = folder / "audit-report" / "record.json"
        known = json.loads(record.read_text()) if record.exists() else None
        found.append((code, (folder / "said").read_text(), known))
    return found
