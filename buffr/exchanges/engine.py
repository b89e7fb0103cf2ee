"""The pipeline: one coroutine for each exchange, from a request to its answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, assert_never

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.drift.verdict import Asked, Verdict
from buffr.errors import (
    BadFraming,
    BadRequest,
    BuffrError,
    ClientGone,
    NoMatch,
    NotCached,
    RateLimited,
    StoreFailed,
)
from buffr.exchanges.cached.answer import Caching
from buffr.exchanges.dialogues import Dialogues
from buffr.exchanges.exchange import (
    Counters,
    Exchange,
    Finished,
    Observer,
    SwitchingSink,
    Watch,
    shown,
    shown_session,
)
from buffr.exchanges.faults import FaultInjected, FaultSink
from buffr.exchanges.fetch import Fetches
from buffr.exchanges.hit import RecordedHit
from buffr.exchanges.known_relay import KnownRelay, Relay
from buffr.exchanges.lookup import (
    identity_of,
    next_place,
    no_match,
    only_recording,
    places_of_batch,
    take_turn,
)
from buffr.exchanges.pace import PacedUpstream
from buffr.exchanges.replay import Replays
from buffr.exchanges.request_body import RequestBody, read_whole, stream_through
from buffr.exchanges.route import Cached, LiveChecks, Passing, Recorded, Route, Uses
from buffr.exchanges.seen import LiveCheck
from buffr.exchanges.sessions.opening import call_opened, is_open_call
from buffr.exchanges.sessions.registry import Sessions
from buffr.exchanges.telling import MOST_PENDING, Telling
from buffr.formats.codings import GZIP_START
from buffr.interaction import RecordedRequest
from buffr.log import ExchangeLog, say
from buffr.matching.key import recording_name
from buffr.matching.variants import Identity
from buffr.message import Request, ResponseHead
from buffr.policy.faults import Fault
from buffr.policy.mode import Fetch, Refuse, Replay, decide
from buffr.transport.eager import AT_ONCE_BYTES, aside, start
from buffr.transport.streams import BodyReader, BodyStream
from buffr.wire.websocket_handshake import asks_websocket, check_request

__all__ = ["Engine"]

_NO_FAULT = Fault()
_LATELY_S = 60.0


_ONCE = Fetch(record=True, share=False)
"""What a user lets through by hand in mode replay."""


_MOST_FINDINGS = 3
_CHECKS_END_S = 5.0


class Engine:
    """Answers requests by their route's policy."""

    def __init__(self, reactor: Any, log: ExchangeLog, wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self.counters = Counters()
        self._lost_at: float | None = None
        """When the last recording could not be written."""
        self.observer: Observer | None = None
        self._checking: set[Deferred[None]] = set()
        self.watch: Watch | None = None
        self._log = log
        self._wall = wall
        self._telling = Telling(self, log, wall)
        callbacks = (self._timestamp, self._kept, self._append_failed)
        self._sessions = Sessions(reactor, *callbacks)
        self._replays = Replays(reactor, wall, self.counters, self._sessions)
        self._fetches = Fetches(reactor, self.counters, self._sessions, self._replays, *callbacks)
        self._dialogues = Dialogues(reactor)
        self._caching = Caching(
            reactor, wall, self.counters, self._stored, self._append_failed, self._telling.hit
        )

    async def handle(
        self,
        route: Route,
        request: Request,
        body: bytes | BodyStream,
        sink: SwitchingSink,
        scope: str = "",
        relay: Relay | None = None,
    ) -> None:
        """Answer one request. Raises a ``BuffrError`` if it cannot be answered.

        ``scope`` names the playhead that counts its repetitions. ``relay`` is
        what became of the request so far, if it was sent again.
        """
        exchange = Exchange(
            route,
            request,
            sink,
            scope,
            route.src,
            client=sink.connection,
            watch=self.watch,
            relay=relay,
        )
        started = self._wall() if relay is None else relay.started
        status, level, detail, explanation = 0, "INFO", "", ""
        failure: BuffrError | None = None
        try:
            if request.hops or route.faults is not None:
                answering = self._specially(exchange, route, body)
            else:
                answering = self._answering(exchange, route, body)
            status, cut = await answering
            if cut is not None:
                level, detail = "WARN", cut
        except BuffrError as error:
            status, level, detail = error.status, self._blame(error, exchange), error.message
            explanation = f"{error}\n{error.explanation}".rstrip()
            error.noted = True
            failure = error
            raise
        except CancelledError:
            status, level, detail = ClientGone.status, "WARN", "the client left"
            raise
        finally:
            now = self._wall()
            dur_s = max(0.0, now - started)
            if exchange.frames is None:
                words = shown(request, route)
                self._log.exchange(
                    now, level, words, status, dur_s, exchange.src, detail, request.trace
                )
            else:
                words = shown_session(request, route)
                frames = exchange.frames
                self._log.session(now, level, words, frames, dur_s, exchange.src, detail)
            watch = exchange.watch
            if watch is not None:
                pending, said = watch.pending, explanation or detail
                if not pending:
                    watch.soon()
                pending.append((now, dur_s, (exchange, words, status, level, said, failure), ()))
                if len(pending) > MOST_PENDING:
                    watch.take_in()
            if self.observer is not None:
                said, proposed = explanation or detail, exchange.proposed
                src = exchange.src
                self.observer.finished(
                    Finished(words, status, level, src, said, dur_s, route, scope, proposed)
                )

    def _answering(
        self, exchange: Exchange, route: Route, body: bytes | BodyStream
    ) -> Coroutine[Deferred[Any], Any, tuple[int, str | None]]:
        """Answers by the kind of route: the status, and why the answer was cut off."""
        match route:
            case Recorded():
                return self._recorded(exchange, route, body)
            case Cached():
                return self._cached(exchange, route, body)
            case Passing():
                return self._passed(exchange, route, body)
            case other:
                assert_never(other)

    async def _specially(
        self, exchange: Exchange, route: Route, body: bytes | BodyStream
    ) -> tuple[int, str | None]:
        """Answer a request that may have come back here, or whose answer suffers a fault.

        Raises ``LoopDetected``, ``FaultInjected``.
        """
        if exchange.request.hops and route.upstream is not None:
            route.upstream.upstream.refuse_loop(exchange.request)
        if route.faults is None:
            return await self._answering(exchange, route, body)
        fault = route.faults.of(exchange.request, exchange.scope, self._wall()) or _NO_FAULT
        sink = exchange.sink
        exchange.sink = FaultSink(sink, fault, self._sleep)
        names = f"fault: {' '.join(fault.names)}" if fault.names else None
        if fault.delay_s:
            await self._sleep(fault.delay_s)
        if fault.reset:
            exchange.src = "fault"
            sink.abort()
            return 0, names
        if fault.refusal is not None:
            exchange.src = "fault"
            return await self._refused(sink, FaultInjected(fault)), names
        exchange.session_close = fault.close
        status, cut = await self._answering(exchange, route, body)
        return status, cut or names

    async def _refused(self, sink: SwitchingSink, error: FaultInjected) -> int:
        """Answer with a status and a body of the settings; without a body, raise the error."""
        if error.body is None:
            raise error
        length = (b"Content-Length", b"%d" % len(error.body))
        head = ResponseHead(error.status, error.reason, (*error.headers, length))
        sink.answer(head, error.body, (), ())
        await sink.drain()
        return error.status

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    def tunnel(self, shown: str) -> Callable[[], None]:
        """Log the beginning of a bypassed tunnel; the caller calls the result when it ends."""
        started = self._wall()

        def ended() -> None:
            now = self._wall()
            self._log.exchange(now, "INFO", shown, 200, max(0.0, now - started), "bypass")

        self.counters.bypassed += 1
        if self.observer is not None:
            self.observer.finished(Finished(shown, 200, "INFO", "bypass", "", 0.0, None))
        watch = self.watch
        if watch is not None:
            if not watch.pending:
                watch.soon()
            watch.pending.append((started, None, watch.kept_tunnel(shown), ()))
        return ended

    def tunnel_failed(self, words: str, error: BuffrError, dur_s: float) -> None:
        """Log a bypassed tunnel that could not be opened."""
        error.noted = True
        self.counters.errors += 1
        self._log.exchange(
            self._wall(), "ERROR", words, error.status, dur_s, "bypass", error.message
        )

    def _blame(self, error: BuffrError, exchange: Exchange) -> str:
        """Count an error. Returns the level of its log line."""
        match error:
            case NoMatch() | NotCached():
                exchange.src = "miss"
                self.counters.misses += 1
                return "WARN"
            case RateLimited():
                exchange.src = "limit"
                self.counters.throttled += 1
                return "WARN"
            case ClientGone():
                return "WARN"
            case BadRequest() | BadFraming():
                exchange.src = "client"
                return "WARN"
        self.counters.errors += 1
        return "ERROR"

    def _passed(
        self, exchange: Exchange, route: Cached | Passing, body: bytes | BodyStream
    ) -> Coroutine[Deferred[Any], Any, tuple[int, str | None]]:
        """Relay without keeping anything. Returns the status, and why the answer was cut off."""
        request = exchange.request
        if body:
            exchange.body = _on_its_way(route, request, body)
        if request.upgrade and asks_websocket(request):
            exchange.listen()
            return self._fetches.session(exchange, route.upstream, check_request(request))
        if request.major == 1 and isinstance(body, bytes) and exchange.sink.memorable:
            return self._passed_memorably(exchange, route.upstream, body)
        return self._fetches.passed(exchange, route.upstream)

    async def _passed_memorably(
        self, exchange: Exchange, upstream: PacedUpstream, body: bytes
    ) -> tuple[int, str | None]:
        """Relay, and let the sink know what it takes to relay the same request again."""
        answered = await self._fetches.passed(exchange, upstream)
        request, volatile = exchange.request, exchange.sink.volatile
        route, scope = exchange.route, exchange.scope
        if exchange.passed is None or route.faults is not None:
            return answered
        # What may hold a credential is hidden in the words for the log, too.
        told = not any(map(route.redaction.may_tell, volatile))
        call = upstream.known(request, body, volatile) if told else None
        if call is not None:
            tell = self._telling.relay(exchange, volatile)
            # Only a listener whose routes may be released counts what is under way on them.
            uses = route.uses if route.uses.under_way else Uses()
            rest = volatile, call, self._wall, tell, self.handle
            exchange.sink.remember_relay(KnownRelay(route, uses, request, scope, body, *rest))
        return answered

    async def _cached(
        self, exchange: Exchange, route: Cached, body: bytes | BodyStream
    ) -> tuple[int, str | None]:
        """Answer as an HTTP cache does; sessions are relayed."""
        if asks_websocket(exchange.request):
            return await self._passed(exchange, route, body)
        return await self._caching.answer(exchange, route, body)

    def _recorded(
        self, exchange: Exchange, route: Recorded, body: bytes | BodyStream
    ) -> Coroutine[Deferred[Any], Any, tuple[int, str | None]]:
        """Answer from a recording, or record an answer."""
        request = exchange.request
        if not isinstance(body, bytes) and route.identifies and is_open_call(route, request, body):
            return self._called(exchange, route, body)
        return self._identified(exchange, route, body)

    async def _called(
        self, exchange: Exchange, route: Recorded, body: BodyStream
    ) -> tuple[int, str | None]:
        """Answer a call whose messages are still coming."""
        request = exchange.request
        opened = await call_opened(self._reactor, exchange, route, body, self._wall)
        if opened.needs_whole:
            return await self._identified(exchange, route, opened.body)
        exchange.body = RequestBody(opened.body, opened.said)
        match decide(route.mode, request.method, opened.place, share=False):
            case Replay(place):
                exchange.src = "cassette"
                exchange.place = place
                return await self._replays.call(exchange, route, place, opened.body)
            case Fetch() | Refuse():
                upstream = route.upstream or self._once(exchange, route)
                if upstream is None:
                    raise await no_match(exchange, route)
                exchange.body = stream_through(route, request, opened.body, record=True)
                return await self._fetched(_ONCE, exchange, route, upstream, b"")
            case other:
                assert_never(other)

    def _once(self, exchange: Exchange, route: Recorded) -> PacedUpstream | None:
        """The upstream, if a user lets this request through by hand."""
        return route.once.take(exchange.identity, self._reactor.seconds())

    async def _identified(
        self, exchange: Exchange, route: Recorded, body: bytes | BodyReader
    ) -> tuple[int, str | None]:
        """Answer a request that is identified by all of it, if at all."""
        request, place = exchange.request, None
        key = check_request(request) if request.upgrade and asks_websocket(request) else b""
        if not route.identifies:
            exchange.body = _on_its_way(route, request, body, record=route.mode.records)
        else:
            exchange.body = (
                RequestBody(body, body)
                if isinstance(body, bytes)
                and not request.is_coded
                and not body.startswith(GZIP_START)
                else await read_whole(route, request, body, exchange.sink)
            )
            data = exchange.body.identity
            if route.hooks is not None or route.in_dialogue:
                await self._prepare(exchange, route)
            if isinstance(data, bytes) and (
                len(data) > AT_ONCE_BYTES or route.matcher.types.declared
            ):
                exchange.identity = await self._identity_aside(exchange, route, data)
            else:
                exchange.identity = identity_of(exchange, route)
            place = await next_place(exchange, route, self._wall)
            if (
                place is None
                and route.in_dialogue
                and (parts := await places_of_batch(exchange, route, self._wall))
            ):
                return await self._replays.batch(exchange, route, parts)
        match decide(route.mode, request.method, place, share=route.share):
            case Replay(place):
                exchange.body.close()
                exchange.src = "cassette"
                exchange.place = place
                if route.checks is not None and not route.checks.is_done(place):
                    return await self._replay_checked(exchange, route, route.checks, place, key)
                return await (
                    self._replay_memorably(exchange, route, place)
                    if exchange.sink.memorable and not key
                    else self._replays.answer(exchange, route, place, key)
                )
            case Fetch() as fetch if route.upstream is not None:
                return await self._fetched(fetch, exchange, route, route.upstream, key)
            case Fetch() | Refuse():
                upstream = self._once(exchange, route)
                if upstream is not None:
                    return await self._fetched(_ONCE, exchange, route, upstream, key)
                exchange.body.close()
                raise await no_match(exchange, route)
            case other:
                assert_never(other)

    async def _fetched(
        self,
        fetch: Fetch,
        exchange: Exchange,
        route: Recorded,
        upstream: PacedUpstream,
        key: bytes,
    ) -> tuple[int, str | None]:
        exchange.listen()
        if key:
            return await self._fetches.session(exchange, upstream, key, route)
        if route.reflection is not None:
            await route.reflection.know(exchange.request, upstream)
        return await self._fetches.recorded(fetch, exchange, route, upstream)

    async def _replay_checked(
        self, exchange: Exchange, route: Recorded, checks: LiveChecks, place: int, key: bytes
    ) -> tuple[int, str | None]:
        """Replay, and perhaps ask the live API whether it would still answer so."""
        wanted = checks.wants(place, exchange.request)
        answered = await self._replays.answer(exchange, route, place, key)
        if wanted and exchange.interaction is not None:
            exchange.check = check = LiveCheck(place)
            words = shown(exchange.request, route)
            request, recorded = exchange.request, exchange.interaction
            asking = checks.verdict(place, recorded, request, words)
            checking = Deferred.fromCoroutine(self._checked(asking, check))
            self._checking.add(checking)
            checking.addErrback(_check_failed).addBoth(lambda _: self._checking.discard(checking))
        return answered

    async def _checked(self, asking: Coroutine[Any, Any, Verdict], check: LiveCheck) -> None:
        """Tell what a check has found."""
        verdict = check.verdict = await asking
        if verdict.asked is Asked.FAILED:
            say(LogLevel.warn, "not checked", request=verdict.request, err=verdict.why)
        elif verdict.findings:
            found = "; ".join(map(str, verdict.findings[:_MOST_FINDINGS]))
            more = len(verdict.findings) - _MOST_FINDINGS
            say(
                LogLevel.warn,
                "the live API has drifted",
                request=verdict.request,
                interaction=str(verdict.number),
                severity=verdict.word,
                drift=found + (f"; and {more} more" if more > 0 else ""),
            )
            if self.observer is not None:
                self.observer.drifted(verdict.request, verdict)

    async def _prepare(self, exchange: Exchange, route: Recorded) -> None:
        """What few routes want before a request is identified."""
        if route.hooks is not None:
            whole = exchange.recorded_request(exchange.body.shown)
            exchange.matched = await route.hooks.matched(whole)
        if route.in_dialogue:
            data = exchange.body.identity
            said = data if isinstance(data, bytes) else b""
            exchange.remark = self._dialogues.remark(exchange.request, said, exchange.scope)

    async def _replay_memorably(
        self, exchange: Exchange, route: Recorded, place: int
    ) -> tuple[int, str | None]:
        """Replay, and let the sink know what the same request needs to be a hit again."""
        generation = route.store.generation()
        found = None if generation is None else await only_recording(exchange, route, place)
        answered = await self._replays.answer(exchange, route, place, b"")
        if found is None or exchange.request.hops:
            return answered
        volatile = exchange.sink.volatile
        if not all(map(route.matcher.disregards, volatile)):
            volatile = ()
        tell = self._telling.hit(exchange, answered[0], volatile)
        name, places = found.name, found.places
        hit = RecordedHit(route, exchange.scope, name, places, generation, tell, volatile)
        exchange.sink.remember(hit)
        return answered

    async def _identity_aside(self, exchange: Exchange, route: Recorded, body: bytes) -> Identity:
        """The identity of a request with a body that may take long to search, on a thread."""
        if exchange.matched is None:
            known = route.matcher.remembered(exchange.request, body, route.origin)
            if known is not None:
                return known
        size_bytes = route.matcher.work_bytes(exchange.request, body)
        return await aside(self._reactor, size_bytes, identity_of, exchange, route)

    def _kept(self, exchange: Exchange, request: RecordedRequest, answer: ResponseHead) -> None:
        """Count a recording whose turn this answer ends."""
        self._stored(exchange)
        route, identity = exchange.route, exchange.identity
        if isinstance(route, Recorded) and identity.keys:
            variant = route.matcher.variant(identity.selecting, request, answer.headers)
            start(_turn_taken(exchange, route, recording_name(identity.keys[0].digest, variant)))

    def _stored(self, exchange: Exchange) -> None:
        self.counters.recorded += 1
        exchange.recorded = True
        if self.observer is not None:
            words = shown if exchange.frames is None else shown_session
            self.observer.recorded(words(exchange.request, exchange.route))

    @property
    def loses_recordings(self) -> bool:
        """Whether one could not be written lately.

        That ends with time, not with the next that can be: whoever takes an
        unready buffr out of service sends it none.
        """
        if self._lost_at is None:
            return False
        ago_s: float = self._reactor.seconds() - self._lost_at
        return abs(ago_s) < _LATELY_S  # a clock may be set back meanwhile

    def _append_failed(self, exchange: Exchange, error: BuffrError) -> None:
        self.counters.failed_appends += 1
        self._lost_at = self._reactor.seconds()
        if not error.noted:
            words = shown if exchange.frames is None else shown_session
            request, text = words(exchange.request, exchange.route), str(error)
            named = {} if request in text else {"request": request}
            say(LogLevel.error, "recording lost", **named, err=text)

    def _timestamp(self) -> str:
        moment = datetime.fromtimestamp(self._wall(), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def flights(self) -> int:
        """Calls to upstreams that are under way."""
        return self._fetches.flights + self._caching.flights

    def close_sessions(self) -> None:
        """Tell the WebSocket sessions in progress that they are over."""
        self._sessions.stop()
        self._dialogues.stop()

    async def stop(self) -> None:
        """Give up calls that still wait for an upstream; returns once everything is recorded."""
        await self._fetches.stop()
        self._sessions.stop()
        await self._sessions.ended()
        await self._checks_ended()
        await self._caching.stop()
        self._log.flush()

    async def _checks_ended(self) -> None:
        """Give checks under way a moment."""
        waiting = DeferredList(list(self._checking), consumeErrors=True)
        waiting.addTimeout(_CHECKS_END_S, self._reactor, onTimeoutCancel=lambda *_: None)
        await waiting


def _check_failed(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        say(LogLevel.error, "a check failed", err=failure.getErrorMessage())


async def _turn_taken(exchange: Exchange, route: Recorded, name: bytes) -> None:
    try:
        await take_turn(exchange, route, name)
    except StoreFailed:
        return  # while the server is away, each process counts for itself


def _on_its_way(
    route: Route, request: Request, body: bytes | BodyReader, *, record: bool = False
) -> RequestBody:
    """A body that is forwarded as it arrives, and does not identify the request."""
    if isinstance(body, bytes):
        return RequestBody(body)
    return stream_through(route, request, body, record=record)
