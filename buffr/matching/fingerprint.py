"""What requests have in common that one call to the upstream may answer together."""

from __future__ import annotations

from buffr.matching.header_table import tells_flights_apart
from buffr.message import Headers, Request, end_to_end

__all__ = ["Fingerprint", "fingerprint", "is_shareable"]

Fingerprint = tuple[bytes, bytes, Headers, bytes]
"""Method, target, fields and body, byte for byte. Held in memory only: it has credentials."""

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_SAYS_NOTHING = frozenset((b"", b"{}"))
_LONGEST_EMPTY = 64
_USERS = frozenset((b"proxy-authorization",))


def fingerprint(request: Request, body: bytes) -> Fingerprint:
    """Equal for requests that differ in noise at most.

    ``body`` are its bytes as they came, or what tells them apart. Idempotency
    keys count here, although they are no part of a match key: two calls with
    two of them are meant twice.
    """
    fields = [(name.lower(), value) for name, value in end_to_end(request.headers, keep=_USERS)]
    # Where Host is passed on it may choose the answer.
    told = [each for each in fields if each[0] == b"host" or tells_flights_apart(each[0])]
    return request.method, request.target, tuple(sorted(told, key=_name)), body


def _name(field: tuple[bytes, bytes]) -> bytes:
    return field[0]


def is_shareable(request: Request, body: bytes) -> bool:
    """Whether equal requests may mean one call: not unsafe ones that say nothing of their own.

    Two that purge a queue are two.
    """
    if request.method in _SAFE:
        return True
    plain = b"".join(body.split()) if len(body) <= _LONGEST_EMPTY else body
    return plain not in _SAYS_NOTHING
