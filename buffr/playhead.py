"""Which of several interactions with one key is next, for each scope on its own."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

__all__ = ["Playhead", "Repeat"]


class Repeat(Enum):
    """What follows the last recording of a key."""

    CYCLE = "cycle"
    """The first one again."""
    LAST = "last"
    """The last one, again and again."""
    ONCE = "once"
    """Nothing: it counts as not recorded."""


class Playhead:
    """Counts how often each key was answered, per scope.

    A recording made in this run counts as an answer too. Scopes are bounded:
    the one that was idle longest is forgotten first.
    """

    def __init__(self, repeat: Repeat, max_scopes: int = 10_000) -> None:
        self._repeat = repeat
        self._max_scopes = max_scopes
        self._scopes: dict[str, dict[bytes, int]] = {}

    def next(self, scope: str, digest: bytes, places: Sequence[int]) -> int | None:
        """The place that answers now; ``None`` when the recordings are used up."""
        counts = self._counts(scope)
        count = counts.get(digest, 0)
        total = len(places)
        if count >= total:
            match self._repeat:
                case Repeat.CYCLE:
                    place = places[count % total]
                case Repeat.LAST:
                    place = places[-1]
                case Repeat.ONCE:
                    return None
        else:
            place = places[count]
        counts[digest] = count + 1
        return place

    def answered(self, scope: str, digest: bytes) -> None:
        """The key was answered by the upstream, and the answer recorded."""
        counts = self._counts(scope)
        counts[digest] = counts.get(digest, 0) + 1

    def count(self, digest: bytes) -> int:
        """How often a key was answered, in the scope that asked for it most."""
        return max((counts.get(digest, 0) for counts in self._scopes.values()), default=0)

    def reset(self, scope: str) -> None:
        """Every key of the scope starts over."""
        self._scopes.pop(scope, None)

    def _counts(self, scope: str) -> dict[bytes, int]:
        counts = self._scopes.pop(scope, None)
        if counts is None:
            counts = {}
            if len(self._scopes) >= self._max_scopes:
                del self._scopes[next(iter(self._scopes))]
        self._scopes[scope] = counts
        return counts
