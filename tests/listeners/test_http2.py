"""A client's connection in HTTP/2: streams are exchanges, with both engines."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
from attrs import evolve
from client_bench import LIMITS, Bench, get, rest_of
from client_bench import clients_leave as _clients_leave  # noqa: F401  # a fixture
from http2_bench import Http2Bench, asking
from http2_pair import BOUNDS, OK
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from buffr.errors import BadFraming, ClientGone, NoMatch
from buffr.listeners.client import ClientSink
from buffr.message import CHUNKED, Piece, ResponseHead
from buffr.transport.duplex import Duplex
from buffr.transport.streams import IStreamTransport
from buffr.upstream.bound import Bonds
from buffr.wire.http2.engines import ENGINES, EngineName
from buffr.wire.http2.interface import Code
from buffr.wire.http2.requests import PREFACE_START

HEAD = ResponseHead(200, b"OK", ((b"X-One", b"1"), (b"Transfer-Encoding", b"chunked")))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def bench(engine: EngineName) -> Http2Bench:
    return Http2Bench(engine)


class TestBeginning:
    def test_by_its_preface(self, engine: EngineName) -> None:
        """However it is cut, and only where it is served."""
        preface = PREFACE_START + b"\r\nSM\r\n\r\n"
        for cut in (3, len(PREFACE_START), len(PREFACE_START) + 2, len(preface)):
            bench = Http2Bench(engine)
            fresh = Bench(bench.limits)
            fresh.send(preface[:cut], preface[cut:] + b"\0\0\0\4\0\0\0\0\0")
            assert fresh.received()[3:4] == b"\4"  # SETTINGS
        refusing = Bench(LIMITS).send(preface)
        assert refusing.received().startswith(b"HTTP/1.1 505 ")

    def test_not_in_the_middle_of_http_1(self, bench: Http2Bench) -> None:
        """A request of HTTP/1.1 that came before says what the connection is."""
        late = Bench(bench.limits, prompt=True).send(get(), PREFACE_START + b"\r\nSM\r\n\r\n")
        assert b"HTTP/1.1 505 " in late.received()

    def test_http_1_goes_on_as_before(self, bench: Http2Bench) -> None:
        assert b"200" in Bench(bench.limits, prompt=True).send(get()).received()


class TestExchanges:
    def test_several_at_once(self, bench: Http2Bench) -> None:
        streams = [bench.ask(asking(path)) for path in (b"/1", b"/2", b"/3")]
        assert bench.targets() == [b"/1", b"/2", b"/3"]
        for at in (1, 2, 0):
            bench.exchanges[at].answer(b"answer %d" % at)
        assert [bench.body(stream) for stream in streams] == [b"answer %d" % at for at in range(3)]
        assert [bench.status(stream) for stream in streams] == [200] * 3

    def test_byte_by_byte(self, engine: EngineName) -> None:
        """However the client's bytes are cut, they mean the same."""
        bench = Http2Bench(engine, prompt=True)
        stream = bench.client.request(asking(b"/", b"POST"), ended=False)
        bench.client.send(stream, b"a body", ended=True)
        while data := bench.client.take(16_000):
            for place in range(len(data)):
                bench.connection.dataReceived(data[place : place + 1])
        assert (bench.status(stream), bench.body(stream)) == (200, b"/")

    def test_what_the_handler_gets(self, bench: Http2Bench) -> None:
        bench.ask(asking(b"/x", b"GET", (b"cookie", b"a=1"), (b"cookie", b"b=2")))
        request = bench.exchanges[0].request
        assert request.headers == ((b"host", b"api.test"), (b"cookie", b"a=1; b=2"))
        assert (request.major, request.scheme) == (2, b"https")

    def test_the_same_request_is_the_same_object(self, bench: Http2Bench) -> None:
        """So that what was found out about it once need not be found out again."""
        for _ in range(2):
            bench.ask()
        assert bench.exchanges[0].request is bench.exchanges[1].request

    def test_many_answers_share_a_segment(self, engine: EngineName) -> None:
        bench = Http2Bench(engine, prompt=True)
        for _ in range(8):
            bench.client.request(asking(), ended=True)
        written: list[bytes] = []
        bench.wire.write = written.append  # type: ignore[method-assign]
        bench.connection.dataReceived(bench.client.take(16_000))
        assert len(written) == 1

    def test_an_error(self, bench: Http2Bench) -> None:
        """It ends its stream, and no other."""
        other, failed = bench.ask(), bench.ask()
        bench.exchanges[1].over.errback(NoMatch("nothing recorded"))
        assert bench.status(failed) == 599
        assert b"nothing recorded" in bench.body(failed)
        bench.exchanges[0].answer()
        assert bench.status(other) == 200

    def test_a_malformed_request(self, bench: Http2Bench) -> None:
        """What the engine lets pass is refused with 400, as in HTTP/1.1."""
        bad, good = bench.ask(asking(b"/a#b")), bench.ask()
        assert bench.status(bad) == 400
        assert [type(error).__name__ for error in bench.refusals] == ["BadRequest"]
        bench.exchanges[0].answer()
        assert bench.status(good) == 200

    def test_a_long_head(self, bench: Http2Bench) -> None:
        """The limits of heads in HTTP/1.1 hold here too, with the same status."""
        assert bench.status(bench.ask(asking(b"/" + b"x" * 2000))) == 431
        assert bench.status(bench.ask(asking(b"/", b"GET", *((b"x", b"y"),) * 20))) == 431

    def test_bodiless_answers(self, bench: Http2Bench) -> None:
        streams = [bench.ask(asking(b"/", b"HEAD")), bench.ask()]
        bench.exchanges[0].answer(b"not sent")
        bench.exchanges[1].sink.answer(ResponseHead(204, b"No Content", ()), b"", (), ())
        assert [bench.body(stream) for stream in streams] == [b"", b""]
        assert [bench.status(stream) for stream in streams] == [200, 204]
        assert bench.resets() == {}

    def test_interim_answers_pieces_and_trailers(self, bench: Http2Bench) -> None:
        stream = bench.ask()
        sink = bench.exchanges[0].sink
        sink.inform(ResponseHead(103, b"Early Hints", ((b"Link", b"</a>"),)))
        sink.begin(HEAD)
        sink.flush()
        bench.talk()
        assert bench.heard.taken() == [
            ("interim", stream, ((b":status", b"103"), (b"link", b"</a>"))),
            ("head", stream, ((b":status", b"200"), (b"x-one", b"1")), False),
        ]
        for data in (b"one", b"two"):
            sink.write(Piece(data, 3))
            assert bench.body(stream).endswith(data)
        sink.end(((b"X-Sum", b"6"),))
        bench.talk()
        assert bench.heard.taken() == [("trailers", stream, ((b"x-sum", b"6"),))]

    def test_a_whole_answer_with_trailers(self, bench: Http2Bench) -> None:
        """And without a body: gRPC has answers of trailers only."""
        streams = [bench.ask(), bench.ask()]
        for exchange, body in zip(bench.exchanges, (b"x", b""), strict=True):
            exchange.sink.answer(HEAD, body, (), ((b"grpc-status", b"0"),))
        bench.talk()
        trailers = ((b"grpc-status", b"0"),)
        for stream in streams:
            assert ("trailers", stream, trailers) in bench.heard.said


class TestBodies:
    def test_a_short_one_is_read_first(self, bench: Http2Bench) -> None:
        """As in HTTP/1.1, its exchange starts when all of it is here."""
        stream = bench.ask(asking(b"/", b"POST", (b"content-length", b"6")), ended=False)
        bench.say(stream, b"abc")
        assert bench.exchanges == []
        bench.say(stream, b"def", ended=True)
        assert bench.exchanges[0].body == b"abcdef"

    def test_one_of_unknown_length_streams(self, bench: Http2Bench) -> None:
        stream = bench.ask(asking(b"/", b"POST"), ended=False)
        exchange = bench.exchanges[0]
        assert exchange.request.body_length == CHUNKED
        assert (b"transfer-encoding", b"chunked") in exchange.request.headers
        bench.say(stream, b"one")
        assert rest_of(exchange.stream) == b"one"
        bench.say(stream, b"two")
        bench.client.trail(stream, ((b"x-sum", b"6"), (b"host", b"not.this")))
        bench.talk()
        assert rest_of(exchange.stream) == b"two"
        assert exchange.stream.ended
        assert exchange.stream.trailers == ((b"x-sum", b"6"),)

    @pytest.mark.parametrize("sent", [b"", b"abc", b"x" * 9])
    @pytest.mark.parametrize("length", [b"6", b"600000"])
    def test_one_of_another_length(self, bench: Http2Bench, length: bytes, sent: bytes) -> None:
        """It reaches nobody as whole, whichever of the two notices."""
        stream = bench.ask(asking(b"/", b"POST", (b"content-length", length)), ended=False)
        bench.say(stream, sent, ended=True)
        for exchange in bench.exchanges:
            assert not exchange.stream.ended or exchange.stream._error is not None
        assert bench.status(stream) in (0, 400)

    def test_the_window_follows_the_reader(self, engine: EngineName) -> None:
        """A reader that is behind holds its client back, and no other stream."""
        bench = Http2Bench(engine)
        stream = bench.ask(asking(b"/", b"POST"), ended=False)
        other = bench.ask(asking(b"/", b"POST"), ended=False)
        size = 3 * BOUNDS.stream_bytes
        bench.say(stream, b"x" * size)
        ahead = size - bench.client.unsent(stream)
        assert ahead <= BOUNDS.stream_bytes + 65_536 + 16_384  # the window, and what is unread
        bench.say(other, b"not held up")
        assert rest_of(bench.exchanges[1].stream) == b"not held up"
        came = b""
        while part := rest_of(bench.exchanges[0].stream):
            came += part
            bench.talk()
        assert len(came) == size

    def test_expectations(self, bench: Http2Bench) -> None:
        """The handler says whether to go on, before the body comes."""
        fields = asking(b"/", b"POST", (b"content-length", b"3"), (b"expect", b"100-continue"))
        stream = bench.ask(fields, ended=False)
        bench.exchanges[0].sink.inform(ResponseHead(100, b"Continue", ()))
        bench.talk()
        assert bench.heard.taken() == [("interim", stream, ((b":status", b"100"),))]
        bench.say(stream, b"abc", ended=True)
        assert rest_of(bench.exchanges[0].stream) == b"abc"

    def test_an_answer_before_the_end(self, bench: Http2Bench) -> None:
        """The client is told to send no more, and that it was no fault (RFC 9113 8.1)."""
        stream = bench.ask(asking(b"/", b"POST"), ended=False)
        bench.exchanges[0].answer(b"enough")
        assert (bench.status(stream), bench.body(stream)) == (200, b"enough")
        assert bench.resets() == {stream: Code.NO_ERROR}


class TestBackPressure:
    def test_a_slow_client_holds_its_writer_back(self, bench: Http2Bench) -> None:
        """What waits is bounded; when the client takes more, the writer goes on."""
        bench.heard.held = True
        stream, other = bench.ask(), bench.ask()
        sink = bench.exchanges[0].sink
        sink.begin(HEAD)
        written = 0
        while sink.writable:
            sink.write(Piece(b"x" * 50_000, 50_000))
            bench.talk()
            written += 50_000
        came = len(bench.body(stream))
        assert written - came <= 65_536 + 50_000
        bench.exchanges[1].answer(b"not held up")
        assert bench.body(other) == b"not held up"
        bench.client.consumed(stream, came)
        bench.talk()
        sink.end(())
        bench.heard.held = False
        assert len(bench.body(stream)) == written

    def test_a_writer_that_goes_on_at_once(self, bench: Http2Bench) -> None:
        """As soon as there is room it writes more than there is room for, again and again."""

        async def handle(_: object, __: object, sink: ClientSink) -> None:
            sink.begin(HEAD)
            for _ in range(40):
                sink.write(Piece(b"x" * 100_000, 100_000))
                await sink.drain()
            sink.end(())

        bench.handle = handle
        streams = [bench.ask() for _ in range(3)]
        assert [len(bench.body(stream)) for stream in streams] == [4_000_000] * 3
        assert bench.heard.over.issuperset(streams)

    def test_a_full_transport(self, bench: Http2Bench) -> None:
        """What it has no room for waits in the engine, and holds writers back."""
        stream = bench.ask()
        http2 = bench.wire.producer
        assert http2 is not None
        http2.pauseProducing()
        sink = bench.exchanges[0].sink
        sink.begin(HEAD)
        sink.write(Piece(b"x" * 100_000, 100_000))
        ready = [sink.writable]
        http2.resumeProducing()
        ready.append(sink.writable)
        sink.end(())
        assert ready == [False, True]
        assert len(bench.body(stream)) == 100_000

    def test_a_long_answer_that_is_not_read(self, bench: Http2Bench) -> None:
        """It is reset after the time that a body may rest."""
        bench.heard.held = True
        stream = bench.ask()
        bench.exchanges[0].sink.answer(HEAD, b"x" * (1 << 21), (), ())
        bench.talk()
        bench.later(29)
        assert bench.resets() == {}
        bench.later(3)
        assert bench.resets() == {stream: Code.CANCEL}
        assert not bench.connection._successor._sinks  # type: ignore[union-attr]


class TestCancelling:
    def test_by_the_client(self, bench: Http2Bench) -> None:
        """The exchange is given up, and no other."""
        streams = [bench.ask(), bench.ask(asking(b"/", b"POST"), ended=False), bench.ask()]
        for stream in streams[:2]:
            bench.client.reset(stream, Code.CANCEL)
        bench.talk()
        assert [one.cancelled for one in bench.exchanges] == [True, True, False]
        assert bench.exchanges[1].stream.ended
        bench.exchanges[2].answer()
        assert bench.status(streams[2]) == 200

    def test_an_answer_that_breaks_off(self, bench: Http2Bench) -> None:
        """What there is of it comes first; then the client can tell."""
        stream = bench.ask()
        sink = bench.exchanges[0].sink
        sink.begin(HEAD)
        sink.write(Piece(b"half", 4))
        sink.abort()
        assert bench.body(stream) == b"half"
        assert bench.resets() == {stream: Code.INTERNAL_ERROR}

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            (Code.CANCEL, Code.CANCEL),
            (Code.ENHANCE_YOUR_CALM, Code.ENHANCE_YOUR_CALM),
            (Code.NO_ERROR, Code.INTERNAL_ERROR),
            (Code.REFUSED_STREAM, Code.INTERNAL_ERROR),
            (77, Code.INTERNAL_ERROR),
        ],
    )
    def test_one_that_its_upstream_reset(self, bench: Http2Bench, code: int, told: Code) -> None:
        """The client hears what concerns the answer, and never that it is whole or unseen."""
        stream = bench.ask()
        sink = bench.exchanges[0].sink
        sink.begin(HEAD)
        sink.abort(code)
        assert bench.resets() == {stream: told}

    def test_one_that_breaks_off_at_once(self, engine: EngineName) -> None:
        """Also where nothing was sent in between, as in a replay."""
        bench = Http2Bench(engine)

        async def handle(_: object, __: object, sink: ClientSink) -> None:
            sink.begin(HEAD)
            sink.write(Piece(b"half", 4))
            sink.abort()

        bench.handle = handle
        stream = bench.ask()
        assert bench.body(stream) == b"half"
        assert bench.resets() == {stream: Code.INTERNAL_ERROR}

    def test_by_the_handler(self, bench: Http2Bench) -> None:
        stream = bench.ask()
        bench.exchanges[0].over.errback(ClientGone("told so"))
        assert bench.resets() == {stream: Code.CANCEL}

    def test_a_client_that_leaves(self, bench: Http2Bench) -> None:
        for _ in range(3):
            bench.ask()
        bench.leave(reset=True)
        assert [one.cancelled for one in bench.exchanges] == [True] * 3
        assert bench.known == []

    def test_a_client_that_sends_no_more(self, bench: Http2Bench) -> None:
        """It gets its answers, if its requests are whole; then the connection is closed."""
        whole, part = bench.ask(), bench.ask(asking(b"/", b"POST"), ended=False)
        bench.half_close()
        assert [one.cancelled for one in bench.exchanges] == [False, True]
        bench.exchanges[0].answer()
        assert bench.status(whole) == 200
        assert bench.end() == "closed"
        assert bench.status(part) == 0


class TestTimes:
    def test_an_idle_connection(self, bench: Http2Bench) -> None:
        """It is closed with a GOAWAY; what a client does beside requests does not keep it."""
        for _ in range(69):
            bench.client.ping()
            bench.talk()
            bench.later(1)
        assert bench.goodbye() is None
        bench.later(3)
        assert bench.goodbye() == Code.NO_ERROR
        assert (bench.end(), bench.known) == ("closed", [])

    def test_one_with_an_exchange(self, bench: Http2Bench) -> None:
        stream = bench.ask()
        bench.later(500)
        bench.exchanges[0].answer()
        bench.later(60)
        assert (bench.status(stream), bench.end()) == (200, "open")

    @pytest.mark.parametrize("length", [b"6", b"600000"])
    def test_a_body_that_does_not_come(self, bench: Http2Bench, length: bytes) -> None:
        stream = bench.ask(asking(b"/", b"POST", (b"content-length", length)), ended=False)
        other = bench.ask()
        bench.say(stream, b"a")
        bench.later(32)
        assert bench.status(stream) == 408 or bench.resets() == {stream: Code.CANCEL}
        assert bench.status(other) == 0
        assert bench.end() == "open"

    def test_a_body_that_trickles_in(self, engine: EngineName) -> None:
        """It is refused after a while, however short its pauses."""
        bench = Http2Bench(engine, limits=evolve(LIMITS, body_bytes_per_s=10))
        stream = bench.ask(asking(b"/", b"POST", (b"content-length", b"6000")), ended=False)
        for _ in range(40):
            bench.say(stream, b"a")
            bench.later(1)
        assert bench.status(stream) == 408
        assert bench.end() == "open"

    def test_a_client_that_does_not_read_the_last_of_it(self, bench: Http2Bench) -> None:
        http2 = bench.wire.producer
        assert http2 is not None
        http2.pauseProducing()
        bench.later(72)
        assert bench.end() == "cut"


class TestLeaving:
    def test_with_exchanges_under_way(self, bench: Http2Bench) -> None:
        """They are finished; new ones are not begun."""
        stream = bench.ask()
        for one in list(bench.known):
            one.stop()
        bench.talk()
        assert bench.goodbye() == Code.NO_ERROR
        assert bench.end() == "open"
        bench.exchanges[0].answer(b"to the end")
        assert bench.body(stream) == b"to the end"
        assert (bench.end(), len(bench.exchanges)) == ("closed", 1)

    def test_with_none(self, bench: Http2Bench) -> None:
        for one in list(bench.known):
            one.stop()
        bench.talk()
        assert (bench.goodbye(), bench.end(), bench.known) == (Code.NO_ERROR, "closed", [])

    def test_a_request_that_was_on_its_way(self, bench: Http2Bench) -> None:
        """The client knows by the GOAWAY that nobody has seen it."""
        first = bench.ask()
        bench.client.request(asking(b"/late"), ended=True)
        for one in list(bench.known):
            one.stop()
        bench.talk()
        assert bench.targets() == [b"/"]
        assert ("going away", first, Code.NO_ERROR) in bench.heard.said

    def test_a_cut(self, bench: Http2Bench) -> None:
        bench.ask()
        for one in list(bench.known):
            one.cut()
        bench.wire.turn()
        assert bench.exchanges[0].cancelled
        assert bench.known == []

    def test_nothing_holds_it_any_more(self, engine: EngineName) -> None:
        """A connection that is gone is gone at once, without a look for cycles."""
        bench = Http2Bench(engine)
        stream = bench.ask()
        bench.exchanges[0].answer()
        assert bench.status(stream) == 200
        bench.ask()
        http2 = bench.connection._successor
        assert http2 is not None
        gone = ref(http2)
        gc.disable()
        try:
            bench.leave(reset=True)
            bench.exchanges.clear()
            del http2, bench.connection, bench.wire.protocol, bench.wire.producer
            assert gone() is None
        finally:
            gc.enable()

    def test_bonds_end_with_it(self, bench: Http2Bench) -> None:
        """A connection to an upstream that is bound to this one is let go with it."""
        http2 = bench.connection._successor
        left = []

        class Bond(Bonds):
            def __init__(self) -> None:
                """It holds nothing."""

            def left(self, client: object) -> None:
                left.append(client)

        http2.bonds.add(Bond())  # type: ignore[union-attr]
        bench.leave()
        assert left == [http2]


class Echo(Protocol):
    """What comes in a tunnel, goes back; it notes how it ends."""

    transport: IStreamTransport

    def __init__(self) -> None:
        self.came = b""
        self.ends: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.came += data
        self.transport.write(data.upper())

    def connectionLost(self, reason: object = None) -> None:
        self.ends.append(type(getattr(reason, "value", reason)).__name__)


class TestTunnels:
    CONNECT = ((b":method", b"CONNECT"), (b":authority", b"api.test:443"))

    def opened(self, bench: Http2Bench, early: bytes = b"") -> tuple[int, Echo]:
        stream = bench.ask(self.CONNECT, ended=False)
        if early:
            bench.say(stream, early)
        echo = Echo()
        bench.exchanges[-1].sink.tunnel(ResponseHead(200, b"Connection Established", ()), echo)
        bench.exchanges[-1].finish()
        return stream, echo

    def test_bytes_both_ways(self, bench: Http2Bench) -> None:
        """Also those that came before the tunnel was open; other streams go on beside it."""
        stream, echo = self.opened(bench, b"early ")
        bench.say(stream, b"bird")
        assert (bench.status(stream), bench.body(stream)) == (200, b"EARLY BIRD")
        assert echo.transport.getPeer().host == bench.wire.getPeer().host
        other = bench.ask()
        bench.exchanges[-1].answer()
        assert bench.status(other) == 200
        assert echo.ends == []

    def test_the_client_ends_it(self, bench: Http2Bench) -> None:
        stream, echo = self.opened(bench)
        bench.say(stream, b"last", ended=True)
        assert bench.body(stream) == b"LAST"
        assert echo.ends == ["ConnectionDone"]
        assert bench.resets() == {}

    def test_this_side_ends_it(self, bench: Http2Bench) -> None:
        stream, echo = self.opened(bench)
        echo.transport.write(b"bye")
        echo.transport.loseConnection()
        assert bench.body(stream) == b"bye"
        assert echo.ends == ["ConnectionDone"]
        assert ("end", stream) in bench.heard.said
        assert bench.resets() == {stream: Code.NO_ERROR}

    def test_a_reset_of_either_side(self, bench: Http2Bench) -> None:
        """RST_STREAM with CANCEL stands for TCP's reset (RFC 8441 5)."""
        stream, echo = self.opened(bench)
        bench.client.reset(stream, Code.CANCEL)
        bench.talk()
        assert echo.ends == ["ConnectionLost"]
        stream, echo = self.opened(bench)
        echo.transport.abortConnection()
        assert bench.resets()[stream] == Code.CANCEL
        assert echo.ends == ["ConnectionAborted"]

    def test_the_connection_ends(self, bench: Http2Bench) -> None:
        _, echo = self.opened(bench)
        bench.leave(reset=True)
        assert echo.ends == ["ConnectionLost"]

    def test_back_pressure(self, bench: Http2Bench) -> None:
        """In both directions: by the window, and by the producer."""
        stream, echo = self.opened(bench)
        echo.transport.pauseProducing()
        bench.say(stream, b"x" * 100_000)
        assert echo.came == b""
        assert bench.client.unsent(stream) == 100_000 - BOUNDS.stream_bytes
        paused: list[bool] = []

        @implementer(IPushProducer)
        class Producer:
            def pauseProducing(self) -> None:
                paused.append(True)

            def resumeProducing(self) -> None:
                paused.append(False)

            def stopProducing(self) -> None:
                """It has nothing."""

        bench.heard.held = True
        echo.transport.registerProducer(Producer(), True)
        echo.transport.write(b"y" * (1 << 19))
        bench.talk()
        assert paused == [True]
        bench.client.consumed(stream, len(bench.heard.bodies[stream]))
        bench.heard.held = False
        bench.talk()
        assert paused == [True, False]
        echo.transport.resumeProducing()
        bench.talk()
        assert len(echo.came) == 100_000

    def test_a_refusal(self, bench: Http2Bench) -> None:
        stream = bench.ask(self.CONNECT, ended=False)
        bench.exchanges[0].over.errback(BadFraming("not that way"))
        assert bench.status(stream) == 400
        assert bench.resets() == {stream: Code.NO_ERROR}

    def test_a_websocket(self, bench: Http2Bench) -> None:
        """Its stream is accepted by 200, without the key's answer (RFC 8441 5)."""
        fields = asking(b"/socket", b"CONNECT", (b"sec-websocket-version", b"13"))
        stream = bench.ask((*fields[:1], (b":protocol", b"websocket"), *fields[1:]), ended=False)
        exchange = bench.exchanges[0]
        assert exchange.request.upgrade == b"websocket"
        head = ResponseHead(
            101,
            b"Switching Protocols",
            (
                (b"Upgrade", b"websocket"),
                (b"Connection", b"Upgrade"),
                (b"Sec-WebSocket-Accept", b"x"),
                (b"Sec-WebSocket-Protocol", b"chat"),
            ),
        )
        duplex: Duplex = exchange.sink.switch(head)
        heard: list[object] = []

        class User:
            def received(self, data: bytes) -> None:
                heard.append(data)

            def pause_sending(self) -> None:
                heard.append("pause")

            def resume_sending(self) -> None:
                heard.append("resume")

            def ended(self) -> None:
                heard.append("ended")

            def closed(self, reason: object) -> None:
                heard.append("closed")

        duplex.start(User())
        duplex.write(b"down")
        bench.say(stream, b"up")
        assert ("head", stream, (*OK[:1], (b"sec-websocket-protocol", b"chat")), False) in (
            bench.heard.said
        )
        assert bench.body(stream) == b"down"
        bench.say(stream, b"", ended=True)
        assert heard == [b"up", "ended"]
        duplex.close()
        bench.talk()
        assert heard == [b"up", "ended", "closed"]
