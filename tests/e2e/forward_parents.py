"""A parent proxy that opens tunnels on this machine, or answers whatever a test says."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import define, field

__all__ = ["Parent", "running_parent"]

Answer = Callable[[bytes], bytes | None]
"""Gives the raw answer to a head, after which the connection is closed; ``None`` for a tunnel."""


@define(eq=False)
class Parent:
    """``heads`` are what came, in order. A tunnel leads to the port that is asked for."""

    port: int
    answer: Answer
    tls: ssl.SSLContext | None
    heads: list[bytes] = field(factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    data = connection.recv(1)
                    if not data:
                        return
                    head += data
                self.heads.append(head)
                said = self.answer(head)
                if said is not None:
                    connection.sendall(said)
                    return
                self._tunnel(head, connection)

    @staticmethod
    def _tunnel(head: bytes, connection: socket.socket) -> None:
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as origin:
            connection.sendall(b"HTTP/1.1 200 OK\r\nVia: 1.1 parent\r\n\r\n")
            back = threading.Thread(target=_pump, args=(origin, connection), daemon=True)
            back.start()
            _pump(connection, origin)
            back.join(120)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def running_parent(
    answer: Answer = lambda _: None, *, tls: ssl.SSLContext | None = None
) -> Iterator[Parent]:
    """Start one on loopback, and stop it in the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        parent = Parent(listening.getsockname()[1], answer, tls)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                parent.connections += 1
                threading.Thread(target=parent.serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield parent
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(120)
