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
"""Stands for eight digits in a request's body, where each request is to be another."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def json_of(size: int, *, marked: bool = False) -> str:
    """A chat in JSON of about this many bytes."""
    turn = '{"role":"user","content":"Hello there, how are you today?"}'
    start = '{"model":"sample","user":"%s","messages":[' % (MARK if marked else "me")
    turns = max(1, (size - len(start)) // (len(turn) + 1))
    return start + ",".join([turn] * turns) + "]}"


@frozen
class Request:
    """A GET, or a POST of JSON where there is a body."""

    target: str
    body: str = ""
    numbers: int = 100_000_000
    """How many numbers there are for the mark; they go round."""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def numbered(self, number: int) -> Request:
        return evolve(self, body=self.body.replace(MARK, f"{number:08d}"))

    def encoded(self, port: int) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()

    @property
    def lua(self) -> str:
        """The script that has wrk send it again and again, numbered if there is a mark."""
        if not self.body:
            return ""
        fields = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        before, mark, after = self.body.partition(MARK)
        if not mark:
            return f"{fields}wrk.body = [[{self.body}]]\n"
        return (
            f"{fields}local n = 0\n"
            "function request()\n"
            f"  n = (n + 1) % {self.numbers}\n"
            f"  return wrk.format(nil, nil, nil, [[{before}]] .. "
            f'string.format("%08d", n) .. [[{after}]])\n'
            "end\n"
        )


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
    """Make a request and read its answer to the end. Raises ``Failed`` unless it is a 200."""
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
        if not head.startswith(b"HTTP/1.1 200 "):
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
