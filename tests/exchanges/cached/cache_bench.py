"""A route in mode cache, its upstream played by the test, and a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buffr.errors import BuffrError
from buffr.exchanges.cached.answer import Caching
from buffr.exchanges.exchange import Counters, Exchange
from buffr.exchanges.hit import Hit, Tell
from buffr.exchanges.known_relay import KnownRelay
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.pace import PacedUpstream
from buffr.exchanges.route import Cached
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules, Normalisation
from buffr.message import CHUNKED, Headers, Piece, Request, ResponseHead, first_value
from buffr.origin import Origin
from buffr.policy.cache.keys import CacheKeys
from buffr.policy.cache.rules import CacheRules
from buffr.redaction.rules import RedactionRules
from buffr.stores.memory_cache import MemoryCache
from buffr.transport.duplex import Duplex
from buffr.transport.streams import BodyStream
from buffr.upstream.connection import Response

NOW = 1_800_000_000.0
DATE = b"Fri, 15 Jan 2027 08:00:00 GMT"
"""``NOW`` as an HTTP date."""


class Client:
    """A sink that notes the answer."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.done = False
        self.aborted = False
        self.half_closed = False
        self.error: BaseException | None = None

    def inform(self, head: ResponseHead) -> None:
        pass

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        assert self.head is None
        self.head, self.body, self.done = head, body, True

    def begin(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head

    def write(self, piece: Piece) -> None:
        self.body += piece.data

    def flush(self) -> None:
        pass

    def end(self, trailers: Headers) -> None:
        self.done = True

    def abort(self, _: int | None = None) -> None:
        self.aborted = True

    async def drain(self) -> None:
        pass

    def switch(self, head: ResponseHead) -> Duplex:
        raise AssertionError

    memorable = False
    volatile: Sequence[bytes] = ()

    def remember(self, hit: Hit) -> None:
        raise AssertionError

    def remember_relay(self, relay: KnownRelay) -> None:
        raise AssertionError

    @property
    def connection(self) -> Any:
        raise AssertionError

    @property
    def status(self) -> int:
        assert self.error is None
        assert self.head is not None
        return self.head.status

    @property
    def told(self) -> bytes:
        """What ``Cache-Status`` says."""
        return self.field(b"cache-status") or b""

    def field(self, name: bytes) -> bytes | None:
        assert self.head is not None
        return first_value(self.head.headers, name)


@define(eq=False)
class Asked:
    """A request that the upstream got; the test answers it."""

    request: Request
    answered: Deferred[Response]
    stream: BodyStream
    gone: bool = False

    def field(self, name: bytes) -> bytes | None:
        return first_value(self.request.headers, name)

    def answers(self, *fields: tuple[bytes, bytes], status: int = 200, body: bytes = b"x") -> None:
        """A whole answer."""
        self.begins(*fields, status=status, length=len(body))
        self.stream.feed([Piece(body)] if body else [])
        self.stream.finish()

    def begins(
        self, *fields: tuple[bytes, bytes], status: int = 200, length: int = CHUNKED
    ) -> None:
        framing = (b"Content-Length", b"%d" % length)
        if length == CHUNKED:
            framing = (b"Transfer-Encoding", b"chunked")
        if status == 304:
            length, framing = 0, (b"X-Not", b"modified")
        head = ResponseHead(status, b"Whatever", (*fields, framing))
        self.answered.callback(Response(head, length, self.stream, lambda: None))

    def fails(self, error: BuffrError) -> None:
        self.answered.errback(error)


class Upstream:
    """Takes requests and waits for the test to answer them."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.requests: list[Asked] = []
        self.held: object = None
        """The client whose connection it holds."""

    def holds(self, client: object) -> bool:
        return client is self.held

    async def send(
        self,
        request: Request,
        body: object,
        inform: Callable[[ResponseHead], None],
        *,
        expect_met: bool = False,
        client: object = None,
    ) -> Response:
        asked = Asked(request, Deferred(), BodyStream(lambda: None, lambda: None))

        def cancelled(_: object) -> None:
            asked.gone = True

        asked.answered = Deferred(cancelled)
        self.requests.append(asked)
        return await asked.answered

    def last(self) -> Asked:
        return self.requests[-1]


class Bench:
    """Sends requests through a route in mode cache."""

    def __init__(self, tmp_path: Path, rules: CacheRules | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.upstream = Upstream(Origin("http", "api.example", 80))
        self.counters = Counters()
        self.kept = 0
        self.failures: list[BuffrError] = []
        rules = rules or CacheRules()
        self.store = MemoryCache(1 << 20, 100, 1 << 20, self.clock.seconds)
        redaction = RedactionRules()
        matcher = Matcher(
            MatchRules(
                redaction=redaction,
                credentials="exact",
                normalise=Normalisation(signatures=False, conditions=False),
            ),
            with_origin=False,
        )
        keys = CacheKeys(matcher, redaction, rules, "http://api.example", lambda: self.store.salt)
        self.route = Cached(
            upstream=PacedUpstream(self.upstream),  # type: ignore[arg-type]
            name="http://api.example",
            rules=rules,
            store=self.store,
            keys=keys,
            matcher=matcher,
            bodies=RouteBodies(LongBodies(), matcher, None),
            redaction=redaction,
            spool_dir=tmp_path,
        )
        self.caching = Caching(
            self.clock, self.clock.seconds, self.counters, self._kept, self._failed, self._telling
        )
        self.told = 0

    def take_over(self, other: Bench) -> None:
        """Have another bench's store, as one that runs on with other settings has it."""
        rules, name = self.route.rules, self.route.name
        self.clock.advance(other.clock.seconds() - self.clock.seconds())
        self.store = other.store
        self.store.now = self.clock.seconds
        keys = CacheKeys(
            self.route.matcher, self.route.redaction, rules, name, lambda: self.store.salt
        )
        self.route = evolve(self.route, store=self.store, keys=keys)

    def _kept(self, _: Exchange) -> None:
        self.kept += 1

    def _telling(self, _: Exchange, status: int, __: Sequence[bytes]) -> Tell:
        def tell(_: Sequence[bytes]) -> None:
            self.told += status == 200

        return tell

    def _failed(self, _: Exchange, error: BuffrError) -> None:
        self.failures.append(error)

    def asks(
        self,
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        target: bytes = b"/x",
        body: bytes = b"",
    ) -> Client:
        """A client's request; it may wait for the upstream."""
        return self.sends(*fields, method=method, target=target, body=body)[0]

    def sends(
        self,
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        target: bytes = b"/x",
        body: bytes = b"",
        client: Client | None = None,
    ) -> tuple[Client, Deferred[tuple[int, str | None]]]:
        client = client or Client()
        request = Request(
            method, target, ((b"Host", b"buffr:8080"), *fields), body_length=len(body)
        )
        exchange = Exchange(self.route, request, client, "", "upstream")
        running = Deferred.fromCoroutine(self.caching.answer(exchange, self.route, body))

        def failed(failure: Failure) -> None:
            client.error = failure.value

        running.addErrback(failed)
        return client, running

    def fetched(
        self,
        *fields: tuple[bytes, bytes],
        asking: Headers = (),
        status: int = 200,
        body: bytes = b"x",
        method: bytes = b"GET",
        target: bytes = b"/x",
        sent: bytes = b"",
    ) -> Client:
        """A request that the upstream is asked for, and answers so."""
        before = len(self.upstream.requests)
        client = self.asks(*asking, method=method, target=target, body=sent)
        assert len(self.upstream.requests) == before + 1
        self.upstream.last().answers(*fields, status=status, body=body)
        return client

    @property
    def calls(self) -> int:
        return len(self.upstream.requests)
