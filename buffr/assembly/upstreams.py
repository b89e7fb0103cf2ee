"""Upstreams by their settings: TLS, parent proxies, fixed addresses, and places not to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol

from buffr.config import Config
from buffr.config.parents import ParentProxy
from buffr.config.upstream import UpstreamOptions
from buffr.errors import AccessDenied, BadRequest, BuffrError, UpstreamFailed
from buffr.message import Headers
from buffr.policy.access import is_private
from buffr.tls.trust import ClientContexts, Trust
from buffr.upstream.connection import Patience
from buffr.upstream.endpoints import endpoint_for, plain_endpoint
from buffr.upstream.origin import Origin
from buffr.upstream.parent import ParentEndpoint, PlainThroughParent
from buffr.upstream.pool import Pool, PoolLimits
from buffr.upstream.reason import reason_of
from buffr.upstream.upstream import Upstream
from buffr.wire.answer_heads import AnswerRules
from buffr.wire.head import HeadLimits

__all__ = ["Upstreams"]

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # compared, not listened on


class Upstreams:
    """Makes the upstreams of one service.

    ``own_ports`` tells the ports that the service itself listens on: a
    connection that leads back to one of them is not used.
    """

    def __init__(
        self, config: Config, reactor: Any, own_ports: Callable[[], set[tuple[str, int]]]
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._own_ports = own_ports
        self._made: WeakSet[Upstream] = WeakSet()
        self._tls = ClientContexts()

    def check_files(self, options: UpstreamOptions) -> None:
        """See that the files of these options can be used. Raises ``ConfigError``."""
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
        """The way to an origin. Raises ``ConfigError`` for files that cannot be used."""
        parent = self._config.parents.of(origin, options.parent)
        deny_private = deny_private and parent is None
        tls = None
        if origin.tls:
            tls = self._tls.tls(options.sni or origin.host, _trust(options))
        endpoint = endpoint_for(
            origin,
            self._plain(options.resolve or origin.host, origin.port, deny_private=deny_private),
            tls=tls,
            parent=None if parent is None else self._to_parent(parent, options),
            authorization=None if parent is None else parent.authorization,
        )
        rules = self._answer_rules(options)
        pool = self._pool(endpoint, rules, tls=origin.tls, deny_private=deny_private)
        if parent is None or origin.tls:
            upstream = Upstream(origin, pool, keep_host=keep_host)
        else:
            through = ParentEndpoint(endpoint, origin.host, origin.port, parent.authorization)
            upstream = PlainThroughParent(
                origin,
                pool,
                keep_host=keep_host,
                proxy_headers=_for_parent(parent),
                tunnels=self._pool(through, rules, tls=False, deny_private=False),
            )
        self._made.add(upstream)
        return upstream

    def _answer_rules(self, options: UpstreamOptions) -> AnswerRules:
        limits, lenient = self._config.limits, options.lenient
        return AnswerRules(
            HeadLimits(limits.head_bytes, limits.header_count),
            limits.interim_answers,
            self._config.lenient if lenient is None else lenient,
        )

    def _pool(self, endpoint: Any, rules: AnswerRules, *, tls: bool, deny_private: bool) -> Pool:
        limits = self._config.limits
        return Pool(
            self._reactor,
            endpoint,
            rules,
            Patience(limits.connect_s, limits.upstream_idle_s, limits.upstream_total_s),
            PoolLimits(
                limits.pool_per_host,
                limits.pool_idle_s,
                limits.bound_per_host,
                limits.bound_idle_s,
            ),
            tls=tls,
            check=lambda made: self.check(made, deny_private=deny_private),
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
        self, origin: Origin, options: UpstreamOptions, protocol: Protocol, *, deny_private: bool
    ) -> None:
        """Connect a protocol to an origin, without TLS of ours. Raises ``UpstreamFailed``."""
        parent = self._config.parents.of(origin, options.parent)
        deny_private = deny_private and parent is None
        endpoint = self._plain(
            options.resolve or origin.host, origin.port, deny_private=deny_private
        )
        if parent is not None:
            to_parent = self._to_parent(parent, options)
            authorization = parent.authorization
            endpoint = ParentEndpoint(to_parent, origin.host, origin.port, authorization)
        try:
            await self._connect(endpoint, protocol)
        except UpstreamFailed as error:
            error.message = f"{error.message} ({origin.authority.decode('ascii')})"
            raise
        try:
            self.check(protocol, deny_private=deny_private)
        except BuffrError:
            assert protocol.transport is not None
            protocol.transport.loseConnection()
            raise

    async def _connect(self, endpoint: Any, protocol: Protocol) -> None:
        """Connect within ``connect_s``: with the look-up, and what a parent proxy says."""
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

    def check(self, protocol: Protocol, *, deny_private: bool) -> None:
        """Judge a connection by the address that it has led to.

        Raises ``BadRequest`` where that is buffr itself, and ``AccessDenied``.
        """
        assert protocol.transport is not None
        peer, host = protocol.transport.getPeer(), protocol.transport.getHost()
        if not isinstance(peer, IPv4Address | IPv6Address):
            return
        here = getattr(host, "host", "")
        for own_host, own_port in self._own_ports():
            own = here if own_host in _EVERY_ADDRESS else own_host
            if (peer.host, peer.port) == (own, own_port):
                raise BadRequest("the destination is buffr itself")
        if deny_private:
            _refuse_private(peer.host)

    def close(self) -> None:
        """Give up every connection."""
        for upstream in list(self._made):
            upstream.close()


def _trust(options: UpstreamOptions) -> Trust:
    return Trust(options.ca_file, options.verify, options.client_cert, options.client_key)


def _refuse_private(address: str) -> None:
    if is_private(address):
        raise AccessDenied("private addresses are not served", hint="forward.deny_private sets it")


def _for_parent(parent: ParentProxy) -> Headers:
    if parent.authorization is None:
        return ()
    return ((b"Proxy-Authorization", parent.authorization),)
