"""One call to an upstream for a cache: the request, and what is stored of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import evolve, frozen

from buffr.errors import BuffrError
from buffr.exchanges.call import UpstreamCall
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.route import Cached
from buffr.message import Headers, Request, ResponseHead, response_length
from buffr.policy.cache.conditions import CONDITIONS, fits, validating_fields
from buffr.policy.cache.freshness import terms_of
from buffr.policy.cache.keys import FLIGHT_TIMEOUT, Asked, selecting_fields
from buffr.policy.cache.storing import (
    Forbidden,
    Stored,
    Unstored,
    for_everybody,
    is_same_body,
    moments,
    refreshed,
    stored_head,
    storing,
)
from buffr.recording.tape import Tape
from buffr.stores.cache import CacheEntry, StoredEntry
from buffr.transport.spool import Spool
from buffr.upstream.connection import Response

__all__ = ["CacheCall", "Storage", "Surroundings"]

_UNCACHED = Forbidden("method")
_TOO_LARGE = Unstored("size")
_HERD = frozenset((429, 500, 502, 503, 504))
"""Errors that every waiting client gets: separate requests would make them worse."""


@frozen(eq=False)
class Storage:
    """Where a call's answer may be stored.

    ``asked`` gives the key for the answer to a request with this ``method``;
    ``None`` if the answer is not stored. ``stale`` is the stored response to
    validate. ``changed`` gets the answer's head first.
    """

    method: bytes
    url: str
    asked: Callable[[ResponseHead], Asked | None]
    stale: StoredEntry | None = None
    changed: Callable[[ResponseHead], Awaitable[None]] | None = None


@frozen(eq=False)
class Surroundings:
    """What the engine provides for a call.

    ``wall`` returns seconds since the epoch, ``seconds`` those of a monotonic
    clock. ``kept`` is called when an answer was stored, ``failed`` when it
    could not be.
    """

    wall: Callable[[], float]
    seconds: Callable[[], float]
    kept: Callable[[Exchange], None]
    failed: Callable[[Exchange, BuffrError], None]


class CacheCall(UpstreamCall):
    """A call to a route's upstream, conditional if the stored response has a validator.

    ``validated`` is the stored response, updated, if it is still valid.
    ``verdict`` says what may be done with any other answer. ``outdated`` is
    set if the requested resource was changed since the call began.
    """

    def __init__(
        self, exchange: Exchange, route: Cached, storage: Storage, around: Surroundings
    ) -> None:
        super().__init__(exchange, route.upstream, around.seconds)
        self.verdict: Stored | Unstored = _UNCACHED
        self.validated: CacheEntry | None = None
        self.vary: Headers = ()
        self.outdated = False
        self.url = storage.url
        self._route = route
        self._request = exchange.request
        self._storage = storage
        self._around = around
        self._key: bytes | None = None
        self._keeps = True
        self._requested_at = self._responded_at = 0.0

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        stale = self._storage.stale
        if stale is None:
            return await self._send((), inform)
        conditions = validating_fields(stale.entry)
        response = await self._send(conditions, inform)
        head = response.head
        if conditions and head.status == 304:
            if not fits(stale.entry.head.headers, head.headers):
                return await self._send((), inform)
            self._refresh(stale.entry, head)
        elif self._is_about(stale.entry, head):
            self._refresh(stale.entry, head)
        return response

    def _is_about(self, entry: CacheEntry, head: ResponseHead) -> bool:
        """Whether the answer to a HEAD describes the response stored for GET (RFC 9111 4.3.5)."""
        return (
            self._storage.method == b"HEAD"
            and entry.method == b"GET"
            and head.status == entry.head.status
            and is_same_body(entry.head.headers, head.headers)
        )

    async def _send(self, conditions: Headers, inform: Callable[[ResponseHead], None]) -> Response:
        response = await self.send(_outgoing(self._request, conditions), inform)
        self._responded_at = self._around.wall()
        if self._storage.changed is not None:
            await self._storage.changed(response.head)
            self.outdated = False  # its own changes do not count
        self._judge(response.head)
        return response

    def depart(self) -> None:
        super().depart()
        self._requested_at = self._around.wall()

    def _judge(self, head: ResponseHead) -> None:
        asked = self._storage.asked(head)
        if asked is None:
            return
        self._key = asked.shared if for_everybody(terms_of(head.headers)) else asked.own
        rules, request = self._route.rules, self._request
        self.verdict = storing(rules, request.headers, head, self._responded_at)
        self.vary = selecting_fields(head.headers, request.headers, self._route.keys.conceal)
        if response_length(request.method, head) > rules.most_body_bytes:
            self.verdict = _TOO_LARGE

    def _refresh(self, entry: CacheEntry, fresh: ResponseHead) -> None:
        rules, request = self._route.rules, self._request.headers
        updated, self._keeps = refreshed(
            rules, request, entry, fresh, self._requested_at, self._responded_at
        )
        self.vary = selecting_fields(updated.head.headers, request, self._route.keys.conceal)
        self.validated = evolve(updated, vary=self.vary)

    @property
    def is_shared(self) -> bool:
        """Whether clients that made the same request at the same time may get the answer."""
        return self.validated is not None or isinstance(self.verdict, Stored)

    def selecting(self, head: ResponseHead, request: Headers) -> Headers:
        """The fields that must be equal in another request for it to share the answer."""
        if self.validated is not None:
            head = self.validated.head
        return selecting_fields(head.headers, request, self._route.keys.conceal)

    def is_for(self, head: ResponseHead, request: Headers) -> bool:
        """Whether another request with the same key may get the answer."""
        if not self.is_shared and not self._is_for_all(head):
            return False
        return self.selecting(head, request) == self.vary

    def _is_for_all(self, head: ResponseHead) -> bool:
        return head.status in _HERD and not isinstance(self.verdict, Forbidden)

    def tape(self, head: ResponseHead) -> Tape:
        needed = isinstance(self.verdict, Stored) or self._is_for_all(head)
        route = self._route
        spool = Spool(route.body_memory_bytes, route.spool_dir) if needed else None
        return Tape(spool, self.seconds(), most_kept_bytes=route.rules.most_body_bytes)

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        stale = self._storage.stale
        try:
            if self.validated is not None and stale is not None:
                if self._keeps and not self.outdated:
                    await self._route.store.refresh(stale.place, self.validated)
                else:
                    await self._route.store.remove(stale.place)
            elif truncated is None and not self.outdated:
                await self._put(head, tape)
        except BuffrError as error:
            self._around.failed(self.exchange, error)

    async def _put(self, head: ResponseHead, tape: Tape) -> None:
        key, verdict = self._key, self.verdict
        if key is None or not isinstance(verdict, Stored):
            return
        if tape.failure is not None:
            raise BuffrError(f"a body could not be stored: {tape.failure.strerror}")
        if tape.kept and self.body.whole and tape.uncertain is None:
            await self._route.store.put(self._entry(key, verdict, head, tape))
            self._around.kept(self.exchange)

    def _entry(self, key: bytes, verdict: Stored, head: ResponseHead, tape: Tape) -> CacheEntry:
        rules, method = self._route.rules, self._storage.method
        born, fresh_until, keep_until = moments(
            verdict, head, self._requested_at, self._responded_at
        )
        return CacheEntry(
            key=key,
            route=self._route.name,
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


def _outgoing(request: Request, conditions: Headers) -> Request:
    """The request for the upstream: with our conditions instead of the client's."""
    left_out = (*CONDITIONS, FLIGHT_TIMEOUT) if conditions else (FLIGHT_TIMEOUT,)
    fields = tuple(one for one in request.headers if one[0].lower() not in left_out)
    if not conditions and len(fields) == len(request.headers):
        return request
    return evolve(request, headers=fields + conditions)
