"""The pipeline: one coroutine an exchange, from a request to its answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from types import coroutine
from typing import Any, assert_never

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.caching.answers import Caching
from buffr.calls import RequestBody, UpstreamCall, read_whole, stream_through
from buffr.errors import (
    BadFraming,
    BadRequest,
    BuffrError,
    ClientGone,
    NoMatch,
    NotCached,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)
from buffr.exchange import (
    Counters,
    Exchange,
    Finished,
    Observer,
    SwitchingSink,
    shown,
    shown_session,
)
from buffr.explainer import as_data, as_text, in_short
from buffr.flights import Flight
from buffr.interaction import WebSocketInteraction
from buffr.live_replay import with_live_values
from buffr.log import ExchangeLog, say
from buffr.matching.captures import Captured
from buffr.matching.key import MatchKey
from buffr.message import Request, ResponseHead
from buffr.policy.age import Ages
from buffr.policy.decide import Fetch, Refuse, Replay, decide, needs_key
from buffr.policy.mode import Mode
from buffr.recorders.http import passed_on
from buffr.recorders.player import play
from buffr.redaction.rules import RedactionRules
from buffr.route import Route
from buffr.sessions.host import Sessions
from buffr.spool import Spool
from buffr.stores.base import Found
from buffr.streams import BodyStream
from buffr.upstream.connection import Response
from buffr.wire.upgrade import asks_websocket, check_request

__all__ = ["Engine", "start"]


def start(running: Coroutine[Any, Any, None]) -> Deferred[None] | None:
    """Step a coroutine; ``None`` when it was done without waiting for anything.

    A replay from memory never waits, and so costs no Deferred.
    """
    try:
        awaited = running.send(None)
    except StopIteration:
        return None
    return Deferred.fromCoroutine(_resume(running, awaited))


@coroutine
def _resume(
    running: Coroutine[Any, Any, None], awaited: Deferred[Any]
) -> Generator[Deferred[Any], Any, None]:
    while True:
        try:
            try:
                result = yield awaited
            except GeneratorExit:
                running.close()
                raise
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is the coroutine's
                awaited = running.throw(error)
            else:
                awaited = running.send(result)
        except StopIteration:
            return


class Engine:
    """Answers requests by their route's policy."""

    def __init__(self, reactor: IReactorTime, log: ExchangeLog, wall: Callable[[], float]) -> None:
        self.counters = Counters()
        self.observer: Observer | None = None
        self._reactor = reactor
        self._log = log
        self._wall = wall
        self._shared: dict[tuple[Route, bytes, bytes, Captured], Flight] = {}
        self._flights: set[Flight] = set()
        self._sessions = Sessions(reactor, self._timestamp, self._kept, self._append_failed)
        self._caching = Caching(reactor, wall, self.counters, self._kept, self._append_failed)

    async def handle(
        self,
        route: Route,
        request: Request,
        body: bytes | BodyStream,
        sink: SwitchingSink,
        scope: str = "",
    ) -> None:
        """Answer one request. Raises the ``BuffrError`` that keeps it from being answered.

        ``scope`` names the playhead that counts its repetitions.
        """
        exchange = Exchange(route, request, sink, scope, route.src)
        started = self._wall()
        status, level, detail, told = 0, "INFO", "", ""
        try:
            status, cut = await self._answer(exchange, body)
            if cut is not None:
                level, detail = "WARN", cut
        except BuffrError as error:
            status, level, detail = error.status, self._blame(error, exchange), error.message
            told = f"{error}\n{error.explanation}".rstrip()
            error.noted = True
            raise
        except CancelledError:
            status, level, detail = ClientGone.status, "WARN", "the client left"
            raise
        finally:
            now = self._wall()
            dur_s = max(0.0, now - started)
            if exchange.frames is None:
                words = shown(request, route)
                self._log.exchange(now, level, words, status, dur_s, exchange.src, detail)
            else:
                words = shown_session(request, route)
                frames = exchange.frames
                self._log.session(now, level, words, frames, dur_s, exchange.src, detail)
            if self.observer is not None:
                self.observer.finished(
                    Finished(words, status, level, exchange.src, told or detail, dur_s, route)
                )

    def tunnel(self, shown: str) -> Callable[[], None]:
        """Note a tunnel that nobody looks into; call what is returned when it ends."""
        started = self._wall()

        def ended() -> None:
            now = self._wall()
            self._log.exchange(now, "INFO", shown, 200, max(0.0, now - started), "bypass")

        self.counters.bypassed += 1
        if self.observer is not None:
            self.observer.finished(Finished(shown, 200, "INFO", "bypass", "", 0.0, None))
        return ended

    def tunnel_failed(self, words: str, error: BuffrError, dur_s: float) -> None:
        """Note a tunnel that nobody would have looked into, and that could not be made."""
        error.noted = True
        self.counters.errors += 1
        self._log.exchange(
            self._wall(), "ERROR", words, error.status, dur_s, "bypass", error.message
        )

    def _blame(self, error: BuffrError, exchange: Exchange) -> str:
        """Count an error; the level of its line."""
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

    async def _answer(self, exchange: Exchange, body: bytes | BodyStream) -> tuple[int, str | None]:
        """Answer by policy: the status, and why the answer broke off if it did."""
        route, request = exchange.route, exchange.request
        key = check_request(request) if asks_websocket(request) else b""
        if route.cache is not None and not key:
            return await self._caching.answer(exchange, route.cache, body)
        place = None
        if not needs_key(route.mode, share=route.share):
            if isinstance(body, bytes):
                exchange.body = RequestBody(body)
            else:
                exchange.body = stream_through(route, body, record=route.mode is Mode.RECORD)
        else:
            if isinstance(body, bytes):
                exchange.body = RequestBody(body, body)
            else:
                exchange.body = await read_whole(route, request, body, exchange.sink)
            exchange.keys = _keys(exchange)
            place = await self._next_place(exchange)
        match decide(route.mode, request.method, place, share=route.share):
            case Replay(place):
                exchange.body.close()
                exchange.src = "cassette"
                return await self._replay(exchange, place, key)
            case Fetch() as fetch if key:
                self.counters.fetched += 1
                return await self._fetch_session(fetch, exchange, key)
            case Fetch() as fetch:
                return await self._fetch(fetch, exchange)
            case Refuse():
                exchange.body.close()
                raise await self._no_match(exchange)
            case other:
                assert_never(other)

    async def _no_match(self, exchange: Exchange) -> NoMatch:
        route, request = exchange.route, exchange.request
        words = shown(request, route)
        message = f"no recorded interaction matches {words}"
        hint = "record it in mode auto or record"
        if route.explainer is None:
            return NoMatch(message, hint=hint)
        nearest = await route.explainer.nearest(exchange.keys)
        first = route.explainer.first
        error = NoMatch(f"{message}: {in_short(nearest, first)}", hint=hint)
        error.explanation = as_text(nearest, first)
        error.details = {
            "request": {"method": request.method.decode("ascii"), "shown": words},
            "nearest": as_data(nearest, first),
        }
        return error

    async def _next_place(self, exchange: Exchange) -> int | None:
        route = exchange.route
        if route.store is None or route.mode is Mode.RECORD:
            return None
        found = await route.store.find(exchange.keys)
        if found is None and route.matcher.is_salted:
            # The search may have read the file anew, and a new file has a salt of its own.
            exchange.keys = _keys(exchange)
            found = await route.store.find(exchange.keys)
        if found is None:
            return None
        if route.ages is None:
            return route.playhead.next(exchange.scope, found.digest, found.places)
        return await self._next_by_age(exchange, route.ages, found)

    async def _next_by_age(self, exchange: Exchange, ages: Ages, found: Found) -> int | None:
        """The next place; none in auto where that is too old, so that it is recorded anew."""
        route = exchange.route
        assert route.store is not None
        places, too_old = await ages.in_turn(route.store, found.places, self._wall())
        place = route.playhead.next(exchange.scope, found.digest, places)
        if place not in too_old:
            return place
        if route.mode is Mode.AUTO:
            exchange.too_old = place
            return None
        if not ages.told:
            ages.told = True
            words = shown(exchange.request, route)
            say(LogLevel.warn, "a recording is older than re_record_after", request=words)
        return place

    async def _fetch(self, fetch: Fetch, exchange: Exchange) -> tuple[int, str | None]:
        """Answer from the upstream, or where that fails from a recording that is too old."""
        try:
            flight = self._flight(fetch, exchange)
            head, cut = await flight.follow(exchange.sink, partial(_check_recorded, exchange))
        except (UpstreamFailed, UpstreamTimeout) as error:
            return await self._replay_old(exchange, error, b"")
        self.counters.fetched += 1
        return head.status, cut

    async def _replay_old(
        self, exchange: Exchange, error: BuffrError, key: bytes
    ) -> tuple[int, str | None]:
        """Answer from a recording that is too old; raises the error where there is none."""
        if exchange.too_old is None:
            raise error
        words = shown(exchange.request, exchange.route)
        told = "not recorded anew: the old recording answers"
        say(LogLevel.warn, told, request=words, err=error.message)
        exchange.src = "cassette"
        return await self._replay(exchange, exchange.too_old, key)

    async def _replay(self, exchange: Exchange, place: int, key: bytes) -> tuple[int, str | None]:
        route = exchange.route
        assert route.store is not None
        interaction = await route.store.load(place)
        self.counters.hits += 1
        if isinstance(interaction, WebSocketInteraction):
            live = _captured(exchange)
            return 101, await self._sessions.replay(exchange, interaction, key, live)
        sleep = self._sleep if route.replay_delays else None
        if not route.matcher.sync:
            await play(interaction, exchange.sink, sleep)
            return interaction.response.status, None
        spool = Spool(route.body_memory_bytes, route.spool_dir)
        try:
            answer = await with_live_values(
                self._reactor, route.matcher.sync, _captured(exchange), interaction, spool
            )
            await play(answer, exchange.sink, sleep)
        finally:
            spool.close()
        return interaction.response.status, None

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    async def _fetch_session(
        self, fetch: Fetch, exchange: Exchange, key: bytes
    ) -> tuple[int, str | None]:
        """Relay a session, or the answer that refuses it."""
        upstream, sink = exchange.route.upstream, exchange.sink
        assert upstream is not None
        pace = exchange.route.pace
        if pace is not None:
            await pace.turn()
        try:
            answer = await upstream.upgrade(
                exchange.request, key, lambda head: sink.inform(passed_on(head))
            )
        except (UpstreamFailed, UpstreamTimeout) as error:
            return await self._replay_old(exchange, error, key)
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
                return await self._replay_old(exchange, error, key)
            return head.status, cut
        return 101, await self._sessions.relay(exchange, *answer, record=fetch.record)

    def _flight(self, fetch: Fetch, exchange: Exchange) -> Flight:
        """The flight that an exchange joins, or its own."""
        if not fetch.share:
            return self._depart(fetch, exchange, lambda _: None)
        route, request = exchange.route, exchange.request
        user = _credentials(request, route.redaction)
        name = (route, exchange.keys[0].digest, user, _captured(exchange))
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

        def ended(flight: Flight) -> None:
            self._flights.discard(flight)
            on_end(flight)

        call = UpstreamCall(
            route=exchange.route,
            request=exchange.request,
            body=exchange.body,
            record=fetch.record,
            share=fetch.share,
            seconds=self._reactor.seconds,
            timestamp=self._timestamp,
            kept=partial(self._kept, exchange),
            failed=self._append_failed,
            answer=answer,
        )
        flight = Flight(self._reactor, call, exchange.route.linger_s, ended)
        self._flights.add(flight)
        if not flight.joinable:
            self._flights.discard(flight)
        return flight

    def _kept(self, exchange: Exchange) -> None:
        self.counters.recorded += 1
        if self.observer is not None:
            words = shown if exchange.frames is None else shown_session
            self.observer.recorded(words(exchange.request, exchange.route))
        if exchange.keys and exchange.too_old is None:
            exchange.route.playhead.answered(exchange.scope, exchange.keys[0].digest)

    def _append_failed(self, error: BuffrError) -> None:
        self.counters.failed_appends += 1
        say(LogLevel.error, "recording lost", err=str(error))

    def _timestamp(self) -> str:
        moment = datetime.fromtimestamp(self._wall(), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def close_sessions(self) -> None:
        """Tell the WebSocket sessions under way that they are over."""
        self._sessions.stop()

    async def stop(self) -> None:
        """Give up what still waits for an upstream; returns when all is kept."""
        for flight in list(self._flights):
            flight.give_up()
            await flight.ended()
        self._sessions.stop()
        await self._sessions.ended()
        await self._caching.stop()
        self._log.flush()


def _keys(exchange: Exchange) -> Sequence[MatchKey]:
    route = exchange.route
    return route.matcher.live(exchange.request, exchange.body.identity, route.origin)


def _check_recorded(exchange: Exchange, head: ResponseHead) -> None:
    """Refuse an answer that takes the place of no recording, where there is an old one."""
    if exchange.too_old is not None and head.status not in exchange.route.record_statuses:
        raise UpstreamFailed(f"the upstream answered {head.status}")


def _captured(exchange: Exchange) -> Captured:
    """What the rules with ``sync_response`` match in a request; nothing without such rules."""
    sync, body = exchange.route.matcher.sync, exchange.body.identity
    if not sync:
        return ()
    return sync.live(exchange.request, body if isinstance(body, bytes) else b"")


def _credentials(request: Request, rules: RedactionRules) -> bytes:
    """Tells requests of different users apart, in memory only."""
    hashed = blake2b(request.target, digest_size=16)
    for name, value in request.headers:
        if rules.is_credential_header(name):
            hashed.update(b"%d:%b%d:%b" % (len(name), name, len(value), value))
    return hashed.digest()
