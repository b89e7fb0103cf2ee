"""What a replay must fit: the client's codings and patience, its port, and streams without end."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import brotli
import pytest
import requests
import yaml
from bench import eventually, interactions
from commands import run
from openai import OpenAI
from raw_http import Answer, BrokenAnswer, RawClient, ask, request

from buffr import __version__
from buffr.testing import BuffrProcess, FakeUpstream, Received, Script, Step, answer

PLAIN = b'{"a": 1}'
EVENTS = b"data: 1\n\n"


@contextmanager
def serving(directory: Path, row: dict[str, Any], **settings: Any) -> Iterator[BuffrProcess]:
    """A reverse port with a cassette of its own."""
    row = {"port": 0, "cassette": "c.json", **row}
    (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row], **settings}))
    with BuffrProcess.run("serve", cwd=directory) as running:
        yield running


@contextmanager
def upstream(script: Script) -> Iterator[FakeUpstream]:
    with FakeUpstream(script) as running:
        yield running


def recorded(directory: Path, script: Script, data: bytes) -> Answer:
    """Make a request in mode auto."""
    with upstream(script) as origin, serving(directory, {"target": origin.url}) as running:
        return ask(running.ports[0], data)


def replayed(directory: Path, data: bytes, **row: Any) -> Answer:
    """The answer of mode replay, without an upstream."""
    with serving(directory, {"mode": "replay", **row}) as running:
        return ask(running.ports[0], data)


class TestContentCodings:
    """Clients get the coding that they accept, whichever client was recorded."""

    @staticmethod
    def coded(received: Received) -> bytes:
        vary = (b"Vary", b"Accept-Encoding")
        accepted = received.header(b"accept-encoding") or b""
        if b"br" in accepted:
            return answer(brotli.compress(PLAIN), headers=[(b"Content-Encoding", b"br"), vary])
        return answer(PLAIN, headers=[vary])

    @pytest.mark.parametrize(
        ("live", "coding"),
        [
            (b"br", b"br"),
            (b"gzip, br;q=0.1", b"br"),
            (b"*", b"br"),
            (b"gzip", None),
            (b"br;q=0", None),
            (b"*;q=0, gzip", None),
            (None, None),
        ],
    )
    def test_what_is_not_accepted_is_decoded(
        self, tmp_path: Path, live: bytes | None, coding: bytes | None
    ) -> None:
        recorded(tmp_path, self.coded, request(b"/a", headers=[(b"Accept-Encoding", b"br")]))
        headers = [] if live is None else [(b"Accept-Encoding", live)]
        got = replayed(tmp_path, request(b"/a", headers=headers))
        assert got.header(b"content-encoding") == coding
        assert got.body == (PLAIN if coding is None else brotli.compress(PLAIN))

    def test_a_client_that_says_nothing_gets_what_one_like_it_got(self, tmp_path: Path) -> None:
        """Some servers encode without being asked."""
        data = answer(gzip.compress(PLAIN), headers=[(b"Content-Encoding", b"gzip")])
        recorded(tmp_path, lambda _: data, request(b"/a"))
        assert gzip.decompress(replayed(tmp_path, request(b"/a")).body) == PLAIN

    def test_a_stream_keeps_its_chunks(self, tmp_path: Path) -> None:
        encoder = brotli.Compressor()
        parts = [encoder.process(EVENTS) + encoder.flush() for _ in range(3)]
        parts[-1] += encoder.finish()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            yield b"Content-Encoding: br\r\nContent-MD5: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            for part in parts:
                yield b"%x\r\n%b\r\n" % (len(part), part)
            yield b"0\r\n\r\n"

        recorded(tmp_path, script, request(b"/a", headers=[(b"Accept-Encoding", b"br")]))
        got = replayed(tmp_path, request(b"/a"))
        assert got.chunks == (EVENTS,) * 3
        assert got.header(b"content-md5") is None

    def test_one_that_is_unknown_is_refused_by_name(self, tmp_path: Path) -> None:
        data = answer(b"?", headers=[(b"Content-Encoding", b"dcb")])
        recorded(tmp_path, lambda _: data, request(b"/a", headers=[(b"Accept-Encoding", b"dcb")]))
        got = replayed(tmp_path, request(b"/a", headers=[(b"Accept-Encoding", b"gzip")]))
        assert got.status == 599
        assert b"is encoded as dcb, which buffr cannot decode, and the client accepts gzip" in (
            got.body
        )


class TestRetryAfter:
    """A wait is replayed as recorded, or cut."""

    HEADERS = ((b"Retry-After", b"30"), (b"retry-after-ms", b"30000"))

    def record(self, directory: Path) -> None:
        data = answer(b"later", b"202 Accepted", self.HEADERS)
        recorded(directory, lambda _: data, request(b"/a"))

    def test_as_recorded(self, tmp_path: Path) -> None:
        """The log suggests the setting, once."""
        self.record(tmp_path)
        with serving(tmp_path, {"mode": "replay"}) as running:
            for _ in range(3):
                assert ask(running.ports[0], request(b"/a")).header(b"retry-after") == b"30"
            running.stop()
            assert running.log().count("replay_retry_after: 0 cuts it") == 1
            assert "wait=30s" in running.log()

    @pytest.mark.parametrize(
        ("most", "left"), [(0, (b"0", b"0")), ("2s", (b"2", b"2000")), ("1h", (b"30", b"30000"))]
    )
    def test_cut(self, tmp_path: Path, most: object, left: tuple[bytes, bytes]) -> None:
        self.record(tmp_path)
        got = replayed(tmp_path, request(b"/a"), replay_retry_after=most)
        assert (got.header(b"retry-after"), got.header(b"retry-after-ms")) == left


class TestRewrite:
    """Clients of a reverse port stay behind it."""

    @pytest.mark.parametrize("rewrite", [True, False])
    def test_a_redirect_in_a_replay(self, tmp_path: Path, *, rewrite: bool) -> None:
        """The real upstream is not asked; without the setting the bytes are the recorded ones."""

        def script(received: Received) -> bytes:
            if received.target == b"/v1/start":
                where = b"http://127.0.0.1:%d/v1/next?a=1" % origin.port
                return answer(b"", b"302 Found", [(b"Location", where)])
            return answer(b"real")

        with upstream(script) as origin:
            row = {"target": f"{origin.url}/v1", "rewrite": rewrite}
            for mode in ("auto", "replay"):
                with serving(tmp_path, {**row, "mode": mode}) as running:
                    got = requests.get(f"{running.url}/start", timeout=60)
                assert got.text == "real"
                port = running.ports[0] if rewrite else origin.port
                assert urlsplit(got.url).port == port
            assert len(origin.received) == (2 if rewrite else 3)
        (first, *_) = interactions(tmp_path / "c.json")
        location = first["http"]["response"]["headers"]["Location"]
        assert location == [f"{origin.url}/v1/next?a=1"], "the recording has the original"

    def test_cookies_and_links(self, tmp_path: Path) -> None:
        """The cookie's domain would be the upstream's; its path is the upstream's, too."""
        fields = [
            (b"Set-Cookie", b"sid=1; Domain=api.test; Path=/v1/; HttpOnly"),
            (b"Link", b'<https://api.test/v1>; rel="first", </v1/p?page=2>; rel="next"'),
            (b"Location", b"https://elsewhere.test/x"),
        ]
        recorded(tmp_path, lambda _: answer(b"in", headers=fields), request(b"/login"))
        row = {"target": "https://api.test/v1", "rewrite": True}
        got = replayed(tmp_path, request(b"/login"), **row)
        cookie = got.header(b"set-cookie") or b""
        assert cookie.partition(b";")[2] == b" Path=/; HttpOnly"
        assert got.header(b"link") == b'</>; rel="first", </p?page=2>; rel="next"'
        assert got.header(b"location") == b"https://elsewhere.test/x"

    def test_a_key_in_the_query_stays_there(self, tmp_path: Path) -> None:
        where = [(b"Location", b"https://api.test/next?a=1")]
        recorded(tmp_path, lambda _: answer(b"", b"302 Found", where), request(b"/start"))
        row = {"target": "https://api.test", "rewrite": True, "access": {"key": "s3cret"}}
        got = replayed(tmp_path, request(b"/start?key=s3cret"), **row)
        assert got.header(b"location") == b"/next?a=1&key=s3cret"


class TestStreamsWithoutEnd:
    """A watch that only its client ends is replayed up to there, and then held open."""

    @staticmethod
    def watch(_: Received) -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        yield b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(EVENTS), EVENTS)
        yield 3600.0

    def record(self, directory: Path) -> dict[str, Any]:
        """The recording of a client that left after the first event."""
        with (
            upstream(self.watch) as origin,
            serving(directory, {"target": origin.url}, limits={"linger_s": 0}) as running,
        ):
            with RawClient(running.ports[0]) as client:
                client.send(request(b"/watch"))
                client.until(EVENTS)
                client.reset()
            (kept,) = eventually(lambda: interactions(directory / "c.json"))
        exchange: dict[str, Any] = kept["http"]
        return exchange

    def test_without_the_setting_the_miss_names_it(self, tmp_path: Path) -> None:
        assert self.record(tmp_path)["end"]["reason"] == "every client left"
        got = replayed(tmp_path, request(b"/watch"))
        assert got.status == 599
        assert b"end_of_stream: client in the route's settings replays what its client took" in (
            got.body
        )

    def test_it_is_held_open_for_its_client_to_end_it(self, tmp_path: Path) -> None:
        """Again and again; the log takes that for an ordinary answer."""
        self.record(tmp_path)
        row = {"mode": "replay", "end_of_stream": "client"}
        with serving(tmp_path, row) as running:
            for left in (RawClient.reset, RawClient.close):
                with RawClient(running.ports[0]) as client:
                    client.send(request(b"/watch"))
                    client.until(EVENTS)
                    left(client)
                running.wait_for("level=INFO.* status=200 .*src=cassette")
            running.stop()
            assert "level=WARN" not in running.log()

    def test_it_is_cut_off_if_the_client_stays(self, tmp_path: Path) -> None:
        """It never ends as if the upstream had ended it."""
        self.record(tmp_path)
        with (
            serving(tmp_path, {"mode": "replay", "end_of_stream": "client"}) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/watch"))
            with pytest.raises(BrokenAnswer) as found:
                client.answer()
            assert found.value.received.endswith(EVENTS + b"\r\n")
            running.wait_for("the client that was recorded left here")

    def test_auto_asks_again(self, tmp_path: Path) -> None:
        """A live upstream may have more to tell."""
        self.record(tmp_path)
        with upstream(lambda _: answer(b"now")) as origin:
            row = {"target": origin.url, "end_of_stream": "client"}
            with serving(tmp_path, row) as running:
                assert ask(running.ports[0], request(b"/watch")).body == b"now"

    def test_what_came_after_the_client_left_is_not_kept(self, tmp_path: Path) -> None:
        """Though buffr goes on for ``linger_s``, in case the answer ends."""

        def script(_: Received) -> Iterator[Step]:
            yield from list(self.watch(_))[:2]
            assert origin.wait_for(2)
            yield b"%x\r\n%b\r\n" % (len(EVENTS), EVENTS)
            yield 3600.0

        with (
            upstream(lambda one: script(one) if b"watch" in one.target else answer(b"")) as origin,
            serving(tmp_path, {"target": origin.url}, limits={"linger_s": 1}) as running,
        ):
            with RawClient(running.ports[0]) as client:
                client.send(request(b"/watch"))
                client.until(EVENTS)
                client.reset()
            ask(running.ports[0], request(b"/other"))
            kept = eventually(
                lambda: [one for one in interactions(tmp_path / "c.json") if "end" in one["http"]]
            )
        assert json.dumps(kept).count("data: 1") == 1


class TestClientsThatStopReading:
    def test_an_sdk_that_has_heard_enough_leaves_a_whole_recording(self, tmp_path: Path) -> None:
        """The rest comes long after it has closed the stream."""
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        told = [{**chunk, "choices": [{"index": 0, "delta": {"content": each}}]} for each in "ab"]
        events = [b"data: %b\n\n" % json.dumps(each).encode() for each in told]
        left = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            yield b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(events[0]), events[0])
            assert left.wait(120)
            yield 1.5  # longer than a client that gave up before the body is waited for
            yield b"%x\r\n%b\r\n0\r\n\r\n" % (len(events[1]), events[1])

        with upstream(script) as origin, serving(tmp_path, {"target": origin.url}) as running:
            client = OpenAI(base_url=running.url, api_key="sk-x", max_retries=0)
            with client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            ) as stream:
                assert next(stream).choices[0].delta.content == "a"
            client.close()
            left.set()
            (kept,) = eventually(lambda: interactions(tmp_path / "c.json"))
        assert "end" not in kept["http"]
        assert "".join(each["data"] for each in kept["http"]["response"]["body_chunks"]) == (
            b"".join(events).decode()
        )


class TestWhoRecorded:
    def test_version_mode_and_what_was_not_the_default(self, tmp_path: Path) -> None:
        """In the interaction, beside the time; shown by ``cassette show``."""
        with upstream(lambda _: answer(b"a")) as origin:
            row = {"target": origin.url, "mode": "record", "keep_host": True}
            with serving(tmp_path, row, redact={"enabled": False}) as running:
                ask(running.ports[0], request(b"/a"))
        (kept,) = interactions(tmp_path / "c.json")
        by = f"buffr/{__version__} mode=record redact.enabled=false keep_host=true"
        assert kept["http"]["recorded_by"] == by
        shown = run("cassette", "show", "c.json", "0", cwd=tmp_path)
        assert f" by {by}" in shown.stdout
        assert replayed(tmp_path, request(b"/a")).body == b"a"
