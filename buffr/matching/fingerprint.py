"""What requests must have in common to share one call to the upstream."""

from __future__ import annotations

from buffr.matching.header_table import tells_flights_apart
from buffr.message import Headers, Request, end_to_end

__all__ = ["Fingerprint", "fingerprint", "is_shareable"]

Fingerprint = tuple[bytes, bytes, Headers, bytes]
"""Method, target, fields and body, byte for byte. Kept in memory only: it contains credentials."""

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_SAYS_NOTHING = frozenset((b"", b"{}"))
_LONGEST_EMPTY = 64
_USERS = frozenset((b"proxy-authorization",))


def fingerprint(request: Request, body: bytes) -> Fingerprint:
    """Equal for requests that differ in nothing but noise.

    ``body`` is the body as received, or what identifies it. Idempotency keys
    count here although they are not part of a match key: two calls with
    different keys are meant to happen twice.
    """
    fields = [(name.lower(), value) for name, value in end_to_end(request.headers, keep=_USERS)]
    # If Host is passed on, it may affect the answer.
    counted = [each for each in fields if each[0] == b"host" or tells_flights_apart(each[0])]
    return request.method, request.target, tuple(sorted(counted, key=_name)), body


def _name(field: tuple[bytes, bytes]) -> bytes:
    return field[0]


def is_shareable(request: Request, body: bytes) -> bool:
    """Whether equal requests may be one call.

    Not if they are unsafe and have no identifying content: two requests that
    purge a queue are two calls.
    """
    if request.method in _SAFE:
        return True
    plain = b"".join(body.split()) if len(body) <= _LONGEST_EMPTY else body
    return plain not in _SAYS_NOTHING
