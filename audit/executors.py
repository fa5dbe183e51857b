"""Who works at the pieces of a manifest: the tasks of a Ray cluster, or of a Slurm array. Imports no torch.

Each task is an `audit work` of one share. All need the same files at the same paths, those of the manifest's
folder among them; what a task that was lost has not answered is answered by the next that is given its share,
or by the same command once more.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from audit.errors import AuditError
from audit.streams import complain

RETRIES = 3  # of a task whose machine was lost
Work = Callable[[Path, int, str | None], None]


def command(manifest: Path, share: str) -> list[str]:
    """What answers one share, given as 'i/n'."""
    return [sys.executable, "-m", "audit", "work", str(manifest.resolve()), "--select", share]


def on_slurm(manifest: Path, tasks: int, _address: str | None) -> None:
    """Have an array of tasks work at a manifest, and wait for it.

    What they say is in `slurm-*.out` beside the manifest.

    Raises:
        AuditError: there is no Slurm here, or it takes no job.
    """
    if shutil.which("sbatch") is None:
        raise AuditError(
            "--executor slurm: there is no sbatch here; run it where jobs are submitted."
        )
    share = f"$SLURM_ARRAY_TASK_ID/{tasks}"
    line = shlex.join(command(manifest, "SHARE")).replace("SHARE", share)
    process = subprocess.Popen(
        [
            "sbatch",
            "--wait",
            "--parsable",
            f"--array=1-{tasks}",
            f"--chdir={os.getcwd()}",
            f"--output={manifest.resolve().parent}/slurm-%A_%a.out",
            f"--wrap={line}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    job = ""
    try:
        assert process.stdout is not None
        job = process.stdout.readline().split(";")[0].strip()
        _, said = process.communicate()
    except BaseException:
        process.kill()
        process.communicate()
        if job:
            subprocess.run(["scancel", job], check=False, capture_output=True)
        raise
    if not job:
        raise AuditError(
            f"--executor slurm: sbatch takes no job: {' '.join(said.split()) or 'no word why'}."
        )


def on_ray(manifest: Path, tasks: int, address: str | None) -> None:
    """Have tasks of a Ray cluster work at a manifest; of one that is started here where no address is given.

    Raises:
        AuditError: Ray is not installed, or nobody answers at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise AuditError("--executor ray: Ray is not installed; pip install 'neural-audit[ray]'.")
    import ray

    cpus = None if address else tasks
    try:
        ray.init(
            address,
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise AuditError(
            f"--executor ray: no cluster answers at {address or 'this machine'} "
            f"({' '.join(str(error).split())[:200]})."
        ) from None
    try:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(run_there)
        shares = [command(manifest, f"{i}/{tasks}") for i in range(1, tasks + 1)]
        waiting = [task.remote(share, os.getcwd()) for share in shares]
        while waiting:
            done, waiting = ray.wait(waiting)
            for reference in done:
                try:
                    said = ray.get(reference)
                except ray.exceptions.RayError as error:
                    said = f"audit: a task was lost ({type(error).__name__})."
                if said:
                    complain(said)
    finally:
        ray.shutdown()


def run_there(share: list[str], folder: str) -> str:
    """On the other machine: answer a share. What it says where it does not come to its end."""

    def leashed() -> None:
        with contextlib.suppress(OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(
                1, signal.SIGTERM
            )  # PR_SET_PDEATHSIG: it ends with this process

    done = subprocess.run(
        share,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=leashed,
    )
    return done.stderr.strip() if done.returncode else ""


EXECUTORS: dict[str, Work] = {"ray": on_ray, "slurm": on_slurm}
