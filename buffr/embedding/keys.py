"""The key of a proxy, as programs make it, find it in a request, and check it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

__all__ = ["SecurityError", "find_key", "same_key"]

_FIELDS = ("x-api-buddy-key", "x-buffr-key")


class SecurityError(Exception):
    """A request lacks the proxy's key, or has a wrong one."""


def same_key(key: str, given: str) -> bool:
    """Whether two keys are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(key.encode(), given.encode("utf-8", "surrogatepass"))


def find_key(
    key: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]
) -> tuple[bool, str]:
    """Whether a request has the key, and its path without it.

    It may be a field of its own, a bearer token (RFC 6750), the query's
    ``key``, the path's first segment, or the one after the upstream's name.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    scheme, _, token = fields.get("authorization", "").partition(" ")
    given = [fields[name] for name in _FIELDS if name in fields]
    if scheme.lower() == "bearer":
        given.append(token.strip())
    given.append(query.get("key", ""))
    found = any([same_key(key, value) for value in given])  # noqa: C419  # every one, in any case
    segments = path.split("/")
    for place in (1, 2):
        if len(segments) > place + (place == 1) and same_key(key, segments[place]):
            return True, "/".join(segments[:place] + segments[place + 1 :])
    return found, path
