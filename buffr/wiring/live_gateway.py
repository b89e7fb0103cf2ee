"""A running gateway whose settings can be replaced: builds its routes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from attrs import define, evolve, field

from buffr.admin.counting import Counting
from buffr.admin.pages import AdminPages
from buffr.config import Config
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.exchanges.engine import Engine
from buffr.exchanges.pace import Pace
from buffr.exchanges.route import Cached, Route
from buffr.listeners.gateway import Gateway, GatewayRoute
from buffr.listeners.gateway_addresses import Outside
from buffr.listeners.listener import HTTPListener
from buffr.policy.key_gate import KeyGate
from buffr.policy.mode import Mode
from buffr.stores.cache import CacheStore
from buffr.upstream.upstream import Upstream
from buffr.wiring.caches import Caches
from buffr.wiring.routes import RouteMaker, rate_rules

__all__ = ["LiveGateway", "at_pace", "gateway_routes"]

MakePages = Callable[[GatewaySettings, Config, Mapping[bytes, GatewayRoute], Counting], AdminPages]
MakeRoutes = Callable[[GatewaySettings, Config], dict[bytes, GatewayRoute]]


@define(eq=False)
class LiveGateway:
    """The gateway of a service. All methods are called on the reactor's thread.

    Exchanges in progress finish under the old settings; later ones use the new
    settings. The address and the cache's files stay the same.
    """

    engine: Engine
    caches: Caches
    make: MakeRoutes
    counting: Counting | None
    pages: MakePages
    listener: HTTPListener | None = None
    _routes: Mapping[bytes, GatewayRoute] = field(factory=dict)
    _settings: GatewaySettings | None = field(init=False, default=None)
    _config: Config | None = field(init=False, default=None)

    def gateway(self, settings: GatewaySettings, config: Config) -> Gateway:
        """A gateway with these settings. Raises ``ConfigError``."""
        routes = self.make(settings, config)
        for row in settings.routes:
            name = row.name.encode("ascii")
            known, made = self._routes.get(name), routes[name]
            pace = None if known is None else known.route.pace
            if pace is not None and row.limits is not None:
                # Past requests count under the new limits, too.
                pace.change(rate_rules(row.limits), row.limits.max_hold_s)
                routes[name] = evolve(made, route=at_pace(made.route, pace))
        return self._of(settings, config, routes)

    def replace(self, row: GatewayRow, route: Route) -> GatewaySettings:
        """Serve later requests of a name by another route; returns the new settings."""
        assert self._settings is not None
        assert self._config is not None
        assert self.listener is not None
        rows = tuple(row if one.name == row.name else one for one in self._settings.routes)
        settings = evolve(self._settings, routes=rows)
        name = row.name.encode("ascii")
        routes = {**self._routes, name: evolve(self._routes[name], route=route)}
        self.listener.handle = self._of(settings, self._config, routes).handle
        return settings

    def _of(
        self, settings: GatewaySettings, config: Config, routes: Mapping[bytes, GatewayRoute]
    ) -> Gateway:
        self._routes, self._settings, self._config = routes, settings, config
        pages = None
        if self.counting is not None:
            self._count(routes, self.counting)
            if settings.admin.enabled:
                pages = self.pages(settings, config, routes, self.counting)
        gate = KeyGate(config.access_to(settings.access), in_path=True)
        return Gateway(self.engine, gate, routes, pages)

    def _count(self, routes: Mapping[bytes, GatewayRoute], counting: Counting) -> None:
        """Count exchanges by name, including those in progress, and calls."""
        names = {found.route: name.decode("ascii") for name, found in routes.items()}
        counting.names = dict(list(counting.names.items())[-len(names) :]) | names
        for route, name in names.items():
            if route.upstream is not None:
                route.upstream.upstream.on_answer = partial(counting.figures.asked, name)

    def change(self, config: Config) -> None:
        """Apply other settings from now on. If it raises ``ConfigError``, nothing has changed."""
        assert self.listener is not None
        assert config.gateway is not None
        old = self.upstreams()
        self.caches.change(config)
        self.listener.handle = self.gateway(config.gateway, config).handle
        for upstream in old.values():
            upstream.retire()

    def by_name(self) -> dict[str, Route]:
        """The routes by their names."""
        return {name.decode("ascii"): found.route for name, found in self._routes.items()}

    def upstreams(self) -> dict[str, Upstream]:
        """By the names of their routes."""
        routes = self.by_name().items()
        upstreams = ((name, route.upstream) for name, route in routes)
        return {name: one.upstream for name, one in upstreams if one is not None}

    def paces(self) -> dict[str, Pace]:
        """By the names of their routes."""
        routes = self.by_name().items()
        return {name: route.pace for name, route in routes if route.pace is not None}

    @property
    def store(self) -> CacheStore | None:
        """The store of the first route in mode cache."""
        routes = self.by_name().values()
        return next((route.store for route in routes if isinstance(route, Cached)), None)


def at_pace(route: Route, pace: Pace) -> Route:
    """The route, with its calls at this pace."""
    if route.upstream is None:
        return route
    return evolve(route, upstream=evolve(route.upstream, pace=pace))


def gateway_routes(settings: GatewaySettings, maker: RouteMaker) -> dict[bytes, GatewayRoute]:
    """The routes by their names in paths. Raises ``ConfigError``."""
    made = {}
    for row in settings.routes:
        name = row.name.encode("ascii")
        made[name] = GatewayRoute(Outside(name, row.target), _route(row, maker))
    return made


def _route(row: GatewayRow, maker: RouteMaker) -> Route:
    # Requests arrive with the upstream's full path, which is also in the recorded URL.
    origin = evolve(row.target, base_path="")
    upstream = None
    if row.mode is not Mode.REPLAY or row.check_live:
        upstream = maker.upstreams.of(origin, row.upstream, keep_host=row.keep_host)
    return maker.of_row(row, upstream, origin, row.name)
