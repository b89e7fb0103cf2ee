"""Request bodies over a megabyte are compared by what they mean, and slow nobody else down."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from memory import Memory
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

MB = 1 << 20
IMAGE = "aGVsbG8+" * (MB // 4)
"""Two megabytes, as JSON has them."""
RULES: dict[str, Any] = {"json": ["$.nonce"]}


def body(nonce: int = 0, image: str = IMAGE, **written: Any) -> bytes:
    said = {"model": "m", "content": [{"type": "image", "data": image}], "nonce": nonce}
    return json.dumps(said, **written).encode()


class Upstream(FakeUpstream):
    """Answers with the number of the request."""

    def __init__(self) -> None:
        self.count = 0
        super().__init__(self._numbered)

    def _numbered(self, _: Received) -> bytes:
        self.count += 1
        return answer(b"%d" % self.count)


@contextmanager
def serving(
    directory: Path, upstream: Upstream, mode: str = "auto", /, **match: Any
) -> Iterator[BuffrProcess]:
    row = {"target": upstream.url, "port": 0, "mode": mode, "cassette": "c.json", "match": match}
    (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row]}))
    with BuffrProcess.run("serve", cwd=directory, listeners=1) as running:
        yield running


def post(running: BuffrProcess, data: bytes, *fields: tuple[bytes, bytes]) -> bytes:
    kind = (b"Content-Type", b"application/json")
    raw = request(b"/x", method=b"POST", headers=(kind, *fields), body=data)
    with RawClient(running.ports[0], 60) as client:
        client.send(raw)
        return client.answer().body


def recorded(directory: Path) -> list[dict[str, Any]]:
    interactions: list[dict[str, Any]] = json.loads((directory / "c.json").read_text())[
        "interactions"
    ]
    return interactions


def forget_keys(directory: Path) -> None:
    """Make a cassette one of an earlier version."""
    cassette = json.loads((directory / "c.json").read_text())
    for each in cassette["interactions"]:
        assert each["http"]["request"].pop("body_key")
    (directory / "c.json").write_text(json.dumps(cassette, indent=2))


class TestMeaning:
    def test_one_spelling(self, tmp_path: Path) -> None:
        """Of JSON, compressed or not."""
        with Upstream() as upstream:
            with serving(tmp_path, upstream) as running:
                assert post(running, body()) == b"1"
                assert post(running, body(indent=1)) == b"1"
                assert post(running, body(sort_keys=True)) == b"1"
                coded = (b"Content-Encoding", b"gzip")
                assert post(running, gzip.compress(body(separators=(",", ":"))), coded) == b"1"
                assert post(running, body(1)) == b"2"
                assert post(running, body(image=IMAGE[8:])) == b"3"
            with serving(tmp_path, upstream, "replay") as running:
                assert post(running, body(indent=2)) == b"1"
                assert post(running, body(1)) == b"2"
                assert b"no recorded interaction" in post(running, body(2))
            assert upstream.count == 3

    def test_rules(self, tmp_path: Path) -> None:
        with Upstream() as upstream:
            with serving(tmp_path, upstream, **RULES) as running:
                assert [post(running, body(nonce)) for nonce in range(3)] == [b"1"] * 3
            with serving(tmp_path, upstream, "replay", **RULES) as running:
                assert post(running, body(7)) == b"1"

    def test_what_comes_compressed_and_short(self, tmp_path: Path) -> None:
        """A body of a few kilobytes that holds megabytes."""
        coded = (b"Content-Encoding", b"gzip")
        with Upstream() as upstream:
            with serving(tmp_path, upstream, **RULES) as running:
                assert post(running, gzip.compress(body(1)), coded) == b"1"
                assert post(running, gzip.compress(body(2)), coded) == b"1"
            with serving(tmp_path, upstream, "replay", **RULES) as running:
                assert post(running, gzip.compress(body(3)), coded) == b"1"
                assert post(running, body(3)) == b"1"

    def test_recorded_in_mode_record(self, tmp_path: Path) -> None:
        """There no key is made, so that the body streams."""
        with Upstream() as upstream:
            with serving(tmp_path, upstream, "record") as running:
                assert post(running, body(1)) == b"1"
            assert "body_key" not in recorded(tmp_path)[0]["http"]["request"]
            with serving(tmp_path, upstream, "replay", **RULES) as running:
                assert post(running, body(2)) == b"1"


class TestRecordingsFromBefore:
    """They say nothing of what their bodies mean."""

    def test_by_their_bytes_and_by_their_meaning(self, tmp_path: Path) -> None:
        with Upstream() as upstream:
            with serving(tmp_path, upstream) as running:
                for nonce in (1, 2):
                    post(running, body(nonce))
            forget_keys(tmp_path)
            with serving(tmp_path, upstream, "replay") as running:
                assert post(running, body(2)) == b"2"
                assert post(running, body(1, indent=1)) == b"1"
                assert post(running, body(2)) == b"2"
                assert b"no recorded interaction" in post(running, body(3))

    def test_new_rules_need_no_new_recording(self, tmp_path: Path) -> None:
        with Upstream() as upstream:
            with serving(tmp_path, upstream) as running:
                post(running, body(1))
            with serving(tmp_path, upstream, "replay", **RULES) as running:
                assert post(running, body(9)) == b"1"

    def test_the_start_reads_no_body(self, tmp_path: Path) -> None:
        """Not even where there is none any more."""
        with Upstream() as upstream:
            with serving(tmp_path, upstream) as running:
                post(running, body(1))
                post(running, body(2))
            forget_keys(tmp_path)
            gone, there = [each["http"]["request"]["body_file"] for each in recorded(tmp_path)]
            (tmp_path / "c.d" / gone).unlink()
            with serving(tmp_path, upstream, "replay") as running:
                assert post(running, body(2, indent=1)) == b"2"
                assert gone in running.log()
                assert there not in running.log()

    def test_an_edited_cassette(self, tmp_path: Path) -> None:
        """A key counts for the body that it was made of, and for no other."""
        with Upstream() as upstream:
            with serving(tmp_path, upstream) as running:
                post(running, body(1))
                post(running, body(2))
            text = (tmp_path / "c.json").read_text()
            cassette = json.loads(text)
            one, two = [each["http"]["request"] for each in cassette["interactions"]]
            one["body_file"], two["body_file"] = two["body_file"], one["body_file"]
            (tmp_path / "c.json").write_text(json.dumps(cassette, indent=2))
            with serving(tmp_path, upstream, "replay") as running:
                assert post(running, body(1)) == b"2"
                assert post(running, body(2, indent=1)) == b"1"


class TestLimit:
    def test_beyond_it_the_bytes_count(self, tmp_path: Path) -> None:
        """The log says so once a route."""
        with Upstream() as upstream, serving(tmp_path, upstream, body_bytes=MB, **RULES) as running:
            assert post(running, body(1)) == b"1"
            assert post(running, body(1)) == b"1"
            assert post(running, body(2)) == b"2"
            lines = [line for line in running.log().splitlines() if "match.body_bytes" in line]
            assert len(lines) == 1
            assert "POST /x" in lines[0]
            assert "level=WARN" in lines[0]


class TestOthers:
    """Who else asks meanwhile."""

    def test_they_go_on(self, tmp_path: Path) -> None:
        """A replay takes a turn between two slices of a long body."""
        rows = [{"id": at, "name": "x" * 20, "v": [at / 7, None]} for at in range(150_000)]
        large = json.dumps({"nonce": 1, "rows": rows}).encode()
        waits: list[float] = []
        with Upstream() as upstream, serving(tmp_path, upstream, **RULES) as running:
            small = request(b"/small")
            ask(running.ports[0], small)
            done = threading.Event()

            def poll() -> None:
                while not done.is_set():
                    start = time.perf_counter()
                    ask(running.ports[0], small)
                    waits.append(time.perf_counter() - start)

            polling = threading.Thread(target=poll)
            polling.start()
            start = time.perf_counter()
            post(running, large)
            took = time.perf_counter() - start
            done.set()
            polling.join()
        # Read at once, it would be one wait for most of the time.
        assert len(waits) > 10
        assert max(waits) < took / 2

    def test_many_at_once_take_the_memory_of_a_few(self, tmp_path: Path) -> None:
        with Upstream() as upstream, serving(tmp_path, upstream, **RULES) as running:
            image = IMAGE * 4
            post(running, body(0, image))
            memory = Memory(running.process.pid)
            threads = [
                threading.Thread(target=post, args=(running, body(number, image)))
                for number in range(1, 17)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert upstream.count == 1
            assert memory.more_mb < 80  # two of 8 MB, and what is on its way; not sixteen

    def test_a_client_that_leaves(self, tmp_path: Path) -> None:
        """Its body is not read on, and its slot is free again."""
        with Upstream() as upstream, serving(tmp_path, upstream, **RULES) as running:
            for number in range(6):
                with RawClient(running.ports[0]) as client:
                    data = body(number)
                    client.send(request(b"/x", method=b"POST", body=data))
            assert post(running, body(99)) in (b"1", b"2", b"3", b"4", b"5", b"6", b"7")
            assert "Traceback" not in running.log()


def test_mode_cache(tmp_path: Path) -> None:
    """Its keys are made in the same way."""
    row: dict[str, Any] = {"port": 0, "mode": "cache", "methods": ["GET", "POST"], "ttl": "1h"}
    with Upstream() as upstream:
        row["target"] = upstream.url
        (tmp_path / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row]}))
        with BuffrProcess.run("serve", cwd=tmp_path, listeners=1) as running:
            assert post(running, body(1)) == b"1"
            assert post(running, body(1, indent=1)) == b"1"
            assert post(running, body(2)) == b"2"
