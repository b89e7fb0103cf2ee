"""A call that processes share: one of them asks the upstream, and passes the answer on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from hashlib import blake2b

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.errors import BuffrError, StoreFailed
from buffr.exchanges.call import RecordedCall
from buffr.log import say
from buffr.message import Piece, ResponseHead
from buffr.recording.tape import Tape
from buffr.stores.fleet import FleetFlights, FleetHead, FlightName, Following, Leading
from buffr.transport.streams import AnswerBody, BodyStream, Signal
from buffr.upstream.connection import Response

__all__ = ["FleetCall", "flight_name"]


def flight_name(*name: Hashable) -> FlightName:
    """The name of a flight in all processes. ``name`` has bytes, texts and numbers, and tuples."""
    whole = repr(name).encode("utf-8", "surrogateescape")
    digest = blake2b(whole, digest_size=16, person=b"buffr name").digest()
    return FlightName(digest, blake2b(whole, digest_size=32, person=b"buffr key").digest())


class _PassedOn(BodyStream):
    """A body whose pieces other processes get, too."""

    def __init__(self, body: AnswerBody, leading: Leading) -> None:
        super().__init__(_nothing, _nothing)
        self._body = body
        self._leading = leading

    @property
    def ready(self) -> bool:
        return self._body.ready

    async def read(self) -> Piece | None:
        piece = await self._body.read()
        if piece is not None:
            self._leading.piece(piece)
        else:
            self.trailers, self.uncertain = self._body.trailers, self._body.uncertain
            self.ended = True
        return piece


def _nothing() -> None:
    """The body itself is held back."""


@define(eq=False)
class FleetCall:
    """The call of one process for the flight of a ``name``: a ``Call``.

    If it follows another process, its answer is that of the other one, which
    records it. If that process dies before the answer began, another takes
    over. While flights cannot be shared, each process makes its ``own`` call.
    """

    own: RecordedCall
    flights: FleetFlights
    name: FlightName
    _leading: Leading | None = field(init=False, default=None)
    _following: Following | None = field(init=False, default=None)
    _feeding: Deferred[None] | None = field(init=False, default=None)

    @property
    def departed(self) -> bool:
        return self.own.departed

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        while True:
            try:
                joined = await self.flights.join(self.name)
                if joined.leading is not None:
                    return await self._lead(joined.leading, inform)
                assert joined.following is not None
                response = await self._follow(joined.following)
            except StoreFailed:
                return await self.own.open(inform)
            if response is not None:
                return response

    async def _lead(self, leading: Leading, inform: Callable[[ResponseHead], None]) -> Response:
        try:
            response = await self.own.open(inform)
        except BaseException:
            await leading.fail()
            raise
        self._leading = leading
        leading.begin(FleetHead(response.head, response.length))
        body = _PassedOn(response.body, leading)
        return Response(response.head, response.length, body, response.abort, response.faults)

    async def _follow(self, following: Following) -> Response | None:
        try:
            head = await following.head()
        except BaseException:
            following.close()
            raise
        if head is None:
            following.close()
            return None
        self._following = following
        flow = Signal()
        body = BodyStream(_nothing, flow.notify)
        self._feeding = Deferred.fromCoroutine(_feed(body, following, flow))
        self._feeding.addErrback(_fed_no_more)
        return Response(head.head, head.length, body, following.close)

    def tape(self, head: ResponseHead) -> Tape:
        return self.own.tape(head)

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        if self._following is not None:
            return
        leading = self._leading
        if leading is None:
            await self.own.keep(head, tape, truncated)
            return
        if await leading.holds():
            await self.own.keep(head, tape, truncated)
        else:
            say(LogLevel.warn, "another process took over a call; this answer is not recorded")
        kept = truncated is None and head.status in self.own.route.record_statuses
        await leading.end(tape.trailers, truncated, kept=kept)

    def close(self) -> None:
        if self._following is not None:
            self._following.close()
        if self._feeding is not None:
            self._feeding.cancel()
        self.own.close()


async def _feed(body: BodyStream, following: Following, flow: Signal) -> None:
    try:
        while (piece := await following.piece()) is not None:
            body.feed((piece,))
            while body.paused:
                await flow.wait()
        body.finish(following.trailers)
    except BuffrError as error:
        body.fail(error)
    finally:
        following.close()


def _fed_no_more(failure: Failure) -> None:
    failure.trap(CancelledError)
