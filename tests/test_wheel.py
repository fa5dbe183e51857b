"""The built wheel carries all it needs, away from the clone."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_works_in_another_environment_away_from_the_clone(tmp_path):
    import shutil

    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info")
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            tmp_path / "dist",
            source,
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.stat().st_size < 25_000_000
    assert "audit/checks/manifest.json" in zipfile.ZipFile(wheel).namelist()
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    # The dependencies are borrowed from here; the package itself is the wheel's.
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", wheel],
        check=True,
        capture_output=True,
    )
    (site / "borrowed.pth").write_text(
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    where = subprocess.run(
        [python, "-c", "import audit, audit.checks; print(audit.__file__, audit.checks.__file__)"],
        cwd=work,
        env=clean,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.count(str(environment)) == 2
    found = subprocess.run(
        [environment / "bin" / "audit", "run", "zoo:digits-mlp", "--profile", "quick"],
        cwd=work,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    record = json.loads((work / "audit-report" / "record.json").read_text())
    assert record["verdict"]["counts"]["met"] >= 8
    assert (work / "audit-report" / "report.html").stat().st_size > 50_000
