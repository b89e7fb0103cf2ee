"""A request that was relayed before: an identical one skips everything with the same result.

What is remembered depends only on the request's bytes: the bytes that the
upstream gets, and the words for the log. What can change is looked at each
time: whether a connection is free, and what it is used for; counters, log and
observer are updated as for any other exchange. The listener checks access.

From a request to its answer no coroutine waits, as long as all is as usual: a
connection that is free, and an answer that comes at once. Whatever else
happens, the engine answers the request from there on, by the usual way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from attrs import define
from twisted.logger import LogLevel

from buffr.exchanges.route import Route, Uses
from buffr.log import say
from buffr.message import Request, ResponseHead
from buffr.upstream.bound import Client
from buffr.upstream.connection import Connection
from buffr.upstream.known_call import KnownCall

__all__ = ["KnownRelay", "Relay", "RelayClient", "TellRelay"]

_CHALLENGES = (401, 407)
"""With these an answer may bind its connection to the client's."""


class RelayClient(Client, Protocol):
    """A client's connection, as a relay sees it."""

    def can_take(self) -> bool:
        """Whether a whole answer may go out, and another request may follow it."""

    def give(self, head: ResponseHead, body: bytes) -> bool:
        """Send the answer. Returns whether the client has room for more."""

    def go_on(self) -> None:
        """Have the engine answer the request from here on."""


TellRelay = Callable[[float, tuple[ResponseHead, bytes], tuple[bytes, ...]], None]
"""Notes a relayed request: when it began, in seconds since the epoch, its whole answer, and its
values of the volatile fields."""


@define(eq=False)
class KnownRelay:
    """A request that was relayed, and what follows from its bytes.

    ``uses`` counts it while it is under way. ``request`` is as its route gets
    it. ``way_back`` changes heads of answers for the client, and ``sink_for``
    does that in the usual way. Others differ in the values of its ``volatile``
    fields.
    """

    route: Route
    uses: Uses
    request: Request
    scope: str
    body: bytes
    volatile: Sequence[bytes]
    call: KnownCall
    wall: Callable[[], float]
    tell: TellRelay
    handle: Callable[[Route, Request, bytes, Any, str, Relay], Awaitable[None]]
    way_back: Callable[[ResponseHead], ResponseHead] | None = None
    sink_for: Callable[[Any], Any] | None = None

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.body) + self.call.size_bytes + self.request.head_bytes

    def again(self, client: RelayClient, values: tuple[bytes, ...]) -> Relay | None:
        """Relay it once more for a client; ``None`` if it has to go by the usual way."""
        relay = Relay(self, client, self.wall(), values)
        relay.connection = self.call.again(client, relay, values)
        if relay.connection is None:
            return None
        self.uses.under_way += 1
        return relay


class Relay:
    """Such a request under way. ``passed`` is the answer, once the client has it."""

    __slots__ = ("_client", "_values", "connection", "known", "passed", "started")

    connection: Connection | None

    def __init__(
        self, known: KnownRelay, client: RelayClient, started: float, values: tuple[bytes, ...]
    ) -> None:
        self.known = known
        self.started = started
        self.passed: tuple[ResponseHead, bytes] | None = None
        self._client = client
        self._values = values

    def request_of(self, first: Request) -> Request:
        """The request, by the form in which the first one was somewhere."""
        values = self._values
        return first.with_values(self.known.volatile, values) if values else first

    # As an ``Asker``.

    def answered(self, head: ResponseHead, body: bytes) -> bool:
        client, known = self._client, self.known
        if head.status in _CHALLENGES or not client.can_take():
            client.go_on()
            return False
        head = head.for_next_hop
        given = head if known.way_back is None else known.way_back(head)
        self.passed = passed = head, body
        if not client.give(given, body):
            client.go_on()  # it is over when the client has taken the answer
            return True
        uses = known.uses
        uses.under_way -= 1
        uses.lately = True
        try:
            known.tell(self.started, passed, self._values)
        except Exception as error:  # noqa: BLE001  # a defect in buffr: the connections are well
            say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")
        return True

    def go_on(self) -> None:
        self._client.go_on()

    async def finish(self, sink: Any) -> None:
        """Answer in the usual way from here on. Raises like the engine."""
        known = self.known
        if known.sink_for is not None:
            sink = known.sink_for(sink)
        uses, request = known.uses, self.request_of(known.request)
        try:
            await known.handle(known.route, request, known.body, sink, known.scope, self)
        finally:
            uses.under_way -= 1
            uses.lately = True
