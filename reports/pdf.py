"""record → PDF, printed by a browser that is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from audit.errors import AuditError
from audit.record import AuditRecord
from audit.reports import html

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-pdf-header-footer",
)
SECONDS = 120


def render(record: AuditRecord, *, full: bool = False) -> bytes:
    """The report as it is printed: page one and the findings; all of it where `full`.

    Raises:
        AuditError: there is no browser that prints, or it does not.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise AuditError(
            "A PDF is printed by a browser, and none is installed here (Chromium, Chrome, Edge); "
            "install one, or open the html and print it."
        )
    with tempfile.TemporaryDirectory() as folder:
        page, printed = Path(folder, "report.html"), Path(folder, "report.pdf")
        page.write_text(html.render(record, full=full), encoding="utf-8")
        # The page holds no script and no address; a sandbox cannot be had by root.
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [browser, *QUIET, *sandbox, f"--user-data-dir={folder}/profile"]
        try:
            subprocess.run(
                [*command, f"--print-to-pdf={printed}", page.as_uri()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )
            return printed.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise AuditError(
                f"{browser} did not print the report ({type(error).__name__}); open the html and "
                "print it."
            ) from None
