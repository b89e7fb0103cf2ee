"""The live page of a running buffr: what it is sent as, and what it shows of real exchanges."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from admin_client import Admin
from attrs import define, field
from fake_admin import STATIC, stream_events
from live_page import BROWSER, browser, looking
from playwright.sync_api import Browser, expect

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer
from buffr.testing.upstream import Step

needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not on this machine")

SETTINGS = """# The settings of a shop.
reverse:
  - target: 'UPSTREAM'  # the shop's API
    port: 0
    mode: auto
    cassette: auto.json
  - target: 'UPSTREAM'
    port: 0
    mode: replay
    cassette: replay.json
"""
JSON = (b"Content-Type", b"application/json")
MARKUP = b"<h1>Shop</h1><script>top.hacked = 1</script><img src=x onerror='top.hacked = 1'>"
CHAT = {
    "model": "gpt-5-mini",
    "stream": True,
    "messages": [{"role": "user", "content": "When do I get my money?"}],
}
RECORDED_ID = "0b9f9d53-3a0e-4b7e-9e0c-0c2a1c9f1a11"
SENT_ID = "7c1de7a2-51b4-4f0e-8a43-d21fb3ee6b02"


def order(identity: str, amount: int = 3) -> dict[str, object]:
    return {"request_id": identity, "amount": amount, "sku": "B4"}


def recorded() -> str:
    """A cassette with the answer to one order."""
    request = {"method": "POST", "path": "/orders", "headers": {}}
    response = {
        "status": 200,
        "headers": {"Content-Type": ["application/json"], "Content-Length": ["19"]},
        "body": '{"state":"waiting"}',
    }
    asked = {**request, "body": json.dumps(order(RECORDED_ID))}
    element = {"type": "http", "http": {"request": asked, "response": response}}
    return json.dumps({"version": 1, "interactions": [element]}, indent=2)


@define(eq=False)
class Shop:
    """The upstream; its stream goes on by one event each time that it is let."""

    steps: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        if b"chat" in received.target:
            return self._stream()
        if b"page" in received.target:
            return answer(MARKUP, headers=((b"Content-Type", b"text/html"),))
        return answer(json.dumps({"ok": True}).encode(), headers=(JSON,))

    def _stream(self) -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        yield b"Transfer-Encoding: chunked\r\n\r\n"
        for event in stream_events():
            assert self.steps.acquire(timeout=120)
            yield b"%x\r\n%b\r\n" % (len(event), event.encode())
        yield b"0\r\n\r\n"

    def go_on(self, events: int) -> None:
        self.steps.release(events)


@define(eq=False)
class Place:
    directory: Path
    buffr: BuffrProcess
    admin: Admin
    shop: Shop
    client: httpx.Client = field(factory=lambda: httpx.Client(trust_env=False, timeout=60))

    @property
    def page(self) -> str:
        return f"{self.admin.url}/#token={self.admin.token}"

    def url(self, port: int, path: str) -> str:
        return f"http://127.0.0.1:{self.buffr.ports[port]}{path}"

    def meanwhile(self, ask: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    shop = Shop()
    (tmp_path / "replay.json").write_text(recorded())
    with FakeUpstream(shop) as upstream:
        (tmp_path / "buffr.yaml").write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=tmp_path, env=environment, listeners=2) as buffr:
            yield Place(tmp_path, buffr, Admin.of(buffr, tmp_path), shop)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


class TestServed:
    def test_files_are_compressed_once_and_known_again(self, place: Place) -> None:
        url = f"{place.admin.url}/static/app.js"
        text = (STATIC / "app.js").read_bytes()
        for codings, coded in (("gzip, br", True), ("identity", False), ("gzip;q=0", False)):
            with place.client.stream("GET", url, headers={"Accept-Encoding": codings}) as found:
                sent = b"".join(found.iter_raw())
            assert (found.headers.get("Content-Encoding") == "gzip") is coded
            assert (gzip.decompress(sent) if coded else sent) == text
            assert found.headers["Vary"] == "Accept-Encoding"
            known = {"Accept-Encoding": codings, "If-None-Match": found.headers["ETag"]}
            assert place.client.get(url, headers=known).status_code == 304

    def test_the_policy_allows_no_code_but_files(self, place: Place) -> None:
        policy = place.client.get(place.admin.url).headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy


@needs_browser
class TestShown:
    def test_exchanges_as_they_come(self, place: Place, chromium: Browser) -> None:
        with looking(chromium, place.page) as sight:
            expect(sight.page.locator("main")).to_contain_text("Nothing has come through yet")
            for _ in range(2):
                place.client.get(place.url(0, "/v1/things"))
            expect(sight.rows()).to_have_count(2)
            expect(sight.rows().first).to_contain_text("cassette")
            sight.press("j")
            verdict = sight.page.locator(".verdict")
            expect(verdict).to_contain_text("Answered from the cassette")
            expect(verdict).to_contain_text("by interaction 0 of")
            expect(sight.page.locator(".side").last).to_contain_text('"ok": true')

    def test_a_stream_as_it_comes(self, place: Place, chromium: Browser) -> None:
        with looking(chromium, place.page) as sight:
            asking = place.meanwhile(
                lambda: place.client.post(place.url(0, "/v1/chat/completions"), json=CHAT)
            )
            place.shop.go_on(3)
            expect(sight.rows()).to_have_count(1)
            sight.press("j", "Enter")
            said = sight.page.locator(".said").last
            expect(said).to_have_text("Good news:")
            place.shop.go_on(3)
            expect(said).to_have_text("Good news: the half that")
            expect(sight.page.locator(".caret")).to_be_visible()
            place.shop.go_on(100)
            expect(said).to_contain_text("within three days.")
            expect(sight.page.locator(".verdict")).to_contain_text("Recorded as interaction 0")
            expect(sight.page.locator(".caret")).to_have_count(0)
            asking.join()

    def test_recorded_markup_is_text(self, place: Place, chromium: Browser) -> None:
        place.client.get(place.url(0, "/page"))
        with looking(chromium, place.page) as sight:
            # The browser says that it has kept scripts from running, and the page from loading.
            sight.forgiven = "Blocked script|ERR_BLOCKED_BY_RESPONSE"
            expect(sight.rows()).to_have_count(1)
            sight.press("j")
            side = sight.page.locator(".side").last
            expect(side).to_contain_text("<script>top.hacked")
            side.get_by_role("button", name="Show as a page").click()
            heading = sight.page.frame_locator("iframe").get_by_role("heading")
            expect(heading).to_have_text("Shop")
            assert sight.page.evaluate("globalThis.hacked") is None


@needs_browser
class TestMisses:
    def test_a_rule_is_accepted_and_undone(self, place: Place, chromium: Browser) -> None:
        def ask() -> int:
            return place.client.post(place.url(1, "/orders"), json=order(SENT_ID)).status_code

        settings = place.directory / "buffr.yaml"
        before = settings.read_text()
        assert ask() == 599
        with looking(chromium, place.page) as sight:
            main = sight.at("misses")
            expect(main.locator(".verdict")).to_contain_text("the same in all but 1 place")
            expect(main.locator(".difference tbody tr")).to_contain_text("/request_id")
            expect(main.locator(".effect")).to_contain_text("1 of 1")
            sight.press("a")
            expect(sight.page.locator(".toast")).to_contain_text("The rule holds")
            assert ask() == 200
            written = settings.read_text()
            assert "$.request_id" in written.partition("cassette: replay.json")[2]
            assert "# the shop's API" in written
            sight.press("u")
            expect(sight.page.locator(".toast")).to_contain_text("It is undone.")
            assert settings.read_text() == before
            assert ask() == 599

    def test_what_was_meant_is_recorded_once(self, place: Place, chromium: Browser) -> None:
        def ask() -> int:
            sent = order(RECORDED_ID, amount=4)
            return place.client.post(place.url(1, "/orders"), json=sent).status_code

        assert ask() == 599
        with looking(chromium, place.page) as sight:
            main = sight.at("misses")
            expect(main.locator(".difference tbody tr")).to_contain_text("/amount")
            expect(main.get_by_role("heading", name="The change looks meant")).to_be_visible()
            sight.press("r")
            expect(sight.page.locator(".toast")).to_contain_text("The next such request asks")
            assert ask() == 200
        assert ask() == 200

    def test_the_mode_is_switched(self, place: Place, chromium: Browser) -> None:
        assert place.client.get(place.url(1, "/new")).status_code == 599
        with looking(chromium, place.page) as sight:
            expect(sight.rows()).to_have_count(1)
            sight.press("j")
            modes = sight.page.get_by_role("group", name="Mode")
            auto = modes.get_by_role("button", name="auto")
            auto.click()
            expect(auto).to_have_attribute("aria-pressed", "true")
            assert place.client.get(place.url(1, "/new")).status_code == 200


@needs_browser
class TestCassettes:
    def test_a_recording_is_edited_and_replayed(self, place: Place, chromium: Browser) -> None:
        def ask() -> httpx.Response:
            return place.client.post(place.url(1, "/orders"), json=order(RECORDED_ID))

        assert ask().json() == {"state": "waiting"}
        with looking(chromium, place.page) as sight:
            main = sight.at("cassettes")
            main.get_by_role("button", name="replay.json").click()
            main.get_by_role("searchbox", name="Search recordings").fill("waiting")
            expect(main.locator(".find mark")).to_have_text("waiting")
            main.locator(".find").click()
            main.get_by_role("button", name="Edit").click()
            text = main.get_by_role("textbox", name="The body of the answer")
            text.fill(text.input_value().replace("waiting", "sent yesterday"))
            checks = main.locator(".checks")
            expect(checks).to_contain_text("content-length follows: 26 instead of 19.")
            expect(checks).to_contain_text("It passes the checks of buffr cassette verify.")
            sight.press("Control+s")
            expect(sight.page.locator(".toast")).to_contain_text("Saved.")
            found = ask()
            assert found.text == '{"state":"sent yesterday"}'
            assert found.headers["Content-Length"] == "26"
        cassette = json.loads((place.directory / "replay.json").read_text())
        body = cassette["interactions"][0]["http"]["response"]["body"]
        assert body == '{"state":"sent yesterday"}'

    def test_a_fault_is_refused(self, place: Place, chromium: Browser) -> None:
        before = (place.directory / "replay.json").read_bytes()
        with looking(chromium, place.page) as sight:
            sight.forgiven = "422"
            main = sight.at("cassettes")
            main.get_by_role("button", name="replay.json").click()
            main.locator(".find").click()
            main.get_by_role("button", name="Edit").click()
            main.get_by_role("button", name="Whole element").click()
            text = main.get_by_role("textbox", name="The element of the cassette")
            text.fill(text.input_value().replace("200", '"two hundred"'))
            expect(main.get_by_role("alert")).to_contain_text("status")
            sight.press("Control+s")
            expect(main.get_by_role("alert")).to_contain_text("status")
        assert (place.directory / "replay.json").read_bytes() == before

    def test_a_recording_is_deleted(self, place: Place, chromium: Browser) -> None:
        with looking(chromium, place.page) as sight:
            main = sight.at("cassettes")
            main.get_by_role("button", name="replay.json").click()
            main.locator(".find").click()
            main.get_by_role("button", name="Delete").click()
            sight.page.get_by_role("button", name="Delete it").click()
            expect(sight.page.locator(".toast")).to_contain_text("is deleted")
        sent = order(RECORDED_ID)
        assert place.client.post(place.url(1, "/orders"), json=sent).status_code == 599


@needs_browser
class TestOverview:
    def test_it_tells_what_was_saved(self, place: Place, chromium: Browser) -> None:
        place.shop.go_on(100)
        for _ in range(2):
            place.client.post(place.url(0, "/v1/chat/completions"), json=CHAT)
        with looking(chromium, place.page) as sight:
            expect(sight.rows()).to_have_count(2)
            main = sight.at("overview")
            tiles = main.locator(".tile")
            expect(tiles.first).to_contain_text("50.0 %")
            expect(tiles.nth(2)).to_contain_text("418 in, 83 out")
            expect(main.locator(".plot canvas")).to_have_count(3)
            expect(main.locator(".routes-table tbody tr")).to_have_count(2)
            main.get_by_text("As a table").first.click()
            expect(main.locator("details table").first).to_be_visible()

    def test_cache_without_one(self, place: Place, chromium: Browser) -> None:
        with looking(chromium, place.page) as sight:
            main = sight.at("cache")
            expect(main.get_by_role("heading")).to_have_text("No route is in mode cache")

    def test_stored_answers_are_purged(self, tmp_path: Path, chromium: Browser) -> None:
        shop = Shop()
        with FakeUpstream(shop) as upstream:
            row = {"target": upstream.url, "port": 0, "mode": "cache", "ttl": "1h"}
            (tmp_path / "buffr.yaml").write_text(json.dumps({"reverse": [row]}))
            with BuffrProcess.run("serve", cwd=tmp_path, env={"BUFFR_ADMIN": "0"}) as buffr:
                place = Place(tmp_path, buffr, Admin.of(buffr, tmp_path), shop)
                for _ in range(2):
                    place.client.get(place.url(0, "/things"))
                assert len(upstream.received) == 1
                with looking(chromium, place.page) as sight:
                    main = sight.at("cache")
                    expect(main.locator(".tile b").first).to_have_text("1")
                    main.get_by_role("button", name="Purge everything").click()
                    dialog = sight.page.get_by_role("dialog")
                    dialog.get_by_role("button", name="Purge everything").click()
                    expect(sight.page.locator(".toast")).to_have_text("1 stored answer removed.")
                    expect(main.locator(".tile b").first).to_have_text("0")
                place.client.get(place.url(0, "/things"))
                assert len(upstream.received) == 2
