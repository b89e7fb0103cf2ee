"""Misses on the admin listener: explained, helped by a rule, or recorded by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from admin_client import Admin
from attrs import define, field

from buffr.testing import BuffrProcess, FakeUpstream, answer

SETTINGS = """\
# What is replayed in this test.
reverse:
  - target: 'UPSTREAM'   # the first one
    port: 0
    mode: auto
    cassette: c.json  # keep
  - {target: 'UPSTREAM/other', port: 0, mode: passthrough}
gateway:
  port: 0
  routes:
    named: {target: 'UPSTREAM', mode: replay, cassette: g.json}
"""


@define(eq=False)
class Place:
    """A buffr that has recorded something, in mode replay now."""

    buffr: BuffrProcess
    admin: Admin
    file: Path
    client: httpx.Client = field(factory=lambda: httpx.Client(trust_env=False, timeout=30))

    @property
    def route(self) -> str:
        return f"reverse-{self.buffr.ports[0]}"

    def ask(self, path: str, **body: Any) -> int:
        url = f"http://127.0.0.1:{self.buffr.ports[0]}{path}"
        return self.client.post(url, json={"q": "hello", **body}).status_code

    def switch(self, mode: str) -> Any:
        return self.admin.ask("POST", "/api/mode", {"route": self.route, "mode": mode})

    def miss(self, path: str) -> Any:
        items = self.admin.get("/api/misses")["items"]
        (found,) = [one for one in items if one["url"].endswith(path)]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    def script(_: object) -> bytes:
        return answer(b"{}", headers=[(b"Content-Type", b"application/json")])

    with FakeUpstream(script) as upstream:
        file = tmp_path / "buffr.yaml"
        file.write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=tmp_path, env=environment, listeners=3) as buffr:
            yield Place(buffr, Admin.of(buffr, tmp_path), file)


def id_of(number: int) -> str:
    return str(uuid4()) if number else "0b9f9d53-3a0e-4b7e-9e0c-0c2a1c9f1a11"


class TestMiss:
    def test_explained_helped_by_a_rule_and_undone(self, place: Place) -> None:
        assert place.ask("/a", id=id_of(0), kind="x") == 200
        place.switch("replay")
        assert place.ask("/a", id=id_of(1), kind="x") == 599
        assert place.ask("/a", id=id_of(2), kind="x") == 599
        miss = place.miss("/a")
        assert miss["count"] == 2
        nearest = miss["nearest"][0]
        (difference,) = nearest["differences"]
        assert (difference["part"], difference["pointer"]) == ("body", "/id")
        assert difference["noise"] == "random id"
        assert nearest["rule"] == {"json": ["$.id"]}
        assert nearest["rule_is_enough"] is True
        assert {"method", "path"} <= set(miss["same"])

        wanted = {"route": place.route, "match": nearest["rule"]}
        before = place.file.read_text()
        trial = place.admin.ask("POST", "/api/rules", wanted)
        assert (trial["misses"], trial["misses_helped"]) == (2, 2)
        assert (trial["recordings"], trial["kept"], trial["merged"]) == (1, 1, 0)
        added = [line["text"].strip() for line in trial["diff"] if line["kind"] == "+"]
        assert added == ["match:", "json:", "- '$.id'"]
        assert place.file.read_text() == before
        assert place.ask("/a", id=id_of(3), kind="x") == 599

        accepted = place.admin.ask("POST", "/api/rules", wanted | {"accept": True})["accepted"]
        assert place.ask("/a", id=id_of(4), kind="x") == 200
        text = place.file.read_text()
        assert [line for line in before.splitlines() if line not in text.splitlines()] == []
        assert "# keep" in text
        assert not place.admin.get("/api/misses")["items"]
        assert place.admin.get("/api/rules")["items"] == [accepted]

        place.admin.ask("DELETE", f"/api/rules/{accepted['id']}")
        assert place.file.read_text() == before
        assert place.ask("/a", id=id_of(5), kind="x") == 599

    def test_recordings_that_would_become_one(self, place: Place) -> None:
        for number in range(3):
            place.ask("/b", id=id_of(number), n=number % 2)
        place.switch("replay")
        wanted = {"route": place.route, "match": {"json": ["$.id", "$.n"]}}
        trial = place.admin.ask("POST", "/api/rules", wanted)
        assert (trial["recordings"], trial["kept"], trial["merged"]) == (3, 0, 3)
        assert trial["groups"] == [[0, 1, 2]]
        place.admin.ask("POST", "/api/rules", wanted | {"accept": True}, status=409)
        place.admin.ask("POST", "/api/rules", wanted | {"accept": True, "merge": True})
        assert place.ask("/b", id=id_of(9), n=7) == 200

    def test_recorded_by_hand(self, place: Place) -> None:
        place.switch("replay")
        assert place.ask("/c", n=1) == 599
        miss = place.miss("/c")
        assert miss["can_record"] is True
        place.admin.ask("POST", "/api/record-once", {"exchange": miss["exchanges"][0]})
        assert place.ask("/c", n=2) == 200
        assert place.ask("/c", n=2) == 200
        assert place.ask("/c", n=3) == 599
        sources = [one["source"] for one in place.admin.get("/api/exchanges", q="path:/c")["items"]]
        assert sources == ["miss", "cassette", "upstream", "miss"]
        recorded = json.loads((place.file.parent / "c.json").read_text())["interactions"]
        assert len(recorded) == 1

    def test_of_the_gateway(self, place: Place) -> None:
        url = f"http://127.0.0.1:{place.buffr.ports[2]}/named/d"
        assert place.client.get(url).status_code == 599
        place.admin.ask("POST", "/api/record-once", {"exchange": place.miss("/d")["exchanges"][0]})
        assert place.client.get(f"{url}?t=2026-11-29T09:00:00Z").status_code == 200
        assert place.client.get(f"{url}?t=2026-11-29T10:00:00Z").status_code == 599
        wanted = {"route": "gateway-named", "match": {"query": ["t"]}, "accept": True}
        place.admin.ask("POST", "/api/rules", wanted)
        assert place.client.get(f"{url}?t=2026-11-29T11:00:00Z").status_code == 200
        assert "match: {query: ['t']}" in place.file.read_text()

    @pytest.mark.parametrize(
        "match",
        [{}, {"json": ["$["]}, {"nosuch": ["x"]}, {"ignore": [{"in": "x", "pattern": "y"}]}],
    )
    def test_a_rule_that_is_none(self, place: Place, match: Any) -> None:
        body = {"route": place.route, "match": match}
        place.admin.ask("POST", "/api/rules", body, status=400)

    def test_not_into_a_file_that_was_changed_meanwhile(self, place: Place) -> None:
        place.ask("/e", id=id_of(0))
        wanted = {"route": place.route, "match": {"json": ["$.id"]}, "accept": True}
        accepted = place.admin.ask("POST", "/api/rules", wanted)["accepted"]
        with place.file.open("a") as file:
            file.write("# mine\n")
        place.admin.ask("DELETE", f"/api/rules/{accepted['id']}", status=409)
        assert place.file.read_text().endswith("# mine\n")

    def test_forgotten(self, place: Place) -> None:
        place.switch("replay")
        place.ask("/f")
        place.admin.ask("DELETE", "/api/misses", status=204)
        assert place.admin.get("/api/misses") == {"items": []}


class TestMode:
    def test_from_each_to_each(self, place: Place) -> None:
        paths = iter(range(100))
        for mode in ("auto", "replay", "passthrough", "cache", "replay", "auto", "cache", "auto"):
            assert place.switch(mode)["mode"] == mode
            path = f"/mode/{next(paths)}"
            statuses = [place.ask(path), place.ask(path)]
            assert statuses == ([599, 599] if mode == "replay" else [200, 200])
        (route, *_) = place.admin.get("/api/routes")["items"]
        assert route["mode"] == "auto"
        assert place.admin.get("/api/config")["configuration"]["reverse"][0]["mode"] == "auto"

    def test_what_was_recorded_before_is_replayed(self, place: Place) -> None:
        assert place.ask("/before") == 200
        place.switch("replay")
        assert place.ask("/before") == 200
        assert place.ask("/after") == 599

    def test_not_to_a_mode_for_which_buffr_must_start(self, place: Place) -> None:
        place.admin.ask("POST", "/api/mode", {"route": place.route, "mode": "record"}, status=409)
        place.admin.ask("POST", "/api/mode", {"route": place.route, "mode": "nosuch"}, status=400)
        place.admin.ask("POST", "/api/mode", {"route": "nosuch", "mode": "auto"}, status=404)


class TestForwardProxy:
    def test_a_host_is_switched_and_gets_a_rule(self, tmp_path: Path) -> None:
        with FakeUpstream(lambda _: answer(b"{}")) as upstream:
            file = tmp_path / "buffr.yaml"
            file.write_text("forward: {port: 0, mode: auto}  # all hosts\n")
            environment = {"BUFFR_ADMIN": "0"}
            with (
                BuffrProcess.run("serve", cwd=tmp_path, env=environment) as buffr,
                httpx.Client(proxy=buffr.url, trust_env=False, timeout=30) as client,
            ):
                admin = Admin.of(buffr, tmp_path)

                def ask(number: int) -> int:
                    return client.post(f"{upstream.url}/x", json={"id": id_of(number)}).status_code

                assert ask(0) == 200
                (route,) = [one["id"] for one in admin.get("/api/routes")["items"]]
                admin.ask("POST", "/api/mode", {"route": route, "mode": "replay"})
                assert [ask(0), ask(1)] == [200, 599]
                wanted = {"route": route, "match": {"json": ["$.id"]}, "accept": True}
                admin.ask("POST", "/api/rules", wanted)
                assert ask(2) == 200
                assert "# all hosts" in file.read_text()
                assert "$.id" in file.read_text()
                admin.ask("POST", "/api/mode", {"route": route, "mode": "auto"})
                assert client.post(f"{upstream.url}/y").status_code == 200
                recorded = json.loads((tmp_path / "127.0.0.1.json").read_text())
                assert len(recorded["interactions"]) == 2
