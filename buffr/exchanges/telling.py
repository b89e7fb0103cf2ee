"""Tells log, counters, observer and watch of exchanges that are like one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from buffr.exchanges.exchange import Counters, Exchange, Finished, Observer, Watch, shown
from buffr.exchanges.hit import Tell
from buffr.exchanges.known_relay import TellRelay
from buffr.log import ExchangeLog
from buffr.message import TRACEPARENT, ResponseHead, trace_of

__all__ = ["MOST_PENDING", "Hearers", "Telling"]

MOST_PENDING = 16
"""Exchanges that are over are looked at together, but are not kept alive for that in numbers."""

_NO_SINK: Any = None
_NO_ANSWER = ResponseHead(0, b"", ()), b""
"""In the place of those of an exchange that is over, in what is remembered of it for long."""


class Hearers(Protocol):
    """Who is told, as far as that may change."""

    counters: Counters
    observer: Observer | None
    watch: Watch | None


class Telling:
    """Tells of repeated exchanges what is told of ordinary ones; ``wall`` is for dates."""

    def __init__(self, hearers: Hearers, log: ExchangeLog, wall: Callable[[], float]) -> None:
        self._hearers = hearers
        self._log = log
        self._wall = wall

    def hit(self, exchange: Exchange, status: int, volatile: Sequence[bytes]) -> Tell:
        """What notes another hit like this one."""
        route, src = exchange.route, exchange.src
        words = shown(exchange.request, route)
        if exchange.watch is not None:
            exchange.volatile = volatile
            exchange.kept = exchange.watch.kept(exchange, words, status)
        finished = Finished(words, status, "INFO", src, "", 0.0, route, exchange.scope)
        line = self._log.rest_of(words, status, src, exchange.request.trace)
        if not volatile:
            return partial(self._hit_again, line, finished, exchange.kept)
        untraced, traced = self._log.rest_of(words, status, src), ("", "")
        if TRACEPARENT in volatile:
            traced = self._log.traced_rest_of(words, status, src)
        at = volatile.index(TRACEPARENT) if TRACEPARENT in volatile else None
        return partial(self._similar_hit, at, (untraced, *traced), finished, exchange.kept)

    def _similar_hit(
        self,
        trace_at: int | None,
        line: tuple[str, str, str],
        finished: Finished,
        kept: object,
        values: Sequence[bytes],
    ) -> None:
        """Note a hit like another one, but for the values of volatile fields."""
        rest, before, after = line
        trace = "" if trace_at is None else trace_of(values[trace_at])
        if trace:
            rest = before + trace + after
        self._hit_again(rest, finished, kept, values)

    def _hit_again(
        self, line: str, finished: Finished, kept: object, values: Sequence[bytes]
    ) -> None:
        """Note a hit that was answered out of the listener's memo."""
        hearers = self._hearers
        hearers.counters.hits += 1
        now = self._wall()
        self._log.again(now, line)
        if hearers.observer is not None:
            hearers.observer.finished(finished)
        watch = hearers.watch
        if watch is not None and kept is not None:
            if not watch.pending:
                watch.soon()
            watch.pending.append((now, None, kept, values))

    def relay(self, exchange: Exchange, volatile: Sequence[bytes]) -> TellRelay:
        """What notes another request that was relayed like this one."""
        route, request, scope = exchange.route, exchange.request, exchange.scope
        like = Exchange(route, request, _NO_SINK, scope, exchange.src, exchange.body)
        like.passed, like.volatile = _NO_ANSWER, volatile
        return _RelayTold(self._hearers, self._log, self._wall, like).tell


class _RelayTold:
    """Notes requests that are relayed like one before."""

    __slots__ = (
        *("_alike", "_around", "_exchange", "_hearers"),
        *("_log", "_status", "_trace", "_trace_at", "_wall", "_watch", "_words"),
    )

    def __init__(
        self,
        hearers: Hearers,
        log: ExchangeLog,
        wall: Callable[[], float],
        exchange: Exchange,
    ) -> None:
        self._hearers = hearers
        self._log = log
        self._wall = wall
        self._exchange = exchange
        self._words = shown(exchange.request, exchange.route)
        self._trace, volatile = exchange.request.trace, exchange.volatile
        self._trace_at = volatile.index(TRACEPARENT) if TRACEPARENT in volatile else None
        self._status = 0
        self._around = "", ""
        self._watch: Watch | None = None
        self._alike: object = None

    def tell(
        self, started: float, passed: tuple[ResponseHead, bytes], values: tuple[bytes, ...]
    ) -> None:
        """As ``TellRelay``."""
        hearers, first, words = self._hearers, self._exchange, self._words
        hearers.counters.fetched += 1
        now = self._wall()
        dur_s = max(0.0, now - started)
        status, trace = passed[0].status, self._trace
        if self._trace_at is not None:
            trace = trace_of(values[self._trace_at])
        if status != self._status or trace != self._trace:
            self._status, self._trace = status, trace
            self._around = self._log.around_duration(words, status, first.src, trace)
        self._log.lasted(now, dur_s, self._around)
        watch = hearers.watch
        if watch is not None:
            if watch is not self._watch:
                self._watch, self._alike = watch, watch.alike(first, words, status)
            pending = watch.pending
            if not pending:
                watch.soon()
            pending.append((now, dur_s, self._alike, (*passed, values)))
            if len(pending) > MOST_PENDING:
                watch.take_in()
        if hearers.observer is not None:
            hearers.observer.finished(
                Finished(words, status, "INFO", first.src, "", dur_s, first.route, first.scope)
            )
