"""A reverse port in memory whose upstream breaks off where a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
from attrs import define, frozen
from service_bench import Client, Origin, ServiceBench, service
from twisted.internet.error import ConnectionLost

__all__ = ["CutBench", "Got", "cut_bench"]


@frozen
class Got:
    """What a client has of an answer; ``whole`` only if a strict client takes it for that."""

    status: int = 0
    body: bytes = b""
    whole: bool = False


@define(eq=False)
class CutBench:
    """Asks for one thing after the other, and answers in the upstream's place."""

    bench: ServiceBench

    def asks(self, target: str) -> Client:
        """A client that asks for something over HTTP/1.1."""
        client = self.bench.client()
        client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return client

    def asked(self) -> Origin | None:
        """The upstream's connection that has a request to answer; it is read by this."""
        for origin in self.bench.origins:
            if origin.wire.connected and origin.wire.value().endswith(b"\r\n\r\n"):
                origin.wire.clear()
                return origin
        return None

    def cut(self, origin: Origin, part: bytes, *, reset: bool) -> None:
        """Answer with a part, and go."""
        if part:
            origin.send(part)
        origin.wire.hang_up(ConnectionLost() if reset else None)

    def answered(self, client: Client, part: bytes, *, reset: bool) -> Got:
        """What a client gets whose upstream sends a part, each time that it is asked."""

        def over() -> bool:
            origin = self.asked()
            if origin is not None:
                self.cut(origin, part, reset=reset)
            return bool(client.wire.ends) or got(client).whole

        self.bench.until(over)
        self.forget()
        return got(client)

    def ask(self, target: str, raw: bytes, *, close: bool = False) -> tuple[Got, bool]:
        """A whole answer, and whether the upstream was asked for it."""
        client, asked = self.asks(target), False

        def whole() -> bool:
            nonlocal asked
            origin = self.asked()
            if origin is not None:
                asked = True
                origin.send(raw)
                if close:
                    origin.wire.hang_up()
            return got(client).whole

        self.bench.until(whole)
        client.leave()
        self.forget()
        return got(client), asked

    @staticmethod
    def got(client: Client) -> Got:
        """A client's answer so far."""
        return got(client)

    def forget(self) -> None:
        """Drop the upstream's connections that are over, so that none is looked at again."""
        kept = [
            (origin, client)
            for origin, client in zip(
                self.bench.origins, self.bench.reactor.tcpClients, strict=False
            )
            if origin.wire.connected
        ]
        if len(kept) == len(self.bench.origins) == len(self.bench.reactor.tcpClients):
            return
        self.bench.origins[:] = [origin for origin, _ in kept]
        self.bench.reactor.tcpClients[:] = [client for _, client in kept]
        self.bench.reactor.connectors.clear()


def got(client: Client) -> Got:
    """A client's answer so far, read by h11, which takes nothing for whole that is not."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    if data := client.wire.value():
        reader.receive_data(data)
    if client.wire.ends and client.wire.ends[0] != "cut":
        reader.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            match reader.next_event():
                case h11.Response(status_code=code):
                    status = code
                case h11.Data(data=part):
                    body += part
                case h11.InformationalResponse():
                    pass
                case h11.EndOfMessage():
                    return Got(status, body, whole=True)
                case _:
                    return Got(status, body)
    except h11.RemoteProtocolError:
        return Got(status, body)


@contextmanager
def cut_bench(directory: Path, mode: str, **row: Any) -> Iterator[CutBench]:
    """A port of this mode that records in memory."""
    row = {"target": "http://10.9.0.1", "port": 0, "mode": mode, "store": "memory:", **row}
    if mode == "passthrough":
        del row["store"]
    with service(directory, {"reverse": [row]}) as bench:
        bench.held = True
        yield CutBench(bench)
