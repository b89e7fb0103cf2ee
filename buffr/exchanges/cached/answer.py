"""Mode cache: one request from its key to its answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import assert_never

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from buffr.errors import (
    BuffrError,
    FlightTimeout,
    NotCached,
    RateLimited,
    StoreFailed,
    StoreUnreachable,
    UpstreamFailed,
    UpstreamTimeout,
)
from buffr.exchanges.cached.call import CacheCall, Storage, Surroundings
from buffr.exchanges.cached.elsewhere import Elsewhere
from buffr.exchanges.cached.invalidation import through, url_of
from buffr.exchanges.cached.sink import CacheSink, Declined
from buffr.exchanges.exchange import Counters, Exchange
from buffr.exchanges.flight import Flight, Flights
from buffr.exchanges.hit import CachedHit, Tell
from buffr.exchanges.request_body import RequestBody, read_whole
from buffr.exchanges.route import Cached
from buffr.formats.codings import GZIP_START
from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.message import Headers, Request, ResponseHead
from buffr.policy.cache.cache_status import age, forwarded, hit, hit_until
from buffr.policy.cache.conditions import (
    CONDITIONS,
    Unsatisfiable,
    asked_part,
    not_modified,
    not_modified_head,
    part_head,
)
from buffr.policy.cache.directives import NO_DIRECTIVES
from buffr.policy.cache.freshness import terms_of
from buffr.policy.cache.keys import Asked, methods_of, select
from buffr.policy.cache.reuse import may_replace_error
from buffr.policy.cache.storing import for_everybody
from buffr.policy.mode import Fetch, Refuse, Reuse, decide_cached
from buffr.recording.player import AT_ONCE, play
from buffr.stores.cache import CacheEntry, StoredEntry
from buffr.stores.fleet import FleetFlights
from buffr.transport.sink import Sink
from buffr.transport.streams import BodyStream

__all__ = ["Caching"]

_ERRORS = frozenset((500, 502, 503, 504))
_MOST_ALONE = 4096
_ALONE_S = 60.0
"""After an answer that could not be shared, equal requests do not wait for one for this long."""


class _UseStored(Exception):
    """The client gets this stored answer instead of the upstream's."""

    def __init__(self, entry: CacheEntry, cache_fields: Headers) -> None:
        super().__init__()
        self.entry = entry
        self.cache_fields = cache_fields


@frozen(eq=False)
class _Lookup:
    """An exchange, and what the cache knows about it.

    ``found`` is all that the store gave for the request's own key.
    """

    exchange: Exchange
    route: Cached
    asked: Asked
    cached: StoredEntry | None
    found: Sequence[StoredEntry] = ()
    why: bytes = b""


class Caching:
    """Answers the requests of routes in mode cache."""

    def __init__(
        self,
        reactor: IReactorTime,
        wall: Callable[[], float],
        counters: Counters,
        recorded: Callable[[Exchange], None],
        failed: Callable[[Exchange, BuffrError], None],
        telling: Callable[[Exchange, int, Sequence[bytes]], Tell],
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._counters = counters
        self._telling = telling
        self._around = Surroundings(wall, reactor.seconds, recorded, failed)
        self._flights: Flights[CacheCall] = Flights(reactor)
        self._elsewhere = Elsewhere(reactor)
        self._loners: dict[Hashable, float] = {}

    async def answer(
        self, exchange: Exchange, route: Cached, body: bytes | BodyStream
    ) -> tuple[int, str | None]:
        """Answer from the store or the upstream.

        Returns the status, and why the answer was cut off.
        """
        request = exchange.request
        if exchange.has_own_connection or not methods_of(request) <= route.rules.methods:
            self._counters.fetched += 1
            exchange.listen()
            return await through(self._flights, self._around, exchange, route, body)
        if isinstance(body, bytes) and not request.is_coded and body[:3] != GZIP_START:
            exchange.body = RequestBody(body, body)
        else:
            exchange.body = await read_whole(route, request, body, exchange.sink)
        try:
            look = await self._look_up(exchange, route)
        except BaseException:
            exchange.body.close()
            raise
        now = self._wall()
        match _decision(look, now):
            case Reuse(cached, revalidate):
                if revalidate:
                    self._revalidate(look)
                else:
                    exchange.body.close()
                self._counters.hits += 1
                answered = await self._stored(look, cached.entry, hit(cached.entry, now))
                if exchange.sink.memorable and not revalidate:
                    self._remember(look, cached.entry, now, answered[0])
                return answered
            case Fetch(share=share, why=why):
                return await self._fetch(evolve(look, why=why), share=share)
            case Refuse():
                exchange.body.close()
                raise NotCached("the client asked for a stored answer, and none is usable")
            case other:
                assert_never(other)

    async def _look_up(self, exchange: Exchange, route: Cached) -> _Lookup:
        request = exchange.request
        asked = route.keys.asked(request, exchange.body.identity, route.origin)
        if asked.for_upstream:
            return _Lookup(exchange, route, asked, None)
        try:
            cached, found = await _found(route, asked, request.method, request.headers)
        except StoreUnreachable:
            raise
        except StoreFailed as error:
            self._around.failed(exchange, error)
            cached, found = None, ()
        return _Lookup(exchange, route, asked, cached, found)

    def _remember(self, look: _Lookup, entry: CacheEntry, now: float, status: int) -> None:
        """Let the sink know what the same request needs to be this hit again."""
        exchange, asked = look.exchange, look.asked
        if not look.found or asked.directives is not NO_DIRECTIVES or now >= entry.fresh_until:
            return
        if exchange.request.hops:
            return
        until, volatile = hit_until(entry, now), _disregarded(look)
        tell = self._telling(exchange, status, volatile)
        exchange.sink.remember(
            CachedHit(look.route, asked.own, look.found, now, until, self._wall, tell, volatile)
        )

    async def _stored(
        self, look: _Lookup, entry: CacheEntry, cache_fields: Headers
    ) -> tuple[int, str | None]:
        exchange, now = look.exchange, self._wall()
        exchange.src, exchange.entry = "cache", entry
        exchange.age_s = max(0.0, now - entry.born_at)
        exchange.stale = now >= entry.fresh_until
        status = await _send_stored(
            exchange.sink, exchange.request, look.asked, entry, cache_fields
        )
        return status, None

    async def _fetch(self, look: _Lookup, *, share: bool) -> tuple[int, str | None]:
        look.exchange.listen()
        if not share:
            return await self._alone(look)
        name: tuple[object, ...] = _name(look)
        for _ in range(2):
            if self._is_alone(name):
                break
            if look.route.flights is not None:
                await self._elsewhere.settled(name)
            known = self._flights.joinable(name)
            if known is None and look.route.flights is not None:
                return await self._fetch_for_fleet(look, name, look.route.flights)
            if known is None:
                known = self._depart(look, name=name)
                return await self._follow(look, known, collapsed=False)
            try:
                answered = await self._follow(look, known, collapsed=True)
            except Declined as declined:
                if declined.vary is None:
                    self._goes_alone(name)
                    break
                name = (*name, declined.vary)
            except BaseException:
                look.exchange.body.close()
                raise
            else:
                look.exchange.body.close()
                return answered
        return await self._alone(look)

    async def _fetch_for_fleet(
        self, look: _Lookup, name: tuple[object, ...], flights: FleetFlights
    ) -> tuple[int, str | None]:
        """Fetch for all processes; if another one does, look again when it has its answer."""
        body = look.exchange.body
        try:
            most_s = look.asked.timeout_s or look.route.rules.flight_timeout_s
            part = await self._elsewhere.part(flights, name, most_s)
            if part.leads is None:
                look = await self._look_up(look.exchange, look.route)
                now = self._wall()
                decided = _decision(look, now)
                if isinstance(decided, Reuse):
                    body.close()
                    self._counters.hits += 1
                    entry = decided.cached.entry
                    return await self._stored(look, entry, hit(entry, now))
        except BaseException:
            body.close()
            raise
        if part.answered:
            self._goes_alone(name)  # it could not be stored
        flight = self._depart(look, name=name)
        if part.leads is not None:
            self._elsewhere.release(flight, part.leads)
        return await self._follow(look, flight, collapsed=False)

    async def _alone(self, look: _Lookup) -> tuple[int, str | None]:
        return await self._follow(look, self._depart(look), collapsed=False)

    def _is_alone(self, name: Hashable) -> bool:
        """Whether the answer is known to be for one client only."""
        until = self._loners.get(name)
        return until is not None and self._reactor.seconds() < until

    def _goes_alone(self, name: Hashable) -> None:
        """Note that an answer could not be shared."""
        while len(self._loners) >= _MOST_ALONE:
            del self._loners[next(iter(self._loners))]
        self._loners[name] = self._reactor.seconds() + _ALONE_S

    def _revalidate(self, look: _Lookup) -> None:
        """Revalidate a stored answer while it is still being served."""
        name = _name(look)
        if self._flights.joinable(name) is None:
            self._depart(look, name=name)
        else:
            look.exchange.body.close()

    async def _follow(
        self, look: _Lookup, flight: Flight[CacheCall], *, collapsed: bool
    ) -> tuple[int, str | None]:
        """Pass a flight's answer on. Raises ``Declined`` if it is not for this client."""
        cache_fields = partial(self._fields, look, flight.call, collapsed=collapsed)
        sink = CacheSink(look.exchange.sink, cache_fields, partial(_short, look, self._wall()))
        self._counters.fetched += not collapsed
        look.exchange.shared = collapsed
        try:
            head, cut = await self._wait(look, flight, sink, collapsed=collapsed)
        except _UseStored as found:
            return await self._stored(look, found.entry, found.cache_fields)
        except (UpstreamFailed, UpstreamTimeout, RateLimited) as error:
            reached = isinstance(error, RateLimited)
            if sink.status or look.cached is None or not self._stands_in(look, reached=reached):
                raise
            entry = look.cached.entry
            fields = forwarded(look.why, None, collapsed=collapsed, detail=error.code)
            return await self._stored(look, entry, age(entry, self._wall()) + fields)
        return sink.status or head.status, cut

    async def _wait(
        self, look: _Lookup, flight: Flight[CacheCall], sink: CacheSink, *, collapsed: bool
    ) -> tuple[ResponseHead, str | None]:
        """Follow a flight, within the time limit for an answer's head."""
        bound = look.asked.timeout_s
        if bound is None and collapsed:
            bound = look.route.rules.flight_timeout_s
        following = flight.follow(sink)
        if not bound:
            return await following
        running = Deferred.fromCoroutine(following)
        late = False

        def time_out() -> None:
            nonlocal late
            if not sink.status:
                late = True
                running.cancel()

        timer = self._reactor.callLater(bound, time_out)
        try:
            return await running
        except CancelledError:
            if late:
                raise FlightTimeout(f"no answer in {bound:g} s") from None
            raise
        finally:
            if timer.active():
                timer.cancel()

    def _fields(
        self, look: _Lookup, call: CacheCall, head: ResponseHead, *, collapsed: bool
    ) -> Headers:
        """The cache's own fields for an answer from the upstream, if it is for this client."""
        request = look.exchange.request.headers
        if collapsed and not call.is_for(head, request):
            raise Declined(call.selecting(head, request) if call.is_shared else None)
        validated, now = call.validated, self._wall()
        if validated is not None:
            fields = forwarded(look.why, head.status, collapsed=collapsed, detail="validated")
            raise _UseStored(validated, age(validated, now) + fields)
        stale = look.cached
        if head.status in _ERRORS and stale and self._stands_in(look, reached=True):
            fields = forwarded(look.why, head.status, collapsed=collapsed, detail="error")
            raise _UseStored(stale.entry, age(stale.entry, now) + fields)
        return forwarded(look.why, head.status, call.verdict, collapsed=collapsed)

    def _stands_in(self, look: _Lookup, *, reached: bool) -> bool:
        """Whether a stale answer replaces an error."""
        if look.cached is None:
            return False
        asked, entry = look.asked.directives, look.cached.entry
        return may_replace_error(look.route.rules, asked, entry, self._wall(), reached=reached)

    def _depart(self, look: _Lookup, name: Hashable | None = None) -> Flight[CacheCall]:
        exchange, asked, route = look.exchange, look.asked, look.route
        storage = Storage(
            method=exchange.request.method,
            url=url_of(route, exchange.request),
            asked=lambda _: asked,
            stale=None if asked.ranged or asked.for_upstream else look.cached,
        )
        call = CacheCall(exchange, route, storage, self._around)
        return self._flights.depart(call, route, name=name, subject=(route.name, storage.url))

    @property
    def flights(self) -> int:
        """Calls that are under way."""
        return len(self._flights)

    async def stop(self) -> None:
        """Give up calls that still wait for an upstream; returns once everything is stored."""
        await self._flights.stop()


def _decision(look: _Lookup, now: float) -> Reuse | Fetch | Refuse:
    asked = look.asked
    return decide_cached(
        look.route.rules,
        asked.directives,
        look.cached,
        now,
        for_upstream=asked.for_upstream,
        ranged=asked.ranged,
    )


async def _found(
    route: Cached, asked: Asked, method: bytes, headers: Headers
) -> tuple[StoredEntry | None, Sequence[StoredEntry]]:
    """The stored variant: for the same credentials, otherwise one that is for everybody.

    Also all variants for the same credentials if it is one of them.
    """
    conceal = route.keys.conceal
    own = await route.store.find(asked.own)
    found = select(own, method, headers, conceal)
    if found is not None:
        return route.timing.timed(found), own
    if asked.own != asked.shared:
        found = select(await route.store.find(asked.shared), method, headers, conceal)
        if found is not None and for_everybody(terms_of(found.entry.head.headers)):
            return route.timing.timed(found), ()
    return None, ()


def _disregarded(look: _Lookup) -> Sequence[bytes]:
    """The volatile fields of a request, if none of them makes a difference to what was found."""
    volatile = look.exchange.sink.volatile
    selecting = {name for stored in look.found for name, _ in stored.entry.vary}
    if selecting.isdisjoint(volatile) and all(map(look.route.keys.disregards, volatile)):
        return volatile
    return ()


def _name(look: _Lookup) -> tuple[object, ...]:
    """What equal requests have in common that may share an answer."""
    request, own = look.exchange.request, look.asked.own
    conditions = tuple(one for one in request.headers if one[0].lower() in CONDITIONS)
    forwarded_conditions = () if look.cached is not None else conditions
    # A request that has passed another buffr may be this very call coming back: it would wait for
    # itself.
    passed = bool(request.hops)
    return look.route.name, own, request.method, forwarded_conditions, passed


def _short(look: _Lookup, now: float, head: ResponseHead) -> ResponseHead | None:
    """The 304 for a client that already has the answer."""
    if look.asked.conditional and not_modified(look.exchange.request.headers, head, now):
        return not_modified_head(head)
    return None


async def _send_stored(
    sink: Sink, request: Request, asked: Asked, entry: CacheEntry, cache_fields: Headers
) -> int:
    """Answer with a stored response, or with the requested part of it (RFC 9110 14).

    Returns the status. ``cache_fields`` are the cache's own fields.
    """
    head = entry.head.with_fields(cache_fields)
    if asked.conditional and not_modified(request.headers, head, entry.responded_at):
        head = not_modified_head(head)
        sink.answer(head, b"", (), ())
        await sink.drain()
        return head.status
    if request.method == b"HEAD":
        sink.answer(head, b"", (), ())
        await sink.drain()
        return head.status
    body = entry.body
    if asked.ranged:
        part = asked_part(request.headers, head, body.size_bytes)
        if part is not None:
            head = part_head(head, part, body.size_bytes)
            data = b""
            if not isinstance(part, Unsatisfiable):
                data = body.data[part.first : part.last + 1]
            sink.answer(head, data, (len(data),), ())
            await sink.drain()
            return head.status
    if body.file is None and body.size_bytes <= AT_ONCE:
        sink.answer(head, body.data, (body.size_bytes,), entry.trailers)
        await sink.drain()
    else:
        recorded = RecordedRequest(request.method, request.target)
        await play(HTTPInteraction(recorded, head, body, trailers=entry.trailers), sink)
    return head.status
