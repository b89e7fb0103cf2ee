"""A sink that hears what goes to the client, for those who look at exchanges later."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from buffr.exchanges.exchange import SwitchingSink
from buffr.exchanges.hit import Hit
from buffr.exchanges.seen import Heard
from buffr.message import Headers, Piece, ResponseHead
from buffr.transport.duplex import Duplex
from buffr.upstream.bound import Client

__all__ = ["ListeningSink"]


class ListeningSink:
    """Passes everything on to a sink, and hears it. ``began`` is called when an answer begins.

    ``seconds`` is a monotonic clock.
    """

    memorable = False

    def __init__(
        self,
        sink: SwitchingSink,
        heard: Heard,
        seconds: Callable[[], float],
        began: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._heard = heard
        self._seconds = seconds
        self._began = began

    @property
    def connection(self) -> Client:
        return self._sink.connection

    @property
    def half_closed(self) -> bool:
        return self._sink.half_closed

    def remember(self, hit: Hit) -> None:
        """What is listened to is never remembered."""

    def inform(self, head: ResponseHead) -> None:
        self._sink.inform(head)

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        self._heard.head, self._heard.trailers = head, trailers
        self._heard.take_whole(body, sizes)
        self._sink.answer(head, body, sizes, trailers)

    def begin(self, head: ResponseHead) -> None:
        self._heard.head = head
        self._heard.since = self._seconds()
        self._sink.begin(head)
        self._began()

    def write(self, piece: Piece) -> None:
        self._heard.take(piece.data, self._seconds())
        self._sink.write(piece)

    def flush(self) -> None:
        self._sink.flush()

    def end(self, trailers: Headers) -> None:
        self._heard.trailers = trailers
        self._heard.whole = True
        self._sink.end(trailers)

    def abort(self, reset: int | None = None) -> None:
        self._sink.abort(reset)

    async def drain(self) -> None:
        await self._sink.drain()

    def switch(self, head: ResponseHead) -> Duplex:
        self._heard.head = head
        duplex = self._sink.switch(head)
        self._began()
        return duplex
