"""Flights: upstream calls, and the exchanges that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from attrs import define, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogLevel

from buffr.errors import BuffrError, ClientGone, HookFailed, reset_of
from buffr.exchanges.route import Route
from buffr.interaction import CLIENT_LEFT
from buffr.log import say
from buffr.message import Piece, ResponseHead
from buffr.recording.tape import Tape
from buffr.transport.eager import Running, start
from buffr.transport.sink import Sink
from buffr.transport.streams import Signal
from buffr.upstream.connection import Response

__all__ = ["STOPPED", "Call", "Flight", "Flights"]

_AHEAD_BYTES = 262144
STOPPED = "buffr was stopped"
"""Why an answer is incomplete that its client still wanted."""
_UNBEGUN_S = 0.25
"""How long a call is worth while no body has come: its client may have given up for a reason.

With the half second in which a client that closed its side can still be
answered, the upstream is free within a second.
"""


class Call(Protocol):
    """The work of a flight: it asks an upstream, and may record the answer."""

    @property
    def departed(self) -> bool:
        """Whether the upstream has been asked; until then giving up loses nothing."""

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        """Send the request. Raises a ``BuffrError`` if no answer comes."""

    def tape(self, head: ResponseHead) -> Tape:
        """Where the body goes; a kept tape if the answer is recorded or shared."""

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        """Record the answer, if it is to be recorded."""

    def close(self) -> None:
        """Release what the request uses."""


AnyCall = TypeVar("AnyCall", bound=Call)


@define(eq=False)
class _Follower:
    """The number of pieces that an exchange has passed on to its client."""

    sink: Sink
    position: int = 0


class Flight(Generic[AnyCall]):
    """One upstream ``call``, followed by one or more exchanges.

    A late follower starts from the first piece. Reading from the upstream
    pauses if even the fastest follower is behind, and stops ``linger_s``
    seconds after the last follower left, or after a quarter of a second while no
    byte of the body has arrived. The last piece of a body, or the end of one of
    unknown length, is sent once the recording is stored.
    """

    def __init__(
        self,
        clock: IReactorTime,
        call: AnyCall,
        linger_s: float,
        on_end: Callable[[Flight[AnyCall]], None],
    ) -> None:
        self.call = call
        self._clock = clock
        self._linger_s = linger_s
        self._on_end = on_end
        self._followers: set[_Follower] = set()
        self._news = Signal()
        self._moved = Signal()
        self._begun: tuple[Response, Tape] | None = None
        self._error: BuffrError | None = None
        self._cut: str | None = None
        self._reset: int | None = None
        self._received = False
        self._unkept = False
        self._done = False
        self._closed = False
        self._leaving: IDelayedCall | None = None
        self._running: Running | None = None
        self._running = start(self._run())

    @property
    def joinable(self) -> bool:
        """Whether another exchange could get the whole answer."""
        beginning = self._begun is None or self._begun[1].from_start
        return beginning and self._cut is None and not self._done

    @property
    def over(self) -> bool:
        """Whether the answer is complete and recorded, or never came."""
        return self._done

    async def ended(self) -> None:
        """Return once the answer is complete and recorded."""
        while not self._done:
            await self._news.wait()

    async def _run(self) -> None:
        try:
            response = await self.call.open(self._inform)
            tape = self.call.tape(response.head)
            self._begun = response, tape
            data = response.body.take_whole()
            if data is None:
                if not response.body.ready:
                    self._news.notify()
                await self._receive(response, tape)
            else:
                if data:
                    tape.append(Piece(data), self._clock.seconds())
                tape.finish(response.body.trailers, response.body.uncertain)
                self._received = True
            try:
                await self.call.keep(response.head, tape, self._cut)
            except HookFailed as error:  # so does the answer, whose end has not been sent
                self._cut, self._unkept = error.message, True
        except BuffrError as error:
            self._error = error
        except CancelledError:
            self._error = ClientGone("every client left")
        except Exception as error:  # noqa: BLE001  # a defect of ours: no client may hang for it
            self._error = _defect(error)
        finally:
            self._done = True
            if self._leaving is not None and self._leaving.active():
                self._leaving.cancel()
            self._leaving = None
            self._on_end(self)
            self._news.notify()
            self._close()

    async def _receive(self, response: Response, tape: Tape) -> None:
        try:
            await self._take(response, tape)
        except ClientGone:
            # It left before its request was complete, so the upstream cannot go on.
            self._cut = CLIENT_LEFT
        except BuffrError as error:
            self._cut, self._reset = error.message, reset_of(error)
        except CancelledError:
            self._cut = STOPPED if self._followers else CLIENT_LEFT
            response.abort()
        except Exception as error:  # noqa: BLE001  # a defect of ours: no client may take it for whole
            self._cut = _defect(error).message
            response.abort()
        self._received = True

    async def _take(self, response: Response, tape: Tape) -> None:
        body = response.body
        while (piece := await body.read()) is not None:
            tape.append(piece, self._clock.seconds())
            # Everything that has arrived is passed on together.
            if not body.ready or self._is_ahead(response, tape):
                self._news.notify()
            if self._leaving is not None and (len(tape) == 1 or not tape.kept):
                self._leaving.reset(self._linger_s if tape.kept else 0)
            while self._is_ahead(response, tape):
                await self._moved.wait()
        tape.finish(body.trailers, body.uncertain)

    def _is_ahead(self, response: Response, tape: Tape) -> bool:
        """Whether the upstream is too far ahead of the follower that sets the pace.

        A kept tape can be read again, so the fastest follower sets the pace;
        otherwise the slowest. What is withheld does not count: no follower can take it.
        """
        if not self._followers:
            return False
        positions = [follower.position for follower in self._followers]
        position = max(positions) if tape.kept else min(positions)
        end = tape.offset(self._released(response, tape))
        return end - tape.offset(position) > _AHEAD_BYTES

    def _inform(self, head: ResponseHead) -> None:
        for follower in self._followers:
            follower.sink.inform(head)

    async def follow(
        self, sink: Sink, check: Callable[[ResponseHead], None] = lambda _: None
    ) -> tuple[ResponseHead, str | None]:
        """Pass the answer on to a client. Returns its head, and why it was cut off.

        Raises the error that prevented an answer, and what ``check`` raises
        before anything is sent.
        """
        follower = _Follower(sink)
        self._followers.add(follower)
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        try:
            while (begun := self._begun) is None:
                if self._error is not None:
                    raise self._error
                await self._news.wait()
            response, tape = begun
            check(response.head)
            if response.length == 0:
                await self.ended()
            if self._done and self._cut is None and response.length >= 0 and len(tape) < 2:
                data = tape.piece(0).data if len(tape) else b""
                sink.answer(response.head, data, (), tape.trailers)
                await sink.drain()
            else:
                sink.begin(response.head)
                await self._pass_on(follower, response, tape)
            return response.head, self._cut
        finally:
            self._leave(follower)

    async def _pass_on(self, follower: _Follower, response: Response, tape: Tape) -> None:
        sink = follower.sink
        while True:
            while follower.position < self._released(response, tape):
                sink.write(tape.piece(follower.position))
                follower.position += 1
                tape.passed(min(each.position for each in self._followers))
                self._moved.notify()
                await sink.drain()
            if self._done:
                break
            sink.flush()
            await self._news.wait()
        if self._cut is None:
            sink.end(tape.trailers)
        else:
            sink.abort(self._reset)

    def _released(self, response: Response, tape: Tape) -> int:
        """How many pieces may be sent.

        The count excludes the one that would make an unkept recording look kept.
        """
        whole = response.length == tape.size_bytes
        held = whole and tape.kept and (self._unkept or not self._done)
        return len(tape) - 1 if held else len(tape)

    def _leave(self, follower: _Follower) -> None:
        self._followers.discard(follower)
        self._moved.notify()
        if self._done:
            self._close()
        elif not self._followers and not self._received:
            if self._begun is not None:
                self._begun[1].left(follower.position, self._clock.seconds())
            self._leaving = self._clock.callLater(self._worth_s(), self.give_up)

    def _worth_s(self) -> float:
        """How long the call goes on without a follower, for its recording."""
        if not self.call.departed:
            return 0
        tape = None if self._begun is None else self._begun[1]
        if tape is None or (tape.kept and not len(tape)):
            return min(self._linger_s, _UNBEGUN_S)
        return self._linger_s if tape.kept else 0

    def give_up(self) -> None:
        """Drop the upstream; what has arrived is recorded as truncated."""
        if self._leaving is not None and self._leaving.active():
            self._leaving.cancel()
        self._leaving = None
        if not self._received and self._running is not None:
            self._running.cancel()

    def _close(self) -> None:
        if not (self._followers or self._closed):
            self._closed = True
            self.call.close()
            if self._begun is not None:
                self._begun[1].close()


@frozen(eq=False)
class _FlightEntry:
    """What the registry knows about a flight."""

    name: Hashable | None
    subject: Hashable | None


class Flights(Generic[AnyCall]):
    """The flights under way: by the name under which others join them, and by subject."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._under_way: dict[Flight[AnyCall], _FlightEntry] = {}
        self._by_name: dict[Hashable, Flight[AnyCall]] = {}
        self._by_subject: dict[Hashable, set[Flight[AnyCall]]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def joinable(self, name: Hashable) -> Flight[AnyCall] | None:
        """The flight with this name, if another exchange may join it."""
        flight = self._by_name.get(name)
        return flight if flight is not None and flight.joinable else None

    def depart(
        self,
        call: AnyCall,
        route: Route,
        *,
        name: Hashable | None = None,
        subject: Hashable | None = None,
    ) -> Flight[AnyCall]:
        """Start a call; others may join it by its ``name``, if it has one.

        ``subject`` is the URL that it concerns. The route is in use until the
        call ends.
        """
        route.uses.begin()

        def ended(flight: Flight[AnyCall]) -> None:
            route.uses.end()
            self._forget(flight)

        flight = Flight(self._clock, call, route.linger_s, ended)
        if flight.over:
            return flight
        self._under_way[flight] = _FlightEntry(name, subject)
        if name is not None and flight.joinable:
            self._by_name[name] = flight
        if subject is not None:
            self._by_subject.setdefault(subject, set()).add(flight)
        return flight

    def about(self, subject: Hashable) -> tuple[Flight[AnyCall], ...]:
        """The flights of a subject."""
        return tuple(self._by_subject.get(subject, ()))

    def close(self, flight: Flight[AnyCall]) -> None:
        """Prevent others from joining a flight."""
        known = self._under_way.get(flight)
        if known is not None and self._by_name.get(known.name) is flight:
            del self._by_name[known.name]

    def _forget(self, flight: Flight[AnyCall]) -> None:
        self.close(flight)
        known = self._under_way.pop(flight, None)
        if known is None or known.subject is None:
            return
        flights = self._by_subject[known.subject]
        flights.discard(flight)
        if not flights:
            del self._by_subject[known.subject]

    async def stop(self) -> None:
        """Give up all flights; returns once what has arrived is recorded."""
        for flight in list(self._under_way):
            flight.give_up()
            await flight.ended()


def _defect(error: Exception) -> BuffrError:
    say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")
    return BuffrError("internal error; the log says more")
