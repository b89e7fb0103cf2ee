"""Request heads in what a client sends, however it is cut into segments."""

from __future__ import annotations

import re

from buffr.errors import BadRequest
from buffr.message import Request
from buffr.wire.http1_head import END_OF_HEAD, HeadLimits, check_request_line, parse_request_head
from buffr.wire.http1_memo import HeadMemo

__all__ = ["RequestHeads"]

_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|$)")
_STARTS_REQUEST = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r]")
_FIRST_LINE = re.compile(rb"([^\r\n]+\r\n)")
_MAX_EMPTY_LINES = 8


class RequestHeads:
    """Takes the heads off the front of one connection's buffer, one after the other."""

    def __init__(self, memo: HeadMemo, limits: HeadLimits) -> None:
        self._memo = memo
        self._limits = limits
        self._searched = 0
        self._skipped = 0

    def take(self, buffer: bytes) -> tuple[Request | None, bytes]:
        """The head that the buffer begins with, if it is all there, and what is left.

        What is left without a head is to be given again, with more behind
        it. Raises ``BadRequest``, as early as no further byte can mend it.
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
        """Some old clients send empty lines behind a body (RFC 9112 2.2)."""
        self._searched = 0
        while buffer.startswith(b"\r\n"):
            buffer = buffer[2:]
            self._skipped += 1
            if self._skipped > _MAX_EMPTY_LINES:
                raise BadRequest("malformed request line")
        return buffer

    def _parse(self, raw: bytes) -> Request:
        if len(raw) > self._limits.size_bytes:
            raise self._too_large()
        request = parse_request_head(raw, self._limits)
        self._memo.put(raw, request)
        return request

    def _check_partial(self, buffer: bytes) -> None:
        if not _STARTS_REQUEST.match(buffer):
            raise BadRequest("not an HTTP request", hint="this port speaks plain HTTP/1.1")
        if len(buffer) > self._limits.size_bytes:
            raise self._too_large()
        if _LINE_END.search(buffer, max(0, self._searched - 1)):
            raise BadRequest("a line that does not end in CRLF")
        first = _FIRST_LINE.match(buffer)
        if first is not None:
            check_request_line(first[1])

    def _too_large(self) -> BadRequest:
        return BadRequest(
            f"a request head of over {self._limits.size_bytes} bytes",
            status=431,
            reason=b"Request Header Fields Too Large",
            hint="limits.head_bytes sets the bound",
        )
