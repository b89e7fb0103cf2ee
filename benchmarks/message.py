"""The requests that are made, and a client that looks at an answer."""

from __future__ import annotations

import re
import socket
import time
from contextlib import closing

from attrs import evolve, frozen

from benchmarks.process import Failed, Process

__all__ = ["MARK", "Answer", "Request", "ask", "json_of"]

MARK = "@number@"
"""Stands for eight digits in a request's body or field, where each request is to be another."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def json_of(size: int, *, marked: bool = False) -> str:
    """A chat in JSON of about this many bytes."""
    turn = '{"role":"user","content":"Hello there, how are you today?"}'
    start = '{"model":"sample","user":"%s","messages":[' % (MARK if marked else "me")
    turns = max(1, (size - len(start)) // (len(turn) + 1))
    return start + ",".join([turn] * turns) + "]}"


@frozen
class Request:
    """A GET, or a POST of JSON where there is a body. ``status`` is the expected answer's."""

    target: str
    body: str = ""
    header: tuple[str, str] | None = None
    status: int = 200
    numbers: int = 100_000_000
    """How many numbers there are for the mark; they go round."""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def numbered(self, number: int) -> Request:
        digits = f"{number:08d}"
        header = (
            None
            if self.header is None
            else (
                self.header[0],
                self.header[1].replace(MARK, digits),
            )
        )
        return evolve(self, body=self.body.replace(MARK, digits), header=header)

    def encoded(self, port: int) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        if self.header is not None:
            lines.append(": ".join(self.header))
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()

    @property
    def lua(self) -> str:
        """The script that has wrk send it again and again, numbered if there is a mark."""
        lines = []
        if self.body:
            lines = ['wrk.method = "POST"', 'wrk.headers["Content-Type"] = "application/json"']
        if MARK not in self.body and self.header is None:
            return "\n".join([*lines, f"wrk.body = [[{self.body}]]", ""] if self.body else lines)
        lines += ["local n = 0", "function request()", f"  n = (n + 1) % {self.numbers}"]
        lines.append('  local digits = string.format("%08d", n)')
        if self.header is not None:
            name, value = self.header
            lines.append(f'  wrk.headers["{name}"] = {_with_digits(value)}')
        body = _with_digits(self.body) if self.body else "nil"
        return "\n".join([*lines, f"  return wrk.format(nil, nil, nil, {body})", "end", ""])


def _with_digits(text: str) -> str:
    """An expression in Lua: the text, with the digits where the mark is."""
    return " .. digits .. ".join(f"[[{part}]]" for part in text.split(MARK))


@frozen
class Answer:
    """A whole answer, and the seconds from its request to its body's first and last bytes."""

    head: bytes
    body_bytes: int
    start: bytes
    first_s: float
    last_s: float

    @property
    def size_bytes(self) -> int:
        return len(self.head) + self.body_bytes


def ask(server: Process, request: Request) -> Answer:
    """Make a request and read its answer to the end. Raises ``Failed`` unless it has its status."""
    with closing(socket.create_connection(("127.0.0.1", server.port), 60)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        connection.sendall(request.encoded(server.port))
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:
            received += _more(connection, server)
        first_s = time.perf_counter() - started
        head, end, start = received.partition(b"\r\n\r\n")
        head += end
        if not head.startswith(b"HTTP/1.1 %d " % request.status):
            raise Failed(f"{server.name} answers {request.method} with {received[:200]!r}")
        length = _LENGTH.search(head)
        size, last = len(start), start
        while size < int(length[1]) if length else not last.endswith(b"0\r\n\r\n"):
            last = _more(connection, server)
            size += len(last)
        return Answer(head, size, start, first_s, time.perf_counter() - started)


def _more(connection: socket.socket, server: Process) -> bytes:
    data = connection.recv(1 << 20)
    if not data:
        raise Failed(f"{server.name} closes the connection within an answer")
    return data
