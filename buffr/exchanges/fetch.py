"""Answers of the upstream: flights, which exchanges share, and WebSocket sessions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from buffr.errors import BuffrError, UpstreamFailed, UpstreamTimeout
from buffr.exchanges.call import UpstreamCall
from buffr.exchanges.exchange import Counters, Exchange
from buffr.exchanges.flight import Flight
from buffr.exchanges.replay import Replays
from buffr.exchanges.route import Route
from buffr.exchanges.sessions.registry import Sessions
from buffr.interaction import RecordedRequest
from buffr.matching.fingerprint import Fingerprint, fingerprint, is_shareable
from buffr.message import ResponseHead
from buffr.policy.decide import Fetch
from buffr.recording.http import passed_on
from buffr.upstream.connection import Response

__all__ = ["Fetches"]


class Fetches:
    """Asks upstreams for exchanges, and records what a ``Fetch`` says.

    Where the upstream fails, a recording that is too old answers. ``timestamp``
    is the time as recordings have it. ``kept`` is told of what was recorded,
    ``failed`` of what could not be.
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
        self._shared: dict[tuple[Route, Fingerprint, bool], Flight] = {}
        self._flights: set[Flight] = set()

    async def answer(self, fetch: Fetch, exchange: Exchange) -> tuple[int, str | None]:
        """Pass an answer on: its status, and why it broke off if it did."""
        try:
            flight = self._flight(fetch, exchange)
            head, cut = await flight.follow(exchange.sink, partial(_check_recorded, exchange))
        except (UpstreamFailed, UpstreamTimeout) as error:
            return await self._replays.answer_with_old(exchange, error, b"")
        self._counters.fetched += 1
        return head.status, cut

    async def session(self, fetch: Fetch, exchange: Exchange, key: bytes) -> tuple[int, str | None]:
        """Relay a session, or the answer that refuses it."""
        upstream, sink = exchange.route.upstream, exchange.sink
        assert upstream is not None
        pace = exchange.route.pace
        if pace is not None:
            await pace.turn()
        try:
            answer = await upstream.upgrade(
                exchange.request,
                key,
                lambda head: sink.inform(passed_on(head)),
                exchange.client,
            )
        except (UpstreamFailed, UpstreamTimeout) as error:
            return await self._replays.answer_with_old(exchange, error, key)
        if isinstance(answer, Response):
            if pace is not None:
                pace.heard(answer.head)
            landed: Deferred[Response] = Deferred()
            flight = self._depart(fetch, exchange, lambda _: None, landed)
            check = partial(_check_recorded, exchange)
            following = Deferred.fromCoroutine(flight.follow(sink, check))
            landed.callback(answer)
            try:
                head, cut = await following
            except UpstreamFailed as error:
                return await self._replays.answer_with_old(exchange, error, key)
            return head.status, cut
        return 101, await self._sessions.relay(exchange, *answer, record=fetch.record)

    def _flight(self, fetch: Fetch, exchange: Exchange) -> Flight:
        """The flight that an exchange joins, or its own."""
        alone = exchange.has_own_connection
        if not fetch.share or alone or not is_shareable(exchange.request, exchange.body.exact):
            return self._depart(fetch, exchange, lambda _: None)
        # What has passed another buffr may be this very call, come back: it would wait for itself.
        passed = bool(exchange.request.hops)
        name = (exchange.route, fingerprint(exchange.request, exchange.body.exact), passed)
        flight = self._shared.get(name)
        if flight is not None and flight.joinable:
            exchange.body.close()
            return flight

        def forget(ended: Flight) -> None:
            if self._shared.get(name) is ended:
                del self._shared[name]

        flight = self._depart(fetch, exchange, forget)
        if flight.joinable:
            self._shared[name] = flight
        return flight

    def _depart(
        self,
        fetch: Fetch,
        exchange: Exchange,
        on_end: Callable[[Flight], None],
        answer: Deferred[Response] | None = None,
    ) -> Flight:
        """A flight of its own; ``answer`` is given where the upstream was asked already."""
        route = exchange.route
        route.uses.begin()

        def ended(flight: Flight) -> None:
            route.uses.end()
            self._flights.discard(flight)
            on_end(flight)

        call = UpstreamCall(
            route=route,
            request=exchange.request,
            body=exchange.body,
            record=fetch.record,
            share=fetch.share,
            seconds=self._reactor.seconds,
            timestamp=self._timestamp,
            kept=partial(self._kept, exchange),
            failed=partial(self._failed, exchange),
            answer=answer,
            client=exchange.client,
        )
        flight = Flight(self._reactor, call, route.linger_s, ended)
        self._flights.add(flight)
        if not flight.joinable:
            self._flights.discard(flight)
        return flight

    async def stop(self) -> None:
        """Give up what still waits for an upstream; returns when all is kept."""
        for flight in list(self._flights):
            flight.give_up()
            await flight.ended()


def _check_recorded(exchange: Exchange, head: ResponseHead) -> None:
    """Refuse an answer that takes the place of no recording, where there is an old one."""
    if exchange.too_old is not None and head.status not in exchange.route.record_statuses:
        raise UpstreamFailed(f"the upstream answered {head.status}")
