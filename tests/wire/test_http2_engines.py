"""Two engines that speak HTTP/2 with each other: every pair of libraries, in memory."""

from __future__ import annotations

import pytest
from http2_pair import BOUNDS, GET, OK, POST, Heard, Pair
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import ConfigError, UpstreamFailed
from buffr.wire.http2.engines import ENGINES, EngineName, engine_name, open_engine
from buffr.wire.http2.interface import (
    Code,
    NeverIndexed,
    Nuisance,
    Role,
    code_name,
)


@pytest.fixture(params=[(one, other) for one in ENGINES for other in ENGINES], ids="-".join)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(*request.param)


class TestChoice:
    def test_the_fastest_is_taken(self) -> None:
        assert engine_name() == "ngh2"

    def test_one_by_name(self) -> None:
        assert [engine_name(name) for name in ENGINES] == list(ENGINES)

    def test_one_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("buffr.wire.http2.engines.find_spec", lambda name: name == "h2" or None)
        assert engine_name() == "h2"
        with pytest.raises(ConfigError, match="http2_engine: ngh2: ngh2 cannot be imported"):
            engine_name("ngh2")

    def test_names_of_codes(self) -> None:
        assert [code_name(code) for code in (0, 8, 99)] == ["NO_ERROR", "CANCEL", "99"]


class TestMessages:
    def test_an_exchange(self, pair: Pair) -> None:
        """Heads, bodies and trailers, with interim answers in between."""
        stream = pair.ask(POST, ended=False)
        assert pair.at_server.taken() == [("head", stream, POST, False)]
        pair.client.send(stream, b"ab")
        pair.client.send(stream, b"c")
        pair.client.trail(stream, ((b"x-sum", b"3"),))
        pair.talk()
        assert pair.at_server.bodies[stream] == b"abc"
        assert pair.at_server.taken() == [("trailers", stream, ((b"x-sum", b"3"),))]
        hints = ((b":status", b"103"), (b"link", b"</a>"))
        pair.server.inform(stream, hints)
        pair.server.answer(stream, OK, ended=False)
        pair.server.send(stream, b"answer")
        pair.server.trail(stream, ((b"grpc-status", b"0"),))
        pair.talk()
        assert pair.at_client.bodies[stream] == b"answer"
        assert pair.at_client.taken() == [
            ("interim", stream, hints),
            ("head", stream, OK, False),
            ("trailers", stream, ((b"grpc-status", b"0"),)),
        ]

    def test_heads_without_bodies(self, pair: Pair) -> None:
        """A trailers-only answer of gRPC, and one that ends by itself."""
        first, second = pair.ask(), pair.ask()
        assert pair.at_server.taken() == [("head", one, GET, True) for one in (first, second)]
        pair.server.answer(first, OK, ended=True)
        pair.server.answer(second, OK, ended=False)
        pair.server.send(second, b"", ended=True)
        pair.talk()
        assert pair.at_client.taken() == [
            ("head", first, OK, True),
            ("head", second, OK, False),
            ("end", second),
        ]

    def test_fields_stay_as_they_are(self, pair: Pair) -> None:
        """Their order, duplicates, cookie crumbs and bytes; and what no table may learn."""
        fields = (
            (b"cookie", b"a=1"),
            (b"b", b"2"),
            NeverIndexed(b"authorization", b"Bearer x"),
            (b"cookie", b"c=3"),
            (b"b", b"\xe4"),
            (b"te", b"trailers"),
            (b"empty", b""),
        )
        heard = pair.at_server.heads[pair.ask((*GET, *fields))]
        assert heard[len(GET) :] == fields
        assert NeverIndexed in [type(one) for one in heard if one[0] == b"authorization"]

    def test_many_streams(self, pair: Pair) -> None:
        """Each gets its own answer, in whatever order they are given."""
        streams = [pair.ask() for _ in range(8)]
        for stream in reversed(streams):
            pair.server.answer(stream, OK, ended=False)
            pair.server.send(stream, b"%d" % stream, ended=True)
        pair.talk()
        assert pair.at_client.bodies == {one: b"%d" % one for one in streams}
        assert (pair.server.over, pair.client.over) == (False, False)

    @pytest.mark.parametrize(("client", "server"), [("ngh2", "h2"), ("h2", "ngh2")])
    @given(st.lists(st.binary(max_size=30_000), max_size=6), st.integers(1, 70_000))
    def test_bodies_of_any_pieces(
        self, client: EngineName, server: EngineName, pieces: list[bytes], step: int
    ) -> None:
        pair = Pair(client, server)
        stream = pair.ask()
        pair.server.answer(stream, OK, ended=False)
        for piece in pieces:
            pair.server.send(stream, piece)
        pair.server.send(stream, b"", ended=True)
        pair.talk(step)
        assert pair.at_client.bodies[stream] == b"".join(pieces)
        assert pair.at_client.taken()[-1] == ("end", stream)

    def test_connect(self, pair: Pair) -> None:
        """A tunnel, and a WebSocket's (RFC 8441)."""
        assert pair.client.peer_takes_connect
        assert pair.client.peer_streams == BOUNDS.streams
        tunnel = ((b":method", b"CONNECT"), (b":authority", b"api.test:443"))
        socket = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:])
        streams = [pair.ask(fields, ended=False) for fields in (tunnel, socket)]
        assert pair.at_server.taken() == [
            ("head", streams[0], tunnel, False),
            ("head", streams[1], socket, False),
        ]
        pair.server.answer(streams[1], OK, ended=False)
        pair.client.send(streams[1], b"up")
        pair.server.send(streams[1], b"down")
        pair.talk()
        assert (pair.at_server.bodies, pair.at_client.bodies) == (
            {streams[1]: b"up"},
            {streams[1]: b"down"},
        )


class TestFlowControl:
    def test_a_body_waits_for_its_window(self, pair: Pair) -> None:
        """No more is sent than the peer has room for, until it has consumed what came."""
        pair.at_client.held = True
        stream, other = pair.ask(), pair.ask()
        size = 2 * BOUNDS.stream_bytes
        pair.server.answer(stream, OK, ended=False)
        pair.server.send(stream, b"x" * size, ended=True)
        pair.talk()
        came = len(pair.at_client.bodies[stream])
        assert came == BOUNDS.stream_bytes
        assert pair.server.unsent(stream) == size - came
        pair.server.answer(other, OK, ended=False)
        pair.server.send(other, b"not held up", ended=True)
        pair.talk()
        assert pair.at_client.bodies[other] == b"not held up"
        pair.client.consumed(stream, came)
        pair.talk()
        assert len(pair.at_client.bodies[stream]) == size
        assert pair.server.unsent(stream) == 0

    def test_all_streams_share_the_connection(self, pair: Pair) -> None:
        pair.at_server.held = True
        streams = [pair.ask(POST, ended=False) for _ in range(5)]
        for stream in streams:
            pair.client.send(stream, b"x" * BOUNDS.stream_bytes)
        pair.talk()
        assert sum(map(len, pair.at_server.bodies.values())) == BOUNDS.connection_bytes
        pair.at_server.held = False
        for stream, body in list(pair.at_server.bodies.items()):
            pair.server.consumed(stream, len(body))
        pair.talk()
        assert sum(map(len, pair.at_server.bodies.values())) == 5 * BOUNDS.stream_bytes

    def test_take_gives_little_at_a_time(self, pair: Pair) -> None:
        """Bytes that a transport has no room for stay where they can still be given up."""
        stream = pair.ask()
        pair.server.answer(stream, OK, ended=False)
        pair.server.send(stream, b"x" * 60_000)
        assert len(pair.server.take(20_000)) <= 20_000
        assert pair.server.unsent(stream) > 20_000


class TestEnds:
    def test_a_reset_has_its_code(self, pair: Pair) -> None:
        """From either side; what is asked of the stream after that does nothing."""
        first, second = pair.ask(POST, ended=False), pair.ask()
        pair.at_server.taken()
        pair.client.reset(first, Code.CANCEL)
        pair.server.reset(second, Code.REFUSED_STREAM)
        pair.talk()
        assert pair.at_server.taken()[0] == ("reset", first, Code.CANCEL)
        assert pair.at_client.taken()[0] == ("reset", second, Code.REFUSED_STREAM)
        for stream in (first, second, 99):
            pair.server.inform(stream, ((b":status", b"103"),))
            pair.server.answer(stream, OK, ended=False)
            pair.server.send(stream, b"late")
            pair.server.trail(stream, ((b"a", b"b"),))
            pair.server.consumed(stream, 10)
            pair.server.reset(stream, Code.CANCEL)
            assert pair.server.unsent(stream) in (0, 4)
        pair.talk()
        assert pair.ask() > second
        assert (pair.server.over, pair.client.over) == (False, False)

    def test_a_reset_drops_what_is_unsent(self, pair: Pair) -> None:
        pair.at_client.held = True
        stream = pair.ask()
        pair.server.answer(stream, OK, ended=False)
        pair.server.send(stream, b"x" * 200_000)
        pair.talk()
        pair.client.reset(stream, Code.CANCEL)
        pair.talk()
        assert pair.server.unsent(stream) == 0

    def test_the_server_leaves(self, pair: Pair) -> None:
        """What is under way goes on; then the connection is over for both."""
        stream = pair.ask()
        pair.server.go_away()
        pair.talk()
        assert pair.at_client.taken() == [("going away", stream, Code.NO_ERROR)]
        ends = [pair.server.over]
        pair.server.answer(stream, OK, ended=False)
        pair.server.send(stream, b"last", ended=True)
        pair.talk()
        assert pair.at_client.bodies[stream] == b"last"
        assert [*ends, pair.server.over, pair.server.fault] == [False, True, ""]

    def test_a_request_that_was_on_its_way(self, pair: Pair) -> None:
        """The client hears that nobody has seen it, so that it can be sent again (6.8)."""
        first = pair.ask()
        pair.server.go_away()
        late = pair.client.request(GET, ended=True)
        pair.talk()
        assert ("reset", late, Code.REFUSED_STREAM) in pair.at_client.taken()
        assert list(pair.at_server.heads) == [first]
        pair.server.answer(first, OK, ended=True)
        pair.talk()
        assert ("head", first, OK, True) in pair.at_client.taken()
        with pytest.raises(UpstreamFailed):
            pair.client.request(GET, ended=True)

    def test_the_client_leaves(self, pair: Pair) -> None:
        """It still gets its answers."""
        stream = pair.ask()
        pair.at_server.taken()
        pair.client.go_away()
        pair.talk()
        assert pair.at_server.taken()[0] == ("going away", 0, Code.NO_ERROR)
        pair.server.answer(stream, OK, ended=False)
        pair.server.send(stream, b"last", ended=True)
        pair.talk()
        assert pair.at_client.bodies[stream] == b"last"
        assert pair.client.over

    def test_a_connection_is_ended(self, pair: Pair) -> None:
        pair.ask()
        pair.server.terminate(Code.ENHANCE_YOUR_CALM)
        pair.talk()
        assert ("going away", 1, Code.ENHANCE_YOUR_CALM) in pair.at_client.taken()
        assert pair.server.over
        for engine in (pair.server, pair.client):
            engine.ping()
            engine.go_away()
            engine.terminate(Code.NO_ERROR)

    def test_a_ping_is_a_nuisance(self, pair: Pair) -> None:
        pair.client.ping()
        pair.talk()
        assert pair.at_server.nuisances == [Nuisance.PING]


class TestFaults:
    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\1\0\0\0\0\0\0x",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("name", ENGINES)
    def test_what_is_not_http2(self, name: EngineName, data: bytes) -> None:
        """It raises nothing, and the connection is over once the rest is taken."""
        engine = open_engine(Role.SERVER, Heard(), BOUNDS, name)
        engine.receive(data)
        while engine.take(1000):
            pass
        assert engine.over
        assert engine.fault
        engine.receive(data)
        assert engine.take(1000) == b""

    @given(st.binary(max_size=300), st.sampled_from(ENGINES))
    def test_any_bytes_after_the_preface(self, data: bytes, name: EngineName) -> None:
        pair = Pair("ngh2", name)
        pair.server.receive(data)
        while pair.server.take(1000):
            pass

    @pytest.mark.parametrize("name", ENGINES)
    def test_a_head_that_is_too_long(self, name: EngineName) -> None:
        """The connection is given up: what was left out would be missing in the table."""
        pair = Pair("ngh2", name)
        pair.ask((*GET, *(((b"x", b"y" * 4000),) * 40)))
        assert pair.server.over
        assert pair.server.fault
