"""Answers of the upstream: flights that exchanges share, and WebSocket sessions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from buffr.errors import BuffrError, UpstreamFailed, UpstreamTimeout
from buffr.exchanges.arriving import ArrivingBodies
from buffr.exchanges.call import RecordedCall, UpstreamCall
from buffr.exchanges.exchange import Counters, Exchange
from buffr.exchanges.fleet_call import FleetCall, flight_name
from buffr.exchanges.flight import Call, Flight, Flights
from buffr.exchanges.pace import PacedUpstream
from buffr.exchanges.relay import relayed
from buffr.exchanges.replay import Replays
from buffr.exchanges.route import Recorded
from buffr.exchanges.sessions.opening import identify_call
from buffr.exchanges.sessions.registry import Sessions
from buffr.interaction import RecordedRequest
from buffr.matching.header_table import fingerprint, is_shareable
from buffr.message import ResponseHead
from buffr.policy.mode import Fetch
from buffr.upstream.connection import Response

__all__ = ["Fetches"]


class Fetches:
    """Asks upstreams for exchanges, and records the answers on routes that record.

    If the upstream fails, a recording that is too old answers. ``timestamp``
    returns the time as written in recordings. ``kept`` is called after a
    recording, ``failed`` if it could not be written.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        counters: Counters,
        sessions: Sessions,
        replays: Replays,
        timestamp: Callable[[], str],
        kept: Callable[[Exchange, RecordedRequest, ResponseHead], None],
        failed: Callable[[Exchange, BuffrError], None],
    ) -> None:
        self._reactor = reactor
        self._counters = counters
        self._sessions = sessions
        self._replays = replays
        self._timestamp = timestamp
        self._kept = kept
        self._failed = failed
        self._flights: Flights[Call] = Flights(reactor)
        self._bodies = ArrivingBodies(reactor)

    async def passed(self, exchange: Exchange, upstream: PacedUpstream) -> tuple[int, str | None]:
        """Pass an answer on without keeping it. Returns its status, and why it was cut off."""
        body, relay = exchange.body, exchange.relay
        if relay is not None and relay.passed is not None:
            exchange.passed = head, _ = relay.passed
            await exchange.sink.drain()
            self._counters.fetched += 1
            return head.status, None
        try:
            response = await upstream.send(
                exchange.request,
                body.outgoing,
                exchange.sink.inform,
                expect_met=body.expect_met,
                client=exchange.client,
                begun=None if relay is None else relay.connection,
            )
            data = response.body.take_whole()
            if data is None:
                exchange.listen()
                cut = await relayed(response, exchange.sink)
            else:
                exchange.passed, cut = (response.head, data), None
                exchange.sink.answer(response.head, data, (), ())
                await exchange.sink.drain()
        finally:
            if body.tape is not None:
                body.close()
        self._counters.fetched += 1
        return response.head.status, cut

    async def recorded(
        self, fetch: Fetch, exchange: Exchange, route: Recorded, upstream: PacedUpstream
    ) -> tuple[int, str | None]:
        """Pass an answer on and record it. Returns its status, and why it was cut off."""
        try:
            flight = self._flight(fetch, exchange, route, upstream)
            check = partial(_check_recorded, exchange, route)
            head, cut = await flight.follow(exchange.sink, check)
        except (UpstreamFailed, UpstreamTimeout) as error:
            return await self._replays.answer_with_old(exchange, route, error, b"")
        self._counters.fetched += 1
        return head.status, cut

    async def session(
        self,
        exchange: Exchange,
        upstream: PacedUpstream,
        key: bytes,
        recorded: Recorded | None = None,
    ) -> tuple[int, str | None]:
        """Relay a session, or the answer that refuses it; recorded if a route is given."""
        self._counters.fetched += 1
        try:
            return await self._session(exchange, upstream, key, recorded)
        except (UpstreamFailed, UpstreamTimeout) as error:
            if recorded is None:
                raise
            return await self._replays.answer_with_old(exchange, recorded, error, key)

    async def _session(
        self, exchange: Exchange, upstream: PacedUpstream, key: bytes, recorded: Recorded | None
    ) -> tuple[int, str | None]:
        answer = await upstream.upgrade(
            exchange.request, key, exchange.sink.inform, exchange.client
        )
        if not isinstance(answer, Response):
            return 101, await self._sessions.relay(exchange, *answer, recorded)
        landed: Deferred[Response] = Deferred()
        following = Deferred.fromCoroutine(self._refused(exchange, upstream, recorded, landed))
        landed.callback(answer)
        return await following

    async def _refused(
        self,
        exchange: Exchange,
        upstream: PacedUpstream,
        recorded: Recorded | None,
        answer: Deferred[Response],
    ) -> tuple[int, str | None]:
        """Pass on the answer that was sent instead of a session."""
        if recorded is None:
            call = UpstreamCall(exchange, upstream, self._reactor.seconds, answer)
            head, cut = await self._flights.depart(call, exchange.route).follow(exchange.sink)
        else:
            flight = self._flights.depart(
                self._call(exchange, recorded, upstream, share=False, answer=answer), recorded
            )
            check = partial(_check_recorded, exchange, recorded)
            head, cut = await flight.follow(exchange.sink, check)
        return head.status, cut

    def _flight(
        self, fetch: Fetch, exchange: Exchange, route: Recorded, upstream: PacedUpstream
    ) -> Flight[Call]:
        """The flight that an exchange joins, or a new one."""
        alone = exchange.has_own_connection
        name, exact = None, exchange.body.exact
        if fetch.share and not alone and is_shareable(exchange.request, exact):
            # A request that has passed another buffr may be this very call coming back: it would
            # wait for itself.
            passed = bool(exchange.request.hops)
            name = (route, fingerprint(exchange.request, exact), passed)
            flight = self._flights.joinable(name)
            if flight is not None:
                exchange.body.close()
                exchange.shared = True
                return flight
        own = self._call(exchange, route, upstream, share=fetch.share)
        call: Call = own
        if name is not None and route.fleet is not None:
            origin = "" if route.origin is None else route.origin.url
            call = FleetCall(own, route.fleet.flights, flight_name(*name[1:], origin))
        return self._flights.depart(call, route, name=name)

    def _call(
        self,
        exchange: Exchange,
        route: Recorded,
        upstream: PacedUpstream,
        *,
        share: bool,
        answer: Deferred[Response] | None = None,
    ) -> RecordedCall:
        return RecordedCall(
            exchange,
            upstream,
            self._reactor.seconds,
            answer,
            route=route,
            share=share,
            timestamp=self._timestamp,
            identified=partial(identify_call, self._reactor, exchange, route),
            kept=partial(self._kept, exchange),
            failed=partial(self._failed, exchange),
            bodies=self._bodies,
        )

    @property
    def flights(self) -> int:
        """Calls that are under way."""
        return len(self._flights)

    async def stop(self) -> None:
        """Give up calls that still wait for an upstream; returns once everything is recorded."""
        await self._flights.stop()


def _check_recorded(exchange: Exchange, route: Recorded, head: ResponseHead) -> None:
    """Refuse an answer that must not be recorded, if there is an old recording."""
    if exchange.too_old is not None and head.status not in route.record_statuses:
        raise UpstreamFailed(f"the upstream answered {head.status}")
