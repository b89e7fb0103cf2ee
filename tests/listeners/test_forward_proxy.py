"""The forward proxy's port in memory: what comes before what, and what is never begun."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from buffr.errors import AccessDenied, UpstreamFailed
from buffr.exchanges.engine import Engine
from buffr.exchanges.explain import Explainer
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.exchanges.route import Recorded, Route
from buffr.listeners.client import ConnectionLimits
from buffr.listeners.forward import ForwardProxy
from buffr.listeners.listener import HTTPListener
from buffr.log import ExchangeLog
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules
from buffr.origin import Origin
from buffr.policy.access import Access
from buffr.policy.mode import Mode
from buffr.redaction.rules import RedactionRules
from buffr.stores.memory import MemoryInteractions
from buffr.testing.wire import Wire
from buffr.tls.authority import Authority
from buffr.tls.contexts import LeafContexts, ServerTLS
from buffr.tls.server_name import server_name

NOW = datetime.now(UTC)
KEY = b"the-key"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory = tmp_path_factory.mktemp("ca")
    return Authority.load_or_create(directory / "ca.pem", directory / "ca.key", NOW)


@define
class Table:
    """Routes whose answer is always that nothing is recorded; notes what it is asked."""

    checked: list[tuple[str, int]] = field(factory=list)
    asked: list[tuple[Origin, str]] = field(factory=list)
    dialled: list[tuple[str, int]] = field(factory=list)
    wire: Wire = field(factory=Wire)
    late: Deferred[None] | None = None
    ready: dict[tuple[Origin, str], Route] = field(factory=dict)

    def bypassed(self, host: str, port: int) -> bool:
        return host.startswith("passed")

    def check(self, host: str, port: int) -> None:
        self.checked.append((host, port))
        if host == "denied.test":
            raise AccessDenied("not there")

    async def of(self, origin: Origin, scope: str) -> Route:
        self.asked.append((origin, scope))
        self.check(origin.host, origin.port)
        return self.route(origin)

    def route(self, origin: Origin) -> Route:
        matcher, redaction = Matcher(MatchRules(), with_origin=True), RedactionRules()
        store = MemoryInteractions().view(matcher.recorded_key)
        return Recorded(
            mode=Mode.REPLAY,
            upstream=None,
            store=store,
            matcher=matcher,
            bodies=RouteBodies(LongBodies(), matcher, store),
            playhead=Playhead(Repeat.CYCLE),
            explainer=Explainer(Clock(), store, matcher, redaction),
            redaction=redaction,
            share=False,
            record_statuses=(),
            replay_delays=False,
            spool_dir=Path(),
            origin=origin,
        )

    async def dial(self, host: str, port: int, protocol: Protocol, *, hops: bytes = b"") -> None:
        self.dialled.append((host, port))
        if self.late is not None:
            await self.late
        if host == "passed.down":
            raise UpstreamFailed("down")
        protocol.makeConnection(self.wire)


def _reactor() -> Any:
    return MemoryReactorClock()


class Bench:
    """A forward proxy, its leaves, and one client's connection to it."""

    def __init__(self, authority: Authority, access: Access) -> None:
        self.reactor = _reactor()
        self.lines: list[str] = []
        self.routes = Table()
        self.leaves = LeafContexts(authority, lambda: NOW)
        self.created: list[str] = []
        log = ExchangeLog(self.reactor, self.lines.append, "text")
        self.engine = Engine(self.reactor, log, lambda: 0.0)
        self.proxy = ForwardProxy(
            self.engine, self.reactor, access, self.routes, self.routes, self._tls
        )
        self.listener = self.proxy.listener = HTTPListener(
            self.reactor,
            "127.0.0.1",
            0,
            self.proxy.handle,
            limits=ConnectionLimits(head_s=20),
            connections=10,
            announce={},
        )
        self.wire, self.client = self.connection()

    def _tls(self, host: str) -> ServerTLS:
        self.created.append(host)
        return ServerTLS(self.leaves, server_name(host.encode()))

    def connection(self) -> tuple[Wire, Protocol]:
        wire, client = Wire(), self.listener.buildProtocol(None)
        client.makeConnection(wire)
        return wire, client

    def sent(self, *data: bytes) -> bytes:
        """What the proxy answers when the client sends this."""
        for piece in filter(None, data):
            self.client.dataReceived(piece)
        return self.wire.taken()

    def log(self) -> str:
        self.reactor.advance(0)
        return "".join(self.lines)


@pytest.fixture
def bench(authority: Authority) -> Bench:
    """Open to everybody on this machine; names are scopes."""
    return Bench(authority, Access(on_loopback=False, key=KEY))


def asking(line: bytes, user: bytes | None = b"me", key: bytes = KEY) -> bytes:
    """A request's head, with credentials unless the user is ``None``."""
    head = line + b" HTTP/1.1\r\nHost: x\r\n"
    if user is not None:
        head += b"Proxy-Authorization: Basic " + base64.b64encode(user + b":" + key) + b"\r\n"
    return head + b"\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


LINES = [
    b"CONNECT h.test:443",
    b"CONNECT passed.test:443",
    b"CONNECT denied.test:443",
    b"CONNECT malformed",
    b"GET http://h.test/x",
    b"GET http://passed.test/x",
    b"GET /x",
]


class TestAccess:
    @pytest.mark.parametrize("line", LINES)
    @pytest.mark.parametrize(("user", "key"), [(None, b""), (b"me", b"wrong"), (b"me", b"")])
    def test_it_comes_before_all_else(
        self, bench: Bench, line: bytes, user: bytes | None, key: bytes
    ) -> None:
        """Nothing is routed, dialled or minted, and no TLS is made ready."""
        answer = bench.sent(asking(line, user, key) + b"\x16\x03\x01")
        assert status(answer) == 407
        assert b"\r\nProxy-Authenticate: Basic " in answer
        assert not bench.routes.checked
        assert not bench.routes.asked
        assert not bench.routes.dialled
        assert not bench.created
        assert bench.leaves.minted == 0

    def test_a_client_that_is_not_allowed_is_403(self, authority: Authority) -> None:
        bench = Bench(authority, Access())
        for line in LINES:
            bench.wire, bench.client = bench.connection()
            assert status(bench.sent(asking(line))) == 403
        assert not bench.routes.checked
        assert not bench.routes.asked
        assert not bench.routes.dialled

    def test_the_user_name_is_the_scope_of_all_that_follows(self, bench: Bench) -> None:
        """Of a request in absolute form, and of each in a tunnel."""
        bench.sent(asking(b"GET http://h.test/x", b"one"))
        bench.sent(asking(b"CONNECT h.test:80", b"two"))
        bench.sent(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [(origin.url, scope) for origin, scope in bench.routes.asked] == [
            ("http://h.test", "one"),
            ("http://h.test", "two"),
            ("http://h.test", "two"),
        ]


class TestTunnels:
    def test_what_is_not_allowed_is_refused_outside(self, bench: Bench) -> None:
        """Where the client still reads plain answers."""
        assert status(bench.sent(asking(b"CONNECT denied.test:443"))) == 403
        assert not bench.created

    def test_no_route_is_made_before_the_first_request(
        self, bench: Bench, authority: Authority
    ) -> None:
        """Neither by the CONNECT nor by the handshake; and a route that is ready is used."""
        bench.sent(asking(b"CONNECT h.test:443"))
        tls = _Client(bench, authority, "h.test")
        assert bench.routes.checked == [("h.test", 443)]
        assert not bench.routes.asked
        tls.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        origin = Origin("https", "h.test", 443)
        assert bench.routes.asked == [(origin, "me")]
        bench.routes.ready[origin, "me"] = route = bench.routes.route(origin)
        assert b"599" in tls.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert len(bench.routes.asked) == 1
        assert (route.uses.under_way, route.uses.lately) == (0, True)

    def test_nothing_is_minted_before_the_hello(self, bench: Bench) -> None:
        assert bench.sent(asking(b"CONNECT h.test:443")) == (
            b"HTTP/1.1 200 Connection Established\r\n\r\n"
        )
        assert bench.leaves.minted == 0
        assert b"HTTP/1.1 599 " in bench.sent(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert bench.leaves.minted == 0, "plain HTTP needs no leaf"

    def test_a_hello_gets_one_leaf_and_each_request_its_answer(
        self, bench: Bench, authority: Authority
    ) -> None:
        bench.sent(asking(b"CONNECT h.test:443"))
        tls = _Client(bench, authority, "h.test")
        for number in range(3):
            answer = tls.ask(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            assert b"https://h.test/%d" % number in answer
        assert bench.leaves.minted == 1
        assert 'msg="GET https://h.test/2" status=599' in bench.log()

    def test_a_handshake_that_stops_is_cut_in_time(self, bench: Bench) -> None:
        """``head_s`` is for it as a whole; then requests have the times that they always have."""
        bench.sent(asking(b"CONNECT h.test:443") + b"\x16\x03\x01\x02")
        bench.listener.startService()
        bench.reactor.pump([1.0] * 19)
        assert not bench.wire.ends
        bench.reactor.pump([1.0] * 3)
        assert bench.wire.ends[0] == "cut"

    def test_a_finished_handshake_is_not_under_that_limit(
        self, bench: Bench, authority: Authority
    ) -> None:
        bench.sent(asking(b"CONNECT h.test:443"))
        tls = _Client(bench, authority, "h.test")
        bench.listener.startService()
        bench.reactor.pump([1.0] * 40)
        assert not bench.wire.ends
        assert b"599" in tls.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


class _Client:
    """TLS of a client in memory, through the handshake."""

    def __init__(self, bench: Bench, authority: Authority, name: str) -> None:
        self._bench = bench
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cadata=authority.pem.decode())
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._until(self._session.do_handshake)

    def _until(self, step: object) -> bytes:
        assert callable(step)
        while True:
            try:
                found = step()
            except ssl.SSLWantReadError:
                self._incoming.write(self._bench.sent(self._outgoing.read()))
            else:
                self._incoming.write(self._bench.sent(self._outgoing.read()))
                return found if isinstance(found, bytes) else b""

    def ask(self, raw: bytes) -> bytes:
        self._session.write(raw)
        return self._until(lambda: self._session.read(65536))


class TestBypass:
    def test_it_is_dialled_joined_counted_and_logged(self, bench: Bench) -> None:
        answer = bench.sent(asking(b"CONNECT passed.test:22") + b"early")
        assert answer == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        assert bench.routes.dialled == [("passed.test", 22)]
        assert bench.sent(b"late") == b""
        assert bench.routes.wire.taken() == b"earlylate"
        assert bench.engine.counters.bypassed == 1
        assert not bench.routes.asked
        assert not bench.created
        bench.client.connectionLost()
        assert 'msg="CONNECT passed.test:22" status=200 dur=0ms src=bypass\n' in bench.log()
        assert bench.routes.wire.ends == ["closed"]

    def test_one_that_is_down_is_no_tunnel(self, bench: Bench) -> None:
        assert status(bench.sent(asking(b"CONNECT passed.down:22"))) == 502
        assert bench.engine.counters.bypassed == 0
        assert bench.engine.counters.errors == 1
        line = 'level=ERROR msg="CONNECT passed.down:22" status=502 dur=0ms src=bypass err=down\n'
        assert line in bench.log()
        assert bench.log().count("502") == 1

    def test_a_body_is_refused_before_it_comes(self, bench: Bench) -> None:
        head = asking(b"CONNECT h.test:22").removesuffix(b"\r\n") + b"Content-Length: 5\r\n\r\n"
        assert status(bench.sent(head)) == 400

    def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(self, bench: Bench) -> None:
        bench.routes.late = Deferred()
        bench.sent(asking(b"CONNECT passed.test:22"))
        bench.client.connectionLost()
        assert bench.routes.wire.value() == b""
        assert bench.engine.counters.bypassed == 0
        assert bench.routes.late.called


@implementer(ILogObserver)
@define(eq=False)
class _Observer:
    lines: list[str] = field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        if "buffr_text" in event:
            self.lines.append(event["buffr_text"])


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines other than those of exchanges."""
    observer = _Observer()
    globalLogPublisher.addObserver(observer)
    yield observer.lines
    globalLogPublisher.removeObserver(observer)


def alert(words: str) -> SSL.Error:
    return SSL.Error([("SSL routines", "", words)])


class TestFailedTLS:
    @pytest.mark.parametrize(
        "words",
        [
            "tlsv1 alert unknown ca",
            "sslv3 alert bad certificate",
            "ssl/tls alert certificate unknown",
            "ssl/tls alert certificate expired",
            "ssl/tls alert unsupported certificate",
        ],
    )
    def test_a_refused_certificate_is_said_with_the_advice(
        self, bench: Bench, said: list[str], words: str
    ) -> None:
        """Once for each host, in whatever words OpenSSL has for it."""
        for host in ("a.test", "b.test", "a.test"):
            bench.proxy._handshakes.failed(host, "", alert(words))
        assert len(said) == 2
        assert "client refused buffr's certificate" in said[0]
        assert "host=a.test" in said[0]
        assert "buffr ca" in said[0]

    @pytest.mark.parametrize("words", ["wrong version number", "tlsv1 alert protocol version", ""])
    def test_other_failures_are_said_as_such(
        self, bench: Bench, said: list[str], words: str
    ) -> None:
        for _ in range(2):
            bench.proxy._handshakes.failed("a.test", "", alert(words))
        assert len(said) == 1
        assert "TLS in a tunnel failed" in said[0]
        assert words in said[0]

    def test_what_was_said_is_bounded(self, bench: Bench, said: list[str]) -> None:
        """Hosts are whatever clients send."""
        for number in range(10_100):
            bench.proxy._handshakes.failed(f"{number}.test", "", alert("x"))
        assert len(said) == 10_000
