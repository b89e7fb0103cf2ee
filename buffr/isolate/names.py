"""The names inside: each has an address of its own, by which a connection tells whom it means.

The addresses are of networks that nobody can have: 198.18.0.0/15 (RFC 2544,
for benchmarks) and a unique-local prefix of IPv6 (RFC 4193). They are made
from the name, so that they are the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

__all__ = ["OWN_V4", "OWN_V6", "Names", "TooManyNames"]

_V4 = IPv4Address("198.18.0.0")
_V6 = IPv6Address("fd62:7566:6672::")
_BASE_V4, _BASE_V6 = int(_V4), int(_V6) + int(_V4)
_SIZE = 1 << 17
_FIRST = 16
"""Those before it are for the namespace itself."""
_NEVER = ("invalid", "onion", "localhost")
"""RFC 6761 and 7686. ``localhost`` is a name of the file of hosts."""
_BACKGROUND = frozenset(
    (
        "clients2.google.com",
        "clientservices.googleapis.com",
        "content-autofill.googleapis.com",
        "detectportal.firefox.com",
        "edgedl.me.gvt1.com",
        "firefox.settings.services.mozilla.com",
        "optimizationguide-pa.googleapis.com",
        "redirector.gvt1.com",
        "safebrowsing.googleapis.com",
        "update.googleapis.com",
    )
)
"""What browsers call by themselves, never the same way twice: such calls would be misses."""

OWN_V4 = _V4 + 1
OWN_V6 = _V6 + 1
"""The namespace's own addresses. Without one, clients ask for no addresses of that kind."""


class TooManyNames(Exception):
    """Every address is taken."""


class Names:
    """Names and their addresses. ``known`` are names that exist in any case."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = {_plain(name) for name in known}
        self._places: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def exists(self, name: str) -> bool:
        """Whether a name is one that has addresses. Which hosts there are, buffr cannot know."""
        plain = _plain(name)
        labels = plain.split(".")
        if plain in self._known:
            return True
        may = len(labels) > 1 and labels[-1] not in _NEVER and plain not in _BACKGROUND
        return may and all(labels)

    def addresses(self, name: str) -> tuple[IPv4Address, IPv6Address]:
        """The addresses of a name, always the same. Raises ``TooManyNames``."""
        place = self._place(_plain(name))
        return _V4 + place, IPv6Address(_BASE_V6 + place)

    def _place(self, name: str) -> int:
        place = self._places.get(name)
        if place is not None:
            return place
        if len(self._places) >= _SIZE - _FIRST - 1:
            raise TooManyNames
        place = _FIRST + int.from_bytes(sha256(name.encode()).digest()[:8]) % (_SIZE - _FIRST - 1)
        while place in self._names:
            place = place + 1 if place + 2 < _SIZE else _FIRST
        self._places[name], self._names[place] = place, name
        return place

    def name_of(self, packed: bytes) -> str | None:
        """The name that was given an address, as 4 or 16 bytes; ``None`` for any other address."""
        return self._names.get(
            int.from_bytes(packed) - (_BASE_V4 if len(packed) == 4 else _BASE_V6)
        )


def _plain(name: str) -> str:
    return name.rstrip(".").lower()
