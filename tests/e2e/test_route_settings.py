"""Ports, rows of the gateway, hosts and ``forward`` all obey what a route may say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen
from bench import interactions
from forward_bench import secure_origin, trust_file
from raw_http import Answer, RawClient

from buffr.testing import BuffrProcess, FakeUpstream, answer, chunked

KINDS = ("reverse", "gateway", "host", "forward")
OLD = {
    "type": "http",
    "http": {
        "recorded_at": "2020-01-01T00:00:00.000Z",
        "request": {"method": "GET", "path": "/x", "headers": {}},
        "response": {"status": 200, "headers": {}, "body": "old"},
    },
}


@frozen
class Row:
    """A running buffr with one row of some kind."""

    process: BuffrProcess
    kind: str
    target: str

    def ask(self, path: str, host: str | None = None) -> Answer:
        """The answer to a GET by way of the row."""
        authority = self.target.partition("://")[2]
        target = {"reverse": path, "gateway": f"/api{path}"}.get(self.kind, f"{self.target}{path}")
        with RawClient(self.process.ports[0], timeout_s=60) as client:
            fields = f"GET {target} HTTP/1.1\r\nHost: {host or authority}\r\n\r\n"
            client.send(fields.encode())
            return client.answer()


def written(kind: str, target: str, row: dict[str, Any]) -> dict[str, Any]:
    """A file's settings with one row of some kind, which says this."""
    match kind:
        case "reverse":
            return {"reverse": [{"target": target, "port": 0, **row}]}
        case "gateway":
            return {"gateway": {"port": 0, "routes": {"api": {"target": target, **row}}}}
        case "host":
            host = target.partition("://")[2].partition(":")[0]
            return {"forward": {"port": 0, "hosts": [{"host": host, **row}]}}
        case _:
            return {"forward": {"port": 0, **row}}


@contextmanager
def running(directory: Path, kind: str, target: str, row: dict[str, Any]) -> Iterator[Row]:
    (directory / "buffr.yaml").write_text(yaml.safe_dump(written(kind, target, row)))
    with BuffrProcess.run("serve", cwd=directory) as process:
        yield Row(process, kind, target)


@pytest.mark.parametrize("kind", KINDS)
class TestRecordings:
    def test_record_statuses(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "auto", "record_statuses": [503]}
        with (
            FakeUpstream(lambda _: answer(b"busy", status=b"503 Busy")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert [at.ask("/x").status for _ in range(2)] == [503, 503]
            assert len(upstream.received) == 1

    def test_repeat(self, tmp_path: Path, kind: str) -> None:
        """``once``: what was replayed once is asked for again."""
        row = {"mode": "auto", "repeat": "once"}
        with (
            FakeUpstream(lambda _: answer(b"%d" % len(upstream.received))) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert [at.ask("/x").body for _ in range(2)] == [b"1", b"2"]

    def test_replay_delays(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "auto", "replay_delays": True}
        with (
            FakeUpstream(lambda _: chunked([b"a", b"b"], delay_s=0.3)) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            at.ask("/x")
            since = time.monotonic()
            assert at.ask("/x").body == b"ab"
            assert time.monotonic() - since > 0.2
            assert len(upstream.received) == 1

    def test_share(self, tmp_path: Path, kind: str) -> None:
        """Two equal requests at once are two calls, each of which waits for the other here."""
        row = {"mode": "auto", "share": False}
        both = threading.Barrier(2)

        def script(_: object) -> bytes:
            both.wait(timeout=60)
            return answer(b"x")

        with (
            FakeUpstream(script) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            threads = [threading.Thread(target=at.ask, args=("/x",)) for _ in range(2)]
            for one in threads:
                one.start()
            assert len(upstream.wait_for(2, timeout_s=60)) == 2
            for one in threads:
                one.join()

    def test_re_record_after(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "c.json").write_text(json.dumps({"version": 1, "interactions": [OLD]}))
        row = {"mode": "auto", "cassette": "c.json", "re_record_after": "30d"}
        with (
            FakeUpstream(lambda _: answer(b"new")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert at.ask("/x").body == b"new"

    def test_cassette(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "auto", "cassette": "named.json"}
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            at.ask("/x")
        assert len(interactions(tmp_path / "named.json")) == 1

    def test_match(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "auto", "match": {"query": ["ts"]}}
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert [at.ask(f"/x?ts={n}").body for n in range(2)] == [b"x", b"x"]
            assert len(upstream.received) == 1


@pytest.mark.parametrize("kind", KINDS)
class TestUpstream:
    def test_mode(self, tmp_path: Path, kind: str) -> None:
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, {"mode": "passthrough"}) as at,
        ):
            assert [at.ask("/x").status for _ in range(2)] == [200, 200]
            assert len(upstream.received) == 2

    def test_keep_host(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "passthrough", "keep_host": True}
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            at.ask("/x", host="kept.test")
            assert upstream.received[0].header(b"host") == b"kept.test"

    def test_limits(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "auto", "limits": {"per_hour": 1, "max_delay": 0}}
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert [at.ask(path).status for path in ("/a", "/b", "/a")] == [200, 429, 200]

    def test_resolve(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "passthrough", "resolve": "127.0.0.1"}
        with FakeUpstream(lambda _: answer(b"x")) as upstream:
            target = upstream.url.replace("127.0.0.1", "nowhere.test")
            with running(tmp_path, kind, target, row) as at:
                assert at.ask("/x").body == b"x"

    def test_via(self, tmp_path: Path, kind: str) -> None:
        with FakeUpstream(lambda _: answer(b"parent")) as parent:
            row = {"mode": "passthrough", "via": parent.url}
            with running(tmp_path, kind, "http://api.test:80", row) as at:
                assert at.ask("/x").body == b"parent"
            assert parent.received[0].target == b"http://api.test/x"

    def test_lenient(self, tmp_path: Path, kind: str) -> None:
        """Lines that end in LF alone are repaired, unless they are not to be."""
        row = {"mode": "passthrough", "upstream": {"lenient": False}}
        with (
            FakeUpstream(lambda _: b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx") as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert at.ask("/x").status == 502


@pytest.mark.parametrize("kind", KINDS)
class TestCache:
    def test_ttl_and_store(self, tmp_path: Path, kind: str) -> None:
        row = {"mode": "cache", "ttl": "1h", "store": "sqlite:answers.db"}
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert [at.ask("/x").body for _ in range(2)] == [b"x", b"x"]
            assert len(upstream.received) == 1
        assert (tmp_path / "answers.db").exists()

    def test_methods(self, tmp_path: Path, kind: str) -> None:
        """Only the answers to these are kept."""
        row = {"mode": "cache", "ttl": "1h", "store": "memory:", "methods": ["POST"]}
        with (
            FakeUpstream(lambda _: answer(b"x")) as upstream,
            running(tmp_path, kind, upstream.url, row) as at,
        ):
            assert [at.ask("/x").body for _ in range(2)] == [b"x", b"x"]
            assert len(upstream.received) == 2


@pytest.mark.parametrize("kind", ["reverse", "gateway"])
def test_ca_file(tmp_path: Path, kind: str) -> None:
    """Behind the forward proxy, ``test_forward_upstreams`` tries TLS."""
    with secure_origin() as upstream:
        target = upstream.url.replace("127.0.0.1", "localhost")
        row = {"mode": "passthrough", "ca_file": str(trust_file(tmp_path))}
        with running(tmp_path, kind, target, row) as at:
            assert at.ask("/x").status == 200
