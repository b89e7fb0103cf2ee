"""Credentials stay in memory: not in a cassette, not in a log line, not in an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, Place, eventually
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps

SECRET = b"s3cr3t0123456789abcdefghijklmnopqrstuv"
DUMMY = b"dummy"

HEADERS = [
    b"Authorization: Bearer %b",
    b"authorization: %b",
    b"Proxy-Authorization: Basic %b",
    b"Cookie: a=%b; b=2",
    b"X-Api-Key: %b",
    b"api-key: %b",
    b"X-Goog-Api-Key: %b",
    b"X-Acme-Api-Key: %b",
]
QUERIES = [
    b"?key=%b",
    b"?a=1&api_key=%b&b=2",
    b"?access_token=%b",
    b"?token=%b#",
    b"?sig=%b",
    b"?API%%5FKEY=%b",
    b"?password=%b",
]


def pair(line: bytes, value: bytes) -> tuple[bytes, bytes]:
    name, _, rest = (line % value).partition(b": ")
    return name, rest


def bytes_on_disk(directory: Path) -> bytes:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return b"\n".join([str(path).encode() + path.read_bytes() for path in files])


class TestDummyKeys:
    """Recorded with a real key, replayed with any other, or in CI with none worth hiding."""

    @pytest.mark.parametrize("line", HEADERS)
    def test_in_a_header(self, place: Place, line: bytes) -> None:
        place.counts()
        real = request(place.path, headers=[pair(line, SECRET)])
        dummy = request(place.path, headers=[pair(line, DUMMY)])
        assert place.ask("auto", real).body == b"1"
        for route in ("auto", "replay"):
            for raw in (dummy, real, request(place.path)):
                assert place.ask(route, raw).body == b"1"

    @pytest.mark.parametrize("query", [query for query in QUERIES if b"#" not in query])
    def test_in_the_query(self, place: Place, query: bytes) -> None:
        place.counts()
        real, dummy = (request(place.path + query % value) for value in (SECRET, DUMMY))
        assert place.ask("auto", real).body == b"1"
        assert place.ask("replay", dummy).body == place.ask("replay", real).body == b"1"
        assert place.ask("auto", real).body == b"1"
        # An opaque value under a name that may mean data is asked for where that can be.
        opaque = query.startswith(b"?key=")
        assert place.ask("auto", dummy).body == (b"2" if opaque else b"1")
        assert place.ask("replay").status == 599, "but a field that is missing is missing"


class TestUpstream:
    def test_it_gets_the_real_values(self, place: Place) -> None:
        """Redaction is for what is kept, not for what is sent."""
        place.answers(answer(b"ok"))
        lines = [line for line in HEADERS if not line.startswith(b"Proxy")]
        target = place.path + b"?key=%b" % SECRET
        place.ask("auto", request(target, headers=[pair(line, SECRET) for line in lines]))
        received = place.received()[0]
        assert received.target == target
        assert received.raw.count(SECRET) == len(lines) + 1

    def test_the_live_client_gets_the_real_cookie(self, place: Place) -> None:
        cookie = (b"Set-Cookie", b"session=%b; Path=/; Secure" % SECRET)
        place.answers(answer(b"ok", headers=[cookie]))
        assert place.ask("auto").header(b"Set-Cookie") == cookie[1]
        replayed = place.ask("auto").header(b"Set-Cookie")
        assert replayed is not None
        assert replayed.startswith(b"session=REDACTED-")
        assert replayed.endswith(b"; Path=/; Secure")


SETTINGS = """
reverse:
  - {{target: "{url}", port: 0, cassette: auto.json}}
  - {{target: "{url}", port: 0, cassette: record.json, mode: record}}
  - {{target: "{url}", port: 0, cassette: auto.json, mode: replay}}
  - {{target: "http://127.0.0.1:1", port: 0, cassette: down.json}}
redact: {{headers: [x-mine], query: [mine]}}
log: {{format: {form}}}
limits: {{linger_s: 0, body_memory_bytes: 1000}}
"""


class TestTraces:
    """Seed defect 6: credentials stood in clear in a file that all could read."""

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_none_is_left_anywhere(self, tmp_path: Path, form: str) -> None:
        """Whole answers, broken ones, misses, errors, refusals: every file, every line."""
        go_on = threading.Event()
        fields = [
            (b"Set-Cookie", b"session=%b; HttpOnly" % SECRET),
            (b"X-Amz-Security-Token", SECRET),
            (b"Location", b"https://u:%b@example.com/?token=%b#access_token=%b" % (3 * (SECRET,))),
            (b"X-Mine", SECRET),
        ]

        def script(received: Received) -> bytes | Iterator[Step]:
            if b"broken" in received.target:
                head = answer(b"", headers=fields).replace(b": 0", b": 9")
                return steps(head + b"half", None)
            if b"slow" in received.target:
                go_on.wait(120)
            return answer(b"ok", headers=fields)

        queries = [query % SECRET for query in QUERIES if b"#" not in query]
        targets = [b"/x" + query for query in [b"", *queries, b"?mine=%b" % SECRET]]
        headers = [pair(line, SECRET) for line in [*HEADERS, b"x-mine: %b"]]
        bodies = [None, b"x" * 5000]
        with FakeUpstream(script) as upstream:
            (tmp_path / "buffr.yaml").write_text(SETTINGS.format(url=upstream.url, form=form))
            with BuffrProcess.run("serve", cwd=tmp_path, listeners=4) as running:
                auto, record, replay, down = running.ports
                for port in (auto, record):
                    for target in targets:
                        for body in bodies:
                            raw = request(target, method=b"POST", headers=headers, body=body)
                            assert ask(port, raw).status == 200
                for port in (replay, down):
                    missing = request(b"/no" + targets[1], headers=headers)
                    got = ask(port, missing)
                    assert got.status in (502, 599)
                    assert SECRET not in got.body
                for raw in (
                    request(b"/broken?key=%b" % SECRET, headers=headers),
                    request(b"http://u:%b@h.test/?key=%b" % (SECRET, SECRET), headers=headers),
                    b"GET /x?key=%b HTTP/1.1\r\nAuthorization: %b\r\n\r\n" % (SECRET, SECRET),
                    b"GET /x?key=%b HTTP/9.9\r\nAuthorization: %b\r\n\r\n" % (SECRET, SECRET),
                ):
                    with RawClient(auto) as client:
                        client.send(raw)
                        client.finish()
                        answered = client.rest()
                    assert answered.count(SECRET) in (0, 5, 6), "what upstream said, at most"
                leaving = RawClient(auto)
                leaving.send(request(b"/slow?key=%b" % SECRET, headers=headers))
                upstream.wait_for(len(upstream.received) + 1)
                leaving.reset()
                running.wait_for("499")
                go_on.set()
        assert (tmp_path / "auto.d").is_dir() is False
        for trace in (bytes_on_disk(tmp_path), running.log().encode()):
            assert SECRET not in trace
            assert SECRET.hex().encode() not in trace
        assert b"REDACTED" in bytes_on_disk(tmp_path)
        assert "REDACTED" in running.log()

    def test_a_large_recording_leaves_none_either(self, tmp_path: Path) -> None:
        """Its bodies have files of their own; whatever is beside the cassette is 0600 as well."""
        with FakeUpstream(lambda _: answer(2_000_000 * b"x")) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", "api.json")
            with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
                raw = request(
                    b"/x?key=%b" % SECRET,
                    method=b"POST",
                    headers=[(b"Authorization", b"Bearer " + SECRET)],
                    body=1_500_000 * b"y",
                )
                assert ask(running.ports[0], raw).status == 200
        assert SECRET not in bytes_on_disk(tmp_path)
        bodies = list((tmp_path / "api.d").iterdir())
        assert len(bodies) == 2
        assert {path.stat().st_mode & 0o777 for path in bodies} == {0o600}
        assert (tmp_path / "api.d").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "api.json").stat().st_mode & 0o777 == 0o600


class TestLog:
    def test_a_key_in_the_query_is_named_and_not_shown(self, bench: Bench, place: Place) -> None:
        place.answers(answer(b"ok"))
        place.ask("auto", request(place.path + b"?a=1&key=%b" % SECRET))
        line = eventually(place.log)[0]
        assert f'"GET /{place.mark.decode()}?a=1&key=REDACTED"' in line
        assert SECRET.decode() not in bench.process.log()
