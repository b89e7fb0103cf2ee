"""A browser for the live page: what it shows, and what it complains about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from attrs import define, field
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    expect,
)

from benchmarks.browser import BROWSER, browser, traced

__all__ = ["BROWSER", "Sight", "browser", "looking", "traced"]

PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)


@define(eq=False, slots=False)
class Sight:
    """One page in a context of its own.

    ``complaints`` has all errors of console and scripts but those that the
    pattern ``forgiven`` is found in.
    """

    page: Page
    origin: str
    forgiven: str | None = None
    complaints: list[str] = field(factory=list)
    elsewhere: list[str] = field(factory=list)

    def said(self, message: ConsoleMessage) -> None:
        forgiven = self.forgiven is not None and re.search(self.forgiven, message.text)
        if message.type == "error" and not forgiven:
            self.complaints.append(message.text)

    def failed(self, error: Error) -> None:
        self.complaints.append(f"{error}\n{error.stack}")

    def asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def at(self, address: str) -> Locator:
        """The main part of the page at an address behind the hash."""
        self.page.evaluate("(hash) => { location.hash = hash }", f"#/{address}")
        return self.page.locator("main")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def rows(self) -> Locator:
        return self.page.locator(".row")

    def fits_its_width(self) -> bool:
        """Whether nothing can be scrolled sideways."""
        wide = "document.documentElement.scrollWidth <= innerWidth"
        return bool(self.page.evaluate(wide))


@contextmanager
def looking(
    browser: Browser,
    url: str,
    *,
    width: int = 1440,
    height: int = 900,
    theme: Literal["light", "dark"] = "light",
    ready: bool = True,
) -> Iterator[Sight]:
    """The page at a URL. Fails in the end if it complained, or asked another host."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    origin = url.partition("#")[0]
    sight = Sight(page, origin)
    page.on("console", sight.said)
    page.on("pageerror", sight.failed)
    page.on("request", sight.asked)
    try:
        page.goto(url)
        if ready:
            expect(page.locator(".footer [role=status]")).to_contain_text("connected")
        yield sight
    finally:
        context.close()
    assert sight.complaints == []
    assert sight.elsewhere == []
