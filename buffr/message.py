"""Requests and responses as they are on the wire, and RFC 9110's hop-by-hop rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from operator import itemgetter

from attrs import evolve, field, frozen

__all__ = [
    "CHUNKED",
    "HOPS",
    "OF_A_CONNECTION",
    "TRACEPARENT",
    "UNTIL_CLOSE",
    "Headers",
    "Piece",
    "Request",
    "ResponseHead",
    "end_to_end",
    "first_value",
    "has_any",
    "has_token",
    "media_type",
    "response_length",
    "trace_of",
    "with_length",
]

Headers = tuple[tuple[bytes, bytes], ...]
"""Fields in wire order: names in their original case, values without outer white space."""

CHUNKED = -1
"""A body length: the chunked transfer coding frames the body (RFC 9112 7.1)."""

UNTIL_CLOSE = -2
"""A body length: the body ends with the connection (RFC 9112 6.3, rule 8)."""

OF_A_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""Fields about a connection in HTTP/1.1, which HTTP/2 forbids (RFC 9113 8.2.2)."""

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

_KEEP_ALIVE = re.compile(rb"(?:^|,)[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})", re.IGNORECASE)
_MARGIN_S = 1.0

_FRAMING = frozenset((b"transfer-encoding", b"trailer"))
"""Hop-by-hop fields that stay where the next hop is framed in the same way."""

_CONNECTION_AUTH = rb"(?:ntlm|negotiate|nego2|kerberos|credssp)(?=[ ,]|\Z)"
"""Schemes that authenticate a connection and all requests on it (RFC 4559 6, MS-NTHT, MS-CSSP)."""
_IS_CONNECTION_AUTH = re.compile(_CONNECTION_AUTH, re.IGNORECASE)
_OFFERS_CONNECTION_AUTH = re.compile(rb"(?:\A|,)[ \t]*" + _CONNECTION_AUTH, re.IGNORECASE)
_CHALLENGES = {401: b"www-authenticate", 407: b"proxy-authenticate"}

HOPS = b"X-Buffr-Via"
"""The field that lists the buffr instances that a request has passed."""

TRACEPARENT = b"traceparent"
"""The field with a request's trace id (W3C Trace Context 3.2)."""
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[0-9a-f-]{0,64})?")
_SCOPE, _HOPS = b"x-buffr-scope", HOPS.lower()
_FOR_BUFFR = frozenset((_SCOPE, _HOPS))
_name_of = itemgetter(0)
_HOP = re.compile(rb"(?<![^ ,])[0-9a-f]{16}(?![^ ,])")

_NEVER_BY_CONNECTION = frozenset((b"content-length", b"host", b"cache-control"))
"""Fields that a ``Connection`` option cannot remove: framing, routing and RFC 9110 7.6.1."""


def first_value(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first field with this lower-case name."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def has_any(headers: Headers, names: frozenset[bytes]) -> bool:
    """Whether there is a field with one of these lower-case names."""
    return not names.isdisjoint(map(bytes.lower, map(_name_of, headers)))


def has_token(headers: Headers, name: bytes, token: bytes) -> bool:
    """Whether a comma-separated field lists this lower-case token."""
    return any(
        token == item.strip().lower()
        for key, value in headers
        if key.lower() == name
        for item in value.split(b",")
    )


def media_type(headers: Headers) -> bytes:
    """The lower-case media type of ``Content-Type``, without parameters; empty if absent."""
    value = first_value(headers, b"content-type")
    return b"" if value is None else value.partition(b";")[0].strip().lower()


def end_to_end(headers: Headers, *, keep: frozenset[bytes] = frozenset()) -> Headers:
    """The fields that pass through a proxy (RFC 9110 7.6.1).

    ``keep`` has lower-case names that stay although they are hop-by-hop,
    because the caller frames the next hop in the same way.
    """
    if not has_any(headers, _HOP_BY_HOP):
        return headers
    named = {
        item.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for item in value.split(b",")
    }
    dropped = (_HOP_BY_HOP | (named - _NEVER_BY_CONNECTION)) - keep
    return tuple(field for field in headers if field[0].lower() not in dropped)


def with_length(headers: Headers, size_bytes: int) -> Headers:
    """The fields with this ``Content-Length``, if they have one."""
    length = b"%d" % size_bytes
    return tuple(
        [(name, length if name.lower() == b"content-length" else value) for name, value in headers]
    )


def trace_of(value: bytes) -> str:
    """A value of ``traceparent`` as text, if it is one (W3C Trace Context 3.2); otherwise empty."""
    return value.decode("ascii") if _TRACE.fullmatch(value) else ""


@frozen(eq=False)
class Request:
    """One request as received.

    ``target`` is the request target's bytes as sent (RFC 9112 3.2), here
    always in origin-form or ``*``. ``body_length`` is in bytes, or
    ``CHUNKED``. ``major`` and ``minor`` are the HTTP version: 1.0, 1.1, or 2
    with any minor one. ``scheme`` is HTTP/2's; HTTP/1.1 has none. ``hops`` are
    the values of ``X-Buffr-Via``, which was removed from the fields.
    """

    method: bytes
    target: bytes
    headers: Headers
    minor: int = 1
    body_length: int = 0
    keep_alive: bool = True
    expects_continue: bool = False
    upgrade: bytes = b""
    hops: bytes = b""
    major: int = 1
    scheme: bytes = b""

    @cached_property
    def is_for_buffr(self) -> bool:
        """Whether it has fields that are addressed to buffr."""
        return has_any(self.headers, _FOR_BUFFR)

    @property
    def scopes(self) -> tuple[bytes, ...]:
        """The values of ``X-Buffr-Scope``."""
        return tuple(value for name, value in self.headers if name.lower() == _SCOPE)

    @cached_property
    def for_others(self) -> Request:
        """The request without the fields for buffr; the same object for all with this head."""
        hops = [
            hop
            for name, value in self.headers
            if name.lower() == _HOPS
            for hop in _HOP.findall(value)
        ]
        return evolve(
            self,
            headers=tuple(field for field in self.headers if field[0].lower() not in _FOR_BUFFR),
            hops=b", ".join(hops),
        )

    @cached_property
    def is_coded(self) -> bool:
        """Whether it declares content codings for its body."""
        return b"content-encoding" in map(bytes.lower, map(_name_of, self.headers))

    @cached_property
    def trace(self) -> str:
        """Its trace id, as ``trace_of`` reads it."""
        for name, value in self.headers:
            if name.lower() == TRACEPARENT:
                return trace_of(value)
        return ""

    def names_among(self, names: Sequence[bytes]) -> tuple[bytes, ...]:
        """The names of the fields that are among these, in wire order; lower-case names."""
        return tuple([name.lower() for name, _ in self.headers if name.lower() in names])

    def with_values(self, names: Sequence[bytes], values: Sequence[bytes]) -> Request:
        """The request with other values of some fields, in wire order; lower-case names."""
        headers, left = list(self.headers), list(zip(names, values, strict=True))
        for at, (name, _) in enumerate(headers):
            if left and name.lower() == left[0][0]:
                headers[at] = (name, left.pop(0)[1])
        return evolve(self, headers=tuple(headers))

    @cached_property
    def authenticates_connection(self) -> bool:
        """Whether its credentials are for a connection, and not only for this request."""
        for name, value in self.headers:  # ``any`` would be a call more for each
            if name.lower() == b"authorization" and _IS_CONNECTION_AUTH.match(value):
                return True
        return False

    @property
    def takes_trailers(self) -> bool:
        """Whether a client in HTTP/2 says that it takes trailers (RFC 9110 10.1.4)."""
        return self.major > 1 and (b"te", b"trailers") in self.headers

    @property
    def head_bytes(self) -> int:
        """The approximate size of its head in memory, for caches of heads."""
        return 700 + sum([100 + len(name) + len(value) for name, value in self.headers])

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes | None:
        """The bytes after the first ``?``; ``None`` without one, since ``/x?`` is not ``/x``."""
        _, mark, after = self.target.partition(b"?")
        return after if mark else None


@frozen(eq=False)
class ResponseHead:
    """A status line and its fields, in wire order."""

    status: int
    reason: bytes
    headers: Headers
    minor: int = 1
    _last: tuple[Headers, ResponseHead] | None = field(init=False, default=None, repr=False)

    @cached_property
    def encoded(self) -> bytes:
        """The status line and the fields as bytes, without the empty line that ends a head."""
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.reason)]
        lines += [b"%b: %b" % field for field in self.headers]
        return b"\r\n".join(lines) + b"\r\n"

    def with_fields(self, fields: Headers) -> ResponseHead:
        """The head with more fields at its end; its encoded part is not encoded again.

        The last result is remembered: hits in the same second get the same
        fields.
        """
        last = self._last
        if last is not None and last[0] == fields:
            return last[1]
        head = ResponseHead(self.status, self.reason, self.headers + fields, self.minor)
        encoded = self.encoded + b"".join([b"%b: %b\r\n" % field for field in fields])
        object.__setattr__(head, "encoded", encoded)
        object.__setattr__(self, "_last", (fields, head))
        return head

    @cached_property
    def fields(self) -> Headers:
        """The head as HTTP/2 has it: ``:status``, and names in lower case (RFC 9113 8.2, 8.3.2).

        Fields about a connection or a transfer coding are left out.
        """
        lower = [(name.lower(), value) for name, value in self.headers]
        kept = [field for field in lower if field[0] not in OF_A_CONNECTION]
        return ((b":status", b"%d" % self.status), *kept)

    @cached_property
    def names(self) -> frozenset[bytes]:
        """The fields' names, in lower case."""
        return frozenset([name.lower() for name, _ in self.headers])

    @cached_property
    def media_type(self) -> bytes:
        """The lower-case media type of its body, without parameters; empty if it has none."""
        return media_type(self.headers)

    @cached_property
    def for_next_hop(self) -> ResponseHead:
        """The head as it is passed on: without hop-by-hop fields, but with its framing."""
        headers = end_to_end(self.headers, keep=_FRAMING)
        if headers is self.headers and self.minor == 1:
            return self
        return ResponseHead(self.status, self.reason, headers)

    @cached_property
    def keeps_alive(self) -> bool:
        """Whether its connection may take another request after it (RFC 9112 9.3)."""
        if has_token(self.headers, b"connection", b"close"):
            return False
        return self.minor == 1 or has_token(self.headers, b"connection", b"keep-alive")

    @cached_property
    def kept_s(self) -> float | None:
        """How long its connection may be used again, in seconds, if ``Keep-Alive`` says so.

        That is its time-out (RFC 2068 19.7.1), less a margin for a request under way.
        """
        value = first_value(self.headers, b"keep-alive")
        found = None if value is None else _KEEP_ALIVE.search(value)
        if found is None:
            return None
        timeout_s = int(found[1])
        return timeout_s - min(_MARGIN_S, timeout_s / 2)

    @property
    def offers_connection_auth(self) -> bool:
        """Whether it asks for credentials that authenticate a connection."""
        challenge = _CHALLENGES.get(self.status)
        return challenge is not None and any(
            name.lower() == challenge and _OFFERS_CONNECTION_AUTH.search(value)
            for name, value in self.headers
        )

    @cached_property
    def framing(self) -> int:
        """A body's length according to the fields alone: bytes, ``CHUNKED`` or ``UNTIL_CLOSE``."""
        for key, value in self.headers:
            name = key.lower()
            if name == b"transfer-encoding":
                return CHUNKED
            if name == b"content-length":
                return int(value)
        return UNTIL_CLOSE


def response_length(method: bytes, head: ResponseHead) -> int:
    """How an answer's body is framed: its bytes, ``CHUNKED`` or ``UNTIL_CLOSE`` (RFC 9112 6.3).

    The head must have passed the wire's checks: no more than one length,
    digits only, never together with a transfer coding.
    """
    if method == b"HEAD" or head.status in (204, 304) or head.status < 200:
        return 0
    return head.framing


@frozen
class Piece:
    """A part of a body in wire order.

    ``chunk`` is the size in bytes of the chunk that begins with this piece;
    ``None`` if the piece continues the previous chunk, or if the body is not
    chunked. A chunk may span many pieces.
    """

    data: bytes
    chunk: int | None = None
