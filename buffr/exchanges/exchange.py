"""An exchange: one live request, and the report about it when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from attrs import define, evolve

from buffr.drift.verdict import Verdict
from buffr.errors import BuffrError
from buffr.exchanges.dialogues import Remark
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay, Relay
from buffr.exchanges.request_body import RequestBody
from buffr.exchanges.route import Route
from buffr.exchanges.seen import Heard, LiveCheck
from buffr.interaction import Body, Interaction, RecordedRequest
from buffr.matching.suggestion import Suggestion
from buffr.matching.variants import Identity, Selecting
from buffr.message import Request, ResponseHead
from buffr.origin import Origin
from buffr.policy.faults import SessionClose
from buffr.recording.http import recorded_request
from buffr.redaction.for_log import credentials_in, target_for_log
from buffr.redaction.own_credentials import Secret
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Matches
from buffr.stores.cache import CacheEntry
from buffr.transport.duplex import Duplex
from buffr.transport.sink import Sink
from buffr.upstream.bound import Client

__all__ = [
    "Counters",
    "Ended",
    "Exchange",
    "Finished",
    "Observer",
    "SwitchingSink",
    "Watch",
    "shown",
    "shown_session",
]

_MAX_SHOWN = 1024
_UNIDENTIFIED = Identity((), Selecting())


@define
class Counters:
    """What has happened since the start; plain integers, read on demand."""

    hits: int = 0
    fetched: int = 0
    recorded: int = 0
    misses: int = 0
    errors: int = 0
    failed_appends: int = 0
    bypassed: int = 0
    throttled: int = 0


@define(eq=False)
class Finished:
    """A finished exchange, for observers.

    ``request``, ``level`` and ``src`` are as in the log; ``detail`` says why
    the answer is not an ordinary one, in the words that the client got. A
    bypassed tunnel has no ``route``. ``scope`` is the client's. ``proposed``
    is the rule that would have made a miss a hit.
    """

    request: str
    status: int
    level: str
    src: str
    detail: str
    dur_s: float
    route: Route | None
    scope: str = ""
    proposed: Suggestion | None = None


class Observer(Protocol):
    """Gets notified of events as they happen. Must not raise."""

    def finished(self, exchange: Finished) -> None:
        """An exchange is over, or a bypassed tunnel has begun."""

    def recorded(self, request: str) -> None:
        """An answer was recorded."""

    def drifted(self, request: str, verdict: Verdict) -> None:
        """The live API answers otherwise than the recording that was replayed."""


Ended = tuple["Exchange", str, int, str, str, BuffrError | None]
"""An exchange that is over: what ``Finished`` says of it as ``request``, ``status``, ``level`` and
``detail``, and what the client got instead of an answer."""


class Watch(Protocol):
    """Looks at exchanges more closely than an observer, and later.

    Most exchanges make no call for it: they go into a list.
    """

    pending: list[tuple[float, float | None, Any, Any]]
    """Takes the exchanges that are over.

    Each is the time in seconds since 1970, how long it took in seconds, an
    ``Ended``, and nothing; for a hit that is repeated, which takes no time
    that counts, ``None``, what was ``kept`` of the first one, and its own
    values of the ``volatile`` fields. For a request that is relayed again
    there are, after the two times, those that are ``alike``, and the head and
    the body of its answer, with its values of the ``volatile`` fields.
    """

    def soon(self) -> None:
        """The first one is about to be put there since it was emptied."""

    def take_in(self) -> None:
        """There are so many now that they should be taken in."""

    def listen(self, exchange: Exchange) -> None:
        """Hear the answer of an exchange whose answer no store has yet."""

    def kept(self, exchange: Exchange, words: str, status: int) -> object:
        """What is kept of an ordinary hit, which may be repeated."""

    def alike(self, exchange: Exchange, words: str, status: int) -> object:
        """What is kept of relayed exchanges like this one, which may be repeated."""

    def kept_tunnel(self, words: str) -> object:
        """What is kept of a bypassed tunnel that has begun."""


class SwitchingSink(Sink, Protocol):
    """A sink whose exchange can switch to another protocol."""

    @property
    def memorable(self) -> bool:
        """Whether the same request may be answered with the same bytes when it comes again."""

    @property
    def volatile(self) -> Sequence[bytes]:
        """The request's fields in which others may differ that are the same otherwise.

        Lower-case names in wire order; known if it is ``memorable``.
        """

    @property
    def half_closed(self) -> bool:
        """Whether the client sends no more: it waits for the rest, or has left."""

    def remember(self, hit: Hit) -> None:
        """Keep what was sent for when the request comes again; only if it is ``memorable``.

        If the hit says so, also for requests that differ in the ``volatile`` fields.
        """

    def remember_relay(self, relay: KnownRelay) -> None:
        """Relay the request in this way when it comes again; only if it is ``memorable``."""

    @property
    def connection(self) -> Client:
        """The connection that it answers on."""

    def switch(self, head: ResponseHead) -> Duplex:
        """Answer with a head only; returns the duplex for the bytes that follow.

        Raises ``ClientGone`` if the client is leaving.
        """


@define(eq=False)
class Exchange:
    """One live request on its way through buffr.

    ``src`` says where its answer comes from. ``body`` and ``identity`` are set
    once the request was read as far as its route's mode needs; otherwise the
    identity has no keys. ``frames`` counts the frames of a WebSocket session.
    ``too_old`` is the place of a recording that would answer if it were
    younger, and ``old_name`` the name by which that is filed. ``variants``
    are recordings of its key that answer other requests.
    ``client`` is the connection on which the request arrived. ``proposed`` is
    the rule with which a miss would match the nearest recording. ``remark`` is
    its part in a dialogue, if its route has these. ``place`` is
    that of the recording that answers, and ``interaction`` the recording;
    ``entry`` is a stored answer. ``watch`` wants to see it, ``heard`` is the
    answer, if somebody listens, ``passed`` one that was passed on as a whole,
    and ``kept`` what a repeated hit has in common with it, but for the values
    of its ``volatile`` fields. ``shared``: its answer is that of another
    request's call. ``stale``: it was stored, and no longer fresh; ``age_s`` is
    the age of a stored answer. ``recorded``: its answer was recorded. ``check``
    is that of the recording against the live API. ``matched`` is the request
    as a hook has changed it. ``session_close`` is how a fault ends its session.
    ``relay`` is what became of it so far, if it went to its upstream at once.
    """

    route: Route
    request: Request
    sink: SwitchingSink
    scope: str
    src: str
    body: RequestBody = RequestBody(b"")
    identity: Identity = _UNIDENTIFIED
    frames: int | None = None
    too_old: int | None = None
    old_name: bytes = b""
    variants: Sequence[Matches] = ()
    client: Client | None = None
    proposed: Suggestion | None = None
    remark: Remark | None = None
    watch: Watch | None = None
    place: int | None = None
    interaction: Interaction | None = None
    entry: CacheEntry | None = None
    heard: Heard | None = None
    passed: tuple[ResponseHead, bytes] | None = None
    kept: object = None
    volatile: Sequence[bytes] = ()
    shared: bool = False
    stale: bool = False
    age_s: float | None = None
    recorded: bool = False
    matched: RecordedRequest | None = None
    check: LiveCheck | None = None
    session_close: SessionClose | None = None
    relay: Relay | None = None

    def recorded_request(self, body: Body) -> RecordedRequest:
        """What is recorded of its request; ``body`` is what the client sent."""
        matched = self.matched
        if matched is None:
            return recorded_request(self.request, body, self.route.origin)
        is_long = matched.body.size_bytes > len(matched.body.data)
        return evolve(matched, body=body) if is_long else matched

    def listen(self) -> None:
        """Let the answer be heard, if somebody watches: no store has it yet."""
        if self.watch is not None:
            self.watch.listen(self)

    @property
    def has_own_connection(self) -> bool:
        """Whether its call uses a connection that is bound to this client.

        Credentials for a connection make it this client's own, for this
        request and every one that follows.
        """
        if self.request.authenticates_connection:
            return True
        client, upstream = self.client, self.route.upstream
        if client is None or upstream is None or not client.bonds:
            return False
        return upstream.upstream.holds(client)


@lru_cache(maxsize=4096)
def _shown_whole(
    method: bytes,
    origin: Origin | None,
    target: bytes,
    rules: RedactionRules,
    credentials: tuple[Secret, ...],
) -> str:
    where = "" if origin is None else origin.url
    seen = target_for_log(target, rules, credentials)
    return f"{method.decode('ascii')} {where}{seen.decode('ascii')}"


@lru_cache(maxsize=1024)
def _shown(request: Request, origin: Origin | None, rules: RedactionRules) -> str:
    method, target = request.method, request.target
    credentials = credentials_in(target, request.headers, rules)
    if len(target) > _MAX_SHOWN:
        whole = _shown_whole.__wrapped__(method, origin, target, rules, credentials)
        return whole[:_MAX_SHOWN] + "..."
    return _shown_whole(method, origin, target, rules, credentials)


def shown(request: Request, route: Route) -> str:
    """Method and target for logs: without credentials, long targets cut."""
    return _shown(request, route.origin, route.redaction)


def shown_session(request: Request, route: Route) -> str:
    """Like ``shown``, for a WebSocket session."""
    return f"WS {shown(request, route).partition(' ')[2]}"
