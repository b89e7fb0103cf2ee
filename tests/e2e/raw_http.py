"""A client that sends the bytes it is given, and takes answers apart without losing any."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Self

from attrs import frozen

__all__ = ["Answer", "BrokenAnswer", "Pairs", "RawClient", "ask", "request"]

Pairs = tuple[tuple[bytes, bytes], ...]


def request(
    target: bytes,
    *,
    method: bytes = b"GET",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: bytes | None = None,
) -> bytes:
    """The bytes of a request; a body gets its ``Content-Length``."""
    fields = [(b"Host", b"client.test"), *headers]
    if body is not None:
        fields.append((b"Content-Length", b"%d" % len(body)))
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, target, lines, body or b"")


@frozen
class Answer:
    """An answer as its bytes came.

    ``chunks`` is ``None`` for a body that is not chunked; ``interim`` has the
    heads of the answers before the final one.
    """

    head: bytes
    body: bytes
    chunks: tuple[bytes, ...] | None = None
    trailers: Pairs = ()
    interim: tuple[bytes, ...] = ()

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def headers(self) -> Pairs:
        return pairs(self.head)

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def pairs(head: bytes) -> Pairs:
    """The fields of a raw head, names and values as sent."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    parts = (line.partition(b": ") for line in lines)
    return tuple((name, value) for name, _, value in parts)


class BrokenAnswer(Exception):
    """The connection ended before the answer was whole; ``received`` is what of it came."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self.received = received


class RawClient:
    """One connection to a port on loopback."""

    def __init__(self, port: int, timeout_s: float = 120) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._taken: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> None:
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            raise BrokenAnswer(b"".join([*self._taken, self._buffer]))
        self._buffer += data

    def until(self, end: bytes) -> bytes:
        """All bytes up to and with ``end``."""
        while end not in self._buffer:
            self._more()
        return self.take(self._buffer.index(end) + len(end))

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        parts = []
        while size:
            if not self._buffer:
                self._more()
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            parts.append(part)
            self._taken.append(part)
            size -= len(part)
        return b"".join(parts)

    def answer(self, method: bytes = b"GET") -> Answer:
        """The next answer, whole. Raises ``BrokenAnswer``."""
        self._taken.clear()
        interim: list[bytes] = []
        while (head := self.until(b"\r\n\r\n")).split(b" ")[1].startswith(b"1"):
            interim.append(head)
        fields = {name.lower(): value for name, value in pairs(head)}
        status = int(head.split(b" ")[1])
        before = tuple(interim)
        if method == b"HEAD" or status in (204, 304):
            return Answer(head, b"", interim=before)
        if fields.get(b"transfer-encoding") == b"chunked":
            chunks = self._chunks()
            trailers = self._trailers()
            return Answer(head, b"".join(chunks), chunks, trailers, before)
        if b"content-length" in fields:
            return Answer(head, self.take(int(fields[b"content-length"])), interim=before)
        return Answer(head, self.rest(), interim=before)

    def chunk(self) -> bytes:
        """The next chunk; empty for the last one."""
        size = int(self.until(b"\r\n").partition(b";")[0], 16)
        return self.take(size + 2)[:-2] if size else b""

    def _chunks(self) -> tuple[bytes, ...]:
        return tuple(iter(self.chunk, b""))

    def _trailers(self) -> Pairs:
        lines = list(iter(lambda: self.until(b"\r\n"), b"\r\n"))
        return pairs(b"\r\n" + b"".join(lines) + b"\r\n") if lines else ()

    def rest(self) -> bytes:
        """All bytes up to the end of the connection, however it ends."""
        received = [self._buffer]
        self._buffer = b""
        try:
            while data := self.socket.recv(262144):
                received.append(data)
        except ConnectionResetError:
            pass
        return b"".join(received)

    def finish(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(port: int, data: bytes) -> Answer:
    """Send one request on a connection of its own; its answer."""
    with RawClient(port) as client:
        client.send(data)
        return client.answer(data.partition(b" ")[0])
