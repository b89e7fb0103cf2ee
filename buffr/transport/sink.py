"""The client's side of an exchange, as the engine sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from buffr.message import Headers, Piece, ResponseHead

__all__ = ["Sink"]


class Sink(Protocol):
    """Takes one answer: whole by ``answer``, or in steps from ``begin`` to ``end`` or ``abort``.

    The sink frames the body for the client's version of HTTP. Heads have no
    hop-by-hop fields except those about framing.
    """

    def inform(self, head: ResponseHead) -> None:
        """Pass on an interim answer (1xx), if the client's version has them."""

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        """Send a whole answer. ``sizes`` are those of its chunks in bytes, if it is chunked."""

    def begin(self, head: ResponseHead) -> None:
        """Start an answer. Its head goes out with the first piece, or with ``flush``."""

    def write(self, piece: Piece) -> None:
        """Send the next piece."""

    def flush(self) -> None:
        """Send the head if it is still held: nothing else will come for a while."""

    def end(self, trailers: Headers) -> None:
        """The answer is complete."""

    def abort(self, reset: int | None = None) -> None:
        """The answer is incomplete, and the client must be able to tell.

        ``reset`` is the code with which the upstream reset it in HTTP/2.
        """

    async def drain(self) -> None:
        """Return once the client can take more. Raises ``ClientGone``."""
