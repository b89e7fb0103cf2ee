"""Connections of clients: pipelines, halves that are closed, ends in the middle, limits."""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from bench import Bench, Place, eventually
from raw_http import BrokenAnswer, RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked, steps

BODY_PART = 60_000


class TestPipelines:
    """RFC 9112 9.3.2: answers come in the order of the requests."""

    @pytest.mark.parametrize("route", ["auto", "passthrough"])
    def test_answers_come_in_order(self, bench: Bench, place: Place, route: str) -> None:
        """Misses, hits and bodies of all kinds, sent at once."""
        place.answers(lambda received: answer(b"<%b %b>" % (received.target, received.body)))
        raws = []
        for number in range(60):
            target = b"%b/%d" % (place.path, number % 20)
            body = b"x" * (number % 3) * BODY_PART if number % 3 else None
            raws.append(request(target, method=b"POST" if body else b"GET", body=body))
        with RawClient(bench.port(route)) as client:
            sender = threading.Thread(target=client.send, args=(b"".join(raws),))
            sender.start()
            for number in range(60):
                body = b"x" * (number % 3) * BODY_PART
                expected = b"<%b/%d %b>" % (place.path, number % 20, body)
                assert client.answer().body == expected
            sender.join(120)

    def test_a_client_that_leaves_in_the_middle_harms_nobody(
        self, bench: Bench, place: Place
    ) -> None:
        """What it asked for first may be recorded; buffr goes on serving others."""
        go_on = threading.Event()

        def script(received: Received) -> Iterator[Step]:
            if received.target.endswith(b"/slow"):
                go_on.wait(120)
            yield answer(b"for " + received.target)

        place.answers(script)
        client = RawClient(bench.port("auto"))
        client.send(request(place.path + b"/quick") + request(place.path + b"/slow"))
        client.send(b"".join(request(b"%b/%d" % (place.path, n)) for n in range(20)))
        assert client.answer().body == b"for %b/quick" % place.path
        eventually(lambda: len(place.received()) >= 2)
        client.reset()
        line = eventually(lambda: [line for line in place.log() if "/slow" in line])[0]
        assert " status=499 " in line
        go_on.set()
        assert place.ask("auto", request(place.path + b"/quick")).body.endswith(b"/quick")
        assert place.ask("auto", request(place.path + b"/slow")).body.endswith(b"/slow")
        behind = [one for one in place.received() if one.target[-1:].isdigit()]
        assert not behind, "requests behind one whose client left are not made"

    def test_a_bad_request_behind_a_good_one_spoils_only_itself(
        self, bench: Bench, place: Place
    ) -> None:
        place.answers(answer(b"good"))
        with RawClient(bench.port("auto")) as client:
            client.send(request(place.path) + b"GET  HTTP/1.1\r\n\r\n" + request(place.path))
            assert client.answer().body == b"good"
            assert client.answer().status == 400
            assert client.rest() == b""
        assert len(place.received()) == 1

    def test_an_empty_line_before_a_request_is_skipped(self, bench: Bench, place: Place) -> None:
        """RFC 9112 2.2."""
        place.answers(answer(b"good"))
        with RawClient(bench.port("auto")) as client:
            for _ in range(2):
                client.send(b"\r\n" + request(place.path))
                assert client.answer().body == b"good"


class TestHalfClosed:
    """``printf … | nc``: the client sends, says that it is done, and reads."""

    def test_it_gets_its_answer_and_the_end(self, bench: Bench, place: Place) -> None:
        place.answers(lambda _: chunked([b"a", b"b"], delay_s=0.05))
        # Who keeps the connection is taken for gone if the first byte is late.
        only = request(place.path, headers=[(b"Connection", b"close")])
        for port in (bench.port("auto"), bench.port("auto"), bench.port("replay")):
            with RawClient(port) as client:
                client.send(only)
                client.finish()
                assert client.answer().body == b"ab"
                assert client.rest() == b""

    def test_all_requests_of_a_pipeline_are_answered(self, bench: Bench, place: Place) -> None:
        place.answers(lambda received: steps(0.02, answer(received.target)))
        targets = [b"%b/%d" % (place.path, number) for number in range(8)]
        with RawClient(bench.port("auto")) as client:
            client.send(b"".join(request(target) for target in targets))
            client.finish()
            assert [client.answer().body for _ in targets] == targets
            assert client.rest() == b""

    def test_a_body_cut_short_is_no_request(self, bench: Bench, place: Place) -> None:
        place.answers(answer(b"ok"))
        whole = request(place.path, method=b"POST", body=b"x" * 100)
        for cut in (whole[:-1], whole[:20]):
            with RawClient(bench.port("auto")) as client:
                client.send(cut)
                client.finish()
                assert not client.rest().startswith(b"HTTP/1.1 200")
        assert not place.received()

    def test_a_streamed_body_cut_short_is_never_whole_upstream(
        self, bench: Bench, place: Place
    ) -> None:
        """In record the body streams: its upstream must not take the half for the whole."""
        place.answers(answer(b"ok"))
        head = (
            b"POST %b HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            % place.path
        )
        with RawClient(bench.port("record")) as client:
            client.send(head + b"4\r\nhalf\r\n")
            client.finish()
            assert b"HTTP/1.1 200" not in client.rest()
        assert not place.received()
        assert not place.recorded("record")


class TestLeaving:
    def test_a_client_that_leaves_before_its_answer_leaves_no_half_recording_to_replay(
        self, bench: Bench, place: Place
    ) -> None:
        """Seed defect 11, the client's side. The rest of the answer is not waited for long."""
        go_on = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            first = len(place.received()) == 1
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
            if first:
                go_on.wait(120)
            yield b"rest"

        place.answers(script)
        client = RawClient(bench.port("auto"))
        client.send(request(place.path))
        assert client.until(b"half")
        client.reset()
        kept = eventually(place.recorded)
        go_on.set()
        assert kept[0]["end"]["reason"] == "every client left"
        assert place.ask("replay").status == 599
        assert place.ask("auto").body == b"halfrest"
        assert place.ask("replay").body == b"halfrest"

    def test_an_answer_that_ends_soon_after_its_client_left_is_recorded_whole(
        self, bench: Bench, place: Place
    ) -> None:
        """Clients of event streams leave at ``[DONE]``, before the last chunk."""
        left = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n[DONE]\r\n"
            left.wait(120)
            yield b"0\r\n\r\n"

        place.answers(script)
        client = RawClient(bench.port("auto"))
        client.send(request(place.path))
        client.until(b"[DONE]")
        client.reset()
        eventually(lambda: [line for line in place.log() if "status=499" in line])
        left.set()
        kept = eventually(place.recorded)
        assert "end" not in kept[0]
        assert place.ask("replay").body == b"[DONE]"

    def test_an_endless_answer_is_given_up_when_its_client_has_left(
        self, bench: Bench, place: Place
    ) -> None:
        """The upstream is told, by the end of its connection."""
        over = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            try:
                yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                while True:
                    yield b"4\r\ntick\r\n"
                    yield 0.01
            finally:
                over.set()

        place.answers(script)
        for route in ("auto", "passthrough"):
            client = RawClient(bench.port(route))
            client.send(request(place.path))
            client.until(b"tick")
            client.reset()
            assert over.wait(120)
            over.clear()


POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


class TestRefusals:
    """What could be read in two ways, or is no HTTP, gets an answer, an end, and no upstream."""

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\nHost: a\n\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (POST + b"Content-Length: -1\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * 300), 431),
            (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 70_000), 431),
        ],
    )
    def test_it_is_answered_and_closed(self, bench: Bench, raw: bytes, status: int) -> None:
        before = bench.upstream.connections, len(bench.upstream.received)
        with RawClient(bench.port("auto")) as client:
            client.send(raw)
            got = client.answer()
            assert got.status == status
            assert got.header(b"Connection") == b"close"
            client.finish()
            assert client.rest() == b""
        assert (bench.upstream.connections, len(bench.upstream.received)) == before

    @pytest.mark.parametrize("broken", [b"z\r\n", b"5\r\nhello!\r\n", b"-1\r\n", b"4;a\nb\r\n"])
    def test_a_malformed_chunk_ends_the_request(
        self, bench: Bench, place: Place, broken: bytes
    ) -> None:
        place.answers(answer(b"ok"))
        head = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % place.path
        for route in ("auto", "passthrough"):
            got = ask(bench.port(route), head + b"2\r\nhi\r\n" + broken)
            assert got.status == 400
        assert not place.received()


LIMITS = """
reverse: [{{target: "{url}", port: 0, mode: passthrough}}]
limits:
  head_s: 2
  client_idle_s: 2
  body_idle_s: 2
  upstream_idle_s: 3
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    def script(received: Received) -> bytes | Iterator[Step]:
        if received.target == b"/silent":
            return steps(600.0)
        if received.target == b"/stalls":
            return steps(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", 600.0)
        return answer(b"ok")

    with FakeUpstream(script) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def limited(
    upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuffrProcess]:
    directory: Path = tmp_path_factory.mktemp("limits")
    settings = directory / "buffr.yaml"
    settings.write_text(LIMITS.format(url=upstream.url))
    with BuffrProcess.run("serve", "--config", str(settings), cwd=directory) as running:
        yield running


class TestLimits:
    """Seed defect 20: nothing had a time-out, and half a head was held for ever."""

    def test_half_a_head_is_answered_408(self, limited: BuffrProcess) -> None:
        with RawClient(limited.ports[0]) as client:
            client.send(b"GET / HTTP/1.1\r\nHos")
            assert client.answer().status == 408
            client.finish()
            assert client.rest() == b""

    def test_an_idle_connection_is_closed(self, limited: BuffrProcess) -> None:
        with RawClient(limited.ports[0]) as client:
            client.send(request(b"/"))
            assert client.answer().body == b"ok"
            assert client.rest() == b""

    def test_a_body_that_stalls_is_given_up(
        self, limited: BuffrProcess, upstream: FakeUpstream
    ) -> None:
        with RawClient(limited.ports[0]) as client:
            client.send(b"POST /stalled HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nx")
            assert b"200" not in client.rest()
        assert not [one for one in upstream.received if one.target == b"/stalled"]

    def test_a_silent_upstream_is_504(self, limited: BuffrProcess) -> None:
        got = ask(limited.ports[0], request(b"/silent"))
        assert got.status == 504
        assert b"silent for 3 s" in got.body

    def test_an_upstream_that_stalls_breaks_the_answer(self, limited: BuffrProcess) -> None:
        with pytest.raises(BrokenAnswer) as broken:
            ask(limited.ports[0], request(b"/stalls"))
        assert broken.value.received.endswith(b"half")

    def test_connections_beyond_the_bound_are_told_to_come_again(
        self, upstream: FakeUpstream, tmp_path: Path
    ) -> None:
        settings = json.dumps(
            {
                "reverse": [{"target": upstream.url, "port": 0, "mode": "passthrough"}],
                "limits": {"connections": 3},
            }
        )
        (tmp_path / "buffr.yaml").write_text(settings)
        with BuffrProcess.run("serve", cwd=tmp_path) as running:
            clients = [RawClient(running.ports[0]) for _ in range(4)]
            refused = clients[3].answer()
            assert refused.status == 503
            assert refused.header(b"Retry-After") == b"1"
            for client in clients:
                client.close()

            def served() -> bool:
                return ask(running.ports[0], request(b"/")).status == 200

            eventually(served)


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """An upstream that accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(scope="module")
def patient(
    silent: socket.socket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuffrProcess]:
    """A buffr whose limits let nobody go during a test."""
    directory: Path = tmp_path_factory.mktemp("patient")
    target = f"http://127.0.0.1:{silent.getsockname()[1]}"
    rows = [{"target": target, "port": 0, "mode": mode} for mode in ("passthrough", "auto")]
    settings = {"reverse": rows, "limits": {"half_close_s": 600, "upstream_idle_s": 600}}
    (directory / "buffr.yaml").write_text(json.dumps(settings))
    with BuffrProcess.run("serve", cwd=directory, listeners=2) as running:
        yield running


class TestStarving:
    @pytest.mark.parametrize("row", [0, 1], ids=["passthrough", "auto"])
    def test_a_client_that_leaves_before_its_answer_frees_the_upstream(
        self, silent: socket.socket, patient: BuffrProcess, row: int
    ) -> None:
        """Without waiting for ``half_close_s``: with a kept connection it meant to leave."""
        with RawClient(patient.ports[row]) as client:
            client.send(request(b"/"))
            upstream, _ = silent.accept()
            upstream.settimeout(120)
            assert upstream.recv(65536)
        with upstream, suppress(ConnectionResetError):
            assert upstream.recv(1) == b""

    def test_without_descriptors(self, patient: BuffrProcess) -> None:
        """It is a line in the log; who waits is served when others have left."""
        before = resource.prlimit(patient.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(patient.process.pid, resource.RLIMIT_NOFILE, (128, before[1]))
        with ExitStack() as clients:
            opened = [clients.enter_context(RawClient(patient.ports[0])) for _ in range(140)]
            eventually(lambda: "out of file descriptors" in patient.log())
            for client in opened[:60]:
                client.close()
            opened[-1].send(b"BAD\r\n\r\n")
            assert opened[-1].answer().status == 400
        resource.prlimit(patient.process.pid, resource.RLIMIT_NOFILE, before)
        assert patient.log().count("out of file descriptors") == 1
