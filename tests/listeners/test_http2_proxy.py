"""A forward proxy whose clients speak HTTP/2 to it, with real settings, routes and stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field
from http2_bench import asking
from http2_pair import Heard
from service_bench import Client, ServiceBench, service

from buffr.message import Headers
from buffr.wire.http2.engines import ENGINES, open_engine
from buffr.wire.http2.interface import Bounds, Engine, Role

CONNECT: Headers = ((b":method", b"CONNECT"), (b":authority", b"api.test:80"))
GET_IN_1 = b"GET /in-1 HTTP/1.1\r\nHost: api.test\r\n\r\n"


@define(eq=False)
class Asking:
    """A client that begins with HTTP/2: ``send`` takes its bytes, and ``come`` has buffr's."""

    send: Callable[[bytes], None]
    come: Callable[[], bytes]
    heard: Heard = field(factory=Heard)
    engine: Engine = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.engine = self.heard.engine = open_engine(Role.CLIENT, self.heard, Bounds(), "ngh2")

    def talk(self) -> bool:
        moved = False
        while data := self.engine.take(65536):
            self.send(data)
            moved = True
        if came := self.come():
            self.engine.receive(came)
            moved = True
        return moved

    def ask(self, fields: Headers, *, ended: bool = True) -> int:
        return self.engine.request(fields, ended=ended)

    def status(self, stream: int) -> int:
        return int(dict(self.heard.heads.get(stream, ())).get(b":status", b"0"))


@define(eq=False)
class Proxy:
    """A forward proxy in memory; its origins answer "ok"."""

    bench: ServiceBench

    def client(self) -> tuple[Client, Asking]:
        client = self.bench.client()
        return client, Asking(client.send, client.wire.taken)

    def tunnel(self) -> tuple[Asking, int]:
        """A stream that is a tunnel now."""
        _, asking_ = self.client()
        stream = asking_.ask(CONNECT, ended=False)
        self.until(lambda: asking_.status(stream) > 0, asking_)
        assert asking_.status(stream) == 200
        return asking_, stream

    def until(self, done: Callable[[], bool], *clients: Asking) -> None:
        def settled() -> bool:
            while sum(one.talk() for one in clients):
                pass
            return done()

        self.bench.until(settled)


@pytest.fixture(params=ENGINES)
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    row = {"host": "api.test", "cassette": str(tmp_path / "api.json")}
    forward = {"port": 8080, "hosts": [row]}
    with service(tmp_path, {"forward": forward, "http2_engine": request.param}) as bench:
        yield Proxy(bench)


def fields_of(scheme: bytes, path: bytes) -> Headers:
    """A request for an absolute URL: HTTP/2 has its parts in fields."""
    method, _, authority, _ = asking()
    return (method, (b":scheme", scheme), authority, (b":path", path))


class TestRequests:
    def test_an_absolute_url(self, proxy: Proxy) -> None:
        """It is recorded as that of the origin, and replayed to a client in HTTP/1.1."""
        _, client = proxy.client()
        stream = client.ask(fields_of(b"http", b"/x?y=1"))
        proxy.until(lambda: stream in client.heard.over, client)
        assert (client.status(stream), client.heard.bodies[stream]) == (200, b"ok")
        assert proxy.bench.recorded("api.json") == ["/x"]
        proxy.bench.held = True
        assert proxy.bench.ask("api.test", "/x?y=1").endswith(b"\r\n\r\nok")

    def test_one_without_a_host(self, proxy: Proxy) -> None:
        _, client = proxy.client()
        stream = client.ask((*fields_of(b"http", b"/")[:2], (b":authority", b""), *asking()[3:]))
        proxy.until(lambda: stream in client.heard.over, client)
        assert client.status(stream) in (0, 400)


class TestTunnels:
    def test_http_1_in_a_stream(self, proxy: Proxy) -> None:
        outer, stream = proxy.tunnel()
        outer.engine.send(stream, GET_IN_1)
        proxy.until(lambda: outer.heard.bodies.get(stream, b"").endswith(b"ok"), outer)
        assert outer.heard.bodies[stream].startswith(b"HTTP/1.1 200 OK\r\n")
        outer.engine.send(stream, b"", ended=True)
        proxy.until(lambda: stream in outer.heard.over, outer)
        other = outer.ask(fields_of(b"http", b"/beside"))
        proxy.until(lambda: other in outer.heard.over, outer)
        assert outer.status(other) == 200

    def test_http_2_in_a_stream(self, proxy: Proxy) -> None:
        """A connection of its own inside the stream, with as many exchanges as it likes."""
        outer, stream = proxy.tunnel()

        def come() -> bytes:
            return outer.heard.bodies.pop(stream, b"")

        inner = Asking(lambda data: outer.engine.send(stream, data), come)
        streams = [inner.ask(asking(b"/in-%d" % number)) for number in range(5)]
        proxy.until(lambda: inner.heard.over.issuperset(streams), inner, outer)
        assert [inner.heard.bodies[one] for one in streams] == [b"ok"] * 5
        assert sorted(proxy.bench.recorded("api.json")) == [f"/in-{number}" for number in range(5)]

    def test_a_client_that_leaves(self, proxy: Proxy) -> None:
        """What is under way in its tunnels is given up."""
        proxy.bench.held = True
        client, outer = proxy.client()
        stream = outer.ask(CONNECT, ended=False)
        proxy.until(lambda: outer.status(stream) == 200, outer)
        outer.engine.send(stream, GET_IN_1)
        proxy.until(lambda: bool(proxy.bench.origins), outer)
        client.leave()
        proxy.bench.idle(2)
        proxy.bench.until(lambda: proxy.bench.origins[0].wire.ends[:1] == ["cut"])

    def test_a_refusal(self, proxy: Proxy) -> None:
        _, client = proxy.client()
        stream = client.ask(
            ((b":method", b"CONNECT"), (b":authority", b"no-port.test")), ended=False
        )
        proxy.until(lambda: stream in client.heard.over, client)
        assert client.status(stream) == 400
