"""A route: all settings that apply to a listener's requests, by kind."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Protocol

from attrs import define, field, frozen

from buffr.clock.session import SessionClocks
from buffr.drift.verdict import Verdict
from buffr.exchanges.ages import Ages
from buffr.exchanges.explain import Explainer
from buffr.exchanges.hooks import Hooks
from buffr.exchanges.long_bodies import RouteBodies
from buffr.exchanges.pace import Pace, PacedUpstream
from buffr.exchanges.playhead import Playhead
from buffr.exchanges.reflection import Reflection
from buffr.interaction import Interaction
from buffr.matching.key import KeyPart
from buffr.matching.matcher import Matcher
from buffr.matching.variants import Identity, VariantDifference
from buffr.message import Request
from buffr.origin import Origin
from buffr.policy.cache.keys import CacheKeys
from buffr.policy.cache.rules import CacheRules
from buffr.policy.cache.storing import Timing
from buffr.policy.faults import Faults
from buffr.policy.mode import Mode, needs_key
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Store
from buffr.stores.cache import CacheStore
from buffr.stores.fleet import Fleet, FleetFlights

__all__ = [
    "Cached",
    "Fitting",
    "LiveChecks",
    "Passing",
    "Recorded",
    "Route",
    "SessionLimits",
    "Uses",
    "Variants",
]

_MOST_LOGGED = 4096
_MOST_ONCE = 1000


@frozen
class SessionLimits:
    """Limits of a WebSocket session: sizes in bytes, times in seconds; zero means unlimited.

    ``message_bytes`` limits an inflated message; ``recorded_bytes`` the
    recorded part of a session; ``idle_s`` the silence of both sides.
    ``close_s`` limits the wait for the answer to a close frame, and for the
    end of a closed connection; there zero means none.
    """

    message_bytes: int = 0
    recorded_bytes: int = 1 << 30
    idle_s: float = 0
    close_s: float = 10


@define(eq=False)
class Uses:
    """What is under way on a route: exchanges, and flights that outlive theirs.

    A route that was created on demand is released if nothing is under way, and
    nothing was ``lately``: a periodic check clears that flag.
    """

    under_way: int = 0
    lately: bool = False

    def begin(self) -> None:
        """Something begins on the route; the route is not released before the matching ``end``."""
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1
        self.lately = True


@define(eq=False)
class Variants:
    """Whether the only recording of a request may answer another variant of it.

    ``strict``: never. Remembers which differences were logged.
    """

    strict: bool = False
    _logged: set[VariantDifference] = field(factory=set, init=False)

    def is_unlogged(self, difference: VariantDifference) -> bool:
        """Whether this difference has not been logged yet."""
        if difference in self._logged:
            return False
        if len(self._logged) >= _MOST_LOGGED:
            self._logged.clear()
        self._logged.add(difference)
        return True


@define(eq=False)
class Fitting:
    """How recordings are fitted to the present.

    A replay tells its client to wait for no longer than ``retry_after_s``;
    ``None`` means for as long as recorded. With ``client_ends``, a stream that
    only its client ended is replayed, and held open. With a ``clock``, what
    answers say about time moves to the time of the replay.
    """

    retry_after_s: float | None = None
    client_ends: bool = False
    clock: SessionClocks | None = None
    _waited: bool = field(default=False, init=False)

    def is_first_wait(self) -> bool:
        """Whether this is the first answer that makes a client wait although it need not."""
        if self._waited or self.retry_after_s is not None:
            return False
        self._waited = True
        return True


@define(eq=False)
class Once:
    """Kinds of requests that mode replay lets through to the upstream, each once.

    A kind is what identifies a request, without its query and its body.
    ``until`` is seconds of a monotonic clock.
    """

    _open: dict[tuple[KeyPart, ...], tuple[PacedUpstream, float]] = field(factory=dict, init=False)

    def allow(self, identity: Identity, upstream: PacedUpstream, until: float) -> None:
        """Let the next request of this kind through."""
        if len(self._open) >= _MOST_ONCE:
            del self._open[next(iter(self._open))]
        self._open[_kind(identity)] = (upstream, until)

    def take(self, identity: Identity, now: float) -> PacedUpstream | None:
        """The upstream that a request may ask, which no other of its kind may then."""
        found = self._open.pop(_kind(identity), None) if self._open and identity.keys else None
        return None if found is None or found[1] < now else found[0]


def _kind(identity: Identity) -> tuple[KeyPart, ...]:
    parts = identity.keys[0].parts
    return tuple([part for part in parts if part[0] not in ("query", "body")])


class LiveChecks(Protocol):
    """Checks a share of what a route replays against the live API, each recording once."""

    def is_done(self, place: int) -> bool:
        """Whether nothing more is to be checked of the recording at a place."""

    def wants(self, place: int, request: Request) -> bool:
        """Whether to check the recording at a place, now that it answers a request."""

    async def verdict(
        self, place: int, recorded: Interaction, request: Request, words: str
    ) -> Verdict:
        """Ask the live API what a recording answered; ``words`` are those of the request."""


@frozen(eq=False, kw_only=True)
class _AnyRoute:
    """What every route has.

    ``spool_dir`` is for bodies over ``body_memory_bytes`` in transit, as in
    ``Spool``. If its answer is kept, a call to the upstream continues for
    ``linger_s`` seconds after its last client left. ``origin`` is part of a
    request's identity, if one listener serves many origins. ``src`` is the
    source of live answers in the log. ``session_limits`` apply to WebSocket
    sessions. ``uses`` says whether the route can be released. ``faults`` are
    those that its answers suffer.
    """

    upstream: PacedUpstream | None
    redaction: RedactionRules
    spool_dir: Path | None = None
    body_memory_bytes: int = 1024 * 1024
    linger_s: float = 10.0
    origin: Origin | None = None
    src: str = "upstream"
    session_limits: SessionLimits = SessionLimits()
    uses: Uses = field(factory=Uses)
    faults: Faults | None = None

    @property
    def pace(self) -> Pace | None:
        """The pace of its requests to the upstream, if there is one."""
        return None if self.upstream is None else self.upstream.pace


@frozen(eq=False, kw_only=True)
class Recorded(_AnyRoute):
    """Modes auto, record and replay: interactions are replayed or recorded.

    There is no ``upstream`` in mode replay. Answers with ``record_statuses``
    are kept, others pass through. ``bodies`` reads long request bodies.
    ``fleet`` has what the route shares with other processes, if it does.
    ``explainer`` reports the nearest recordings of a miss. ``ages`` finds
    recordings that are too old; without it none is. ``in_dialogue`` says that
    its exchanges are calls within sessions, as in ``Dialogues``. ``hooks``
    are functions of the user's. ``checks`` ask the live API on the side.
    ``recorded_by`` is the program and its settings as in interactions.
    """

    mode: Mode
    store: Store
    matcher: Matcher
    bodies: RouteBodies
    playhead: Playhead
    explainer: Explainer
    share: bool
    record_statuses: Container[int]
    replay_delays: bool
    ages: Ages | None = None
    fleet: Fleet | None = None
    variants: Variants = field(factory=Variants)
    once: Once = field(factory=Once)
    """What mode replay lets through by hand."""
    fitting: Fitting = field(factory=Fitting)
    recorded_by: str | None = None
    in_dialogue: bool = False
    hooks: Hooks | None = None
    checks: LiveChecks | None = None
    reflection: Reflection | None = None
    identifies: bool = field(init=False)
    """Whether requests are identified, and so read completely, first."""
    alters: bool = field(init=False)
    """Whether answers differ from their recordings by the request or the time."""

    @alters.default
    def _default_alters(self) -> bool:
        return bool(self.matcher.sync) or self.fitting.clock is not None

    @identifies.default
    def _default_identifies(self) -> bool:
        hooked = self.hooks is not None and self.hooks.before_match is not None
        return self.in_dialogue or hooked or needs_key(self.mode, share=self.share)


@frozen(eq=False, kw_only=True)
class Cached(_AnyRoute):
    """Mode cache: answers are kept for as long as HTTP and the ``rules`` allow.

    ``name`` is the name of its answers in the store: routes with the same name
    share them. ``timing`` is that of the rules.
    """

    upstream: PacedUpstream
    name: str
    rules: CacheRules
    store: CacheStore
    keys: CacheKeys
    matcher: Matcher
    bodies: RouteBodies
    flights: FleetFlights | None = None
    timing: Timing = field(init=False)

    @timing.default
    def _default_timing(self) -> Timing:
        return Timing(self.rules)


@frozen(eq=False, kw_only=True)
class Passing(_AnyRoute):
    """Mode passthrough, and bypassed hosts: everything is relayed, and nothing is kept."""

    upstream: PacedUpstream


Route = Recorded | Cached | Passing
