"""Queries and answers of DNS as bytes (RFC 1035), as far as a stub resolver needs them.

Every name that may exist has its stable addresses. Records for HTTPS and SVCB
are answered with nothing, so that no client learns of HTTP/3 or of an
encrypted hello (RFC 9460); so is every other kind.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from buffr.isolate.names import Names, TooManyNames

__all__ = ["Asked", "answer", "asked", "has_records"]

_A, _PTR, _AAAA, _ANY = 1, 12, 28, 255
_IN = 1
_TTL_S = 60
_RESPONSE, _RECURSION = 0x8000, 0x0080
_KEPT = 0x7900
"""What an answer repeats of a query's flags: its kind, and that recursion is desired."""
_NO_ERROR, _FORMAT, _FAILED, _NO_NAME, _NOT_IMPLEMENTED = 0, 1, 2, 3, 4
_TO_THE_QUESTION = b"\xc0\x0c"
_LONGEST_NAME = 255


@frozen
class Asked:
    """The question of a query. ``raw`` is the question's bytes, which an answer repeats."""

    number: int
    flags: int
    name: str
    kind: int
    raw: bytes


def asked(query: bytes) -> Asked | None:
    """The question in a query; ``None`` if there is not exactly one, or if it is malformed."""
    if len(query) < 12:
        return None
    number, flags, questions = struct.unpack_from(">HHH", query)
    if flags & _RESPONSE or questions != 1:
        return None
    labels: list[str] = []
    at, end = 12, 0
    while at < len(query) and not end:
        length = query[at]
        if length > 63:  # a pointer has nothing to point to in a question
            return None
        if not length:
            end = at + 1
        else:
            labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
    if not end or end - 12 > _LONGEST_NAME or end + 4 > len(query):
        return None
    kind, group = struct.unpack_from(">HH", query, end)
    if group not in (_IN, _ANY):
        return None
    return Asked(number, flags, ".".join(labels), kind, query[12 : end + 4])


def answer(query: bytes, names: Names) -> bytes:
    """The answer to a query; empty if what came is not even the head of one."""
    question = asked(query)
    if question is None:
        return _refusal(query)
    if question.flags & 0x7800:
        return _answer(question, _NOT_IMPLEMENTED)
    if question.kind == _PTR:
        return _reverse(question, names)
    if not names.exists(question.name):
        return _answer(question, _NO_NAME)
    try:
        v4, v6 = names.addresses(question.name)
    except TooManyNames:
        return _answer(question, _FAILED)
    records = []
    if question.kind in (_A, _ANY):
        records.append(_record(_A, v4.packed))
    if question.kind in (_AAAA, _ANY):
        records.append(_record(_AAAA, v6.packed))
    return _answer(question, _NO_ERROR, *records)


def has_records(answer: bytes) -> bool:
    """Whether an answer tells something, which will be the same in every answer."""
    return answer[6:8] > b"\0\0"


def _refusal(query: bytes) -> bytes:
    if len(query) < 12:
        return b""
    number, flags = struct.unpack_from(">HH", query)
    if flags & _RESPONSE:
        return b""
    flags = flags & _KEPT | _RESPONSE | _RECURSION | _FORMAT
    return struct.pack(">HHHHHH", number, flags, 0, 0, 0, 0)


def _reverse(question: Asked, names: Names) -> bytes:
    """The name of an address, if it is one that was given to a name."""
    address = _address_in(question.name)
    name = None if address is None else names.name_of(address.packed)
    if name is None:
        return _answer(question, _NO_NAME)
    labels = (label.encode("latin-1") for label in name.split("."))
    encoded = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return _answer(question, _NO_ERROR, _record(_PTR, encoded))


def _address_in(name: str) -> IPv4Address | IPv6Address | None:
    *labels, suffix, arpa = ["", "", *name.lower().rstrip(".").split(".")]
    labels = labels[2:]
    try:
        if (suffix, arpa) == ("in-addr", "arpa") and len(labels) == 4:
            return IPv4Address(".".join(reversed(labels)))
        if (suffix, arpa) == ("ip6", "arpa") and len(labels) == 32:
            return IPv6Address(int("".join(reversed(labels)), 16))
    except ValueError:
        pass
    return None


def _record(kind: int, data: bytes) -> bytes:
    return _TO_THE_QUESTION + struct.pack(">HHIH", kind, _IN, _TTL_S, len(data)) + data


def _answer(question: Asked, code: int, *records: bytes) -> bytes:
    flags = question.flags & _KEPT | _RESPONSE | _RECURSION | code
    head = struct.pack(">HHHHHH", question.number, flags, 1, len(records), 0, 0)
    return head + question.raw + b"".join(records)
