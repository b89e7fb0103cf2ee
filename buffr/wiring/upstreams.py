"""Builds upstreams from settings: TLS, parent proxies, fixed and forbidden addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from secrets import token_bytes
from typing import Any
from weakref import WeakSet

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol

from buffr.config import Config
from buffr.config.parents import ParentProxy
from buffr.config.upstream import UpstreamOptions
from buffr.errors import AccessDenied, BadRequest, BuffrError, UpstreamFailed
from buffr.message import Headers, ResponseHead
from buffr.origin import Origin
from buffr.policy.access import is_private, reached_address
from buffr.tls.trust import ClientContexts, Trust
from buffr.upstream.connection import Patience
from buffr.upstream.dialling import Dialler
from buffr.upstream.endpoints import endpoint_for, plain_endpoint
from buffr.upstream.failures import reason_of
from buffr.upstream.hops import Hops, Mark, is_announced
from buffr.upstream.http2 import Http2Terms
from buffr.upstream.http2_pool import Http2Pool
from buffr.upstream.parent import ParentEndpoint, PlainThroughParent
from buffr.upstream.pool import Pool, PoolLimits
from buffr.upstream.upstream import Upstream
from buffr.wire.http1_answer_heads import AnswerRules
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http2.engines import engine_name
from buffr.wire.http2.interface import Bounds
from buffr.wire.known_heads import KnownHeads
from buffr.wiring.own_ports import OwnPorts

__all__ = ["Upstreams", "http2_bounds"]

_KNOWN_BYTES = 4 << 20

_SECRET_BYTES = 32


class Upstreams:
    """Creates the upstreams of one service.

    ``own_ports`` returns the ports on which the service itself listens: a
    connection that leads back to one of them is not used. ``hops`` recognise
    requests that come back through others, if the settings enable it.
    """

    def __init__(
        self, config: Config, reactor: Any, own_ports: Callable[[], set[tuple[str, int]]]
    ) -> None:
        self.hops = Hops(token_bytes(_SECRET_BYTES)) if config.detect_loops else None
        self._config = config
        self._reactor = reactor
        self._own_ports = OwnPorts(own_ports)
        self._made: WeakSet[Upstream] = WeakSet()
        self._tls = ClientContexts()
        self._known_heads: KnownHeads[ResponseHead] = KnownHeads(_KNOWN_BYTES)

    def check_files(self, options: UpstreamOptions) -> None:
        """Check that the files of these options can be used. Raises ``ConfigError``."""
        if options.ca_file is not None or options.client_cert is not None:
            self._tls.tls("localhost", evolve(_trust(options), verify=True))

    def of(
        self,
        origin: Origin,
        options: UpstreamOptions,
        *,
        keep_host: bool = False,
        deny_private: bool = False,
    ) -> Upstream:
        """An upstream for an origin. Raises ``ConfigError`` for files that cannot be used."""
        parent = self._config.parents.of(origin, options.parent)
        deny_private = deny_private and parent is None
        tls = self._tls_to(origin, options)
        direct = self._plain(options.resolve or origin.host, origin.port, deny_private=deny_private)
        rules = self._answer_rules(options)
        if parent is None:
            endpoint = endpoint_for(origin, direct, tls=tls)
            judge = partial(self.judge, deny_private=deny_private)
            pool = self._pool(endpoint, rules, tls=origin.tls, judge=judge)
            upstream = Upstream(
                origin,
                pool,
                keep_host=keep_host,
                hops=self.hops,
                http2=self._http2(
                    origin,
                    options,
                    rules,
                    judge,
                    lambda tls, _: endpoint_for(origin, direct, tls=tls),
                ),
                http2_wanted=options.http2_use == "always",
            )
        else:
            to_parent = self._to_parent(parent, options)

            def through(tls: Any, hops: bytes) -> Any:
                tunnel = self._tunnel(to_parent, origin, parent, hops)
                return endpoint_for(origin, tunnel, tls=tls)

            tunnels = self._pool(
                through(tls, b""),
                rules,
                tls=origin.tls,
                judge=_in_tunnel,
                endpoint_by=partial(through, tls),
            )
            if origin.tls:
                upstream = Upstream(
                    origin,
                    tunnels,
                    keep_host=keep_host,
                    hops=self.hops,
                    http2=self._http2(origin, options, rules, _in_tunnel, through),
                    http2_wanted=options.http2_use == "always",
                )
            else:
                upstream = PlainThroughParent(
                    origin,
                    self._pool(to_parent, rules, tls=False, judge=self.judge),
                    keep_host=keep_host,
                    proxy_headers=_for_parent(parent),
                    tunnels=tunnels,
                    hops=self.hops,
                )
        self._made.add(upstream)
        return upstream

    def _tls_to(self, origin: Origin, options: UpstreamOptions, *, http2: bool = False) -> Any:
        if not origin.tls:
            return None
        return self._tls.tls(options.sni or origin.host, _trust(options), http2=http2)

    def _http2(
        self,
        origin: Origin,
        options: UpstreamOptions,
        rules: AnswerRules,
        judge: Callable[[ITransport], Mark],
        endpoint: Callable[[Any, bytes], Any],
    ) -> Callable[[], Http2Pool] | None:
        """What makes the connections in HTTP/2, when one is needed first."""
        if options.http2_use == "never":
            return None
        config = self._config

        def make() -> Http2Pool:
            tls = self._tls_to(origin, options, http2=True)
            dialler = Dialler(
                self._reactor,
                endpoint(tls, b""),
                config.limits.connect_s,
                judge,
                partial(endpoint, tls),
            )
            terms = Http2Terms(
                rules, self._patience, http2_bounds(config), engine_name(config.http2_engine)
            )
            return Http2Pool(
                self._reactor, dialler, terms, config.limits.pool_idle_s, tls=origin.tls
            )

        return make

    @property
    def _patience(self) -> Patience:
        limits = self._config.limits
        return Patience(limits.connect_s, limits.upstream_idle_s, limits.upstream_total_s)

    def _answer_rules(self, options: UpstreamOptions) -> AnswerRules:
        limits, lenient = self._config.limits, options.lenient
        return AnswerRules(
            HeadLimits(limits.head_bytes, limits.header_count),
            limits.interim_answers,
            self._config.lenient if lenient is None else lenient,
            known=self._known_heads,
        )

    def _tunnel(
        self, to_parent: Any, origin: Origin, parent: ParentProxy, hops: bytes
    ) -> ParentEndpoint:
        """A tunnel through a parent, whose connection is checked before it is used."""
        return ParentEndpoint(
            to_parent,
            origin.host,
            origin.port,
            parent.authorization,
            judge=self.judge,
            hops=self.hops,
            passed=hops,
        )

    def _pool(
        self,
        endpoint: Any,
        rules: AnswerRules,
        *,
        tls: bool,
        judge: Callable[[ITransport], Mark],
        endpoint_by: Callable[[bytes], Any] | None = None,
    ) -> Pool:
        limits = self._config.limits
        return Pool(
            self._reactor,
            endpoint,
            rules,
            self._patience,
            PoolLimits(
                limits.pool_per_host,
                limits.pool_idle_s,
                limits.bound_per_host,
                limits.bound_idle_s,
            ),
            tls=tls,
            judge=judge,
            endpoint_by=endpoint_by,
        )

    def _plain(self, host: str, port: int, *, deny_private: bool = False) -> Any:
        connect_s = self._config.limits.connect_s
        judge = _refuse_private if deny_private else None
        return plain_endpoint(self._reactor, host, port, connect_s, judge=judge)

    def _to_parent(self, parent: ParentProxy, options: UpstreamOptions) -> Any:
        direct = self._plain(parent.origin.host, parent.origin.port)
        tls = None
        if parent.origin.tls:
            tls = self._tls.tls(parent.origin.host, Trust(options.ca_file))
        return endpoint_for(parent.origin, direct, tls=tls)

    async def dial(
        self,
        origin: Origin,
        options: UpstreamOptions,
        protocol: Protocol,
        *,
        deny_private: bool,
        hops: bytes = b"",
    ) -> None:
        """Connect a protocol to an origin, without TLS of ours. Raises ``UpstreamFailed``.

        ``hops`` lists the buffrs through which its client came.
        """
        parent = self._config.parents.of(origin, options.parent)
        deny_private = deny_private and parent is None
        endpoint = self._plain(
            options.resolve or origin.host, origin.port, deny_private=deny_private
        )
        if parent is not None:
            endpoint = self._tunnel(self._to_parent(parent, options), origin, parent, hops)
        try:
            await self._connect(endpoint, protocol)
        except UpstreamFailed as error:
            error.message = f"{error.message} ({origin.authority.decode('ascii')})"
            raise
        transport = protocol.transport
        assert transport is not None
        if parent is None:
            try:
                self.judge(transport, deny_private=deny_private)
            except BuffrError:
                transport.loseConnection()
                raise

    async def _connect(self, endpoint: Any, protocol: Protocol) -> None:
        """Connect within ``connect_s``, including the look-up and a parent proxy's reply."""
        connecting = endpoint.connect(Factory.forProtocol(lambda: protocol))
        connect_s = self._config.limits.connect_s
        timer = self._reactor.callLater(connect_s, connecting.cancel) if connect_s else None
        try:
            await connecting
        except Exception as error:
            if timer is not None and not timer.active():
                raise UpstreamFailed("time-out while connecting to the upstream") from error
            if isinstance(error, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            if isinstance(error, BuffrError):
                raise
            raise UpstreamFailed(
                reason_of(error) or "the upstream closed the connection"
            ) from error
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    def judge(self, transport: ITransport, *, deny_private: bool = False) -> Mark:
        """Check a connection's peer address, and return its mark.

        Raises ``BadRequest`` if that is buffr itself, and ``AccessDenied``.
        """
        peer = transport.getPeer()
        if not isinstance(peer, IPv4Address | IPv6Address):
            return Mark.NEVER
        if self._own_ports.has(peer.host, peer.port):
            raise BadRequest("the destination is buffr itself")
        if deny_private:
            _refuse_private(peer.host)
        address = reached_address(peer.host)
        if address is not None and address.is_loopback:
            return Mark.ADD if is_announced(peer.port) else Mark.PASS_ON
        return Mark.ADD if is_private(peer.host) else Mark.NEVER

    def close(self) -> None:
        """Close every connection."""
        for upstream in list(self._made):
            upstream.close()


def http2_bounds(config: Config) -> Bounds:
    """What one connection in HTTP/2 may ask of this process."""
    limits, window = config.limits, config.limits.http2_window_bytes
    return Bounds(
        streams=limits.http2_streams,
        stream_bytes=window,
        connection_bytes=16 * window,
        # Up to here a peer is told what is too much.
        head_bytes=2 * limits.head_bytes + 32 * limits.header_count,
        continuations=max(8, 2 * limits.head_bytes // 16384),
    )


def _in_tunnel(_: ITransport) -> Mark:
    """The end of a parent's tunnel is unknown here; the connection was checked before."""
    return Mark.NEVER


def _trust(options: UpstreamOptions) -> Trust:
    return Trust(options.ca_file, options.verify, options.client_cert, options.client_key)


def _refuse_private(address: str) -> None:
    if is_private(address):
        raise AccessDenied("private addresses are not served", hint="forward.deny_private sets it")


def _for_parent(parent: ParentProxy) -> Headers:
    if parent.authorization is None:
        return ()
    return ((b"Proxy-Authorization", parent.authorization),)
