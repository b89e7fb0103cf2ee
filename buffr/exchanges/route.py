"""A route: what holds for the requests of a listener."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from attrs import define, field, frozen

from buffr.exchanges.ages import Ages
from buffr.exchanges.explain import Explainer
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.pace import Pace
from buffr.exchanges.playhead import Playhead
from buffr.exchanges.session_limits import SessionLimits
from buffr.matching.matcher import Matcher
from buffr.origin import Origin
from buffr.policy.cache.keys import CacheKeys
from buffr.policy.cache.rules import CacheRules
from buffr.policy.cache.timing import Timing
from buffr.policy.mode import Mode
from buffr.policy.variants import Variants
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Store
from buffr.stores.cache import CacheStore
from buffr.upstream.upstream import Upstream

__all__ = ["Route", "RouteCache", "Uses"]


@frozen(eq=False)
class RouteCache:
    """What a route in mode cache has beside: its name in the store, rules and keys.

    ``timing`` is that of the rules.
    """

    name: str
    rules: CacheRules
    store: CacheStore
    keys: CacheKeys
    timing: Timing = field(init=False)

    @timing.default
    def _default_timing(self) -> Timing:
        return Timing(self.rules)


@define(eq=False)
class Uses:
    """What is under way on a route: exchanges, and flights that outlive theirs.

    A route that is made on demand is let go when nothing is, and nothing was
    ``lately``: whoever looks from time to time clears that.
    """

    under_way: int = 0
    lately: bool = False

    def begin(self) -> None:
        """Something begins on the route; it is not let go before the same ``end``."""
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1
        self.lately = True


@frozen(eq=False)
class Route:
    """Binds requests to an upstream, a store, and the settings that hold for them.

    ``upstream`` is ``None`` where the network is never touched, ``store``
    where nothing is kept. ``record_statuses`` are kept, others pass through.
    ``spool_dir`` takes bodies over ``body_memory_bytes`` while they are on
    their way, as ``Spool`` has it. ``bodies`` reads those of requests that are
    long. A recording goes on for ``linger_s`` seconds after its last client
    left. ``origin`` is part of what identifies a request, where one
    listener serves many. ``src`` says in the log where answers come from.
    ``explainer`` tells what came near to a request that nothing answers.
    ``session_limits`` hold for WebSocket sessions.
    ``pace`` makes requests to the upstream wait for their turn.
    ``ages`` tells which recordings are too old; without it none is.
    ``cache`` is there in mode cache, which uses neither ``store`` nor ``playhead``.
    ``variants`` says whether the recording of another variant may answer.
    ``uses`` tells whether the route can be let go.
    """

    mode: Mode
    upstream: Upstream | None
    store: Store | None
    matcher: Matcher
    playhead: Playhead
    redaction: RedactionRules
    share: bool
    record_statuses: Container[int]
    replay_delays: bool
    spool_dir: Path | None
    body_memory_bytes: int = 1024 * 1024
    linger_s: float = 1.0
    origin: Origin | None = None
    src: str = "upstream"
    explainer: Explainer | None = None
    session_limits: SessionLimits = SessionLimits()
    pace: Pace | None = None
    ages: Ages | None = None
    cache: RouteCache | None = None
    variants: Variants = field(factory=Variants)
    uses: Uses = field(factory=Uses)
    bodies: RouteBodies = field()

    @bodies.default
    def _read_at_once(self) -> RouteBodies:
        return RouteBodies(LongBodies(), self.matcher, self.store)
