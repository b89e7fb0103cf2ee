"""WebSocket sessions in progress: started after the handshake, recorded when they are over."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from weakref import WeakSet

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread

from buffr.errors import BuffrError, SessionDrift
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.route import Recorded
from buffr.exchanges.sessions.relay import RelayedSession
from buffr.exchanges.sessions.replay import ReplayedSession
from buffr.interaction import Body, RecordedRequest, SessionEnd, WebSocketInteraction
from buffr.matching.captures import Captured, pairs
from buffr.message import ResponseHead, end_to_end, first_value
from buffr.recording.session import SessionTape
from buffr.recording.transcript import Deviation, MessageClock, Transcript
from buffr.transport.streams import Signal
from buffr.upstream.connection import Switched
from buffr.wire.websocket_deflate import Deflate, answer_for
from buffr.wire.websocket_handshake import for_next_hop, switching

__all__ = ["Sessions"]

_MASK_BYTES = 4
_STOPPING = "buffr is stopping"
_FEWEST_ALIKE = 2
_MOST_ALIKE = 100


class Sessions:
    """The sessions of one engine, which ends them when it stops.

    ``timestamp`` returns the time as written in recordings. ``kept`` is called
    after a session was recorded, ``failed`` if it could not be.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        timestamp: Callable[[], str],
        kept: Callable[[Exchange, RecordedRequest, ResponseHead], None],
        failed: Callable[[Exchange, BuffrError], None],
    ) -> None:
        self._reactor = reactor
        self._timestamp = timestamp
        self._kept = kept
        self._failed = failed
        self._running: set[RelayedSession | ReplayedSession] = set()
        self._connected: WeakSet[RelayedSession | ReplayedSession] = WeakSet()
        self._stopping = False
        self._news = Signal()

    async def relay(
        self,
        exchange: Exchange,
        switched: Switched,
        deflate: Deflate | None,
        recorded: Recorded | None,
    ) -> str | None:
        """Relay a session to its end. Returns why it was cut off, if it was.

        It is recorded if a route is given.
        """
        route = exchange.route
        limits = route.session_limits
        tape = None
        if recorded is not None:
            tape = SessionTape(
                route.spool_dir,
                self._reactor.seconds(),
                memory_bytes=route.body_memory_bytes,
                session_bytes=limits.recorded_bytes,
            )
        mask = partial(os.urandom, _MASK_BYTES)
        session = RelayedSession(self._reactor, limits, deflate, tape, mask, exchange.session_close)
        self._add(session)
        try:
            self._begin(exchange, switched, session)
            end = await session.over
            exchange.frames = session.frames
            if tape is not None and recorded is not None:
                await self._keep(exchange, recorded, switched.head, tape, end)
        finally:
            session.release()
            self._running.discard(session)
            self._news.notify()
            if tape is not None:
                tape.close()
        return None if end is None else end.reason

    async def replay(
        self,
        exchange: Exchange,
        route: Recorded,
        recorded: WebSocketInteraction,
        key: bytes,
        live: Captured,
        clock: MessageClock | None,
    ) -> str | None:
        """Replay a recorded session.

        Returns why it was cut off, if it was. Raises ``SessionDrift``.

        ``live`` is what the rules with ``sync_response`` match in the
        handshake; ``clock`` moves what messages say about time.
        """
        request = exchange.request
        agreed = answer_for(request.headers) if _was_compressed(recorded) else None
        extension, deflate = (None, None) if agreed is None else agreed
        sync = route.matcher.sync
        values = pairs(sync.recorded(recorded.request, ()), live) if live else ()
        transcript = Transcript(route.matcher.frames_of(request), recorded, values, clock)
        session = ReplayedSession(
            self._reactor,
            route.session_limits,
            deflate,
            transcript,
            partial(_alike, exchange, route),
            delays=route.replay_delays,
            fault=exchange.session_close,
        )
        self._add(session)
        exchange.frames = 0
        try:
            head = switching(recorded.response.headers, key, extension)
            session.open(exchange.sink.switch(head))
            if self._stopping:
                session.stop(_STOPPING)
            outcome = await session.over
        finally:
            exchange.frames = session.frames
            self._running.discard(session)
            self._news.notify()
        if isinstance(outcome, Deviation):
            error = SessionDrift(str(outcome))
            error.explanation = "\n".join(outcome.lines())
            raise error
        return outcome

    def _add(self, session: RelayedSession | ReplayedSession) -> None:
        self._running.add(session)
        self._connected.add(session)
        if self._stopping:
            session.hurry()

    def _begin(self, exchange: Exchange, switched: Switched, session: RelayedSession) -> None:
        head = switched.head
        exchange.frames = 0
        passed_on = ResponseHead(head.status, head.reason, for_next_hop(head.headers))
        session.client.open(exchange.sink.switch(passed_on))
        session.upstream.open(switched.take())
        session.join()
        if self._stopping:
            session.stop(_STOPPING)

    async def _keep(
        self,
        exchange: Exchange,
        route: Recorded,
        head: ResponseHead,
        tape: SessionTape,
        end: SessionEnd | None,
    ) -> None:
        request = exchange.recorded_request(Body())
        taken = partial(
            tape.session,
            request,
            ResponseHead(head.status, head.reason, end_to_end(head.headers)),
            recorded_at=self._timestamp(),
            recorded_by=route.recorded_by,
            end=end,
        )
        try:
            interaction = await deferToThread(taken) if tape.on_disk else taken()
            if route.hooks is not None:
                changed = await route.hooks.recorded(interaction)
                if changed is None:
                    return
                interaction = changed
            await route.store.append(interaction)
        except BuffrError as error:
            self._failed(exchange, error)
        except OSError as error:
            self._failed(exchange, BuffrError(f"a session could not be stored: {error.strerror}"))
        else:
            if interaction.whole:
                self._kept(exchange, request, head)

    def stop(self) -> None:
        """Tell both sides of every session that it is over, with a short wait for each."""
        self._stopping = True
        for session in list(self._connected):
            session.hurry()
        for session in list(self._running):
            session.stop(_STOPPING)

    async def ended(self) -> None:
        """Return once every session is over and recorded."""
        while self._running:
            await self._news.wait()


def _was_compressed(recorded: WebSocketInteraction) -> bool:
    return any(frame.compressed for frame in recorded.frames) or bool(
        first_value(recorded.response.headers, b"sec-websocket-extensions")
    )


async def _alike(exchange: Exchange, route: Recorded) -> list[WebSocketInteraction]:
    """The recorded sessions that may begin with this handshake, up to a limit."""
    store = route.store
    found = await store.find(exchange.identity.keys)
    places = () if found is None else found.places
    if len(places) < _FEWEST_ALIKE:
        return []
    loaded = [await store.load(place) for place in places[:_MOST_ALIKE]]
    return [each for each in loaded if isinstance(each, WebSocketInteraction)]
