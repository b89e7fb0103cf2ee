"""Makes the pictures of the live page in ``docs/pictures``: ``make page-pictures``."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Literal

from fake_admin import fake_admin
from live_page import Sight, browser, looking
from playwright.sync_api import Browser, expect

QUALITY = 82
SIZE = (1280, 760)


def picture(sight: Sight, path: Path) -> None:
    session = sight.page.context.new_cdp_session(sight.page)
    options = {"format": "webp", "quality": QUALITY}
    data = base64.b64decode(session.send("Page.captureScreenshot", options)["data"])
    path.write_bytes(data)
    sys.stdout.write(f"{path.name} {len(data)}\n")


def take(
    chromium: Browser,
    directory: Path,
    name: str,
    address: str,
    wait: str,
    *,
    theme: Literal["light", "dark"] = "light",
    size: tuple[int, int] = SIZE,
) -> None:
    """One picture of one page; ``wait`` is a selector of what has to be there."""
    with fake_admin() as admin:
        if address == "overview":
            admin.fill(4000)
        admin.scenes()
        url = f"{admin.url}#token={admin.token}"
        with looking(
            chromium, url, theme=theme, width=size[0], height=size[1], ready=False
        ) as sight:
            # Its list first: what it has shown, other pages tell of.
            expect(sight.rows().first).to_be_visible()
            main = sight.at(address)
            expect(main.locator(wait).first).to_be_visible()
            if name == "edit":
                main.get_by_role("button", name="Edit").click()
                text = main.get_by_role("textbox", name="The body of the answer")
                text.fill(text.input_value().replace("30 days", "100 days"))
                expect(main.locator(".checks")).to_contain_text("passes the checks")
            if name == "stream":
                sight.press(*"]" * 20)
            sight.page.wait_for_timeout(700)
            picture(sight, directory / f"page-{name}.webp")


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        take(chromium, directory, "live", "live/15", ".side")
        take(chromium, directory, "dark", "live/15", ".side", theme="dark")
        take(chromium, directory, "stream", "live/14/open", ".turn")
        take(chromium, directory, "miss", "misses", ".effect")
        take(chromium, directory, "edit", "cassettes/dynamodb/d-2", ".side")
        take(chromium, directory, "overview", "overview", ".plot canvas")
        take(chromium, directory, "narrow", "live", ".row", size=(400, 760))
        take(chromium, directory, "narrow-miss", "misses/m1", ".effect", size=(400, 760))


if __name__ == "__main__":
    main()
