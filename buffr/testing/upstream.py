"""An origin that answers by a script, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Self

from attrs import frozen

__all__ = ["FakeUpstream", "Received", "Script", "Step", "answer", "chunked", "steps"]


@frozen
class Received:
    """A request as its bytes came: head lines as sent, body without its framing.

    ``connection`` counts from 1 the connections of its upstream.
    """

    line: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raw: bytes
    connection: int = 0

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


Step = bytes | float | None
"""Bytes to send, seconds to wait, or ``None`` to close the connection."""

Script = Callable[[Received], "bytes | Iterator[Step]"]
"""Gives the raw answer to a request, at once or step by step."""


def steps(*each: Step) -> Iterator[Step]:
    """An answer of these steps."""
    return iter(each)


def answer(
    body: bytes = b"",
    status: bytes = b"200 OK",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A whole answer with a ``Content-Length``."""
    lines = [b"HTTP/1.1 " + status, *(b"%b: %b" % pair for pair in headers)]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(
    chunks: Sequence[bytes],
    headers: Sequence[tuple[bytes, bytes]] = (),
    *,
    delay_s: float = 0.0,
    trailers: Sequence[tuple[bytes, bytes]] = (),
) -> Iterator[Step]:
    """An answer in chunks, each sent on its own, ``delay_s`` seconds apart."""
    lines = [b"HTTP/1.1 200 OK", *(b"%b: %b" % pair for pair in headers)]
    yield b"\r\n".join([*lines, b"Transfer-Encoding: chunked"]) + b"\r\n\r\n"
    for chunk in chunks:
        if delay_s:
            yield delay_s
        yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"


class _Reader:
    """Cuts requests out of what a socket receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def _more(self) -> bool:
        data = self._connection.recv(65536)
        self._buffer += data
        return bool(data)

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._buffer:
            if not self._more():
                return None
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    def _exactly(self, size: int) -> bytes | None:
        parts: list[bytes] = []
        while size:
            if not self._buffer and not self._more():
                return None
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def head(self) -> bytes | None:
        return self._until(b"\r\n\r\n")

    def body(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        """The body, and the bytes that it came in."""
        fields = {name.lower(): value for name, value in headers}
        if b"transfer-encoding" not in fields:
            body = self._exactly(int(fields.get(b"content-length", b"0")))
            return None if body is None else (body, body)
        raw: list[bytes] = []
        chunks: list[bytes] = []
        while (line := self._until(b"\r\n")) is not None:
            raw.append(line)
            size = int(line.split(b";")[0], 16)
            rest = self._until(b"\r\n") if size == 0 else self._exactly(size + 2)
            if rest is None:
                return None
            raw.append(rest)
            if size == 0:
                while rest != b"\r\n":
                    rest = self._until(b"\r\n")
                    if rest is None:
                        return None
                    raw.append(rest)
                return b"".join(chunks), b"".join(raw)
            chunks.append(rest[:-2])
        return None


class FakeUpstream:
    """An origin that answers by a script, in threads of its own; by default on loopback.

    ``received`` holds the requests in the order in which they were whole.
    ``connections`` counts what was accepted, also where no request came. A
    script that raises drops the connection. Close it with ``close``, or use
    it as a context manager.
    """

    def __init__(
        self,
        script: Script,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.received: list[Received] = []
        self.script = script
        self.connections = 0
        self._host = host
        self._tls = tls
        self._news = threading.Condition()
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server((host, port), backlog=256)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        host = self._host if self._tls is None else "localhost"
        return f"{scheme}://{host}:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(
                target=self._serve, args=(connection, self.connections), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with suppress(OSError, ValueError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    self._open.discard(connection)
                    connection = self._tls.wrap_socket(connection, server_side=True)
                    self._open.add(connection)
                self._answer_all(connection, number)
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer_all(self, connection: socket.socket, number: int) -> None:
        reader = _Reader(connection)
        while (head := reader.head()) is not None:
            line, *lines = head[:-4].split(b"\r\n")
            pairs = [item.partition(b":") for item in lines]
            headers = tuple((name, value.strip()) for name, _, value in pairs)
            if any(name.lower() == b"expect" for name, _ in headers):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = reader.body(headers)
            if body is None:
                return
            request = Received(line, headers, body[0], head + body[1], number)
            with self._news:
                self.received.append(request)
                self._news.notify_all()
            if not self._play(connection, self.script(request)):
                return

    @staticmethod
    def _play(connection: socket.socket, steps: bytes | Iterator[Step]) -> bool:
        """Send an answer; whether the connection goes on."""
        if isinstance(steps, bytes):
            connection.sendall(steps)
            return True
        for step in steps:
            if step is None:
                return False
            if isinstance(step, float):
                time.sleep(step)
            else:
                connection.sendall(step)
        return True

    def wait_for(self, count: int, timeout_s: float = 60) -> list[Received]:
        """Wait until ``count`` requests have been received; all there are then.

        Raises ``TimeoutError``.
        """
        with self._news:
            if not self._news.wait_for(lambda: len(self.received) >= count, timeout_s):
                raise TimeoutError(f"{len(self.received)} requests in {timeout_s:g} s, not {count}")
            return list(self.received)

    def close(self) -> None:
        """Stop listening, and drop every connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
