"""Request heads from a client's bytes, however they are split into segments, and a memo of them.

Clients send the same heads again and again, so parse results are remembered.
"""

from __future__ import annotations

import re

from buffr.errors import BadRequest
from buffr.message import CHUNKED, Request
from buffr.wire.http1_head import (
    END_OF_HEAD,
    HeadLimits,
    check_request_line,
    parse_request_head,
    too_large,
)
from buffr.wire.known_heads import KnownHeads

__all__ = ["HeadMemo", "RequestHeads"]

_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|$)")
_STARTS_REQUEST = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r]")
_FIRST_LINE = re.compile(rb"([^\r\n]+\r\n)")
_MAX_EMPTY_LINES = 8


class HeadMemo(KnownHeads[Request]):
    """Maps the exact bytes of a strictly accepted head to its request.

    It holds parse results, never decisions. Heads with a chunked body, an
    expectation or an upgrade are parsed each time.
    """

    def __init__(self, size_bytes: int = 16 * 1024 * 1024) -> None:
        super().__init__(size_bytes)

    def put(self, raw: bytes, head: Request) -> None:
        if head.body_length != CHUNKED and not head.expects_continue and not head.upgrade:
            super().put(raw, head)


class RequestHeads:
    """Takes request heads off the front of one connection's buffer."""

    def __init__(self, memo: HeadMemo, limits: HeadLimits) -> None:
        self._memo = memo
        self._limits = limits
        self._searched = 0
        self._skipped = 0

    def take(self, buffer: bytes) -> tuple[Request | None, bytes]:
        """The head at the front of the buffer if it is complete, and the bytes after it.

        Without a head, pass the returned bytes again with more appended.
        Raises ``BadRequest`` as soon as no further byte can make it valid.
        """
        if buffer.startswith(b"\r\n"):
            buffer = self._without_empty_lines(buffer)
        end = buffer.find(END_OF_HEAD, self._searched)
        if end < 0:
            if buffer:
                self._check_partial(buffer)
            self._searched = max(0, len(buffer) - 3)
            return None, buffer
        self._searched = self._skipped = 0
        raw = buffer[: end + 4]
        request = self._memo.get(raw)
        if request is None:
            request = self._parse(raw)
        return request, buffer[end + 4 :]

    def _without_empty_lines(self, buffer: bytes) -> bytes:
        """Some old clients send empty lines after a body (RFC 9112 2.2)."""
        self._searched = 0
        while buffer.startswith(b"\r\n"):
            buffer = buffer[2:]
            self._skipped += 1
            if self._skipped > _MAX_EMPTY_LINES:
                raise BadRequest("malformed request line")
        return buffer

    def _parse(self, raw: bytes) -> Request:
        if len(raw) > self._limits.size_bytes:
            raise too_large(self._limits)
        request = parse_request_head(raw, self._limits)
        self._memo.put(raw, request)
        return request

    def _check_partial(self, buffer: bytes) -> None:
        if not _STARTS_REQUEST.match(buffer):
            raise BadRequest("not an HTTP request", hint="this port speaks plain HTTP/1.1")
        if len(buffer) > self._limits.size_bytes:
            raise too_large(self._limits)
        if _LINE_END.search(buffer, max(0, self._searched - 1)):
            raise BadRequest("a line that does not end in CRLF")
        first = _FIRST_LINE.match(buffer)
        if first is not None:
            check_request_line(first[1])
