"""Routes of a proxy whose scopes each have settings of their own, such as the tests of a suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, evolve, field
from twisted.internet.protocol import Protocol

from buffr.config import Config
from buffr.errors import AccessDenied, BuffrError
from buffr.exchanges.route import Route
from buffr.origin import Origin
from buffr.wiring.cassettes import Cassettes
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.routes import RouteMaker, redaction_rules

__all__ = ["ScopedRoutes"]

_MOST_READY = 4096


@define(eq=False)
class ScopedRoutes:
    """Finds the routes of scopes that have begun; requests of no scope are refused.

    ``redact`` that a scope names beside the service's own has cassettes of its own
    made, since what is a credential holds for a whole cassette. ``refused`` is told of
    an origin that has no route.
    """

    maker: RouteMaker
    refused: Callable[[str, Origin, BuffrError], None] = field(default=lambda *_: None)
    ready: dict[tuple[Origin, str], Route] = field(init=False, factory=dict)
    _paths: dict[bytes, tuple[str, Origin]] = field(init=False, factory=dict)
    _led: int = field(init=False, default=0)
    _scopes: dict[str, ForwardRoutes] = field(init=False, factory=dict)
    _ended: list[ForwardRoutes] = field(init=False, factory=list)
    _makers: dict[tuple[object, ...], RouteMaker] = field(init=False, factory=dict)

    def begin(self, scope: str, config: Config) -> None:
        """Serve a scope by the forward proxy of these settings. Raises ``ConfigError``."""
        assert config.forward is not None
        self._scopes[scope] = ForwardRoutes(config.forward, self._maker_for(config))

    def _maker_for(self, config: Config) -> RouteMaker:
        settings = config.forward
        assert settings is not None
        redact = config.redact
        compared = {name for row in settings.hosts for name in row.match.header}
        name = (redact, tuple(sorted(compared.union(settings.match.header))))
        maker = self._makers.get(name)
        if maker is None:
            rules = redaction_rules(config)
            old = self.maker
            cassettes = Cassettes(config, old.reactor, rules, old.cassettes.servers, old.spool_dir)
            maker = evolve(old, config=config, rules=rules, cassettes=cassettes)
            self._makers[name] = maker
        return maker

    def lead(self, scope: str, origin: Origin) -> str:
        """The first segment of paths that lead to an upstream from now on, until the scope ends."""
        known = [path for path, to in self._paths.items() if to == (scope, origin)]
        if known:
            return known[0].decode("ascii")
        self._led += 1
        segment = b"%b~%d" % (scope.encode("ascii"), self._led)
        self._paths[segment] = (scope, origin)
        return segment.decode("ascii")

    def led_to(self, segment: bytes) -> tuple[str, Origin] | None:
        """The scope and the upstream of a path's first segment."""
        return self._paths.get(segment)

    def end(self, scope: str) -> None:
        """Serve a scope no longer; what is under way is finished."""
        routes = self._scopes.pop(scope, None)
        if routes is not None:
            self._ended.append(routes)
        self._paths = {path: to for path, to in self._paths.items() if to[0] != scope}
        for name in [name for name in self.ready if name[1] == scope]:
            del self.ready[name]  # of this very dictionary, which others hold
        self._ended = [one for one in self._ended if not one.let_all_go()]

    def routes_of(self, scope: str) -> Iterable[Route]:
        """Those that were made for a scope."""
        routes = self._scopes.get(scope)
        return () if routes is None else routes.ready.values()

    async def of(self, origin: Origin, scope: str) -> Route:
        routes = self._scopes.get(scope)
        if routes is None:
            what = f"the scope {scope} has ended" if scope else "this proxy asks for a scope"
            raise AccessDenied(what, hint="use the fixture buffr in the test that asks")
        try:
            route = await routes.of(origin, scope)
        except BuffrError as error:
            self.refused(scope, origin, error)
            raise
        if len(self.ready) >= _MOST_READY:
            self.ready.clear()
        self.ready[origin, scope] = route
        return route

    async def dial(self, host: str, port: int, protocol: Protocol, *, hops: bytes = b"") -> None:
        settings = self.maker.config.forward
        assert settings is not None
        await ForwardRoutes(settings, self.maker).dial(host, port, protocol, hops=hops)

    def open_all(self) -> None:
        """Nothing is known before a scope begins."""

    async def close(self) -> None:
        """Let all go, and write what waits."""
        for scope in list(self._scopes):
            self.end(scope)
        for maker in self._makers.values():
            await maker.cassettes.close()
