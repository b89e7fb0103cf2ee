"""A memo from a request that was a hit, as it came, to what answered it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable
from operator import itemgetter

from attrs import define, frozen

from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.exchanges.route import Route
from buffr.matching.header_table import is_volatile
from buffr.message import Headers, Request
from buffr.policy.key_gate import KeyGate
from buffr.transport.memo import Memo
from buffr.wire.volatile_fields import Cut, Rest, VolatileFields, names_in

__all__ = [
    "Guard",
    "HitMemo",
    "KnownHit",
    "RelayedHere",
    "Repeated",
    "RequestBytes",
    "key_guard",
]

_ENTRIES = 65536
_ENTRY_BYTES = 1000
"""The size of Python's objects without requests and answers, measured with CPython 3.11."""
_RELAY_BYTES = 2000
"""The same for a request that was relayed."""
_FIELD_BYTES = 130
"""The size of the objects of one field."""
_MARKS = 65536
_MARK = (1 << 32) - 1
_name_of = itemgetter(0)

Guard = Callable[[str, Route], bool]
"""Whether a client, by its IP address, still gets answers, and still by this route."""


def key_guard(gate: KeyGate, request: Request) -> Guard:
    """Lets in whom the gate lets in with this request."""
    return lambda client, _: gate.lets_in(request, client)


RequestBytes = tuple[Hashable, bytes | Headers | Rest]
"""A whole request as it came, and in front of it the handler that it came to.

In HTTP/2 it is the fields of a request. A body is the last of them, without a name.
"""


@define(eq=False)
class KnownHit:
    """The answer to a request, and what has to be looked at before it is given again.

    ``data`` is what is written in HTTP/1.1. In HTTP/2 it is the body, and
    ``fields`` are those of the head. ``most_bytes`` bounds the values of
    volatile fields together: a request with longer ones may be too long.
    """

    data: bytes
    hit: Hit
    guard: Guard | None
    fields: Headers = ()
    most_bytes: int = 0
    trailers: Headers = ()


@frozen(eq=False)
class RelayedHere:
    """A request that was relayed, as this listener got it, and whether for one that uses a proxy.

    ``guard`` and ``most_bytes`` are as in ``KnownHit``.
    """

    relay: KnownRelay
    request: Request
    guard: Guard | None
    proxy: bool
    most_bytes: int = 0


@frozen(eq=False)
class Repeated:
    """A request that came before, by its bytes or its fields.

    ``rest`` is what it has in common with others that differ in nothing but
    the ``volatile`` fields. Together, these have ``values_bytes``.
    """

    exact: RequestBytes
    rest: RequestBytes | None = None
    volatile: tuple[bytes, ...] = ()
    values_bytes: int = 0


class HitMemo:
    """Maps whole, strictly accepted requests to their answers.

    It holds what follows from the bytes or the fields, never a decision: see
    ``Hit``. The same bytes may mean something else to another handler, so that
    is a part of what is looked up. Requests that differ in nothing but the
    values of volatile fields have one entry if their answer disregards them. A
    request is worth an entry from the second time on: one that came once
    leaves four bytes. ``size_bytes`` bounds the memory.
    """

    def __init__(self, size_bytes: int) -> None:
        self._known: Memo[RequestBytes, KnownHit | RelayedHere] = Memo(
            entries=_ENTRIES, size_bytes=size_bytes
        )
        self._marks = array("I", bytes(4 * _MARKS))
        self.filled = False
        """Whether anything was ever put here: what only relays and records has no use for it."""
        self.get = self._known.get
        self._volatile = VolatileFields(is_volatile)
        self.cut = self._volatile.cut
        self.cut_fields = self._volatile.cut_fields

    def similar(
        self, handler: Hashable, cut: Cut
    ) -> tuple[KnownHit | RelayedHere, tuple[bytes, ...]] | None:
        """What is known of a request without the values of volatile fields, and these values."""
        rest, values = cut
        known = self.get((handler, rest))
        if known is None or sum(map(len, values)) > known.most_bytes:
            return None
        return known, values

    def repeated(
        self, handler: Hashable, raw: bytes | Headers, headers: Headers
    ) -> Repeated | None:
        """A request that is worth remembering; ``headers`` are all its fields."""
        volatile = self._volatile
        if not volatile.judged.issuperset(map(_name_of, headers)):
            volatile.meet(headers)
        cut = self.cut(raw) if isinstance(raw, bytes) else self.cut_fields(raw)
        if cut is None:
            return Repeated((handler, raw)) if self._came_before(raw) else None
        rest, values = cut
        if not self._came_before(rest):
            return None
        names = names_in(rest)
        if names != tuple([name.lower() for name, _ in headers if name.lower() in names]):
            return None  # one of them came in two forms
        return Repeated((handler, raw), (handler, rest), names, sum(map(len, values)))

    def _came_before(self, raw: bytes | Headers | Rest) -> bool:
        """Whether a request came before, as far as is known."""
        mark = hash(raw) & _MARK
        if self._marks[mark % _MARKS] == mark:
            return True
        self._marks[mark % _MARKS] = mark
        return False

    def put(self, request: Repeated, known: KnownHit) -> None:
        if request.rest is not None and known.hit.volatile:
            known.most_bytes = request.values_bytes
            self._put(request.rest, known)
        elif request.rest is None or self._came_before(request.exact[1]):
            self._put(request.exact, known)

    def _put(self, request: RequestBytes, known: KnownHit) -> None:
        raw = request[1]
        self.filled = True
        asked = len(raw) if isinstance(raw, bytes) else sum(map(_size_of, raw))
        self._known.put(request, known, asked + len(known.data) + _ENTRY_BYTES)

    def put_relay(self, request: Repeated, known: RelayedHere) -> None:
        """Remember a request that was relayed, whatever the values of its volatile fields."""
        self.filled = True
        size_bytes = len(request.exact[1]) + known.relay.size_bytes + _RELAY_BYTES
        self._known.put(request.rest or request.exact, known, size_bytes)


def _size_of(part: bytes | tuple[bytes, bytes]) -> int:
    size = len(part) if isinstance(part, bytes) else len(part[0]) + len(part[1])
    return size + _FIELD_BYTES
