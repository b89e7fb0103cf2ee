"""A sink that hears what goes to the client, for those who look at exchanges later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from buffr.exchanges.exchange import SwitchingSink
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.exchanges.seen import Heard
from buffr.message import Headers, Piece, ResponseHead
from buffr.transport.duplex import Duplex
from buffr.upstream.bound import Client

__all__ = ["ListeningSink"]


class ListeningSink(Heard):
    """Passes everything on to a sink, and hears it. ``seconds`` is a monotonic clock.

    It does not know its exchange, which knows it: there is nothing in it that
    only the garbage collector would release.
    """

    drain: Callable[[], Coroutine[Any, Any, None]]
    memorable = False
    volatile = ()

    def __init__(self, sink: SwitchingSink, most_bytes: int, seconds: Callable[[], float]) -> None:
        self.most_bytes = most_bytes
        self._sink = sink
        self._seconds = seconds
        self.drain = sink.drain

    @property
    def connection(self) -> Client:
        return self._sink.connection

    @property
    def half_closed(self) -> bool:
        return self._sink.half_closed

    def remember(self, hit: Hit) -> None:
        """What is listened to is never remembered."""

    def remember_relay(self, relay: KnownRelay) -> None:
        """What is listened to is never remembered."""

    def inform(self, head: ResponseHead) -> None:
        self._sink.inform(head)

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        self.head, self.trailers = head, trailers
        self.size_bytes = len(body)
        self.body = body if len(body) <= self.most_bytes else body[: self.most_bytes]
        self.kept_bytes = len(self.body)
        if len(sizes) > 1:
            self.take_sizes(sizes)
        self.whole = True
        self._sink.answer(head, body, sizes, trailers)

    def begin(self, head: ResponseHead) -> None:
        self.head = head
        self.began_s = self.since = self._seconds()
        self._sink.begin(head)

    def write(self, piece: Piece) -> None:
        self.take(piece.data, self._seconds())
        self._sink.write(piece)

    def flush(self) -> None:
        self._sink.flush()

    def end(self, trailers: Headers) -> None:
        self.trailers = trailers
        self.whole = True
        self._sink.end(trailers)

    def abort(self, reset: int | None = None) -> None:
        self._sink.abort(reset)

    def switch(self, head: ResponseHead) -> Duplex:
        self.head = head
        duplex = self._sink.switch(head)
        self.began_s = self.since = self._seconds()
        return duplex
