"""An exchange's client side in streams of one connection, without anything of HTTP/1.1.

The engine, the stores and the upstream side are the real ones, over wires in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from service_bench import Origin, ServiceBench, service
from stream_listener import StreamConnection, StreamSink
from twisted.internet.protocol import Factory

from buffr.interaction import FrameKind
from buffr.listeners.listener import HTTPListener
from buffr.message import Piece, Request
from buffr.transport.streams import BodyStream
from buffr.wire.websocket_frames import encode_frame
from buffr.wire.websocket_handshake import accept_for

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"1234"
HOST = (b"Host", b"api.test")


def get(path: bytes) -> Request:
    return Request(b"GET", path, (HOST,))


def post(path: bytes, length: int) -> Request:
    return Request(b"POST", path, (HOST, (b"Content-Length", b"%d" % length)), body_length=length)


HANDSHAKE = Request(
    b"GET",
    b"/socket",
    (
        HOST,
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", KEY),
    ),
    upgrade=b"websocket",
)
"""As a stream of HTTP/2 asks for it once it is translated (RFC 8441 5)."""


class Streams:
    """A client with one connection, and the origins that its exchanges reach."""

    def __init__(self, bench: ServiceBench) -> None:
        self.bench = bench
        factory: Factory = bench.factory
        assert isinstance(factory, HTTPListener)
        self.listener = factory
        self.connection = StreamConnection(factory)
        self.open = self.connection.open

    def origin(self, path: bytes) -> Origin:
        """The origin's end of the connection on which this path was asked for."""
        asked = b" %b HTTP/1.1\r\n" % path

        def found() -> list[Origin]:
            return [one for one in self.bench.origins if asked in one.wire.value()]

        self.bench.until(lambda: bool(found()))
        return found()[0]

    def answers(self, path: bytes, data: bytes) -> None:
        self.origin(path).send(OK % (len(data), data))

    def whole(self, *sinks: StreamSink) -> None:
        self.bench.until(lambda: all(sink.answered.whole for sink in sinks))

    def later(self, seconds: float) -> None:
        self.bench.idle(seconds)


def settings(mode: str) -> dict[str, object]:
    limits = {"client_idle_s": 30, "body_idle_s": 20, "half_close_s": 5}
    reverse = [{"target": "http://10.9.0.1", "port": 8080, "mode": mode}]
    return {"reverse": reverse, "limits": limits}


@pytest.fixture
def auto(tmp_path: Path) -> Iterator[Streams]:
    with service(tmp_path, settings("auto")) as bench:
        bench.held = True
        yield Streams(bench)


@pytest.fixture
def passing(tmp_path: Path) -> Iterator[Streams]:
    with service(tmp_path, settings("passthrough")) as bench:
        bench.held = True
        yield Streams(bench)


class TestConcurrency:
    def test_several_exchanges_at_once(self, auto: Streams) -> None:
        """Each stream gets its own answer, in whatever order they come."""
        sinks = [auto.open(get(path)) for path in (b"/1", b"/2", b"/3")]
        for path in (b"/2", b"/3", b"/1"):
            auto.answers(path, b"answer to " + path)
        auto.whole(*sinks)
        expected = [(200, b"answer to " + path) for path in (b"/1", b"/2", b"/3")]
        assert [(sink.answered.status, sink.answered.data) for sink in sinks] == expected

    def test_what_one_recorded_another_replays(self, auto: Streams) -> None:
        """A replay does not wait for a stream that is still under way."""
        waiting, first = auto.open(get(b"/slow")), auto.open(get(b"/x"))
        auto.answers(b"/x", b"once")
        auto.whole(first)
        again = auto.open(get(b"/x"))
        assert (again.answered.data, again.answered.whole) == (b"once", True)
        assert not waiting.answered.status
        auto.answers(b"/slow", b"at last")
        auto.whole(waiting)

    def test_an_error_ends_its_stream_alone(self, auto: Streams) -> None:
        """Even one that would close a connection of HTTP/1.1."""
        other = auto.open(get(b"/other"))
        refused = auto.open(Request(b"CONNECT", b"h.test:1", (HOST,)))
        assert (refused.answered.status, refused.answered.whole) == (400, True)
        assert not auto.connection.parted
        auto.answers(b"/other", b"ok")
        auto.whole(other)


class TestReset:
    def test_another_stream_goes_on(self, passing: Streams) -> None:
        """The upstream is let go for the stream that was reset, and for no other."""
        given_up, going_on = passing.open(get(b"/1")), passing.open(get(b"/2"))
        first, second = passing.origin(b"/1"), passing.origin(b"/2")
        for origin in (first, second):
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        passing.bench.until(lambda: going_on.answered.data == b"hello")
        given_up.reset()
        passing.bench.until(lambda: first.wire.ends[:1] == ["cut"])
        assert second.wire.ends == []
        second.send(b"world")
        passing.whole(going_on)
        assert going_on.answered.data == b"helloworld"
        assert (given_up.answered.data, given_up.answered.whole) == (b"hello", False)

    def test_before_the_body_is_whole(self, passing: Streams) -> None:
        """A reader of the body learns that the rest will not come."""
        stream = BodyStream(lambda: None, lambda: None)
        upload = passing.open(post(b"/up", 10), stream)
        origin = passing.origin(b"/up")
        stream.feed([Piece(b"half")])
        upload.reset()
        passing.bench.until(lambda: origin.wire.ends[:1] == ["cut"])
        assert stream.ended

    def test_an_answer_that_breaks_off_resets_its_stream(self, passing: Streams) -> None:
        broken, other = passing.open(get(b"/1")), passing.open(get(b"/2"))
        origin = passing.origin(b"/1")
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        origin.leave()
        passing.bench.until(lambda: broken.answered.reset)
        passing.answers(b"/2", b"ok")
        passing.whole(other)
        assert not other.answered.reset


class TestBackPressure:
    def test_a_full_stream_does_not_stop_another(self, passing: Streams) -> None:
        """Its upstream is held back until the client takes more; the other's is not."""
        size = 5_000_000
        full = passing.open(get(b"/full"), window_bytes=10)
        free = passing.open(get(b"/free"), window_bytes=size)
        held, running = passing.origin(b"/full"), passing.origin(b"/free")
        unsent = OK % (size, b"x" * size)
        for at in range(0, len(unsent), 50_000):
            running.send(unsent[at : at + 50_000])
        while unsent and not held.wire.paused:
            held.send(unsent[:50_000])
            unsent = unsent[50_000:]
            passing.bench.until(lambda: True)
        passing.whole(free)
        assert len(free.answered.data) == size
        assert len(full.answered.data) == 10
        assert len(unsent) > size // 2
        full.grant(size)
        passing.bench.until(lambda: not held.wire.paused)
        held.send(unsent)
        passing.whole(full)
        assert len(full.answered.data) == size

    def test_a_full_upload_does_not_stop_another(self, passing: Streams) -> None:
        """The window of a stream whose upstream reads no more is not opened again."""
        held: list[str] = []
        slow = BodyStream(lambda: held.append("slow"), lambda: held.append("slow again"))
        fast = BodyStream(lambda: held.append("fast"), lambda: held.append("fast again"))
        size = 100_000
        sinks = [passing.open(post(b"/slow", size), slow), passing.open(post(b"/fast", 4), fast)]
        origin = passing.origin(b"/slow")
        producer = origin.wire.producer
        assert producer is not None
        producer.pauseProducing()
        for _ in range(10):
            slow.feed([Piece(b"x" * 10_000)])
        fast.feed([Piece(b"fast")])
        fast.finish()
        passing.answers(b"/fast", b"ok")
        passing.whole(sinks[1])
        assert held == ["slow"]
        producer.resumeProducing()
        passing.bench.until(lambda: held == ["slow", "slow again"])
        slow.finish()
        passing.answers(b"/slow", b"ok")
        passing.whole(sinks[0])


class TestTimeLimits:
    def test_only_the_slow_stream_is_reset(self, passing: Streams) -> None:
        """One whose body does not come, while another waits for its upstream."""
        stream = BodyStream(lambda: None, lambda: None)
        slow, waiting = passing.open(post(b"/slow", 10), stream), passing.open(get(b"/waiting"))
        passing.origin(b"/waiting")
        passing.later(30)
        assert slow.answered.reset
        passing.answers(b"/waiting", b"ok")
        passing.whole(waiting)

    def test_a_client_that_sends_no_more(self, passing: Streams) -> None:
        """It gets the answers that come within ``half_close_s``."""
        soon, late = passing.open(get(b"/soon")), passing.open(get(b"/late"))
        passing.connection.half_close()
        passing.later(3)
        passing.answers(b"/soon", b"ok")
        passing.whole(soon)
        passing.later(10)
        assert late.answered.reset

    def test_a_client_that_leaves(self, passing: Streams) -> None:
        """All that is under way for it is given up."""
        for path in (b"/1", b"/2"):
            passing.open(get(path))
        origins = [passing.origin(path) for path in (b"/1", b"/2")]
        passing.connection.leave()
        passing.later(2)
        passing.bench.until(lambda: all(one.wire.ends[:1] == ["cut"] for one in origins))


class TestSwitch:
    def test_a_websocket_has_a_stream_and_not_the_connection(self, auto: Streams) -> None:
        """Frames pass both ways while another stream has its answer."""
        session = auto.open(HANDSHAKE)
        origin = auto.origin(b"/socket")
        origin.wire.taken()
        origin.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_for(KEY)
        )
        auto.bench.until(lambda: session.duplex is not None)
        duplex = session.duplex
        assert duplex is not None
        assert duplex.user is not None
        assert session.answered.status == 101
        said, heard = (encode_frame(FrameKind.TEXT, each, key=MASK) for each in (b"hi", b"on"))
        answered = encode_frame(FrameKind.TEXT, b"hello")
        duplex.user.received(said)
        assert origin.wire.taken() == said
        other = auto.open(get(b"/x"))
        auto.answers(b"/x", b"ok")
        auto.whole(other)
        origin.send(answered)
        assert duplex.taken() == answered
        paused = []
        for change in (duplex.user.pause_sending, duplex.user.resume_sending):
            change()
            paused.append(origin.wire.paused)
        assert paused == [True, False]
        duplex.user.received(heard)
        assert origin.wire.taken() == heard
        auto.connection.leave()
