"""One call to an upstream for a cache: what is asked, and what is stored of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from attrs import evolve, frozen

from buffr.errors import BuffrError
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.route import RouteCache
from buffr.message import Headers, Request, ResponseHead, response_length
from buffr.policy.cache.conditions import CONDITIONS, fits, validating_fields
from buffr.policy.cache.entries import is_same_body, moments, refreshed, stored_head
from buffr.policy.cache.freshness import terms_of
from buffr.policy.cache.keys import FLIGHT_TIMEOUT, Asked
from buffr.policy.cache.storing import Forbidden, Stored, Unstored, for_everybody, storing
from buffr.policy.cache.variants import selecting_fields
from buffr.recording.http import passed_on
from buffr.recording.tape import Tape
from buffr.stores.cache import Cached, CacheEntry
from buffr.transport.spool import Spool
from buffr.upstream.connection import Response

__all__ = ["CacheCall", "Storage", "Surroundings"]

_UNCACHED = Forbidden("method")
_TOO_LARGE = Unstored("size")
_HERD = frozenset((429, 500, 502, 503, 504))
"""Errors that go to all who wait: each asking on its own would make them worse."""


@frozen(eq=False)
class Storage:
    """Where a call's answer may go.

    ``asked`` gives the key for an answer to a request with this ``method``;
    ``None`` where the answer is not stored. ``stale`` is what is stored
    already, to be validated. ``changed`` takes an answer before all else.
    """

    method: bytes
    url: str
    asked: Callable[[ResponseHead], Asked | None]
    stale: Cached | None = None
    changed: Callable[[ResponseHead], Awaitable[None]] | None = None


@frozen(eq=False)
class Surroundings:
    """What a call is given by the engine.

    ``wall`` gives seconds since the epoch, ``seconds`` those of a monotonic
    clock. ``kept`` is told when an answer was stored, ``failed`` when it could
    not be.
    """

    wall: Callable[[], float]
    seconds: Callable[[], float]
    kept: Callable[[Exchange], None]
    failed: Callable[[Exchange, BuffrError], None]


class CacheCall:
    """Asks a route's upstream; on condition that what is stored no longer holds, if it can say so.

    ``validated`` is the stored response, brought up to date, if it still
    holds. ``verdict`` says what may become of any other answer. ``outdated``
    is set where something changed what is asked for since the call began,
    ``departed`` when the upstream is asked.
    """

    def __init__(
        self, exchange: Exchange, cache: RouteCache, storage: Storage, around: Surroundings
    ) -> None:
        self.verdict: Stored | Unstored = _UNCACHED
        self.validated: CacheEntry | None = None
        self.vary: Headers = ()
        self.outdated = False
        self.departed = False
        self.url = storage.url
        self._exchange = exchange
        self._route = exchange.route
        self._cache = cache
        self._request = exchange.request
        self._body = exchange.body
        self._storage = storage
        self._around = around
        self._asked: Asked | None = None
        self._keeps = True
        self._requested_at = self._responded_at = 0.0

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        stale = self._storage.stale
        conditions = () if stale is None else validating_fields(stale.entry)
        response = await self._send(conditions, inform)
        if stale is not None:
            head = response.head
            if conditions and head.status == 304:
                if not fits(stale.entry.head.headers, head.headers):
                    return await self._send((), inform)
                self._refresh(stale.entry, head)
            elif self._is_about(stale.entry, head):
                self._refresh(stale.entry, head)
        return response

    def _is_about(self, entry: CacheEntry, head: ResponseHead) -> bool:
        """Whether the answer to a HEAD tells of what is stored for GET (RFC 9111 4.3.5)."""
        return (
            self._storage.method == b"HEAD"
            and entry.method == b"GET"
            and head.status == entry.head.status
            and is_same_body(entry.head.headers, head.headers)
        )

    async def _send(self, conditions: Headers, inform: Callable[[ResponseHead], None]) -> Response:
        upstream = self._route.upstream
        assert upstream is not None
        pace = self._route.pace
        if pace is not None:
            await pace.turn()
        self.departed = True
        self._requested_at = self._around.wall()
        client = self._exchange.client
        send = upstream.send if client is None else partial(upstream.send, client=client)
        response = await send(
            _outgoing(self._request, conditions),
            self._body.outgoing,
            lambda head: inform(passed_on(head)),
            expect_met=self._body.expect_met,
        )
        self._responded_at = self._around.wall()
        if pace is not None:
            pace.heard(response.head)
        head = passed_on(response.head)
        if self._storage.changed is not None:
            await self._storage.changed(head)
            self.outdated = False  # not by what it did itself
        self._judge(head)
        return Response(head, response.length, response.body, response.abort)

    def _judge(self, head: ResponseHead) -> None:
        self._asked = self._storage.asked(head)
        if self._asked is None:
            return
        rules, request = self._cache.rules, self._request
        self.verdict = storing(rules, request.headers, head, self._responded_at)
        self.vary = selecting_fields(head.headers, request.headers, self._cache.keys.conceal)
        if response_length(request.method, head) > rules.most_body_bytes:
            self.verdict = _TOO_LARGE

    def _refresh(self, entry: CacheEntry, fresh: ResponseHead) -> None:
        rules, request = self._cache.rules, self._request.headers
        updated, self._keeps = refreshed(
            rules, request, entry, fresh, self._requested_at, self._responded_at
        )
        self.vary = selecting_fields(updated.head.headers, request, self._cache.keys.conceal)
        self.validated = evolve(updated, vary=self.vary)

    @property
    def is_shared(self) -> bool:
        """Whether the answer may go to others who asked for the same at the same time."""
        return self.validated is not None or isinstance(self.verdict, Stored)

    def selecting(self, head: ResponseHead, request: Headers) -> Headers:
        """The fields of a request that must be alike for it to share the answer."""
        if self.validated is not None:
            head = self.validated.head
        return selecting_fields(head.headers, request, self._cache.keys.conceal)

    def is_for(self, head: ResponseHead, request: Headers) -> bool:
        """Whether the answer may go to one more request with the same key."""
        if not self.is_shared and not self._is_for_all(head):
            return False
        return self.selecting(head, request) == self.vary

    def _is_for_all(self, head: ResponseHead) -> bool:
        return head.status in _HERD and not isinstance(self.verdict, Forbidden)

    def tape(self, head: ResponseHead) -> Tape:
        needed = isinstance(self.verdict, Stored) or self._is_for_all(head)
        spool = Spool(self._route.body_memory_bytes, self._route.spool_dir) if needed else None
        return Tape(
            spool, self._around.seconds(), most_kept_bytes=self._cache.rules.most_body_bytes
        )

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        stale = self._storage.stale
        try:
            if self.validated is not None and stale is not None:
                if self._keeps and not self.outdated:
                    await self._cache.store.refresh(stale.place, self.validated)
                else:
                    await self._cache.store.remove(stale.place)
            elif isinstance(self.verdict, Stored) and truncated is None and not self.outdated:
                await self._put(self.verdict, head, tape)
        except BuffrError as error:
            self._around.failed(self._exchange, error)

    async def _put(self, verdict: Stored, head: ResponseHead, tape: Tape) -> None:
        if tape.failure is not None:
            raise BuffrError(f"a body could not be kept: {tape.failure.strerror}")
        if tape.kept and self._body.whole and tape.uncertain is None:
            await self._cache.store.put(self._entry(verdict, head, tape))
            self._around.kept(self._exchange)

    def _entry(self, verdict: Stored, head: ResponseHead, tape: Tape) -> CacheEntry:
        asked, rules, method = self._asked, self._cache.rules, self._storage.method
        assert asked is not None
        born, fresh_until, keep_until = moments(
            verdict, head, self._requested_at, self._responded_at
        )
        return CacheEntry(
            key=asked.shared if for_everybody(terms_of(head.headers)) else asked.own,
            route=self._cache.name,
            method=method,
            url=self.url,
            vary=self.vary,
            head=stored_head(rules, method, head, tape.size_bytes, tape.trailers),
            body=tape.body(),
            trailers=tape.trailers,
            born_at=born,
            responded_at=self._responded_at,
            fresh_until=fresh_until,
            keep_until=keep_until,
            tags=rules.tags,
        )

    def close(self) -> None:
        self._body.close()


def _outgoing(request: Request, conditions: Headers) -> Request:
    """The request for the upstream: our conditions instead of the client's."""
    left_out = (*CONDITIONS, FLIGHT_TIMEOUT) if conditions else (FLIGHT_TIMEOUT,)
    fields = tuple(one for one in request.headers if one[0].lower() not in left_out)
    if not conditions and len(fields) == len(request.headers):
        return request
    return evolve(request, headers=fields + conditions)
