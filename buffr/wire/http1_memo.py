"""Remembers the parse of heads: clients send the same bytes again and again."""

from __future__ import annotations

from buffr.message import CHUNKED, Request

__all__ = ["HeadMemo"]

_MAX_HEAD = 8192
_ENTRY_BYTES = 300
_FIELD_BYTES = 150
"""What Python's objects take beside their text, measured with CPython 3.11."""


class HeadMemo:
    """Maps the exact bytes of a strictly accepted head to its request.

    It holds parse results, never decisions. Heads that begin a special
    course on the connection are parsed anew each time. ``size_bytes`` bounds
    the memory that it takes, parsed fields included; the oldest leave first.
    """

    def __init__(self, size_bytes: int = 16 * 1024 * 1024) -> None:
        self._room = size_bytes
        self._known: dict[bytes, Request] = {}
        self.get = self._known.get

    def put(self, raw: bytes, request: Request) -> None:
        if (
            len(raw) > _MAX_HEAD
            or request.body_length == CHUNKED
            or request.expects_continue
            or request.upgrade
            or request.method == b"CONNECT"
            or raw in self._known
        ):
            return
        self._known[raw] = request
        self._room -= _taken(raw, request)
        while self._room < 0:
            oldest = next(iter(self._known))
            self._room += _taken(oldest, self._known.pop(oldest))


def _taken(raw: bytes, request: Request) -> int:
    """The memory of a head and its parse, in bytes: the text is there twice."""
    return 2 * len(raw) + _ENTRY_BYTES + _FIELD_BYTES * len(request.headers)
