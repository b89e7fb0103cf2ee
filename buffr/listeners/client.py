"""The client's side of exchanges, whatever version of HTTP carries them.

A listener accepts connections, and a connection carries exchanges: one after
the other in HTTP/1.1, several at once, each in a stream of its own, in HTTP/2.
What belongs to one exchange is here: its request's body, its answer, its time
limits, and what becomes of it when the client sends no more or leaves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import LogLevel

from buffr.errors import BadRequest, BuffrError, ClientGone
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.listeners.error_answer import error_answer, error_end
from buffr.listeners.hit_memo import Guard, HitMemo, Repeated
from buffr.log import say
from buffr.message import Headers, Piece, Request, ResponseHead, media_type
from buffr.transport.duplex import Duplex
from buffr.transport.eager import Running, start
from buffr.transport.memo import Memo
from buffr.transport.streams import BodyStream, Signal
from buffr.upstream.bound import Client
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http1_requests import HeadMemo
from buffr.wire.http2.engines import EngineName
from buffr.wire.http2.floods import Patience
from buffr.wire.http2.interface import Bounds

__all__ = [
    "CHECK_S",
    "GOODBYE_S",
    "ClientConnection",
    "ClientSink",
    "ConnectionLimits",
    "Handler",
    "Http2Terms",
    "Listener",
    "too_slow",
]

CHECK_S = 1.0
"""How often connections are checked for what takes too long."""
GOODBYE_S = 1.0
"""How long a stop leaves a client with TLS to answer our close_notify, which one that keeps its
connection for later does not. Closed at once, it could lose its answer: what it sends meanwhile
would be met with a reset."""
_TURN_BYTES = 512 * 1024
"""So much of an answer is sent in one turn of the reactor: other clients have the next one."""
_ANSWERED_WITHIN_S = 0.5
"""How long a client that seems to have left can still get the first byte of its answer."""


@frozen
class Http2Terms:
    """How HTTP/2 is spoken: by which engine, within which bounds, and with how much patience."""

    engine: EngineName = "auto"
    bounds: Bounds = Bounds()
    patience: Patience = Patience()


@frozen
class ConnectionLimits:
    """Bounds on one client's connection. Times are in seconds; zero means no bound.

    ``idle_s`` is the longest time between requests, ``head_s`` for a head to
    be complete, ``body_idle_s`` until the next bytes of a body in either
    direction. A request's whole body has ``body_idle_s``, and a second more for
    each ``body_bytes_per_s`` that came. ``half_close_s`` is the time until the
    answer to a client that sends no more. ``memo_bytes`` bounds the memory
    for repeated hits, and ``buffer_bytes`` requests that wait for their turn.
    Without ``http2``, no client is served in that version.
    """

    head: HeadLimits = HeadLimits()
    buffer_bytes: int = 65536
    memo_bytes: int = 64 << 20
    idle_s: float = 75
    head_s: float = 20
    body_idle_s: float = 60
    body_bytes_per_s: int = 0
    half_close_s: float = 10
    http2: Http2Terms | None = None

    def is_too_slow(self, received_bytes: int, awaited_s: float) -> bool:
        """Whether so much of a body is too little for the time in which its sender had room."""
        rate = self.body_bytes_per_s
        return bool(rate) and awaited_s > self.body_idle_s + received_bytes / rate


class ClientConnection(Protocol):
    """A client's connection as its listener sees it."""

    def check(self, now: float) -> None:
        """Close what has taken too long; called about once a second."""

    def stop(self) -> None:
        """Close now if no exchange is under way, otherwise after its answer."""

    def cut(self) -> None:
        """Close at once."""


class Listener(Protocol):
    """A listener as its connections see it."""

    limits: ConnectionLimits
    memo: HeadMemo
    hits: HitMemo
    requests: Memo[Hashable, Request]
    """Requests by their fields in HTTP/2, whole and strictly accepted."""
    stopping: bool
    now: float
    """The time in seconds, updated about once a second."""
    handle: Handler

    def refused(self, error: BuffrError) -> None:
        """Log a request that was refused before it reached the engine."""

    def came(self, connection: ClientConnection) -> None:
        """Watch over a connection: check its times, and stop it with the others."""

    def gone(self, connection: ClientConnection) -> None:
        """Forget a connection."""

    def soon(self, call: Callable[[], None]) -> None:
        """Call a function in the reactor's next turn."""

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call a function after some seconds."""


class Carrier(Client, Protocol):
    """The connection that carries an exchange, as the exchange sees it."""

    @property
    def client_address(self) -> str:
        """The client's IP address."""


class ClientSink(ABC):
    """The client's side of one exchange: the body comes in, the answer goes out.

    A subclass frames the answer for its version of HTTP (the methods of
    ``Sink``), and knows how to break it off and how to reset the exchange.
    Whatever carries the exchange feeds ``body``, and reports what the client
    does: ``pause`` and ``resume`` when it cannot take more of the answer and
    when it can again, ``half_close`` when it sends no more on the connection,
    ``leave`` when it is gone. It calls ``check`` about once a second.

    ``since`` is when the exchange last made progress.
    """

    repeated: Repeated
    """The request as it came before; set where the sink is ``memorable``."""

    __slots__ = (
        "_listener",
        "_memorable",
        "_room",
        "asked",
        "begun",
        "body",
        "connection",
        "done",
        "guard",
        "half_closed",
        "left",
        "proxy",
        "repeated",
        "request",
        "running",
        "since",
        "unshared_bytes",
        "writable",
    )

    def __init__(
        self, listener: Listener, connection: Carrier, request: Request, body: bytes | BodyStream
    ) -> None:
        self.connection = connection
        self.request = request
        self.body = body
        self.proxy = False
        """Whether the client uses buffr as its proxy, and knows it."""
        self.asked: tuple[Hashable, bytes | Headers] | None = None
        """To whom the request came, and how, if it came whole and alone, so that it may recur."""
        self.guard: Guard | None = None
        """Set by a handler that may admit or route such a request in another way later."""
        self.begun = False
        """Whether the head of the answer was given."""
        self.done = False
        """Whether nothing more of the answer will come."""
        self.writable = True
        """Whether the client can take more."""
        self.half_closed = False
        """Whether the client sends nothing more on its connection."""
        self.left = False
        """Whether the client is gone."""
        self.since = listener.now
        self.running: Running | None = None
        """The handler, once it has had to wait."""
        self.unshared_bytes = 0
        """How much was written since others had a turn."""
        self._listener = listener
        self._memorable = False
        self._room: Signal | None = None

    @property
    def memorable(self) -> bool:
        """Whether the answer may be given again to a request of the same bytes.

        Only who may want that asks, and only what is asked for is noted as having come.
        """
        asked = self.asked
        if asked is not None:
            self.asked = None
            handler, raw = asked
            headers = self.request.headers if isinstance(raw, bytes) else raw
            repeated = self._listener.hits.repeated(handler, raw, headers)
            if repeated is not None:
                self._memorable, self.repeated = True, repeated
        return self._memorable

    @memorable.setter
    def memorable(self, memorable: bool) -> None:
        self.asked, self._memorable = None, memorable

    @property
    def client_address(self) -> str:
        """The client's IP address."""
        return self.connection.client_address

    @property
    def volatile(self) -> Sequence[bytes]:
        """As in ``SwitchingSink``."""
        return self.repeated.volatile

    # What the engine does.

    @abstractmethod
    def inform(self, head: ResponseHead) -> None:
        """As in ``Sink``."""

    @abstractmethod
    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        """As in ``Sink``. Sets ``begun`` and ``done``."""

    @abstractmethod
    def begin(self, head: ResponseHead) -> None:
        """As in ``Sink``. Sets ``begun``."""

    @abstractmethod
    def write(self, piece: Piece) -> None:
        """As in ``Sink``."""

    @abstractmethod
    def flush(self) -> None:
        """As in ``Sink``."""

    @abstractmethod
    def end(self, trailers: Headers) -> None:
        """As in ``Sink``. Sets ``done``."""

    def abort(self, reset: int | None = None) -> None:
        """As in ``Sink``."""
        if not self.done:
            self.done = True
            self._break_off(reset)

    async def drain(self) -> None:
        """As in ``Sink``."""
        while not self.writable:
            if self.left:
                raise ClientGone("the client left")
            if self._room is None:
                self._room = Signal()
            await self._room.wait()
            self.unshared_bytes = 0
        if self.unshared_bytes > _TURN_BYTES:
            self.unshared_bytes = 0
            others = Signal()
            self._listener.soon(others.notify)
            await others.wait()

    @abstractmethod
    def switch(self, head: ResponseHead) -> Duplex:
        """Answer with a head alone; the bytes that follow it both ways.

        Sets ``begun`` and ``done``. Raises ``ClientGone`` if the client is leaving.
        """

    @abstractmethod
    def tunnel(self, head: ResponseHead, successor: TwistedProtocol) -> None:
        """As ``switch``, for CONNECT: a Twisted protocol gets the bytes, and a transport."""

    @abstractmethod
    def remember(self, hit: Hit) -> None:
        """As in ``SwitchingSink``. Only a sink that is ``memorable`` is asked."""

    @abstractmethod
    def remember_relay(self, relay: KnownRelay) -> None:
        """As in ``SwitchingSink``."""

    # What the version of HTTP adds.

    @abstractmethod
    def _break_off(self, reset: int | None) -> None:
        """End an answer that is incomplete, so that the client can tell."""

    @abstractmethod
    def reset(self) -> None:
        """Give up the exchange without an answer. Nothing happens if it is over."""

    # What the carrier does.

    def start(self, handle: Handler) -> None:
        """Have the request answered."""
        self.running = start(self._serve(handle))

    async def _serve(self, handle: Handler) -> None:
        try:
            await handle(self.request, self.body, self)
        except (ClientGone, CancelledError):
            self.reset()
        except BuffrError as error:
            if not error.noted:
                self._listener.refused(error)
            self.refuse(error)
        except Exception as error:  # noqa: BLE001  # a defect in buffr: no client may hang for it
            say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")
            self.refuse(BuffrError("internal error; the log says more"))

    def refuse(self, error: BuffrError) -> None:
        """Answer with an error, or break off the answer if it has begun.

        An answer of gRPC or Connect has its status at its end, and can still say why.
        """
        if self.done:
            return
        if self.begun:
            told = error_end(error, self.request)
            if told is None:
                self.abort()
                return
            last, trailers = told
            if last:
                self.write(Piece(last, len(last)))
            self.end(trailers)
            return
        head, body = error_answer(error, self.request)
        self.answer(head, body, (), ())

    def pause(self) -> None:
        """The client cannot take more of the answer."""
        self.writable = False

    def resume(self) -> None:
        """The client can take more of the answer again."""
        self.writable = True
        self.since = self._listener.now
        if self._room is not None:
            self._room.notify()

    def half_close(self, *, leaving: bool = False) -> None:
        """The client sends no more on its connection, but may still read the answer.

        With ``leaving`` that is unlikely: it had no reason to say so unless it
        closed the connection. If no answer begins at once, it is gone.
        """
        self.half_closed = True
        self.since = self._listener.now
        if leaving and not self.begun:
            self._listener.after(_ANSWERED_WITHIN_S, self._take_for_gone)

    def _take_for_gone(self) -> None:
        if not (self.begun or self.left):
            self.reset()

    def leave(self) -> None:
        """The client is gone, or has cancelled the exchange."""
        self.left = True
        if isinstance(self.body, BodyStream):
            self.body.fail(ClientGone("the client left before its request was complete"))
        if self.running is not None and not self.done:
            self.running.cancel()
        if self._room is not None:
            self._room.notify()

    def check(self, now: float) -> None:
        """Reset an exchange whose client is too slow."""
        limits = self._listener.limits
        if self.half_closed and limits.half_close_s:
            bound_s = limits.half_close_s
        else:
            bound_s = limits.body_idle_s if self._awaits_client() else 0
        if bound_s and now - self.since > bound_s:
            self.reset()
            return
        body = self.body
        if isinstance(body, BodyStream) and self._sends_too_slowly(body):
            body.fail(too_slow())

    def _sends_too_slowly(self, body: BodyStream) -> bool:
        """Whether the body must not be waited for any longer; called about once a second.

        Not once the answer has begun: then both sides may be talking.
        """
        if body.ended or body.paused or self.begun or _is_grpc(self.request):
            return False
        body.awaited_s += CHECK_S
        return self._listener.limits.is_too_slow(body.received_bytes, body.awaited_s)

    def _awaits_client(self) -> bool:
        """Whether the client has to send more of its body, or to read."""
        body = self.body
        return not self.writable or (
            isinstance(body, BodyStream) and not body.ended and not body.paused
        )


def too_slow() -> BadRequest:
    """The error for a request that took too long to come."""
    return BadRequest("the request came too slowly", status=408, reason=b"Request Timeout")


def _is_grpc(request: Request) -> bool:
    """Its bodies are streams of messages, which come when there is something to say."""
    return media_type(request.headers).startswith(b"application/grpc")


Handler = Callable[[Request, bytes | BodyStream, ClientSink], Coroutine[Any, Any, None]]
"""Finds the route of a request and has it answered. Raises ``BuffrError``."""
