"""Converts header fields and targets between the wire's bytes and a cassette's text.

``headers`` is a mapping from canonical name to values, as the Go program
writes it. It loses order, case and alternation of names, so the names alone
are repeated in ``raw_headers``, in wire order, wherever the mapping does not
reproduce the fields. Values are in one place only, so that editing them by
hand works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from buffr.message import Headers

__all__ = ["LATIN_1", "UTF_8", "canonical_name", "charset", "fold", "sendable_target", "unfold"]

UTF_8: Final = "utf-8"
LATIN_1: Final = "latin-1"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ILLEGAL_IN_PATH = re.compile(rb"[\x00-\x20\x7f-\xff?#]|%(?![0-9A-Fa-f]{2})")
_ILLEGAL_IN_QUERY = re.compile(rb"[\x00-\x20\x7f-\xff#]")


@lru_cache(maxsize=4096)
def canonical_name(name: str) -> str:
    """The name in the spelling of Go's ``textproto.CanonicalMIMEHeaderKey``."""
    if not _TOKEN.fullmatch(name):
        return name
    return "-".join(part.capitalize() for part in name.split("-"))


def charset(fields: Headers, *texts: bytes) -> str:
    """The encoding of one message's head as text.

    UTF-8, which the Go program converts back to the same bytes. Only if a
    value is not UTF-8, Latin-1 for the whole head, which the head declares.
    """
    try:
        for name, value in fields:
            name.decode("ascii")
            value.decode(UTF_8)
        for text in texts:
            text.decode(UTF_8)
    except UnicodeDecodeError:
        return LATIN_1
    return UTF_8


def fold(fields: Headers, encoding: str) -> tuple[dict[str, list[str]], list[str] | None]:
    """``headers`` and ``raw_headers`` of these fields; no names if they are redundant."""
    texts = [(name.decode(encoding), value.decode(encoding)) for name, value in fields]
    groups: dict[str, list[str]] = {}
    for name, value in texts:
        groups.setdefault(canonical_name(name), []).append(value)
    folded = dict(sorted(groups.items()))
    names = [name for name, _ in texts]
    plain = [name for name, values in folded.items() for _ in values]
    return folded, None if names == plain else names


def unfold(headers: dict[str, list[str]], names: list[str] | None, encoding: str) -> Headers:
    """The fields in wire order.

    After an edit by hand the names may no longer match. Then the values count:
    a name without a remaining value gives no field, and values without a name
    come last.
    """
    if names is None:
        return _encoded(((name, value) for name in headers for value in headers[name]), encoding)
    return _unfold_single(headers, names, encoding) or _unfold_any(headers, names, encoding)


def _unfold_single(
    headers: dict[str, list[str]], names: list[str], encoding: str
) -> Headers | None:
    """The fields if each name has one value, as in most messages; otherwise ``None``."""
    left = headers.copy()
    fields = []
    for name in names:
        values = left.pop(name, None) or left.pop(canonical_name(name), None)
        if values is None or len(values) != 1:
            return None
        fields.append((name.encode(encoding), values[0].encode(encoding)))
    return None if left else tuple(fields)


def _unfold_any(headers: dict[str, list[str]], names: list[str], encoding: str) -> Headers:
    left: dict[str, list[str]] = {}
    for name, values in headers.items():
        left.setdefault(canonical_name(name), []).extend(values)
    for values in left.values():
        values.reverse()
    placed: list[tuple[str, str]] = []
    for name in names:
        values = left.get(canonical_name(name)) or []
        if values:
            placed.append((name, values.pop()))
    placed += [(name, value) for name, values in left.items() for value in reversed(values)]
    return _encoded(placed, encoding)


def _encoded(pairs: Iterable[tuple[str, str]], encoding: str) -> Headers:
    return tuple([(name.encode(encoding), value.encode(encoding)) for name, value in pairs])


def sendable_target(path: bytes, query: bytes | None) -> bytes:
    """A request target in which every byte is valid on the wire.

    The Go program stores decoded paths; what cannot be sent as it is, is
    encoded again. ``query`` is ``None`` for a target without ``?``.
    """
    if _ILLEGAL_IN_PATH.search(path):
        path = _ILLEGAL_IN_PATH.sub(_percent_encoded, path)
    if query is None:
        return path
    if _ILLEGAL_IN_QUERY.search(query):
        query = _ILLEGAL_IN_QUERY.sub(_percent_encoded, query)
    return path + b"?" + query


def _percent_encoded(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
