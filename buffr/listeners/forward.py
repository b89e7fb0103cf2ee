"""The forward proxy: CONNECT, intercepted or relayed, and absolute-form requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Protocol

from attrs import evolve, frozen
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BuffrError
from buffr.exchanges.engine import Engine
from buffr.exchanges.route import Route
from buffr.listeners.client import ClientSink, Handler
from buffr.listeners.handshakes import HandshakeReports
from buffr.listeners.hit_memo import Guard
from buffr.listeners.http1 import Http1Connection, State
from buffr.listeners.listener import HTTPListener
from buffr.listeners.request_target import absolute_form, authority_form, origin_form, scoped
from buffr.listeners.tunnel import RawTunnel, TunnelStart
from buffr.message import Headers, Request, ResponseHead, first_value
from buffr.origin import Origin, host_and_port
from buffr.policy.access import Access
from buffr.tls.handshake import HandshakeLeft
from buffr.tls.thin import server_tls
from buffr.transport.memo import Memo
from buffr.transport.streams import BodyStream
from buffr.upstream.hops import Hops

__all__ = ["ForwardProxy", "InterceptedConnection", "Routes", "TLSWatch", "Tunnel"]

_LONGEST_AGENT = 120
_MOST_HANDLERS = 1024
_MOST_TUNNEL_BYTES = 4 << 20
_TUNNEL_BYTES = 2500
"""The size of Python's objects of a tunnel that is remembered, without its CONNECT."""
_ESTABLISHED = ResponseHead(200, b"Connection Established", ())


class Destinations(Protocol):
    """Which hosts may be asked for. Makes nothing for them."""

    def bypassed(self, host: str, port: int) -> bool:
        """Whether the origin's traffic is relayed without being intercepted."""

    def check(self, host: str, port: int) -> None:
        """Raise ``AccessDenied`` for an origin that is not allowed."""


class Routes(Protocol):
    """The routes of a forward proxy, by origin."""

    @property
    def ready(self) -> Mapping[tuple[Origin, str], Route]:
        """Routes by origin and scope that exist already."""

    async def of(self, origin: Origin, scope: str) -> Route:
        """The route of an origin, made if necessary. A bypassed one has mode passthrough.

        Use it before awaiting anything: an unused route may be dropped. Raises
        a ``BuffrError`` for a destination that is not allowed, or whose route
        cannot be made.
        """

    async def dial(
        self, host: str, port: int, protocol: TwistedProtocol, *, hops: bytes = b""
    ) -> None:
        """Connect a protocol to a bypassed origin. Raises a ``BuffrError``.

        ``hops`` names the buffrs that the client's request has passed.
        """


@frozen
class TLSWatch:
    """Reports what becomes of the TLS in one tunnel to the reports about all tunnels."""

    reports: HandshakeReports
    host: str
    agent: str

    def failed(self, error: SSL.Error) -> None:
        """The handshake failed by an alert, or by a fault in it."""
        self.reports.failed(self.host, self.agent, error)

    def left(self, after_s: float | None) -> None:
        """The client left without a request, this long after the handshake; ``None``: during it."""
        self.reports.left(self.host, self.agent, after_s)

    def asked(self) -> None:
        """The first bytes of a request came."""
        self.reports.asked(self.host, self.agent)


@implementer(IHandshakeListener)
class InterceptedConnection(Http1Connection):
    """Speaks HTTP/1.1 inside a tunnel, like the listener outside, but with its own handler.

    ``tls`` reports what becomes of the TLS around it; ``None`` means that
    there is no TLS. A handshake may take ``head_s`` seconds.
    """

    def __init__(
        self,
        listener: HTTPListener,
        handler: Handler,
        tls: TLSWatch | None = None,
    ) -> None:
        super().__init__(listener, handler)
        self._tls = tls
        self._shaking_hands = tls is not None

    def handshakeCompleted(self) -> None:
        self._shaking_hands = False
        self.since = self._listener.now

    def dataReceived(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.asked()
            self._tls = None
        # The next bytes are nothing new.
        self.dataReceived = super().dataReceived  # type: ignore[method-assign]
        super().dataReceived(data)

    def _time_limit_s(self) -> float:
        return self._limits.head_s if self._shaking_hands else super()._time_limit_s()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._tls is not None:
            self._came_to_nothing(self._tls, reason.value)
        self.__dict__.pop("dataReceived", None)  # or the connection would refer to itself
        super().connectionLost(reason)

    def _came_to_nothing(self, tls: TLSWatch, reason: BaseException | None) -> None:
        # In TLS 1.3 a client's alert may come after the handshake is over for the server.
        if isinstance(reason, SSL.Error) and not isinstance(reason, HandshakeLeft):
            tls.failed(reason)
        elif not (self._state >= State.LINGERING or self._listener.stopping):
            tls.left(None if self._shaking_hands else self._listener.now - self.since)


@frozen
class Tunnel:
    """Makes the protocols that take over connections to one host, by what the clients speak."""

    tls: Callable[[], TwistedProtocol]
    plain: Callable[[], TwistedProtocol]


class ForwardProxy:
    """Answers the requests of a forward proxy's port.

    Access is checked first, before anything is routed, dialled or minted.
    ``tls_for`` returns the server side of TLS for the host of a CONNECT.
    ``hops`` detects a CONNECT that has come back.
    """

    def __init__(
        self,
        engine: Engine,
        reactor: IReactorTime,
        access: Access,
        destinations: Destinations,
        routes: Routes,
        tls_for: Callable[[str], IOpenSSLServerConnectionCreator],
        hops: Hops | None = None,
    ) -> None:
        self.listener: HTTPListener | None = None
        self._engine = engine
        self._reactor = reactor
        self._access = access
        self._destinations = destinations
        self._routes = routes
        self._tls_for = tls_for
        self._hops = hops
        self._handshakes = HandshakeReports()
        self._handlers: dict[tuple[Origin, str, bytes], Handler] = {}
        self._tunnels: Memo[tuple[str, bytes, Headers], Tunnel] = Memo(
            entries=_MOST_HANDLERS, size_bytes=_MOST_TUNNEL_BYTES
        )
        """By a client's address, and the target and fields of its CONNECT: whether it is let in,
        and to where, depends on nothing else."""

    async def handle(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        """Answer a request outside any tunnel. Raises ``BuffrError``."""
        if request.method == b"CONNECT":
            asked = sink.client_address, request.target, request.headers
            tunnel = self._tunnels.get(asked)
            if tunnel is None:
                tunnel = await self._connect(request, sink)
                if tunnel is None:
                    return
                self._tunnels.put(asked, tunnel, _TUNNEL_BYTES + request.head_bytes)
            assert self.listener is not None
            sink.tunnel(_ESTABLISHED, TunnelStart(self.listener, tunnel.tls, tunnel.plain))
            return
        credentials = first_value(request.headers, b"proxy-authorization")
        request, scope = self._admitted(request, sink.client_address, credentials)
        sink.proxy = True
        origin, request = absolute_form(request)
        if sink.memorable:
            routed = self._routed(origin, scope)
            sink.guard = lambda client, route: (
                self._access.lets_in(client, credentials) and routed(client, route)
            )
        await self.answer(origin, request, body, sink, scope)

    def _admitted(
        self, request: Request, client: str, credentials: bytes | None
    ) -> tuple[Request, str]:
        """The request of a client that is let in, without what is for buffr, and its scope."""
        request, scope = scoped(request, self._access.admit(client, credentials))
        self._access.check_scope(scope)
        return request, scope

    async def answer(
        self,
        origin: Origin,
        request: Request,
        body: bytes | BodyStream,
        sink: ClientSink,
        scope: str,
    ) -> None:
        """Answer a request, in origin-form, that is for this origin. Raises ``BuffrError``."""
        route = self._routes.ready.get((origin, scope)) or await self._routes.of(origin, scope)
        uses = route.uses  # what its ``begin`` and ``end`` do, without two calls a request
        uses.under_way += 1
        try:
            await self._engine.handle(route, request, body, sink, scope)
        finally:
            uses.under_way -= 1
            uses.lately = True

    def _routed(self, origin: Origin, scope: str) -> Guard:
        """Whether a route is still the one of its origin. If so, it counts as used."""
        name, ready = (origin, scope), self._routes.ready

        def same(_client: str, route: Route) -> bool:
            if ready.get(name) is not route:
                return False
            route.uses.lately = True
            return True

        return same

    async def _connect(self, request: Request, sink: ClientSink) -> Tunnel | None:
        """The tunnel that a client asks for; ``None`` if it is relayed unread, which has begun."""
        client = sink.client_address
        credentials = first_value(request.headers, b"proxy-authorization")
        request, scope = self._admitted(request, client, credentials)
        host, port = authority_form(request)
        if request.hops and self._hops is not None:
            self._hops.check(request.hops, b"CONNECT", host_and_port(host, port).encode("ascii"))
        if self.bypassed(host, port):
            await self._relay(host, port, sink, request.hops)
            return None
        # Refuse what is not allowed here, where the client still reads plain answers. Make
        # nothing yet: many clients open tunnels and never use them.
        self._destinations.check(host, port)
        agent = (first_value(request.headers, b"user-agent") or b"").decode("latin-1")
        return self._tunnel(host, port, scope, agent[:_LONGEST_AGENT], request.hops, client)

    async def _relay(self, host: str, port: int, sink: ClientSink, hops: bytes) -> None:
        upstream = RawTunnel()
        client = RawTunnel(await self.dial(host, port, upstream, hops))
        sink.tunnel(_ESTABLISHED, client)
        client.join(upstream)

    def bypassed(self, host: str, port: int) -> bool:
        """Whether connections to a host are relayed unchanged."""
        return self._destinations.bypassed(host, port)

    async def dial(
        self, host: str, port: int, upstream: TwistedProtocol, hops: bytes = b""
    ) -> Callable[[], None]:
        """Connect a protocol to a host, for a tunnel that is relayed unchanged, and log that.

        Returns what is to be called at the tunnel's end. Raises a ``BuffrError``.
        """
        words, started_s = f"CONNECT {host_and_port(host, port)}", self._reactor.seconds()
        try:
            dial = partial(self._routes.dial, hops=hops) if hops else self._routes.dial
            await dial(host, port, upstream)
        except BuffrError as error:
            self._engine.tunnel_failed(words, error, self._reactor.seconds() - started_s)
            raise
        return self._engine.tunnel(words)

    def inside(self, host: str, port: int, scope: str) -> Tunnel:
        """What takes over a client's connection that was led here instead of to this host.

        The client knows of no proxy, and has sent no CONNECT. Raises
        ``AccessDenied`` for an origin that is not allowed, and ``BadServerName``.
        """
        self._destinations.check(host, port)
        return self._tunnel(host, port, scope, "", b"")

    def _tunnel(
        self, host: str, port: int, scope: str, agent: str, hops: bytes, client: str | None = None
    ) -> Tunnel:
        self._tls_for(host)  # raises ``BadServerName`` where the client still reads plain answers
        watch = TLSWatch(self._handshakes, host, agent)
        handler = cache(lambda scheme: self._handler(Origin(scheme, host, port), scope, hops))

        def tls() -> TwistedProtocol:
            assert self.listener is not None
            inner = InterceptedConnection(self.listener, handler("https"), watch)
            if client is not None:
                inner.client_address = client  # it is known, and need not be asked for again
            return server_tls(inner, self._tls_for(host), self._reactor)

        def plain() -> InterceptedConnection:
            assert self.listener is not None
            return InterceptedConnection(self.listener, handler("http"))

        return Tunnel(tls, plain)

    def _handler(self, origin: Origin, scope: str, hops: bytes) -> Handler:
        """The handler of requests inside tunnels to one origin; they have their CONNECT's hops."""
        name = origin, scope, hops
        handler = self._handlers.get(name)
        if handler is None:
            if len(self._handlers) >= _MOST_HANDLERS:
                self._handlers.clear()
            handler = self._handlers[name] = self._new_handler(origin, scope, hops)
        return handler

    def _new_handler(self, origin: Origin, scope: str, hops: bytes) -> Handler:
        async def handle(request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
            request, own = scoped(origin_form(request), scope)
            if hops:
                request = evolve(request, hops=hops)
            if sink.memorable:
                sink.guard = self._routed(origin, own)
            await self.answer(origin, request, body, sink, own)

        return handle
