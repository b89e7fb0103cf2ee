"""Recordings on the admin listener: found, shown, edited, removed; scopes and caches."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from admin_client import Admin
from attrs import define, field

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer, chunked
from buffr.testing.upstream import Step

KEY = "sk-aaaaaaaaaaaaaaaaaaaaaaaa1"
SETTINGS = """
reverse:
  - {target: 'UPSTREAM', port: 0, mode: auto, cassette: one.json}
  - {target: 'UPSTREAM', port: 0, mode: auto, cassette: two.json, store: 'memory:'}
  - {target: 'UPSTREAM', port: 0, mode: cache, ttl: 1h, limits: {per_minute: 1000}}
"""


@define(eq=False)
class Place:
    """A buffr with a cassette, a set in memory and a cache, and its admin listener."""

    buffr: BuffrProcess
    admin: Admin
    directory: Path
    client: httpx.Client = field(factory=lambda: httpx.Client(trust_env=False, timeout=30))

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.buffr.ports[number]}"

    def get(self, path: str, number: int = 0, **query: Any) -> httpx.Response:
        return self.client.get(f"{self.url(number)}{path}", **query)

    def found(self, text: str = "", **query: Any) -> list[Any]:
        """All that a search finds, page by page."""
        items: list[Any] = []
        page: Any = {"next": ""}
        while page["next"] is not None:
            page = self.admin.get("/api/interactions", q=text, cursor=page["next"], **query)
            items += page["items"]
        return items


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("interactions")

    def script(request: Received) -> bytes | Iterator[Step]:
        if b"/stream" in request.target:
            return chunked([b"data: 1\n\n"] * 3, [(b"Content-Type", b"text/event-stream")])
        fields = [(b"Content-Type", b"application/json")]
        body = json.dumps({"path": request.target.decode()}).encode()
        if b"/coded" in request.target:
            return answer(gzip.compress(body), headers=[*fields, (b"Content-Encoding", b"gzip")])
        return answer(body, headers=fields)

    with FakeUpstream(script) as upstream:
        (directory / "buffr.yaml").write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=directory, env=environment, listeners=3) as buffr:
            yield Place(buffr, Admin.of(buffr, directory), directory)


class TestFound:
    def test_in_url_header_and_body(self, place: Place) -> None:
        place.get("/search/a", headers={"X-Needle": "Header-Needle"})
        place.get("/search/coded/body-needle")
        place.get("/search/b?url-needle")
        place.get("/search/memory-needle", 1)
        for text, where in (
            ("url-needle", "url"),
            ("header-needle", "header"),
            ("MEMORY-NEEDLE", "url"),
        ):
            (one,) = place.found(text)
            assert one["found_in"] == where
        (one,) = place.found("body-needle", **{"in": "body"})
        detail = place.admin.get(f"/api/interactions/{one['id']}")
        body = detail["response"]["body"]
        assert (body["coding"], body["decoded"]) == ("gzip", True)
        assert json.loads(body["data"]) == {"path": "/search/coded/body-needle"}
        assert not place.found("no-needle")

    def test_page_by_page(self, place: Place) -> None:
        for number in range(40):
            place.get(f"/paged/{number}")
        paths = [one["path"] for one in place.found("/paged/", limit=7)]
        assert paths == [f"/paged/{number}" for number in range(40)]
        store = place.found("/paged/")[0]["store"]
        everything = place.found(store=store, limit=11)
        assert [one["index"] for one in everything] == list(range(len(everything)))

    def test_the_stores(self, place: Place) -> None:
        place.get("/stored")
        stores = {one["kind"]: one for one in place.admin.get("/api/stores")["items"]}
        assert stores["cassette"]["name"] == "one.json"
        assert stores["cassette"]["writable"] is True
        assert stores["memory"]["writable"] is False
        (route, *_) = place.admin.get("/api/routes")["items"]
        assert route["store"] == stores["cassette"]["id"]

    def test_a_stream_and_what_it_took(self, place: Place) -> None:
        place.get("/stream")
        (one,) = place.found("/stream")
        assert (one["kind"], one["chunks"]) == ("sse", 3)
        assert one["duration_ms"] >= 0
        detail = place.admin.get(f"/api/interactions/{one['id']}")
        assert [chunk["size_bytes"] for chunk in detail["response"]["chunks"]] == [9, 9, 9]

    def test_an_exchange_leads_to_its_recording(self, place: Place) -> None:
        for _ in range(2):
            place.get("/led-to")
        (recording,) = place.found("/led-to")
        for one in place.admin.get("/api/exchanges", q="path:/led-to")["items"]:
            detail = place.admin.get(f"/api/exchanges/{one['id']}")
            assert detail["summary"]["interaction"]["id"] == recording["id"]


class TestChanged:
    def test_edited_and_replayed(self, place: Place) -> None:
        assert place.get("/edited").json() == {"path": "/edited"}
        (one,) = place.found("/edited")
        url = f"/api/interactions/{one['id']}"
        element = place.admin.get(url)["element"]
        element["http"]["response"]["body"] = json.dumps({"edited": True, "key": KEY})
        changed = place.admin.ask("PUT", url, {"element": element, "note": "by a test"})
        assert changed["summary"]["note"] == "by a test"
        replayed = place.get("/edited")
        assert replayed.json()["edited"] is True
        assert KEY not in replayed.text
        assert KEY not in (place.directory / "one.json").read_text()
        # The old state is gone, and so is its id.
        place.admin.ask("PUT", url, {"note": ""}, status=404)
        again = place.admin.ask(
            "PUT", f"/api/interactions/{changed['summary']['id']}", {"note": ""}
        )
        assert again["summary"]["note"] is None

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"status": "x"}, "status"),
            ({"headers": {"bad name": ["x"]}}, "headers"),
            ({"headers": {"X": ["a\r\nb"]}}, "headers"),
            ({"chunks": [[1, 0]]}, "chunks"),
        ],
    )
    def test_not_into_what_cannot_be_relied_on(
        self, place: Place, change: dict[str, Any], problem: str
    ) -> None:
        place.get("/faulty")
        (one,) = place.found("/faulty")
        url = f"/api/interactions/{one['id']}"
        element = place.admin.get(url)["element"]
        element["http"]["response"] |= change
        before = (place.directory / "one.json").read_bytes()
        error = place.admin.ask("PUT", url, {"element": element}, status=422)["error"]
        assert problem in error["problems"][0]
        assert (place.directory / "one.json").read_bytes() == before

    def test_removed(self, place: Place) -> None:
        place.get("/removed")
        (one,) = place.found("/removed")
        place.admin.ask("DELETE", f"/api/interactions/{one['id']}", status=204)
        assert not place.found("/removed")
        place.admin.ask("DELETE", f"/api/interactions/{one['id']}", status=404)
        exchanges = place.admin.get("/api/exchanges", q="path:/removed")["items"]
        place.get("/removed")
        again = place.admin.get("/api/exchanges", q="path:/removed")["items"]
        assert len(again) == len(exchanges) + 1
        assert again[0]["source"] == "upstream"

    def test_not_in_memory(self, place: Place) -> None:
        place.get("/in-memory", 1)
        (one,) = place.found("/in-memory")
        place.admin.ask("DELETE", f"/api/interactions/{one['id']}", status=409)


class TestRunning:
    def test_a_scope_is_reset(self, place: Place) -> None:
        def scopes() -> dict[str, Any]:
            return {one["scope"]: one for one in place.admin.get("/api/scopes")["items"]}

        for _ in range(3):
            place.get("/scope", headers={"X-Buffr-Scope": "a.b"})
        assert scopes()["a.b"]["counts"]["cassette"] == 2
        assert scopes()["a.b"]["keys"] == 1
        place.admin.ask("POST", "/api/scopes/a%2Eb/reset")
        assert scopes()["a.b"]["keys"] == 0
        place.admin.ask("POST", "/api/scopes/nobody/reset", status=404)

    def test_a_cache_is_purged(self, place: Place) -> None:
        for path in ("/cache/a", "/cache/b", "/cache/c"):
            place.get(path, 2)
        (store,) = place.admin.get("/api/cache")["stores"]
        assert (store["kind"], store["entries"], store["fresh"]) == ("sqlite", 3, 3)
        url = place.admin.get("/api/routes")["items"][2]["upstream"] + "/cache/a"
        assert place.admin.ask("POST", "/api/cache/purge", {"url": url}) == {"purged": 1}
        route = f"reverse-{place.buffr.ports[2]}"
        assert place.admin.ask("POST", "/api/cache/purge", {"route": route}) == {"purged": 2}
        assert place.admin.ask("POST", "/api/cache/purge", {"everything": True}) == {"purged": 0}
        place.admin.ask("POST", "/api/cache/purge", {}, status=400)

    def test_limits(self, place: Place) -> None:
        place.get("/limited", 2)
        (one,) = place.admin.get("/api/limits")["items"]
        (window,) = one["windows"]
        assert (window["per"], window["limit"]) == ("minute", 1000)
        assert window["used"] >= 1
