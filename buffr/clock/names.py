"""Which members and fields are about time, by habit and by rule."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import field, frozen

__all__ = ["SIGNED_URL_FIELDS", "TimeNames"]

_ALONE = frozenset(
    b"""
    exp iat nbf created updated modified expires expire expiry expiration issued timestamp ts
    reset deleted completed started finished cancelled canceled failed retrieved archived
    published processed accessed
    """.decode().split()
)
"""A member with this name alone is about time, if its value is an instant."""

_LAST = frozenset(
    b"""
    at on until after before timestamp ts time date datetime expiry expiration expires expire
    exp login seen modified updated created reset used start starts end ends due deadline
    """.decode().split()
)
"""The last of several words, such as in ``createTime`` and ``last_used``."""

_UNITS = frozenset(
    b"""
    ms s sec secs second seconds millis milliseconds us micros ns nanos utc gmt epoch unix
    """.decode().split()
)
_NEVER = frozenset(b"birth birthday born dob death died founded release released".decode().split())
"""Words of instants that are data: they stay what they were, whenever somebody asks."""

SIGNED_URL_FIELDS = frozenset(
    b"""
    x-amz-date x-goog-date x-oss-date expires expire expiry expiration exp se st ske skt
    """.decode().split()
)
"""Query fields that say when a signed URL was made, or ends (AWS, Google, Azure, CDNs)."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MOST_KNOWN = 4096


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@frozen(eq=False)
class TimeNames:
    """Says whether a name is about time.

    ``also`` and ``never`` are names of the settings, in any case; ``never`` counts first.
    """

    also: frozenset[str] = field(default=(), converter=_lower)
    never: frozenset[str] = field(default=(), converter=_lower)
    _known: dict[bytes, bool] = field(factory=dict, init=False, repr=False)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, bytes):
            return False
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[name] = self._is_about_time(name.decode("utf-8", "replace"))
        return known

    def _is_about_time(self, name: str) -> bool:
        if name.lower() in self.never:
            return False
        if name.lower() in self.also:
            return True
        words = [word.lower() for word in _WORD.findall(name)]
        while len(words) > 1 and words[-1] in _UNITS:
            words.pop()
        if not words or not _NEVER.isdisjoint(words[:-1] or words):
            return False
        return words[-1] in (_LAST if len(words) > 1 else _ALONE)
