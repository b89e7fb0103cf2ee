"""A browser's page that calls an API across origins, by way of a reverse port."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import eventually
from browsers import BROWSER, browsing

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

PATIENCE_S = 120.0

_PAGE = """<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body><script>
(async () => {
  const found = [];
  for (const method of ["PUT", "DELETE"]) {
    const answer = await fetch("API/data", {method, headers: {"X-One": "1"}});
    found.push(await answer.text());
  }
  await fetch("/done/" + found.join("-"));
})().catch((error) => fetch("/done/" + encodeURIComponent(error)));
</script></body></html>"""


class _Pages:
    """Serves the page; keeps what its script found."""

    def __init__(self, api: str) -> None:
        self._page = _PAGE.replace("API", api).encode()
        self.found: list[str] = []

    def __call__(self, received: Received) -> bytes:
        if received.target.startswith(b"/done/"):
            self.found.append(received.target.removeprefix(b"/done/").decode())
            return answer(b"")
        return answer(self._page, headers=((b"Content-Type", b"text/html"),))


def api(received: Received) -> bytes:
    """Allows the origin that asks, and the method that it asks for."""
    origin = (b"Access-Control-Allow-Origin", received.header(b"Origin") or b"-")
    if received.method != b"OPTIONS":
        return answer(b"done-" + received.method, headers=(origin,))
    method = received.header(b"Access-Control-Request-Method") or b"-"
    allowed = (b"Access-Control-Allow-Methods", method)
    headers = (b"Access-Control-Allow-Headers", b"x-one")
    return answer(b"", b"204 No Content", headers=(origin, allowed, headers))


def _seen(buffr: BuffrProcess, home: Path) -> str:
    """What a page finds that is served on a port of its own: another origin each time."""
    pages = _Pages(buffr.url)
    with FakeUpstream(pages) as site, browsing(site.url + "/", home):
        return eventually(lambda: pages.found, PATIENCE_S)[0]


@pytest.mark.skipif(BROWSER is None, reason="chromium is not on this machine")
class TestPreflights:
    def test_each_method_is_allowed_as_it_was(self, tmp_path: Path) -> None:
        """Recorded from one origin, replayed to pages of two others."""
        flags = ("--port", "0", "--cassette", "api.json")
        with (
            FakeUpstream(api) as upstream,
            BuffrProcess.run("auto", "--target", upstream.url, *flags, cwd=tmp_path) as recording,
        ):
            assert _seen(recording, tmp_path / "one") == "done-PUT-done-DELETE"
            assert [one.method for one in upstream.received] == [
                b"OPTIONS", b"PUT", b"OPTIONS", b"DELETE",
            ]  # fmt: skip
        with BuffrProcess.run("replay", *flags, cwd=tmp_path) as replaying:
            assert _seen(replaying, tmp_path / "two") == "done-PUT-done-DELETE"
            assert _seen(replaying, tmp_path / "three") == "done-PUT-done-DELETE"
