"""The tree of services."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never
from weakref import WeakSet

from attrs import evolve, frozen
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import LogLevel

from buffr.config import Config, ReverseRoute
from buffr.config.forward import ForwardSettings
from buffr.config.gateway import GatewaySettings
from buffr.config.limits import Limits
from buffr.config.listener import ListenerSettings
from buffr.errors import ConfigError
from buffr.exchanges.engine import Engine
from buffr.exchanges.explain import Explainer
from buffr.exchanges.metrics import Metrics
from buffr.exchanges.route import Cached, Passing, Recorded, Route
from buffr.listeners.client import ConnectionLimits, Handler, Http2Terms
from buffr.listeners.forward import ForwardProxy
from buffr.listeners.gateway_addresses import Outside
from buffr.listeners.listener import HTTPListener
from buffr.listeners.reverse import reverse_handler
from buffr.listeners.scoped_paths import ScopedPaths
from buffr.log import FORMATS, ExchangeLog, LineObserver, logger_writer, say, stream_writer
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.key_gate import KeyGate
from buffr.policy.mode import Mode
from buffr.policy.own_names import OwnNames
from buffr.tls.authority import Authority
from buffr.tls.contexts import LeafContexts, files_tls, names_tls, own_names
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http2.engines import engine_name
from buffr.wire.http2.floods import Patience
from buffr.wiring.access_keys import with_keys
from buffr.wiring.caches import Caches
from buffr.wiring.cassettes import Cassettes, place_of
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.keeping import spool_dir_of
from buffr.wiring.routes import RouteMaker, redaction_rules, reverse_route
from buffr.wiring.scoped_routes import ScopedRoutes
from buffr.wiring.servers import Servers
from buffr.wiring.service import BuffrService, Repeated
from buffr.wiring.upstreams import Upstreams, http2_bounds

# What administers a service, its gateway and its reverse ports is imported where a service
# has them: a forward proxy for a command or for tests starts without sixty modules.
if TYPE_CHECKING:
    from buffr.admin.counting import Counting
    from buffr.admin.pages import AdminPages
    from buffr.listeners.gateway import GatewayRoute
    from buffr.wiring.live import LiveService
    from buffr.wiring.live_changes import LiveReverse
    from buffr.wiring.live_gateway import LiveGateway
    from buffr.wiring.live_rules import LoadSettings

__all__ = ["Clocks", "build"]

_ANY_HOST = "misc"
"""A placeholder for hosts that have not been requested yet."""


@frozen
class Clocks:
    """``wall`` has the time of exchanges, ``clients`` that at which certificates must be valid."""

    wall: Callable[[], float] = time.time
    clients: Callable[[], datetime] = partial(datetime.now, UTC)


_OF_THIS_MACHINE = Clocks()


def build(
    config: Config,
    reactor: Any,
    *,
    on_console: bool,
    write: Callable[[str], None] | None = None,
    figures: Metrics | None = None,
    by_scope: bool = False,
    admin: LoadSettings | None = None,
    clocks: Clocks = _OF_THIS_MACHINE,
) -> BuffrService:
    """The tree of services for these settings; nothing is opened before it starts.

    ``on_console`` writes log lines to standard error in buffr's own format;
    otherwise they go to Twisted's logging, those of exchanges to ``write`` if
    it is set. ``figures`` count the gateway's exchanges. ``by_scope`` makes a
    forward proxy that serves only the scopes of ``BuffrService.scopes``, and
    also accepts the paths that are opened for them. ``admin`` adds the admin
    listener, if the settings want it; it loads a settings file as these were
    loaded. Raises ``ConfigError``.
    """
    if config.workers != 1:
        raise ConfigError(
            "workers: one process cannot be several; only `buffr serve` and the commands for a "
            "mode start them",
            hint="set workers: 1",
        )
    if write is None:
        write = stream_writer(sys.stderr) if on_console else logger_writer
    builder = _Builder(config, reactor, write, figures, clocks, on_console=on_console)
    return builder.build(by_scope=by_scope, admin=admin)


def _sweep_every_s(limits: Limits) -> float:
    """Often enough to release a host soon after its idle time is over."""
    return min(max(limits.host_idle_s / 4, 1.0), 60.0)


class _Builder:
    """Holds the shared parts of one service while it is built."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        write: Callable[[str], None],
        figures: Metrics | None,
        clocks: Clocks,
        *,
        on_console: bool,
    ) -> None:
        self._figures = figures
        self._clocks = clocks
        self._config = config = with_keys(config)
        self._reactor = reactor
        self._on_console = on_console
        log = ExchangeLog(reactor, write, config.log_format)
        self._engine = Engine(reactor, log, clocks.wall)
        self._rules = redaction_rules(config)
        self._listeners: list[HTTPListener] = []
        keeps = any(mode.keeps for mode in config.modes)
        self._spool_dir = spool_dir_of(config) if keeps else None
        self._servers = Servers(config, reactor)
        self._cassettes = Cassettes(
            config, reactor, self._rules, self._servers, self._spool_dir, log.turn
        )
        self._caches = Caches(config, reactor, self._servers)
        self._upstreams = Upstreams(config, reactor, self._own_ports)
        self._maker = RouteMaker(
            config,
            self._rules,
            self._upstreams,
            self._cassettes,
            self._caches,
            reactor,
            self._spool_dir,
        )
        self._leaves: LeafContexts | None = None
        self._explainers: WeakSet[Explainer] = WeakSet()
        self._live_gateway: LiveGateway | None = None
        self._forward_routes: ForwardRoutes | None = None
        self._scopes: ScopedRoutes | None = None
        self._reverse_ports: list[LiveReverse] = []
        self._proxy: ForwardProxy | None = None

    def _own_ports(self) -> set[tuple[str, int]]:
        return {listener.address for listener in self._listeners}

    def build(self, *, by_scope: bool, admin: LoadSettings | None) -> BuffrService:
        config = self._config
        self._cassettes.expect((place_of(row), row.mode) for row in config.reverse)
        for row in config.reverse:
            self._reverse(row)
        if config.gateway is not None:
            self._cassettes.expect((place_of(row), row.mode) for row in config.gateway.routes)
            self._gateway(config.gateway)
        if config.forward is not None:
            if by_scope:
                self._scopes = ScopedRoutes(self._maker)
            else:
                self._expect_hosts(config.forward)
            self._forward(config.forward)
        formatter = FORMATS[config.log_format]
        service = BuffrService(
            self._listeners,
            self._engine,
            stores=(
                self._cassettes,
                self._caches,
                *([self._scopes] if self._scopes else []),
                self._servers,
            ),
            upstreams=self._upstreams,
            grace_s=config.limits.shutdown_s,
            warnings=config.warnings,
            observer=LineObserver(sys.stderr, formatter) if self._on_console else None,
            explainers=self._explainers,
        )
        service.reverse_routes = tuple(port.route for port in self._reverse_ports)
        service.gateway = self._live_gateway
        service.scopes = self._scopes
        if admin is not None:
            self._administer(service, admin)
        service.forward = self._proxy
        if self._forward_routes is not None:
            every_s = _sweep_every_s(config.limits)
            sweeps = Repeated(self._forward_routes.sweep, every_s, self._reactor)
            sweeps.setServiceParent(service)
        return service

    def _administer(self, service: BuffrService, load: LoadSettings) -> None:
        from buffr.wiring.admin_listener import AdminListener  # noqa: PLC0415  # see above
        from buffr.wiring.fleet_messages import FleetMessages  # noqa: PLC0415  # see above

        live = self._live(load)
        if self._config.admin.address.enabled:
            service.admin = AdminListener(self._config.admin, live, self._reactor)
        if self._servers.all():
            service.fleet = FleetMessages(self._servers, live)

    def _live(self, load: LoadSettings) -> LiveService:
        from twisted.internet.threads import deferToThreadPool  # noqa: PLC0415  # see above

        from buffr.wiring.live import LiveService  # noqa: PLC0415  # see above
        from buffr.wiring.live_changes import RouteChanges  # noqa: PLC0415  # see above
        from buffr.wiring.live_recordings import LiveRecordings  # noqa: PLC0415  # see above
        from buffr.wiring.live_rules import LiveRules  # noqa: PLC0415  # see above

        changes = RouteChanges(
            self._config,
            self._maker,
            self._reverse_ports,
            self._live_gateway,
            self._forward_routes,
        )
        aside = partial(deferToThreadPool, self._reactor, self._reactor.getThreadPool())
        return LiveService(
            self._engine,
            self._listeners,
            changes,
            LiveRules(changes, load, aside),
            LiveRecordings(self._reactor, self._rules, partial(say, LogLevel.warn)),
            self._reactor,
            lambda: self._leaves,
            self._rules,
            self._spool_dir,
            figures_of_servers=self._servers.figures,
        )

    def _reverse(self, row: ReverseRoute) -> None:
        from buffr.wiring.live_changes import LiveReverse  # noqa: PLC0415  # see above

        route = reverse_route(row, self._maker)
        self._expect_misses(route)
        announce = {"mode": row.mode.value}
        if row.target is not None:
            announce["target"] = row.target.url
        match route:
            case Recorded():
                place = place_of(row)
                announce["cassette" if isinstance(place, Path) else "store"] = str(place)
            case Cached():
                announce["store"] = self._caches.where(row.cache)
            case Passing():
                pass
            case other:
                assert_never(other)
        access = self._config.access_to(row.access)
        gate = None if access.is_open else KeyGate(access)
        outside = Outside(b"", row.target) if row.rewrite and row.target is not None else None

        def handler(route: Route) -> Handler:
            return reverse_handler(self._engine, route, gate, outside)

        listener = self._listen(row, handler(route), announce)
        self._reverse_ports.append(LiveReverse(row, route, listener, handler))

    def _expect_misses(self, route: Route) -> None:
        if isinstance(route, Recorded) and route.mode is Mode.REPLAY:
            self._explainers.add(route.explainer)

    def _gateway(self, settings: GatewaySettings) -> None:
        from buffr.admin.counting import Counting  # noqa: PLC0415  # see above
        from buffr.wiring.live_gateway import LiveGateway, gateway_routes  # noqa: PLC0415

        def routes(settings: GatewaySettings, config: Config) -> dict[bytes, GatewayRoute]:
            made = gateway_routes(settings, evolve(self._maker, config=config))
            for each in made.values():
                self._expect_misses(each.route)
            return made

        figures = self._figures
        if figures is None and settings.admin.enabled:
            figures = Metrics(time.time)
        counting = None
        if figures is not None:
            counting = self._engine.observer = Counting(figures, {}, self._engine.observer)
        live = self._live_gateway = LiveGateway(
            self._engine, self._caches, routes, counting, self._admin_pages
        )
        handler = live.gateway(settings, self._config).handle
        announce = {"gateway": ",".join(row.name for row in settings.routes)}
        live.listener = self._listen(settings, handler, announce)

    def _admin_pages(
        self,
        settings: GatewaySettings,
        config: Config,
        routes: Mapping[bytes, GatewayRoute],
        counting: Counting,
    ) -> AdminPages:
        from buffr.admin.pages import AdminPages  # noqa: PLC0415  # see above
        from buffr.admin.report import GatewayReport  # noqa: PLC0415  # see above

        rows = [row for row in settings.routes if row.mode is Mode.CACHE]
        database = self._caches.path_of(rows[0].cache) if rows else None
        report = GatewayReport(config, settings, routes, counting, database, self._reactor)
        return AdminPages(
            report,
            names=OwnNames(
                config.listen, (*settings.admin.hosts, *settings.tls_names, *own_names())
            ),
            per_minute=settings.admin.rate_limit_per_minute,
            log_access=settings.admin.log_access,
            seconds=time.monotonic,
            wall=time.time,
        )

    def _port_tls(self, row: ListenerSettings) -> IOpenSSLServerConnectionCreator | None:
        if row.cert is not None and row.key is not None:
            return files_tls(row.cert, row.key, datetime.now(UTC), http2=row.http2)
        if not row.tls:
            return None
        return names_tls(self._leaf_contexts(), row.tls_names or own_names(), http2=row.http2)

    def _expect_hosts(self, settings: ForwardSettings) -> None:
        """Register where the recordings of hosts not yet requested will be."""
        self._cassettes.expect((place_of(row), row.mode) for row in settings.hosts)
        for row in settings.hosts:
            if row.mode is Mode.CACHE:
                self._caches.expect(row.cache)
        if any(row.host == EVERY_HOST for row in settings.hosts):
            return
        place = place_of(settings.of(_ANY_HOST))
        if settings.cassette is not None or not isinstance(place, Path):
            self._cassettes.expect([(place, settings.mode)])
        elif settings.mode.records:
            self._cassettes.expect_in(self._config.data_dir)
        if settings.mode is Mode.CACHE:
            self._caches.expect(settings.cache)

    def _leaf_contexts(self) -> LeafContexts:
        if self._leaves is None:
            config = self._config
            now = self._clocks.clients
            authority = Authority.load_or_create(config.ca_cert, config.ca_key, now())
            self._leaves = LeafContexts(authority, now)
        return self._leaves

    def _forward(self, settings: ForwardSettings) -> None:
        for options in (settings.upstream, *(row.upstream for row in settings.hosts)):
            self._upstreams.check_files(options)
        for row in (settings, *settings.hosts):
            self._cassettes.types.of(row.grpc)
        leaves = self._leaf_contexts()
        routes: ForwardRoutes | ScopedRoutes
        if self._scopes is None:
            routes = self._forward_routes = ForwardRoutes(settings, self._maker)
        else:
            routes = self._scopes
        proxy = self._proxy = ForwardProxy(
            self._engine,
            self._reactor,
            self._config.access_to_forward,
            self._config.destinations,
            routes,
            partial(leaves.serving, http2=settings.http2),
            self._upstreams.hops,
        )
        announce = {"mode": settings.mode.value, "proxy": "forward"}
        handle = proxy.handle if self._scopes is None else ScopedPaths(proxy, self._scopes).handle
        proxy.listener = self._listen(settings, handle, announce)

    def _http2(self) -> Http2Terms:
        limits = self._config.limits
        return Http2Terms(
            engine=engine_name(self._config.http2_engine),
            bounds=http2_bounds(self._config),
            patience=Patience(limits.http2_resets, limits.http2_frames),
        )

    def _listen(
        self, row: ListenerSettings, handler: Handler, announce: dict[str, str]
    ) -> HTTPListener:
        limits = self._config.limits
        listener = HTTPListener(
            self._reactor,
            "127.0.0.1" if self._config.listen == "localhost" else self._config.listen,
            row.port,
            handler,
            limits=ConnectionLimits(
                head=HeadLimits(limits.head_bytes, limits.header_count),
                buffer_bytes=limits.pipeline_bytes,
                memo_bytes=limits.memo_bytes,
                idle_s=limits.client_idle_s,
                head_s=limits.head_s,
                body_idle_s=limits.body_idle_s,
                body_bytes_per_s=limits.body_bytes_per_second,
                half_close_s=limits.half_close_s,
                http2=self._http2() if row.http2 else None,
            ),
            connections=limits.connections,
            announce=announce,
            tls=self._port_tls(row),
        )
        self._listeners.append(listener)
        return listener
