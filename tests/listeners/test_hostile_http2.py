"""Hostile HTTP/2: frames out of place, floods, and requests that would smuggle others upstream.

After each of them the connection is refused or goes on, nothing hangs, and an
upstream in HTTP/1.1 has got whole requests only. The names in ``OUT_OF_PLACE``
follow the sections of RFC 9113 that h2spec has its cases for.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field, frozen
from client_bench import clients_leave as _clients_leave  # noqa: F401  # a fixture
from hpack import Encoder
from http2_bench import PATIENCE, Http2Bench, asking
from http2_pair import GET, POST, Heard
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st
from service_bench import ServiceBench, service
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from buffr.message import Headers
from buffr.testing.wire import Wire
from buffr.wire.http2.engines import ENGINES, EngineName, open_engine
from buffr.wire.http2.interface import Bounds, Code, Role

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@define
class Forger:
    """Writes frames that no library would. Its answers are read by an engine that heard nothing."""

    bench: Http2Bench
    encoder: Encoder = field(factory=Encoder)
    sent: int = 0

    @classmethod
    def at(cls, engine: EngineName) -> Forger:
        bench = Http2Bench(engine)
        bench.heard.taken()
        return cls(bench)

    def head(self, stream: int, fields: Headers = GET, *flags: str) -> HeadersFrame:
        block = self.encoder.encode(list(fields))
        return HeadersFrame(stream, block, flags=flags or ("END_HEADERS", "END_STREAM"))

    def send(self, *frames: Frame | bytes) -> Forger:
        """Send frames, in one segment."""
        data = b"".join([one if isinstance(one, bytes) else one.serialize() for one in frames])
        if self.bench.wire.connected:
            self.bench.connection.dataReceived(data)
        self.bench.wire.turn()
        return self

    def request(self, stream: int = 1) -> Forger:
        """A request whose body is still to come."""
        return self.send(self.head(stream, POST, "END_HEADERS"))

    @property
    def answered(self) -> list[Frame]:
        return list(frames_in(self.bench.received()))


def frames_in(data: bytes) -> Iterator[Frame]:
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        data = data[9 + length :]
        yield frame


def codes(frames: list[Frame]) -> set[int]:
    """The codes of the resets and of the goodbye among frames."""
    return {one.error_code for one in frames if isinstance(one, GoAwayFrame | RstStreamFrame)}


def _raw(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


Case = Callable[[Forger], object]

OUT_OF_PLACE: dict[str, Case] = {
    "4.2 a frame over the size": lambda one: one.request().send(_raw(0, 0, 1, b"x" * 20_000)),
    "4.3 a block that is no HPACK": lambda one: one.send(_raw(1, 5, 1, b"\xff" * 9)),
    "4.3 a table over its size": lambda one: one.send(_raw(1, 5, 1, b"\x3f\xff\xff\xff\x7f")),
    "5.1 DATA on an idle stream": lambda one: one.send(DataFrame(1, b"x")),
    "5.1 RST_STREAM on an idle stream": lambda one: one.send(RstStreamFrame(1)),
    "5.1 WINDOW_UPDATE on an idle stream": lambda one: one.send(
        WindowUpdateFrame(1, window_increment=9)
    ),
    "5.1 CONTINUATION on an idle stream": lambda one: one.send(ContinuationFrame(1, b"\x82")),
    "5.1 DATA after the end": lambda one: one.send(one.head(1), DataFrame(1, b"x")),
    "5.1 HEADERS after the end": lambda one: one.send(one.head(1), one.head(1)),
    "5.1.1 an even stream": lambda one: one.send(one.head(2)),
    "5.1.1 a stream that is lower": lambda one: one.send(one.head(5), one.head(3)),
    "5.3 a stream that depends on itself": lambda one: one.send(PriorityFrame(3, depends_on=3)),
    "5.5 an unknown frame within a block": lambda one: one.send(
        one.head(1, GET, "END_STREAM"), _raw(99, 0, 0, b"x")
    ),
    "6.1 DATA on stream 0": lambda one: one.send(_raw(0, 0, 0, b"x")),
    "6.1 padding over the frame": lambda one: one.request().send(_raw(0, 8, 1, b"\xffx")),
    "6.2 HEADERS on stream 0": lambda one: one.send(_raw(1, 5, 0, b"\x82")),
    "6.2 another frame within a block": lambda one: one.send(
        one.head(1, GET, "END_STREAM"), PingFrame(0)
    ),
    "6.2 another stream within a block": lambda one: one.send(
        one.head(1, GET, "END_STREAM"), one.head(3)
    ),
    "6.3 PRIORITY on stream 0": lambda one: one.send(_raw(2, 0, 0, b"\0" * 5)),
    "6.3 PRIORITY of another size": lambda one: one.send(_raw(2, 0, 1, b"\0" * 4)),
    "6.4 RST_STREAM on stream 0": lambda one: one.send(_raw(3, 0, 0, b"\0" * 4)),
    "6.4 RST_STREAM of another size": lambda one: one.request().send(_raw(3, 0, 1, b"\0" * 3)),
    "6.5 SETTINGS on a stream": lambda one: one.send(_raw(4, 0, 1, b"")),
    "6.5 SETTINGS of another size": lambda one: one.send(_raw(4, 0, 0, b"\0" * 5)),
    "6.5 an acknowledgement with settings": lambda one: one.send(_raw(4, 1, 0, b"\0" * 6)),
    "6.5.2 ENABLE_PUSH of 2": lambda one: one.send(SettingsFrame(0, settings={2: 2})),
    "6.5.2 a window over 2^31": lambda one: one.send(SettingsFrame(0, settings={4: 1 << 31})),
    "6.5.2 a frame size of 1": lambda one: one.send(SettingsFrame(0, settings={5: 1})),
    "6.6 PUSH_PROMISE by a client": lambda one: one.request().send(
        PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"])
    ),
    "6.7 PING on a stream": lambda one: one.send(_raw(6, 0, 1, b"\0" * 8)),
    "6.7 PING of another size": lambda one: one.send(_raw(6, 0, 0, b"\0" * 7)),
    "6.8 GOAWAY on a stream": lambda one: one.send(_raw(7, 0, 1, b"\0" * 8)),
    "6.9 WINDOW_UPDATE of 0": lambda one: one.send(_raw(8, 0, 0, b"\0" * 4)),
    "6.9 WINDOW_UPDATE of another size": lambda one: one.send(_raw(8, 0, 0, b"\0" * 3)),
    "6.9.1 a window over 2^31": lambda one: one.send(
        WindowUpdateFrame(0, window_increment=(1 << 31) - 1)
    ),
    "6.9.1 more than the window": lambda one: one.request().send(
        *(DataFrame(1, b"x" * 16_000) for _ in range(20))
    ),
    "6.10 CONTINUATION after the block": lambda one: one.send(
        one.head(1), ContinuationFrame(1, b"\x82")
    ),
    "6.10 CONTINUATION of another stream": lambda one: one.send(
        one.head(1, GET, "END_STREAM"), ContinuationFrame(3, b"\x82", flags=["END_HEADERS"])
    ),
}
"""What ends the connection, or at least its stream."""

MAY_BE_IGNORED = frozenset(
    (
        "5.1.1 a stream that is lower",  # libnghttp2 cannot tell it from one that is over
        "5.3 a stream that depends on itself",  # priorities of RFC 7540 mean nothing any more
        "6.3 PRIORITY on stream 0",
        "6.3 PRIORITY of another size",
    )
)
"""What does no harm if nothing comes of it."""

MALFORMED: dict[str, Case] = {
    "8.1 a second head": lambda one: one.request().send(one.head(1, POST, "END_HEADERS")),
    "8.1 pseudo-header fields in trailers": lambda one: one.request().send(
        one.head(1, ((b":path", b"/"),))
    ),
    "8.1.1 a body over its length": lambda one: one.send(
        one.head(1, (*POST, (b"content-length", b"1")), "END_HEADERS"),
        DataFrame(1, b"xyz", flags=["END_STREAM"]),
    ),
    "8.1.1 a body under its length": lambda one: one.send(
        one.head(1, (*POST, (b"content-length", b"9")), "END_HEADERS"),
        DataFrame(1, b"xyz", flags=["END_STREAM"]),
    ),
    "8.1.1 a length, and no body": lambda one: one.send(
        one.head(1, (*POST, (b"content-length", b"9")))
    ),
    "8.2 a capital in a name": lambda one: one.send(one.head(1, (*GET, (b"X-Y", b"1")))),
    "8.2.2 connection": lambda one: one.send(one.head(1, (*GET, (b"connection", b"x")))),
    "8.2.2 te": lambda one: one.send(one.head(1, (*GET, (b"te", b"gzip")))),
    "8.3 an unknown pseudo-header field": lambda one: one.send(one.head(1, (*GET, (b":x", b"1")))),
    "8.3 a response's field": lambda one: one.send(one.head(1, (*GET, (b":status", b"200")))),
    "8.3 a pseudo-header field at the end": lambda one: one.send(
        one.head(1, (*GET[1:], (b"x", b"y"), GET[0]))
    ),
    "8.3.1 an empty path": lambda one: one.send(one.head(1, asking(b""))),
    "8.3.1 no method": lambda one: one.send(one.head(1, GET[1:])),
    "8.3.1 no scheme": lambda one: one.send(one.head(1, (GET[0], *GET[2:]))),
    "8.3.1 no path": lambda one: one.send(one.head(1, GET[:3])),
    "8.3.1 a path twice": lambda one: one.send(one.head(1, (*GET, GET[3]))),
}
"""What ends its stream, or is answered with an error."""


class TestFramesOutOfPlace:
    @pytest.mark.parametrize("case", OUT_OF_PLACE)
    def test_nothing_comes_of_it(self, engine: EngineName, case: str) -> None:
        """The client is told, and is not heard any more, at most one whole request before it."""
        one = Forger.at(engine)
        OUT_OF_PLACE[case](one)
        told = one.answered
        ended = codes(told) - {Code.NO_ERROR} or one.bench.end() != "open"
        assert ended or case in MAY_BE_IGNORED
        assert sum(not each.cancelled for each in one.bench.exchanges) <= 2
        one.send(PingFrame(0))
        one.bench.later(200)
        assert not [each for each in one.bench.exchanges if each.body == b"x"]

    @pytest.mark.parametrize("case", MALFORMED)
    def test_malformed_messages(self, engine: EngineName, case: str) -> None:
        """Their exchanges end; none of them has been whole."""
        one = Forger.at(engine)
        MALFORMED[case](one)
        told = one.answered
        refused = any(isinstance(each, HeadersFrame) for each in told)
        assert refused or codes(told) & {Code.PROTOCOL_ERROR, Code.STREAM_CLOSED}
        for each in one.bench.exchanges:
            assert each.cancelled or each.stream._error is not None

    def test_what_is_only_unusual(self, engine: EngineName) -> None:
        """Unknown frames and settings, padding and empty frames do no harm (4.1, 5.5)."""
        one = Forger.at(engine).send(
            _raw(99, 0, 0, b"x"),
            SettingsFrame(0, settings={99: 1}),
            PriorityFrame(1, depends_on=0, stream_weight=3),
            HeadersFrame(
                1, Encoder().encode(list(POST)), flags=["END_HEADERS", "PADDED"], pad_length=9
            ),
            DataFrame(1, b"", flags=["PADDED"], pad_length=9),
            DataFrame(1, b"body", flags=["END_STREAM", "PADDED"], pad_length=200),
        )
        assert one.bench.targets() == [b"/x?y=1"]
        one.bench.exchanges[0].answer()
        frames = one.answered
        assert codes(frames) == set()
        assert any(isinstance(each, HeadersFrame) and each.stream_id == 1 for each in frames)

    @given(data=st.data())
    @pytest.mark.parametrize("name", ENGINES)
    def test_any_frames(self, name: EngineName, data: st.DataObject) -> None:
        """No frames of any kind and size raise anything, or leave something behind."""
        one = Forger.at(name)
        frame = st.builds(
            _raw,
            st.integers(0, 16),
            st.integers(0, 255),
            st.sampled_from([0, 1, 1, 3, 5, 0x80000001]),
            st.binary(max_size=40) | st.just(one.head(1).data),
        )
        for each in data.draw(st.lists(frame, max_size=12)):
            one.send(each)
        one.bench.leave()
        assert one.bench.known == []


class TestFloods:
    """Each ends the connection with ENHANCE_YOUR_CALM, and one line of the log says why."""

    @pytest.fixture(autouse=True)
    def lines(self) -> Iterator[list[LogEvent]]:
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        yield events
        globalLogPublisher.removeObserver(observe)

    def calmed(self, one: Forger, lines: list[LogEvent], words: str) -> None:
        assert codes(one.answered) >= {Code.ENHANCE_YOUR_CALM}
        assert one.bench.end() == "half closed"
        one.send(*(PingFrame(0),) * 100)
        assert one.answered == []
        one.bench.later(20)
        assert (one.bench.end(), one.bench.known) == ("cut", [])
        (line,) = [str(event) for event in lines if "HTTP/2 connection closed" in str(event)]
        assert words in line
        assert "limits.http2_" in line

    @pytest.mark.parametrize(
        "frame",
        [
            PingFrame(0),
            SettingsFrame(0),
            SettingsFrame(0, settings={4: 70_000}),
            DataFrame(1, b""),
        ],
        ids=["PING", "SETTINGS", "changed SETTINGS", "empty DATA"],
    )
    def test_frames_for_nothing(
        self, engine: EngineName, frame: Frame, lines: list[LogEvent]
    ) -> None:
        """CVE-2019-9512, 9515 and 9518: as many as are allowed, and one more."""
        one = Forger.at(engine).request()
        for _ in range(PATIENCE.frames - 2):
            one.send(frame)
        assert Code.ENHANCE_YOUR_CALM not in codes(one.answered)
        one.send(*(frame,) * 5)
        self.calmed(one, lines, f"over {PATIENCE.frames} frames such as")
        assert one.bench.exchanges[0].cancelled

    def test_pings_with_what_is_received(self, engine: EngineName) -> None:
        """As gRPC measures its way: with an answer, they are none too many."""
        one = Forger.at(engine)
        for number in range(3 * PATIENCE.frames):
            stream = 2 * number + 1
            one.send(one.head(stream))
            one.bench.exchanges[-1].answer(b"x" * 3000)
            one.send(PingFrame(0), PriorityFrame(stream + 2, depends_on=0))
            one.answered  # noqa: B018  # reads them
        assert one.bench.end() == "open"

    def test_a_priority_in_a_head_is_none_by_itself(self, engine: EngineName) -> None:
        one = Forger.at(engine)
        for number in range(2 * PATIENCE.frames):
            head = one.head(2 * number + 1, GET, "END_HEADERS", "END_STREAM", "PRIORITY")
            one.send(head)
            one.bench.exchanges[-1].answer()
        assert one.bench.end() == "open"

    def test_windows_opened_again_and_again(
        self, engine: EngineName, lines: list[LogEvent]
    ) -> None:
        """More often than anything was sent for."""
        one = Forger.at(engine).request()
        for _ in range(6):
            one.send(*(WindowUpdateFrame(0, window_increment=1),) * 200)
        self.calmed(one, lines, "WINDOW_UPDATE")

    def test_resets(self, engine: EngineName, lines: list[LogEvent]) -> None:
        """CVE-2023-44487: exchanges that are begun and given up at once."""
        one = Forger.at(engine)
        for number in range(PATIENCE.resets + 1):
            stream = 2 * number + 1
            one.send(one.head(stream), RstStreamFrame(stream, Code.CANCEL))
        assert len(one.bench.exchanges) <= PATIENCE.resets + 1
        assert all(each.cancelled for each in one.bench.exchanges)
        self.calmed(one, lines, f"over {PATIENCE.resets} streams reset")

    def test_all_in_one_segment(self, engine: EngineName) -> None:
        """No more exchanges are begun than may be given up."""
        one = Forger.at(engine)
        frames: list[Frame] = []
        for number in range(500):
            stream = 2 * number + 1
            frames += (one.head(stream), RstStreamFrame(stream, Code.CANCEL))
        one.send(*frames)
        assert len(one.bench.exchanges) <= PATIENCE.resets + 1
        assert one.bench.end() != "open"

    def test_resets_that_the_server_is_made_to_send(
        self, engine: EngineName, lines: list[LogEvent]
    ) -> None:
        """CVE-2025-8671: faults that end a stream count as its resets do."""
        one = Forger.at(engine)
        for number in range(PATIENCE.resets + 1):
            stream = 2 * number + 1
            one.send(one.head(stream, POST, "END_HEADERS"))
            one.send(_raw(8, 0, stream, b"\x7f\xff\xff\xff"))
            one.send(_raw(8, 0, stream, b"\x7f\xff\xff\xff"))
        assert one.bench.end() != "open"
        assert all(each.cancelled for each in one.bench.exchanges)

    def test_patience_comes_back(self, engine: EngineName) -> None:
        """A client that cancels now and then is no flood."""
        one = Forger.at(engine)
        for number in range(3 * PATIENCE.resets):
            stream = 2 * number + 1
            one.send(one.head(stream), RstStreamFrame(stream, Code.CANCEL))
            one.bench.later(2)
        assert one.bench.end() == "open"

    def test_a_block_without_end(self, engine: EngineName) -> None:
        """CONTINUATION frames of a head that never comes (CVE-2024-27316)."""
        one = Forger.at(engine).send(one_head(flags=()))
        for _ in range(100):
            one.send(ContinuationFrame(1, b"\x00\x01x\x01y" * 100))
        assert one.bench.exchanges == []
        assert one.bench.end() != "open"

    def test_a_bomb_of_fields(self, engine: EngineName) -> None:
        """A few bytes that decode to many (CVE-2016-6581)."""
        one = Forger.at(engine)
        block = Encoder().encode([*GET, (b"x", b"y" * 3000)])
        one.send(HeadersFrame(1, block + b"\xbe" * 8000, flags=["END_HEADERS", "END_STREAM"]))
        assert one.bench.exchanges == []
        assert codes(one.answered) or one.bench.end() != "open"

    def test_more_streams_than_offered(self, engine: EngineName) -> None:
        one = Forger.at(engine)
        one.send(*(one.head(2 * number + 1, POST, "END_HEADERS") for number in range(40)))
        assert len(one.bench.exchanges) <= 10
        assert codes(one.answered) & {Code.REFUSED_STREAM, Code.PROTOCOL_ERROR}

    def test_windows_that_stay_shut(self, engine: EngineName) -> None:
        """CVE-2019-9517: answers that nobody takes are few, and given up in time."""
        one = Forger.at(engine).send(SettingsFrame(0, settings={4: 0}))
        one.send(*(one.head(2 * number + 1) for number in range(10)))
        for each in one.bench.exchanges:
            each.answer(b"x" * 60_000)
        one.bench.later(40)
        assert codes(one.answered) == {Code.CANCEL}
        one.bench.later(80)
        assert one.bench.end() != "open"


def one_head(flags: tuple[str, ...]) -> HeadersFrame:
    return HeadersFrame(1, Encoder().encode(list(GET)), flags=flags)


@frozen
class Smuggler:
    """A client of a whole buffr, in front of an upstream in HTTP/1.1."""

    bench: ServiceBench

    def sends(self, fields: Headers, *after: Callable[[int], Frame]) -> list[bytes]:
        """What every upstream gets of one request, and the honest one after it."""
        heard = Heard()
        honest = open_engine(Role.CLIENT, heard, Bounds(), "ngh2")
        heard.engine = honest
        for forged in (True, False):
            client = self.bench.client()
            if forged:
                block = Encoder().encode(list(fields))
                head = HeadersFrame(1, block, flags=["END_HEADERS"])
                client.send(PREFACE + head.serialize())
                self.bench.until(lambda: True)  # what the upstream gets early, it has by now
                client.send(b"".join([make(1).serialize() for make in after]))
            else:
                honest.request(asking(b"/honest"), ended=True)
                client.send(honest.take(10_000))
        self.bench.until(lambda: any(b" /honest " in raw for raw in self.got()))
        return self.got()

    def got(self) -> list[bytes]:
        return [origin.wire.value() for origin in self.bench.origins]


SMUGGLING: dict[str, Headers] = {
    "a request in the path": asking(b"/ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled", b"POST"),
    "a space in the path": asking(b"/a /smuggled", b"POST"),
    "a line in the path": asking(b"/a\r\nX-Smuggled: 1", b"POST"),
    "a request in the method": asking(b"/a", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nPOST"),
    "a line in the authority": (*POST[:2], (b":authority", b"a\r\nX-Smuggled: 1"), POST[3]),
    "a line in a value": asking(b"/a", b"POST", (b"x", b"y\r\nX-Smuggled: 1")),
    "a request in a value": asking(b"/a", b"POST", (b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\n")),
    "a bare LF in a value": asking(b"/a", b"POST", (b"x", b"y\nX-Smuggled: 1")),
    "a bare CR in a value": asking(b"/a", b"POST", (b"x", b"y\rX-Smuggled: 1")),
    "a line in a name": asking(b"/a", b"POST", (b"x\r\nx-smuggled", b"1")),
    "a colon in a name": asking(
        b"/a", b"POST", (b"transfer-encoding: chunked\r\nx-smuggled", b"1")
    ),
    "transfer-encoding": asking(b"/a", b"POST", (b"transfer-encoding", b"chunked")),
    "transfer-encoding beside a length": asking(
        b"/a", b"POST", (b"content-length", b"0"), (b"transfer-encoding", b"chunked")
    ),
    "two lengths": asking(b"/a", b"POST", (b"content-length", b"0"), (b"content-length", b"40")),
    "a list of lengths": asking(b"/a", b"POST", (b"content-length", b"0, 40")),
    "connection": asking(b"/a", b"POST", (b"connection", b"content-length, host")),
    "upgrade": asking(b"/a", b"POST", (b"upgrade", b"h2c")),
    "another host": asking(b"/a", b"POST", (b"host", b"other.test")),
}
_BODY = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


class TestSmuggling:
    @pytest.fixture
    def smuggler(self, tmp_path: Path, engine: EngineName) -> Iterator[Smuggler]:
        reverse = [{"target": "http://10.9.0.1", "port": 8080, "mode": "passthrough"}]
        with service(tmp_path, {"reverse": reverse, "http2_engine": engine}) as bench:
            bench.held = True
            yield Smuggler(bench)

    @pytest.mark.parametrize("case", SMUGGLING)
    def test_nothing_reaches_the_upstream(self, smuggler: Smuggler, case: str) -> None:
        """Not the request itself, and nothing of what is in it; the next client is served."""
        got = smuggler.sends(
            SMUGGLING[case], lambda stream: DataFrame(stream, _BODY, flags=["END_STREAM"])
        )
        assert [raw.split(b"\r\n")[0] for raw in got] == [b"GET /honest HTTP/1.1"]

    @pytest.mark.parametrize(
        ("length", "body"), [(b"3", _BODY), (b"300", _BODY), (b"300000", _BODY), (b"0", _BODY)]
    )
    def test_bodies_that_lie_about_their_length(
        self, smuggler: Smuggler, length: bytes, body: bytes
    ) -> None:
        """No byte of them can be taken for another request."""
        got = smuggler.sends(
            asking(b"/a", b"POST", (b"content-length", length)),
            lambda stream: DataFrame(stream, body, flags=["END_STREAM"]),
        )
        for raw in got:
            if raw.startswith(b"POST /a "):
                head, _, sent = raw.partition(b"\r\n\r\n")
                assert b"content-length: %b" % length in head
                assert len(sent) <= int(length)

    def test_a_body_of_unknown_length_is_framed_anew(self, smuggler: Smuggler) -> None:
        """Whatever is in it, it is one body to the upstream; its trailers are fields alone."""
        encoder = Encoder()
        encoder.encode(list(asking(b"/a", b"POST")))
        trailers = encoder.encode([(b"x-sum", b"1"), (b"content-type", b"x/y")])
        got = smuggler.sends(
            asking(b"/a", b"POST"),
            lambda stream: DataFrame(stream, b"0\r\n\r\n" + _BODY),
            lambda stream: HeadersFrame(stream, trailers, flags=["END_HEADERS", "END_STREAM"]),
        )
        (raw,) = [each for each in got if each.startswith(b"POST /a ")]
        head, _, sent = raw.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        size = len(_BODY) + 5
        assert sent == b"%x\r\n0\r\n\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (size, _BODY)


class TestMemory:
    def test_streams_leave_nothing_behind(self, engine: EngineName) -> None:
        """However they end: whole, cancelled, refused or broken off."""
        one = Forger.at(engine)

        def round_of(first: int) -> None:
            for at in range(first, first + 40, 2):
                one.send(one.head(at, POST, "END_HEADERS"), DataFrame(at, b"x" * 100))
                exchange = one.bench.exchanges[-1]
                if at % 8 == 1:
                    one.send(RstStreamFrame(at, Code.CANCEL))
                elif at % 8 == 3:
                    exchange.answer(b"y" * 100)
                elif at % 8 == 5:
                    exchange.sink.abort()
                else:
                    one.send(DataFrame(at, b"", flags=["END_STREAM"]))
                    exchange.answer()
                exchange.finish()
                one.answered  # noqa: B018  # reads them
                one.bench.later(1)
            one.bench.exchanges.clear()

        def objects() -> int:
            gc.collect()
            return len(gc.get_objects())

        round_of(1)
        round_of(41)
        before = objects()
        for number in range(2, 6):
            round_of(40 * number + 1)
        assert objects() - before < 80
        assert isinstance(one.bench.wire, Wire)
        assert one.bench.end() == "open"
