"""What the admin listener's pages know of the running service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, assert_never
from weakref import WeakKeyDictionary, WeakValueDictionary

from attrs import define, field, frozen

from buffr.config import Config
from buffr.errors import BuffrError
from buffr.exchanges.exchange import Counters
from buffr.exchanges.route import Cached, Passing, Recorded, Route
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Interaction
from buffr.matching.matcher import Matcher
from buffr.matching.variants import Identity
from buffr.policy.mode import Mode
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Store
from buffr.stores.cache import CacheStore

__all__ = [
    "CachePlace",
    "Candidate",
    "Check",
    "Kind",
    "LeafFigures",
    "NamedRoute",
    "Open",
    "OpenStore",
    "Rejected",
    "RouteIds",
    "Running",
    "ServerFigures",
    "mode_of",
]

Kind = Literal["reverse", "gateway", "forward", "bypass"]


@frozen
class Open:
    """A port that is open: its address, connections now, and connections since the start."""

    address: str
    port: int
    connections: int
    accepted: int


@frozen
class LeafFigures:
    """Certificates that are ready, those that were made, and the handshakes that asked."""

    entries: int
    minted: int
    handshakes: int


@frozen
class Check:
    """One condition for being ready."""

    name: str
    ok: bool
    detail: str | None = None


@frozen
class ServerFigures:
    """A Redis or Valkey server that routes use as their store.

    ``outages`` counts how often it was lost; ``spooled`` recordings wait for it.
    """

    name: str
    is_up: bool
    outages: int
    spooled: int


@frozen(eq=False)
class NamedRoute:
    """A route and how it is shown.

    ``modes`` are those that it can be switched to, ``listens`` is where
    clients reach it.
    """

    id: str
    name: str
    kind: Kind
    route: Route
    modes: tuple[Mode, ...] = ()
    listens: str | None = None


@frozen(eq=False)
class OpenStore:
    """A set of recordings, as it is seen by one of its routes. ``path`` is a file's.

    ``writable``: its recordings can be edited and removed. ``routes`` are
    the ids of those that use it.
    """

    id: str
    name: str
    kind: Literal["cassette", "sqlite", "memory", "redis"]
    path: Path | None
    store: Store
    places: range
    writable: bool
    routes: tuple[str, ...]
    matcher: Matcher
    held: Any = None
    """What the service itself has of it."""


class Rejected(BuffrError):
    """An edited recording could not be relied on."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the edited recording cannot be relied on")
        self.problems = problems


class Candidate(Protocol):
    """Rules for a route that are not accepted yet, and what they would change.

    ``file`` is the settings file that would be written, if one has the route.
    """

    @property
    def route(self) -> Recorded: ...
    @property
    def matcher(self) -> Matcher: ...
    @property
    def yaml(self) -> str: ...
    @property
    def file(self) -> Path | None: ...
    @property
    def before(self) -> str: ...
    @property
    def after(self) -> str: ...


@frozen
class CachePlace:
    """Where a cache keeps its answers."""

    name: str
    kind: Literal["sqlite", "memory", "redis"]
    path: Path | None = None


def mode_of(route: Route) -> Mode:
    """The mode of a route."""
    match route:
        case Recorded():
            return route.mode
        case Cached():
            return Mode.CACHE
        case Passing():
            return Mode.PASSTHROUGH
        case other:
            assert_never(other)


@define(eq=False)
class RouteIds:
    """The ids of routes: given ones, or made of the origin behind the forward proxy."""

    bases: dict[str, str] = field(factory=dict)
    """The upstreams' URLs, without a path, by the ids that were given."""
    known: WeakKeyDictionary[Route, str] = field(factory=WeakKeyDictionary)
    _numbers: WeakKeyDictionary[Route, int] = field(init=False, factory=WeakKeyDictionary)
    _numbered: WeakValueDictionary[int, Route] = field(init=False, factory=WeakValueDictionary)
    _last: int = field(init=False, default=0)

    def give(self, route: Route, name: str) -> None:
        """Give a route an id."""
        self.known[route] = name
        if route.upstream is not None:
            origin = route.upstream.upstream.origin
            self.bases[name] = f"{origin.scheme}://{origin.authority.decode('ascii')}"

    def of(self, route: Route) -> str:
        """The id of a route; the same for all routes to one origin of the forward proxy."""
        found = self.known.get(route)
        if found is None:
            origin = route.origin
            found = "unknown"
            if origin is not None:
                kind = "bypass" if route.src == "bypass" else "forward"
                found = f"{kind}-{origin.scheme}-{origin.host}-{origin.port}"
            self.known[route] = found
        return found

    def number(self, route: Route) -> int:
        """A number that no other route ever has; it does not keep the route alive."""
        found = self._numbers.get(route)
        if found is None:
            self._last = found = self._last + 1
            self._numbers[route] = found
            self._numbered[found] = route
        return found

    def route(self, number: int) -> Route | None:
        """The route with a number, unless it was released."""
        return self._numbered.get(number)


class Running(Protocol):
    """The service behind the pages. All methods are called on the reactor's thread."""

    ids: RouteIds

    @property
    def config(self) -> Config:
        """The settings as they are now."""

    @property
    def rules(self) -> RedactionRules:
        """What is hidden here, even if recordings are not redacted."""

    def redacted(self, interaction: Interaction, types: MessageTypes) -> Interaction:
        """The interaction as it may be shown. Called from any thread.

        ``types`` are those of protobuf's messages.

        Raises ``UnsafeRecording`` if it cannot be searched for credentials.
        """

    @property
    def counters(self) -> Counters: ...

    def flights(self) -> int:
        """Calls to upstreams that are under way."""

    def leaves(self) -> LeafFigures | None:
        """The certificates for clients, if there are any."""

    def open_ports(self) -> Sequence[Open]:
        """The ports that it listens on, without the admin listener's."""

    def checks(self) -> Sequence[Check]:
        """What has to hold for it to be ready."""

    def routes(self) -> Sequence[NamedRoute]:
        """The routes that are there now."""

    def servers(self) -> Sequence[ServerFigures]:
        """The servers that are used as stores."""

    def stores(self) -> Sequence[OpenStore]:
        """The sets of recordings that are open now."""

    async def read(
        self, store: OpenStore, places: Sequence[int]
    ) -> Sequence[Interaction | BuffrError]:
        """The interactions at some places, or why there is none."""

    def element(self, interaction: Interaction) -> dict[str, Any]:
        """The element of a cassette that an interaction would be."""

    async def edit(
        self,
        store: OpenStore,
        place: int,
        element: Mapping[str, Any] | None,
        note: str | None,
        *,
        sets_note: bool,
        save: bool,
    ) -> None:
        """Replace an interaction, or its note; without ``save`` only check the new one.

        Raises ``Rejected``, ``BuffrError``.
        """

    async def remove(self, store: OpenStore, place: int) -> None:
        """Remove an interaction. Raises ``BuffrError``."""

    def cache_place(self, store: CacheStore) -> CachePlace:
        """Where a cache keeps its answers."""

    async def with_rules(self, named: NamedRoute, rules: Mapping[str, Any]) -> Candidate:
        """What more rules for a route's requests would change. Raises ``BuffrError``."""

    async def accept(self, candidate: Candidate) -> None:
        """Serve by rules from now on, and write them. Raises ``BuffrError``."""

    async def undo(self, candidate: Candidate, named: NamedRoute) -> None:
        """Take accepted rules back. Raises ``BuffrError``."""

    def can_record(self, named: NamedRoute) -> bool:
        """Whether a request of a route can be let through by hand."""

    async def record_once(self, named: NamedRoute, identity: Identity, within_s: float) -> str:
        """Let the next request of a kind through, and record its answer.

        Returns the upstream's URL. Raises ``BuffrError``.
        """

    async def set_mode(self, named: NamedRoute, mode: Mode) -> None:
        """Switch a route, which has the mode among its own. Raises ``BuffrError``."""

    def reference(self, route: Route, place: int) -> tuple[str | None, str, int] | None:
        """The ids of a recording and of its store, and its number; ``None`` if it has none."""
