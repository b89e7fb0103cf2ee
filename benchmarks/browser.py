"""The live page in Chromium, and what the page says of itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.process import Failed

__all__ = ["LivePage", "browser", "opened"]

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
_PATIENCE_MS = 60_000
_SETTLED_MS = 500
_WATCH = """
globalThis.longest = 0;
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) longest = Math.max(longest, each.duration);
}).observe({ type: "longtask" });
"""


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
        """Wait until it has loaded what came before, and forget how long that took."""
        before = -1
        while (now := self.exchanges()) != before:
            before = now
            self.page.wait_for_timeout(_SETTLED_MS)
        self.longest_ms()

    def longest_ms(self) -> float:
        """Its longest task since the last time; 0 if none took over 50 ms."""
        found: float = self.page.evaluate("[longest, longest = 0][0]")
        return found

    def heap_bytes(self) -> int:
        """What its script holds, with no garbage."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("HeapProfiler.collectGarbage")
        found: int = session.send("Runtime.getHeapUsage")["usedSize"]
        session.detach()
        return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium. It runs on the core of the load, as this process does."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise Failed("chromium is not installed")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=[*_FLAGS, *_QUIET])
        try:
            yield found
        finally:
            found.close()


@contextmanager
def opened(browser: Browser, directory: Path) -> Iterator[LivePage]:
    """The live page of a buffr whose data are in a directory."""
    admin = json.loads((directory / "buffr-admin.json").read_text())
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(_WATCH)
    try:
        page.goto(f"{admin['url']}#token={admin['token']}")
        status = page.locator(".footer [role=status]")
        expect(status).to_contain_text("connected", timeout=_PATIENCE_MS)
        yield LivePage(page)
    finally:
        page.close()
