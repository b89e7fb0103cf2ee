"""Chromium, if it is on this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["BROWSER", "browsing"]

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
_PATIENCE_S = 120.0


@contextmanager
def browsing(url: str, home: Path) -> Iterator[None]:
    """Show a page, without a proxy; ``home`` is for all that the browser keeps."""
    assert BROWSER is not None
    flags = ["headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"]
    flags += ["disable-background-networking", "disable-component-update", "disable-sync"]
    flags += ["no-proxy-server", f"user-data-dir={home}"]
    browser = subprocess.Popen(
        [BROWSER, *(f"--{flag}" for flag in flags), url],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        browser.terminate()
        browser.wait(_PATIENCE_S)
