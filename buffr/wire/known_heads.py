"""A memo from the exact bytes of a head to what they say."""

from __future__ import annotations

from array import array
from typing import Generic, Protocol, TypeVar

from buffr.message import Headers

__all__ = ["KnownHeads"]

_MOST_BYTES = 8192
_MARKS = 16384
_MARK = (1 << 32) - 1
_ENTRY_BYTES = 300
_FIELD_BYTES = 150
"""The size of Python's objects without their text, measured with CPython 3.11."""


class _Head(Protocol):
    @property
    def headers(self) -> Headers:
        """The fields in wire order."""


H = TypeVar("H", bound=_Head)


class KnownHeads(Generic[H]):
    """Maps the exact bytes of a strictly accepted head to its parse result.

    A head is stored from the second time on: one that came once leaves four
    bytes, so that heads that all differ take no memory. ``size_bytes`` bounds
    the memory, parsed fields included; the oldest entries are evicted first.
    """

    def __init__(self, size_bytes: int) -> None:
        self._room = size_bytes
        self._known: dict[bytes, H] = {}
        self._marks = array("I", bytes(4 * _MARKS))
        self.get = self._known.get

    def put(self, raw: bytes, head: H) -> None:
        if len(raw) > _MOST_BYTES or raw in self._known:
            return
        mark = hash(raw) & _MARK
        if self._marks[mark % _MARKS] != mark:
            self._marks[mark % _MARKS] = mark
            return
        self._known[raw] = head
        self._room -= _taken(raw, head)
        while self._room < 0:
            oldest = next(iter(self._known))
            self._room += _taken(oldest, self._known.pop(oldest))


def _taken(raw: bytes, head: _Head) -> int:
    """The memory of a head and its parse in bytes; the text is stored twice."""
    return 2 * len(raw) + _ENTRY_BYTES + _FIELD_BYTES * len(head.headers)
