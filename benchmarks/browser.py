"""The live page in Chromium, and what the page says of itself."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.process import Failed

__all__ = ["BROWSER", "LivePage", "browser", "opened", "traced"]

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
_PATIENCE_MS = 60_000
_SETTLED_MS = 100
_MOST_SHOWN = 9_500
"""It loads pages of 500 until it has 10,000."""


@define(eq=False)
class LivePage:
    """One that is open."""

    page: Page

    def exchanges(self) -> int:
        """How many exchanges it keeps in its list."""
        found: int = self.page.evaluate(
            "import('/static/world.js').then((module) => module.exchanges.all.length)"
        )
        return found

    def settle(self) -> None:
        """Wait until it has loaded what came before: as much as buffr keeps, up to 10,000."""
        kept = self.page.evaluate(
            "fetch('/api/exchanges?limit=1').then((answer) => answer.json())"
            ".then(({newest, oldest}) => newest ? newest - oldest + 1 : 0)"
        )
        wanted = min(kept, _MOST_SHOWN)
        until = time.monotonic() + _PATIENCE_MS / 1000
        while self.exchanges() < wanted and time.monotonic() < until:
            self.page.wait_for_timeout(_SETTLED_MS)

    def heap_bytes(self) -> int:
        """What its script holds, with no garbage."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("HeapProfiler.collectGarbage")
        found: int = session.send("Runtime.getHeapUsage")["usedSize"]
        session.detach()
        return found


@contextmanager
def traced(page: Page) -> Iterator[list[float]]:
    """Afterwards, the milliseconds of processor time that each task of a page has taken."""
    chromium = page.context.browser
    assert chromium is not None
    tasks: list[float] = []
    chromium.start_tracing(page=page, categories=["toplevel"])
    try:
        yield tasks
    finally:
        events = json.loads(chromium.stop_tracing())["traceEvents"]
    threads = [one for one in events if one["name"] == "thread_name"]
    mains = {(one["pid"], one["tid"]) for one in threads if one["args"]["name"] == "CrRendererMain"}
    tasks += [
        one["tdur"] / 1000 for one in events if "tdur" in one and (one["pid"], one["tid"]) in mains
    ]


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium. It runs on the core of the load, if this process does."""
    if BROWSER is None:
        raise Failed("chromium is not installed")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=[*_FLAGS, *_QUIET])
        try:
            yield found
        finally:
            found.close()


@contextmanager
def opened(browser: Browser, directory: Path) -> Iterator[LivePage]:
    """The live page of a buffr whose data are in a directory."""
    admin = json.loads((directory / "buffr-admin.json").read_text())
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    try:
        page.goto(f"{admin['url']}#token={admin['token']}")
        status = page.locator(".footer [role=status]")
        expect(status).to_contain_text("connected", timeout=_PATIENCE_MS)
        yield LivePage(page)
    finally:
        page.close()
