"""An answer that is passed on, and of which nothing is kept."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial import unittest

from buffr.errors import BadUpstreamAnswer, BodyCutShort, ClientGone
from buffr.exchanges.relay import relayed
from buffr.message import Headers, Piece, ResponseHead
from buffr.transport.streams import BodyStream
from buffr.upstream.connection import Response

TRIAL = unittest.SynchronousTestCase()
HEAD = ResponseHead(200, b"OK", ((b"Content-Length", b"6"),))


class Sink:
    """Notes what it is told; ``full`` until the test says otherwise."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.room: Deferred[None] | None = None

    def inform(self, head: ResponseHead) -> None:
        raise AssertionError

    def answer(self, *_: object) -> None:
        raise AssertionError

    def begin(self, head: ResponseHead) -> None:
        self.told.append(head.status)

    def write(self, piece: Piece) -> None:
        self.told.append(piece.data)

    def flush(self) -> None:
        self.told.append("flushed")

    def end(self, trailers: Headers) -> None:
        self.told.append(trailers)

    def abort(self, reset: int | None = None) -> None:
        self.told.append("aborted" if reset is None else reset)

    async def drain(self) -> None:
        if self.room is not None:
            await self.room


class Relay:
    def __init__(self) -> None:
        self.sink = Sink()
        self.body = BodyStream(lambda: None, lambda: None)
        self.given_up = 0
        response = Response(HEAD, 6, self.body, self._abort)
        self.response = response
        self.result: Deferred[str | None] | None = None

    def _abort(self) -> None:
        self.given_up += 1

    def start(self) -> Deferred[str | None]:
        self.result = Deferred.fromCoroutine(relayed(self.response, self.sink))
        return self.result


class TestRelayed:
    def test_what_is_here_goes_out_at_once(self) -> None:
        """The head with the first piece; nothing is sent for it alone."""
        relay = Relay()
        relay.body.feed([Piece(b"whole!")])
        relay.body.finish(((b"X-T", b"1"),))
        assert TRIAL.successResultOf(relay.start()) is None
        assert relay.sink.told == [200, b"whole!", ((b"X-T", b"1"),)]
        assert not relay.given_up

    def test_what_comes_later_goes_out_as_it_comes(self) -> None:
        relay = Relay()
        result = relay.start()
        assert relay.sink.told == [200, "flushed"]
        relay.body.feed([Piece(b"one")])
        assert relay.sink.told[2] == b"one"
        relay.body.feed([Piece(b"two")])
        relay.body.finish()
        assert TRIAL.successResultOf(result) is None
        assert [each for each in relay.sink.told if each != "flushed"] == [200, b"one", b"two", ()]

    def test_no_body(self) -> None:
        relay = Relay()
        relay.body.finish()
        assert TRIAL.successResultOf(relay.start()) is None
        assert relay.sink.told == [200, ()]

    def test_an_answer_that_breaks_off_is_broken_off(self) -> None:
        """What came of it goes out first."""
        relay = Relay()
        relay.body.feed([Piece(b"one")])
        relay.body.fail(BadUpstreamAnswer("broken"))
        assert TRIAL.successResultOf(relay.start()) == "broken"
        assert relay.sink.told == [200, b"one", "aborted"]

    def test_one_that_was_reset_says_so(self) -> None:
        relay = Relay()
        relay.body.fail(BodyCutShort("reset", reset=8))
        assert TRIAL.successResultOf(relay.start()) == "reset"
        assert relay.sink.told == [200, 8]

    def test_a_slow_client_holds_it_back(self) -> None:
        relay = Relay()
        relay.sink.room = Deferred()
        relay.body.feed([Piece(b"one"), Piece(b"two")])
        result = relay.start()
        TRIAL.assertNoResult(result)
        assert relay.sink.told == [200, b"one"]
        room, relay.sink.room = relay.sink.room, None
        room.callback(None)
        relay.body.finish()
        assert TRIAL.successResultOf(result) is None
        assert relay.sink.told[1:3] == [b"one", b"two"]

    @pytest.mark.parametrize("where", ["waiting for the upstream", "waiting for the client"])
    def test_a_client_that_leaves(self, where: str) -> None:
        """The upstream is given up, whatever was waited for."""
        relay = Relay()
        if where == "waiting for the client":
            relay.sink.room = Deferred()
            relay.body.feed([Piece(b"one")])
        result = relay.start()
        if relay.sink.room is not None:
            relay.sink.room.errback(ClientGone("left"))
            TRIAL.failureResultOf(result, ClientGone)
        else:
            result.cancel()
            TRIAL.failureResultOf(result, CancelledError)
        assert relay.given_up == 1
