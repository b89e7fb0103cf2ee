"""A client that follows one of the cache's flights, and gets its own version of the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from buffr.message import Headers, Piece, ResponseHead
from buffr.transport.sink import Sink

__all__ = ["CacheSink", "Declined"]


class Declined(Exception):
    """The answer is not for this client; nothing of it was sent.

    ``vary`` are the client's selecting fields if clients with equal ones may
    share an answer; ``None`` if no client may.
    """

    def __init__(self, vary: Headers | None) -> None:
        super().__init__()
        self.vary = vary


class CacheSink:
    """Passes an answer on with the cache's own fields.

    ``fields`` is called once, with the answer's head; it raises ``Declined``.
    If the client ``has`` the response, it gets a 304 without a body.
    """

    def __init__(
        self,
        sink: Sink,
        fields: Callable[[ResponseHead], Headers],
        has: Callable[[ResponseHead], ResponseHead | None],
    ) -> None:
        self.status = 0
        self._sink = sink
        self._fields = fields
        self._has = has
        self._silent = False

    def inform(self, head: ResponseHead) -> None:
        self._sink.inform(head)

    def _head(self, head: ResponseHead) -> ResponseHead:
        answer_head = head.with_fields(self._fields(head))
        short = self._has(answer_head)
        self._silent = short is not None
        answer_head = short or answer_head
        self.status = answer_head.status
        return answer_head

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        answer_head = self._head(head)
        if self._silent:
            self._sink.answer(answer_head, b"", (), ())
        else:
            self._sink.answer(answer_head, body, sizes, trailers)

    def begin(self, head: ResponseHead) -> None:
        answer_head = self._head(head)
        if self._silent:
            self._sink.answer(answer_head, b"", (), ())
        else:
            self._sink.begin(answer_head)

    def write(self, piece: Piece) -> None:
        if not self._silent:
            self._sink.write(piece)

    def flush(self) -> None:
        if not self._silent:
            self._sink.flush()

    def end(self, trailers: Headers) -> None:
        if not self._silent:
            self._sink.end(trailers)

    def abort(self, reset: int | None = None) -> None:
        if not self._silent:
            self._sink.abort(reset)

    async def drain(self) -> None:
        if not self._silent:
            await self._sink.drain()
