"""Mode cache: one request from its key to its answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from buffr.errors import (
    BuffrError,
    FlightTimeout,
    NotCached,
    RateLimited,
    StoreFailed,
    UpstreamFailed,
    UpstreamTimeout,
)
from buffr.exchanges.cached.call import CacheCall, Storage, Surroundings
from buffr.exchanges.cached.flights import Flying, UnderWay
from buffr.exchanges.cached.invalidation import through, url_of
from buffr.exchanges.cached.sending import send_stored
from buffr.exchanges.cached.sink import CacheSink, Declined
from buffr.exchanges.call import RequestBody, read_whole
from buffr.exchanges.exchange import Counters, Exchange
from buffr.exchanges.route import RouteCache
from buffr.formats.codings import GZIP_START
from buffr.message import Headers, ResponseHead
from buffr.policy.cache.cache_status import age, forwarded, hit
from buffr.policy.cache.conditions import CONDITIONS, not_modified, not_modified_head
from buffr.policy.cache.freshness import terms_of
from buffr.policy.cache.keys import Asked, methods_of
from buffr.policy.cache.reuse import Use, may_replace_error, use_of
from buffr.policy.cache.storing import for_everybody
from buffr.policy.cache.variants import select
from buffr.stores.cache import Cached, CacheEntry
from buffr.transport.streams import BodyStream

__all__ = ["Caching"]

_ERRORS = frozenset((500, 502, 503, 504))


class _UseStored(Exception):
    """The client gets this stored answer, and not the one that came."""

    def __init__(self, entry: CacheEntry, told: Headers) -> None:
        super().__init__()
        self.entry = entry
        self.told = told


@frozen(eq=False)
class _Lookup:
    """An exchange with what is known of it in the cache."""

    exchange: Exchange
    cache: RouteCache
    asked: Asked
    cached: Cached | None
    why: bytes


class Caching:
    """Answers the requests of routes in mode cache."""

    def __init__(
        self,
        reactor: IReactorTime,
        wall: Callable[[], float],
        counters: Counters,
        recorded: Callable[[Exchange], None],
        failed: Callable[[Exchange, BuffrError], None],
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._counters = counters
        self._flying = Flying(reactor, Surroundings(wall, reactor.seconds, recorded, failed))

    async def answer(
        self, exchange: Exchange, cache: RouteCache, body: bytes | BodyStream
    ) -> tuple[int, str | None]:
        """Answer by what is stored, or by the upstream: the status, and why it broke off."""
        route, request = exchange.route, exchange.request
        if exchange.has_own_connection or not methods_of(request) <= cache.rules.methods:
            self._counters.fetched += 1
            return await through(self._flying, exchange, cache, body)
        if isinstance(body, bytes) and not request.is_coded and body[:3] != GZIP_START:
            exchange.body = RequestBody(body, body)
        else:
            exchange.body = await read_whole(route, request, body, exchange.sink)
        try:
            look = await self._look_up(exchange, cache)
        except BaseException:
            exchange.body.close()
            raise
        cached = look.cached
        if cached is None:
            return await self._fetch(look)
        now = self._wall()
        use = use_of(cache.rules, look.asked.directives, cached.entry, now)
        refuses = b"no-store" in look.asked.directives and "request" not in cache.rules.override
        if use is Use.AFTER_VALIDATION or refuses:
            fresh = now < cached.entry.fresh_until
            return await self._fetch(evolve(look, why=b"request" if fresh else b"stale"))
        if use is Use.WHILE_REVALIDATED:
            self._revalidate(look)
        else:
            exchange.body.close()
        self._counters.hits += 1
        return await self._stored(look, cached.entry, hit(cached.entry, now))

    async def _look_up(self, exchange: Exchange, cache: RouteCache) -> _Lookup:
        request = exchange.request
        asked = cache.keys.asked(request, exchange.body.identity, exchange.route.origin)
        if asked.for_upstream:
            return _Lookup(exchange, cache, asked, None, b"request")
        try:
            cached = await _found(cache, asked, request.method, request.headers)
        except StoreFailed as error:
            self._flying.around.failed(exchange, error)
            cached = None
        return _Lookup(exchange, cache, asked, cached, b"uri-miss")

    async def _stored(
        self, look: _Lookup, entry: CacheEntry, told: Headers
    ) -> tuple[int, str | None]:
        exchange = look.exchange
        exchange.src = "cache"
        status = await send_stored(exchange.sink, exchange.request, look.asked, entry, told)
        return status, None

    async def _fetch(self, look: _Lookup) -> tuple[int, str | None]:
        asked = look.asked
        said = asked.directives
        if b"only-if-cached" in said and "request" not in look.cache.rules.override:
            look.exchange.body.close()
            raise NotCached("the client wants a stored answer, and none can be used")
        own = asked.ranged or asked.for_upstream
        if own or b"no-store" in said or b"no-cache" in said or b"max-age" in said:
            return await self._alone(look)
        name: tuple[object, ...] = _name(look)
        for _ in range(2):
            if self._flying.is_alone(name):
                break
            known = self._flying.joinable(name)
            if known is None:
                known = self._depart(look, name=name)
                return await self._follow(look, known, collapsed=False)
            try:
                answered = await self._follow(look, known, collapsed=True)
            except Declined as declined:
                if declined.vary is None:
                    self._flying.goes_alone(name)
                    break
                name = (*name, declined.vary)
            except BaseException:
                look.exchange.body.close()
                raise
            else:
                look.exchange.body.close()
                return answered
        return await self._alone(look)

    async def _alone(self, look: _Lookup) -> tuple[int, str | None]:
        under_way = self._depart(look)
        return await self._follow(look, under_way, collapsed=False)

    def _revalidate(self, look: _Lookup) -> None:
        """Have a stored answer brought up to date, while it still serves."""
        name = _name(look)
        if self._flying.joinable(name) is None:
            self._depart(look, name=name)
        else:
            look.exchange.body.close()

    async def _follow(
        self, look: _Lookup, under_way: UnderWay, *, collapsed: bool
    ) -> tuple[int, str | None]:
        """Pass the answer of a flight on. Raises ``Declined`` where it is not for this client."""
        told = partial(self._fields, look, under_way.call, collapsed=collapsed)
        sink = CacheSink(look.exchange.sink, told, partial(_short, look, self._wall()))
        self._counters.fetched += not collapsed
        try:
            head, cut = await self._wait(look, under_way, sink, collapsed=collapsed)
        except _UseStored as found:
            return await self._stored(look, found.entry, found.told)
        except (UpstreamFailed, UpstreamTimeout, RateLimited) as error:
            reached = isinstance(error, RateLimited)
            if sink.status or look.cached is None or not self._stands_in(look, reached=reached):
                raise
            entry = look.cached.entry
            fields = forwarded(look.why, None, collapsed=collapsed, detail=error.code)
            return await self._stored(look, entry, age(entry, self._wall()) + fields)
        return sink.status or head.status, cut

    async def _wait(
        self, look: _Lookup, under_way: UnderWay, sink: CacheSink, *, collapsed: bool
    ) -> tuple[ResponseHead, str | None]:
        """Follow a flight, within the time that a head may take."""
        bound = look.asked.timeout_s
        if bound is None and collapsed:
            bound = look.cache.rules.flight_timeout_s
        following = under_way.flight.follow(sink)
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
        """The cache's own fields of an answer that came, if it is for this client."""
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
        """Whether a stale answer takes the place of an error."""
        if look.cached is None:
            return False
        asked, entry = look.asked.directives, look.cached.entry
        return may_replace_error(look.cache.rules, asked, entry, self._wall(), reached=reached)

    def _depart(self, look: _Lookup, name: object = None) -> UnderWay:
        exchange, asked = look.exchange, look.asked
        storage = Storage(
            method=exchange.request.method,
            url=url_of(exchange.route, exchange.request),
            asked=lambda _: asked,
            stale=None if asked.ranged or asked.for_upstream else look.cached,
        )
        return self._flying.depart(exchange, look.cache, storage, name=name)

    async def stop(self) -> None:
        """Give up what still waits for an upstream; returns when all is kept."""
        await self._flying.stop()


async def _found(cache: RouteCache, asked: Asked, method: bytes, headers: Headers) -> Cached | None:
    """The stored variant: of the same credentials, else one that is meant for everybody."""
    conceal = cache.keys.conceal
    found = select(await cache.store.find(asked.own), method, headers, conceal)
    if found is None and asked.own != asked.shared:
        found = select(await cache.store.find(asked.shared), method, headers, conceal)
        if found is not None and not for_everybody(terms_of(found.entry.head.headers)):
            return None
    return None if found is None else cache.timing.timed(found)


def _name(look: _Lookup) -> tuple[object, ...]:
    """What alike requests have in common, whose answers may be one."""
    request, own = look.exchange.request, look.asked.own
    conditions = tuple(one for one in request.headers if one[0].lower() in CONDITIONS)
    forwarded_conditions = () if look.cached is not None else conditions
    # What has passed another buffr may be this very call, come back: it would wait for itself.
    passed = bool(request.hops)
    return look.cache.name, own, request.method, forwarded_conditions, passed


def _short(look: _Lookup, now: float, head: ResponseHead) -> ResponseHead | None:
    """The 304 for a client that has the answer already."""
    if look.asked.conditional and not_modified(look.exchange.request.headers, head, now):
        return not_modified_head(head)
    return None
