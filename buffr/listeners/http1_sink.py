"""Answers become bytes on a client's connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol

from buffr.errors import BuffrError, ClientGone
from buffr.listeners.error_answer import error_answer
from buffr.message import (
    UNTIL_CLOSE,
    Headers,
    Piece,
    Request,
    ResponseHead,
    first_value,
    response_length,
)
from buffr.transport.streams import News
from buffr.upstream.bound import Client
from buffr.wire.http1_body import ChunkWriter, chunked_whole

__all__ = ["ClientSink"]

_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n\r\n"
_SESSION_BASED = b"Proxy-Support: Session-Based-Authentication\r\nConnection: Proxy-Support\r\n"
"""Without it a client does not use Negotiate through a proxy (RFC 4559 6); of this hop alone."""
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


class _Connection(Client, Protocol):
    """What a sink asks of the connection that it answers on."""

    writable: bool
    room: News
    closing: bool

    @property
    def client(self) -> str:
        """The client's address."""

    def send(self, data: bytes) -> None: ...

    def keeps_alive(self, request: Request) -> bool:
        """Whether another request may follow the answer to this one."""

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is out."""

    def cut(self) -> None:
        """Close by a reset: nothing else tells the client that the answer is broken."""

    def break_off(self) -> None:
        """Close behind what is sent: the framing tells that there should be more."""

    def hand_over(self, successor: TwistedProtocol) -> None:
        """Leave the connection to another protocol."""


class ClientSink:
    """Frames one answer for one client (RFC 9112 6.1 to 6.3).

    A body whose length nobody knows goes out in chunks to HTTP/1.1; an
    HTTP/1.0 client gets chunked bodies bare, ended by the close. A client
    that uses buffr as its ``proxy`` is told that connections can be
    authenticated through it.
    """

    proxy = False

    def __init__(self, connection: _Connection, request: Request) -> None:
        self.begun = False
        self.connection = connection
        self._request = request
        self._head = b""
        self._keep_alive = False
        self._chunks: ChunkWriter | None = None
        self._bodiless = False
        self._delimited = False
        self._done = False

    @property
    def client(self) -> str:
        """The client's address."""
        return self.connection.client

    def inform(self, head: ResponseHead) -> None:
        if self._request.minor == 1 and not self.begun:
            self.connection.send(head.encoded + b"\r\n")

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        chunked = self._frame(head)
        if self._bodiless:
            body = b""
        elif chunked:
            body = chunked_whole(body, sizes, trailers)
        self.connection.send(self._head + body if body else self._head)
        self._finish()

    def begin(self, head: ResponseHead) -> None:
        self._chunks = ChunkWriter() if self._frame(head) else None

    def _frame(self, head: ResponseHead) -> bool:
        """Prepare the head; whether the body is chunked."""
        self.begun = True
        request = self._request
        length = response_length(request.method, head)
        encoded = head.encoded
        self._keep_alive = self.connection.keeps_alive(request)
        self._bodiless = length == 0
        self._delimited = request.minor == 1 or length >= 0
        if request.minor == 1:
            if self.proxy and head.offers_connection_auth:
                encoded += _SESSION_BASED
            if length == UNTIL_CLOSE:
                encoded += _CHUNKED
            self._head = encoded + (b"\r\n" if self._keep_alive else _CLOSE)
            return length < 0
        if first_value(head.headers, b"transfer-encoding") is not None:
            # HTTP/1.0 knows no transfer coding, also where no body follows (RFC 9112 6.1).
            encoded = _without_framing(head).encoded
        self._keep_alive = self._keep_alive and length >= 0
        self._head = encoded + (_KEEP_ALIVE if self._keep_alive else _CLOSE)
        return False

    def write(self, piece: Piece) -> None:
        if self._bodiless:
            return
        data = piece.data if self._chunks is None else self._chunks.frame(piece)
        head, self._head = self._head, b""
        self.connection.send(head + data if head else data)

    def flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self.connection.send(head)

    def end(self, trailers: Headers) -> None:
        last = b"" if self._chunks is None or self._bodiless else self._chunks.end(trailers)
        if self._head or last:
            self.connection.send(self._head + last)
        self._finish()

    def _finish(self) -> None:
        self._done = True
        self.connection.answered(keep_alive=self._keep_alive)

    def abort(self) -> None:
        if not self._done:
            self._done = True
            self.flush()
            if self._delimited:
                self.connection.break_off()
            else:
                self.connection.cut()

    def switch(self, head: ResponseHead, successor: TwistedProtocol) -> None:
        """Answer with a head alone, and leave the connection to another protocol."""
        self.begun = self._done = True
        self.connection.send(head.encoded + b"\r\n")
        self.connection.hand_over(successor)

    async def drain(self) -> None:
        while not self.connection.writable:
            if self.connection.lost:
                raise ClientGone("the client left")
            await self.connection.room.wait()

    def refuse(self, error: BuffrError) -> None:
        """Answer with an error; where an answer has begun, break it off."""
        if self._done:
            return
        if self.begun:
            self.abort()
            return
        fields, body = error_answer(error, self._request)
        if error.close:
            self.connection.closing = True
        self.answer(ResponseHead(error.status, error.reason, fields), body, (), ())


def _without_framing(head: ResponseHead) -> ResponseHead:
    headers = tuple(
        field
        for field in head.headers
        if field[0].lower() not in (b"transfer-encoding", b"trailer")
    )
    return ResponseHead(head.status, head.reason, headers)
