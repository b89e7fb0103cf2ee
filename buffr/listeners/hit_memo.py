"""A memo from a request that was a hit, exactly as it came, to what answered it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable

from attrs import define

from buffr.exchanges.hit import Hit
from buffr.exchanges.route import Route
from buffr.message import Headers, Request
from buffr.policy.key_gate import KeyGate
from buffr.transport.memo import Memo

__all__ = ["Guard", "HitMemo", "KnownHit", "RequestBytes", "key_guard"]

_ENTRIES = 65536
_ENTRY_BYTES = 1500
"""The size of Python's objects without requests and answers, measured with CPython 3.11."""
_FIELD_BYTES = 130
"""The size of the objects of one field."""
_MARKS = 16384
_MARK = (1 << 32) - 1

Guard = Callable[[str, Route], bool]
"""Whether a client, by its IP address, still gets answers, and still by this route."""


def key_guard(gate: KeyGate, request: Request) -> Guard:
    """Lets in whom the gate lets in with this request."""
    return lambda client, _: gate.lets_in(request, client)


RequestBytes = tuple[Hashable, bytes | Headers]
"""A whole request as it came, and in front of it the handler that it came to.

In HTTP/2 it is the fields of a request without a body.
"""


@define(eq=False)
class KnownHit:
    """The answer to a request, and what has to be looked at before it is given again.

    ``data`` is what is written in HTTP/1.1. In HTTP/2 it is the body, and
    ``fields`` are those of the head.
    """

    data: bytes
    hit: Hit
    guard: Guard | None
    fields: Headers = ()


class HitMemo:
    """Maps the exact bytes or fields of whole, strictly accepted requests to their answers.

    It holds what follows from the bytes, never a decision: see ``Hit``. The
    same bytes may mean something else to another handler, so that is a part
    of what is looked up. A request is worth an entry from the second time on:
    one that came once leaves four bytes. ``size_bytes`` bounds the memory.
    """

    def __init__(self, size_bytes: int = 32 << 20) -> None:
        self._known: Memo[RequestBytes, KnownHit] = Memo(entries=_ENTRIES, size_bytes=size_bytes)
        self._marks = array("I", bytes(4 * _MARKS))
        self.get = self._known.get

    def is_repeated(self, raw: bytes | Headers) -> bool:
        """Whether this request came before, as far as is known."""
        mark = hash(raw) & _MARK
        if self._marks[mark % _MARKS] == mark:
            return True
        self._marks[mark % _MARKS] = mark
        return False

    def put(self, request: RequestBytes, known: KnownHit) -> None:
        raw = request[1]
        asked = len(raw) if isinstance(raw, bytes) else sum(map(_size_of, raw))
        size_bytes = asked + len(known.data) + _ENTRY_BYTES
        self._known.put(request, known, size_bytes)


def _size_of(field: tuple[bytes, bytes]) -> int:
    return len(field[0]) + len(field[1]) + _FIELD_BYTES
