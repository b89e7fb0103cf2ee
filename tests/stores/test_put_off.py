"""The keys of recordings are computed once a lookup may find them, and no lookup misses one."""

from __future__ import annotations

import json
import os
from gc import collect
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from attrs import define, field
from turns import Turns
from twisted.internet.task import Clock

from buffr.errors import CassetteError
from buffr.interaction import IndexEntry
from buffr.matching.key import MatchKey, RecordedKey
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules
from buffr.message import Headers, Request
from buffr.stores.cassette.store import Cassette, CassetteStore
from buffr.transport.turn import Turn

JSON: Headers = ((b"Content-Type", b"application/json"),)
SECRET = "sk-proj-1a2B3c4D5e6F7g8H9i0J1a2B3c4D5e6F7g8H9i0J"


def get(target: str) -> dict[str, Any]:
    path, mark, query = target.partition("?")
    return {"method": "GET", "path": path, **({"query": query} if mark else {})}


def post(body: str, path: str = "/v1/chat") -> dict[str, Any]:
    headers = {"Content-Type": ["application/json"]}
    return {"method": "POST", "path": path, "headers": headers, "body": body}


@define
class Opened:
    """A cassette that was opened for a route, and how many keys were computed."""

    path: Path
    requests: list[dict[str, Any]]
    turns: Turns = field(factory=Turns)
    matcher: Matcher = field(factory=lambda: Matcher(MatchRules(), with_origin=False))
    keys: int = 0
    store: CassetteStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        rest = {"response": {"status": 200}, "recorded_at": "2026-01-01T00:00:00Z"}
        exchanges = [{"request": one, **rest} for one in self.requests]
        elements = [{"type": "http", "http": one} for one in exchanges]
        self.path.write_text(json.dumps({"version": 1, "interactions": elements}, indent=2))
        cassette = Cassette(
            self.path, redact=lambda _: lambda one: one, call_from_thread=self.turns.call,
            turn=Turn(Clock()), warn=print, access="replay",
        )  # fmt: skip
        self.store = cassette.view(self._key_of, self.matcher.rough)
        cassette.open()

    def _key_of(self, entry: IndexEntry) -> RecordedKey:
        self.keys += 1
        return self.matcher.recorded_key(entry)

    def find(self, method: str, target: str, body: str = "") -> list[int]:
        headers = JSON if body else ()
        request = Request(method.encode(), target.encode(), headers)
        identity = self.matcher.live(request, body.encode())
        for keys in (identity.keys, identity.headerless):
            found = self.turns.run(self.store.find(keys))
            if found is not None:
                return list(found.places)
        return []

    def close(self) -> None:
        self.turns.run(self.store.close())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.json"


class TestAtTheStart:
    def test_no_key_is_computed(self, path: Path) -> None:
        gets = [get(f"/items/{number}?page={number % 7}") for number in range(200)]
        posts = [post(json.dumps({"user": f"{number:04d}"})) for number in range(200)]
        opened = Opened(path, gets + posts)
        assert opened.keys == 0
        assert opened.find("GET", "/items/7?page=0") == [7]
        assert opened.find("POST", "/v1/chat", '{"user":"0003"}') == [203]
        assert opened.keys < 10
        assert opened.find("GET", "/items/7?page=1") == []
        assert opened.find("POST", "/v1/chat", '{"user":"0203"}') == []
        assert opened.keys < 10
        opened.close()

    def test_each_key_is_computed_once(self, path: Path) -> None:
        opened = Opened(path, [get("/a"), get("/b")])
        for _ in range(3):
            assert opened.find("GET", "/a") == [0]
        assert opened.keys == 1
        opened.close()

    def test_what_probably_answers_is_read_once(self, path: Path) -> None:
        """For its key and for the answer; of several nobody knows yet which one answers."""
        opened = Opened(path, [get("/a"), get("/b"), get("/b")])
        recordings = opened.store.interactions.recordings
        assert opened.find("GET", "/b") == [1, 2]
        assert len(recordings.decoded) == 0
        assert opened.find("GET", "/a") == [0]
        known = recordings.decoded.get(0)
        assert known is not None
        assert opened.turns.run(opened.store.load(0)) is known
        opened.close()

    def test_no_long_request_is_kept_for_that(self, path: Path) -> None:
        """Its key has its body, and there may be many."""
        opened = Opened(path, [get("/a")])
        key = MatchKey((("path", b"/b"), ("query", b""), ("body", bytes(200_000))))
        assert opened.turns.run(opened.store.find([key])) is None
        assert opened.store.index.waiting
        held = ref(key)
        del key
        collect()
        assert held() is None

    def test_a_late_view_puts_them_off_too(self, path: Path) -> None:
        opened = Opened(path, [get(f"/{number}") for number in range(50)])
        late = opened.store.interactions.view(opened._key_of, opened.matcher.rough)
        identity = opened.matcher.live(Request(b"GET", b"/7", ()), b"")
        found = opened.turns.run(late.find((*identity.keys, *identity.headerless)))
        assert found is not None
        assert list(found.places) == [7]
        assert opened.keys == 1
        opened.close()


class TestOrder:
    def test_equal_requests_in_all_spellings(self, path: Path) -> None:
        """Some are filed at once, some later: the order is that of the file."""
        spellings = ['{"a": 1, "é": 2}', '{"\\u00e9": 2, "a": 1}', '{"é":2,"a":1}']
        opened = Opened(path, [post(spellings[number % 3]) for number in range(60)])
        assert 0 < opened.keys < 60
        assert opened.find("POST", "/v1/chat", '{"a":1,"é":2}') == list(range(60))
        opened.close()

    def test_recordings_in_clear(self, path: Path) -> None:
        """What another program recorded may contain credentials: they make no difference."""
        secrets = [f"{SECRET}{number:04d}" for number in range(40)]
        requests = [post(json.dumps({"api_key": one, "n": 1})) for one in secrets]
        others = [post(json.dumps({"text": f"{number}"})) for number in range(300)]
        opened = Opened(path, requests + others)
        live = json.dumps({"api_key": f"{SECRET}9999", "n": 1})
        assert opened.find("POST", "/v1/chat", live) == list(range(40))
        assert opened.find("POST", "/v1/chat", '{"text": "7"}') == [47]
        opened.close()

    def test_a_credential_in_the_path(self, path: Path) -> None:
        opened = Opened(path, [get("/x"), get(f"/bot{SECRET}/send"), get("/y")])
        assert opened.find("GET", f"/bot{SECRET}/send") == [1]
        assert opened.find("GET", "/y") == [2]
        opened.close()

    def test_values_that_may_be_data(self, path: Path) -> None:
        """A dummy key only answers for the one that was recorded if there is no other one."""
        keyed = "/v1?key=0f8fad5bd9cb469fa16570867728950e"
        for others, answers in (
            ([], True),
            ([get("/v2?key=9f86d081884c7d659a2feaa0c55ad015")], False),
        ):
            opened = Opened(path, [get(keyed), *others])
            request = Request(b"GET", b"/v1?key=1c6f65dd41e27d05a9a9dd6c5f94ac02", ())
            identity = opened.matcher.live(request, b"")
            assert identity.loose
            found = opened.turns.run(opened.store.find_loose(identity.loose))
            assert (found is not None) is answers
            opened.close()


class TestAChangedFile:
    def test_what_cannot_be_read_is_no_miss(self, path: Path) -> None:
        opened = Opened(path, [get("/a"), get("/b")])
        text = path.read_bytes()
        status = path.stat()
        path.write_bytes(text.replace(b'"/a"', b'"/c"'))  # in place, and not noticed in this turn
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        index = opened.store.index
        key = opened.matcher.live(Request(b"GET", b"/a", ()), b"")
        with pytest.raises(CassetteError, match="interaction 0 is gone"):
            opened.turns.run(opened.store.settle((*key.keys, *key.headerless)))
        assert opened.store.index is index
        assert opened.find("GET", "/c") == [2]
        assert opened.find("GET", "/a") == []
        opened.close()
