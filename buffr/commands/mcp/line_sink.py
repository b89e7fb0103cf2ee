"""The client's side of an exchange whose answer is lines on standard output."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buffr.errors import BuffrError
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.message import Headers, Piece, ResponseHead, first_value, media_type
from buffr.recording.live_messages import data_of
from buffr.recording.stdio import SESSION
from buffr.transport.duplex import Duplex
from buffr.upstream.bound import Bonds

__all__ = ["Connection", "LineSink"]

_PATIENCE_S, _POLL_S = 0.5, 0.001
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")


@define(eq=False)
class Connection:
    """The client, which has one connection: the standard streams. ``running`` are its exchanges."""

    reactor: IReactorTime
    bonds: set[Bonds] = field(factory=set)
    lost: bool = False
    running: set[Deferred[Any]] = field(factory=set)

    def part(self) -> None:
        """The streams stay open."""

    async def taken(self) -> None:
        """Return once the client has read what was written, or does not for a while.

        Lines that come together are one message to some clients: the
        TypeScript SDK forgets the progress of a call whose answer it has read
        along with it.
        """
        until = self.reactor.seconds() + _PATIENCE_S
        while _unread() and self.reactor.seconds() < until and not self.lost:
            await deferLater(self.reactor, _POLL_S)


def _unread() -> int:
    """How many bytes on standard output the client has not read; 0 if nobody can tell."""
    kind = os.fstat(1).st_mode
    question = termios.TIOCOUTQ if stat.S_ISSOCK(kind) else termios.FIONREAD
    if not (stat.S_ISSOCK(kind) or stat.S_ISFIFO(kind)):
        return 0
    try:
        (size_bytes,) = struct.unpack("i", fcntl.ioctl(1, question, bytes(4)))
    except OSError:
        return 0
    return int(size_bytes)


class LineSink:
    """Writes the messages of one answer; ``write`` takes a line without its end.

    ``head`` gets the session's id, if the answer has one.
    """

    memorable = False
    volatile = ()
    half_closed = False

    def __init__(
        self,
        connection: Connection,
        write: Callable[[bytes], None],
        head: Callable[[bytes | None], None],
    ) -> None:
        self.connection = connection
        self._line = write
        self._told = head
        self._streamed = False
        self._held = b""

    def inform(self, head: ResponseHead) -> None:
        """There are no interim answers by lines."""

    def answer(
        self,
        head: ResponseHead,
        body: bytes,
        sizes: Sequence[int],  # noqa: ARG002  # lines have no chunks
        trailers: Headers,
    ) -> None:
        """Write the messages of a whole answer."""
        self.begin(head)
        self.write(Piece(body))
        self.end(trailers)

    def begin(self, head: ResponseHead) -> None:
        """Note what kind of answer it is."""
        self._told(first_value(head.headers, SESSION.lower()))
        self._streamed = media_type(head.headers) == b"text/event-stream"

    def write(self, piece: Piece) -> None:
        """Write each event as soon as it is complete."""
        self._held += piece.data
        if not self._streamed:
            return
        *events, self._held = _EVENT_END.split(self._held)
        for event in events:
            if data := data_of(event):
                self._line(data.replace(b"\n", b""))

    def flush(self) -> None:
        """Nothing is held that could be written."""

    def end(self, trailers: Headers) -> None:  # noqa: ARG002  # lines have none
        """Write an answer that is a document of its own."""
        text = b"".join(_LINE_END.split(self._held.strip()))
        if text and not self._streamed:
            self._line(text)

    def abort(self, reset: int | None = None) -> None:
        """A client by lines cannot tell; it waits for its answer."""

    async def drain(self) -> None:
        """Writing blocks, so there is always room; but lines are read one by one."""
        await self.connection.taken()

    def switch(self, head: ResponseHead) -> Duplex:  # noqa: ARG002  # there is only an error
        """Never: a line asks for no other protocol."""
        raise BuffrError("there is no other protocol by lines")

    def remember(self, hit: Hit) -> None:
        """Nothing is remembered."""

    def remember_relay(self, relay: KnownRelay) -> None:
        """Nothing is remembered."""
