"""Changes to the routes of a running service: another mode, other rules for matching."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field

from buffr.config import Config, ReverseRoute
from buffr.config.forward import ForwardHost
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.route import MatchSettings
from buffr.errors import ConfigError
from buffr.exchanges.pace import PacedUpstream
from buffr.exchanges.route import Recorded, Route
from buffr.listeners.client import Handler
from buffr.listeners.listener import HTTPListener
from buffr.matching.matcher import Matcher
from buffr.origin import Origin
from buffr.policy.mode import Mode
from buffr.wiring.cassettes import place_of
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.live_gateway import LiveGateway, at_pace
from buffr.wiring.matchers import matcher_for
from buffr.wiring.routes import RouteMaker

__all__ = ["LiveReverse", "RouteChanges", "Row"]

Row = ReverseRoute | GatewayRow | ForwardHost
_MOST = 500
"""Each change leaves an index behind until its store is closed."""


@define(eq=False)
class LiveReverse:
    """A reverse port: its row, its route, its listener, and how it hands requests to a route."""

    row: ReverseRoute
    route: Route
    listener: HTTPListener
    handler: Callable[[Route], Handler]

    @property
    def id(self) -> str:
        """By the port, which no other route has."""
        return f"reverse-{self.listener.port if self.row.port == 0 else self.row.port}"

    @property
    def name(self) -> str:
        target = self.row.target
        return self.id if target is None else target.authority.decode("ascii")


@define(eq=False)
class RouteChanges:
    """Replaces routes. Exchanges under way end by their old route."""

    config: Config
    maker: RouteMaker
    reverse: list[LiveReverse]
    gateway: LiveGateway | None
    forward: ForwardRoutes | None
    _count: int = field(init=False, default=0)

    def modes(self, row: Row) -> tuple[Mode, ...]:
        """The modes that a row's route can be switched to.

        Mode record sets a cassette aside, which only a start does.
        """
        if isinstance(row, ReverseRoute) and row.target is None:
            return (Mode.REPLAY,)
        return tuple(mode for mode in Mode if mode is not Mode.RECORD or mode is row.mode)

    async def change(self, route: Route, row: Row) -> None:
        """Serve later requests of a route by another row. Raises ``BuffrError``."""
        if self._count >= _MOST:
            raise ConfigError(
                f"the routes were changed {_MOST} times", hint="start buffr again to change more"
            )
        self._count += 1
        if row.mode.uses_cassette:
            await self._let_use(row)
        match row:
            case ReverseRoute():
                await self._change_reverse(route, row)
            case GatewayRow():
                await self._change_gateway(route, row)
            case ForwardHost():
                await self._change_forward(row)

    async def _let_use(self, row: Row) -> None:
        """Open what a row records to or replays from, and let it record if its mode does."""
        if isinstance(row, ForwardHost):
            return  # the next request does
        cassettes = self.maker.cassettes
        shared = await cassettes.borrow(place_of(row), row.mode)
        await cassettes.opened(shared)
        if row.mode.records:
            await cassettes.let_record(shared)

    async def let_record(self, route: Recorded, row: Row) -> None:
        """Let a route record what is let through by hand. Raises ``BuffrError``."""
        cassettes = self.maker.cassettes
        place = place_of(row)
        if isinstance(row, ForwardHost) and self.forward is not None:
            place = self.forward.place_of(route) or place
        shared = await cassettes.borrow(place, row.mode)
        await cassettes.opened(shared)
        await cassettes.let_record(shared)

    async def _change_reverse(self, route: Route, row: ReverseRoute) -> None:
        (one,) = [each for each in self.reverse if each.route is route]
        made = await self._made(row, route, row.target)
        one.row, one.route = row, made
        one.listener.handle = one.handler(made)
        rows = tuple(each.row for each in self.reverse)
        self.config = evolve(self.config, reverse=rows)
        _retire(route, made)

    async def _change_gateway(self, route: Route, row: GatewayRow) -> None:
        assert self.gateway is not None
        origin = evolve(row.target, base_path="")
        made = await self._made(row, route, origin, origin, row.name)
        self.config = evolve(self.config, gateway=self.gateway.replace(row, made))
        _retire(route, made)

    async def _made(
        self,
        row: ReverseRoute | GatewayRow,
        old: Route,
        target: Origin | None,
        origin: Origin | None = None,
        name: str = "",
    ) -> Route:
        """The new route of a row, which goes on where the old one is."""
        maker = self.maker
        upstream = None
        if row.mode is not Mode.REPLAY and target is not None:
            upstream = maker.upstreams.of(target, row.upstream, keep_host=row.keep_host)
        made = maker.of_row(row, upstream, origin, name)
        if row.mode is Mode.CACHE:
            await maker.caches.opened(row.cache)
        pace = old.pace
        if pace is not None and row.limits is not None:
            made = at_pace(made, pace)
        if isinstance(made, Recorded):
            if isinstance(old, Recorded) and old.playhead.repeat is made.playhead.repeat:
                made = evolve(made, playhead=old.playhead)
                made.explainer.playhead = old.playhead
            if made.mode is Mode.REPLAY:
                made.explainer.begin()
        return made

    async def _change_forward(self, row: ForwardHost) -> None:
        assert self.forward is not None
        settings = self.forward.replace(row)
        self.config = evolve(self.config, forward=settings)

    # What a change would do.

    def row_of(self, route: Route) -> Row | None:
        """The row of a route; ``None`` if it has none, as bypassed hosts have."""
        for one in self.reverse:
            if one.route is route:
                return one.row
        if self.gateway is not None:
            name = next((n for n, each in self.gateway.by_name().items() if each is route), None)
            if name is not None:
                (row,) = [each for each in self._gateway_rows() if each.name == name]
                return row
        if self.forward is not None and route.origin is not None and route.src != "bypass":
            return self.forward.settings.of(route.origin.host)
        return None

    def _gateway_rows(self) -> tuple[GatewayRow, ...]:
        settings: GatewaySettings | None = self.config.gateway
        return () if settings is None else settings.routes

    def matcher(self, route: Recorded, row: Row, match: MatchSettings) -> Matcher:
        """The matcher that a route would have with other settings for matching."""
        held = route.store
        interactions = getattr(held, "interactions")  # noqa: B009  # wiring knows its stores
        return matcher_for(
            match,
            self.maker.rules,
            interactions,
            row.websocket,
            route.matcher.types,
            with_origin=route.origin is not None,
        )

    def upstream(self, route: Route, row: Row) -> PacedUpstream | None:
        """A way to a route's upstream, also where mode replay has none."""
        if route.upstream is not None:
            return route.upstream
        target = route.origin if isinstance(row, ForwardHost) else row.target
        if target is None:
            return None
        if isinstance(row, GatewayRow):
            target = evolve(target, base_path="")
        upstream = self.maker.upstreams.of(target, row.upstream, keep_host=row.keep_host)
        return PacedUpstream(upstream, route.pace)


def _retire(old: Route, new: Route) -> None:
    if old.upstream is not None and (
        new.upstream is None or new.upstream.upstream is not old.upstream.upstream
    ):
        old.upstream.upstream.retire()
