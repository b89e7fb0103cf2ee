"""Remembers the parse of heads: clients send the same bytes again and again."""

from __future__ import annotations

from buffr.message import CHUNKED, Request

__all__ = ["HeadMemo"]

_MAX_HEAD = 8192


class HeadMemo:
    """Maps the exact bytes of a strictly accepted head to its request.

    It holds parse results, never decisions. Heads that begin a special
    course on the connection are parsed anew each time. ``size_bytes`` bounds
    the heads that it keeps; the oldest leave first.
    """

    def __init__(self, size_bytes: int = 4 * 1024 * 1024) -> None:
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
        ):
            return
        self._known[raw] = request
        self._room -= len(raw)
        while self._room < 0:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._room += len(oldest)
