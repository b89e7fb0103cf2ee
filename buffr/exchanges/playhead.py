"""Which of several interactions with the same key is next, separately for each scope."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

__all__ = ["ROUND", "Playhead", "Repeat"]

ROUND = 1 << 32
"""A head counts the answers of the current round, and the rounds before as so many each."""


class Repeat(Enum):
    """What follows the last recording of a key."""

    CYCLE = "cycle"
    """The first one again."""
    LAST = "last"
    """The last one, every time."""
    ONCE = "once"
    """Nothing: the request counts as not recorded."""


class Playhead:
    """Knows for each name and scope how often it was answered, and which place is next.

    A place that is added while others are played is next in its turn. A
    recording made in this run counts as an answer too. The number of scopes is
    bounded: the one that was idle longest is forgotten first. Recordings are
    filed by names, and those of a name answer in their order: ``used`` says for
    each how many of its first recordings have answered, in any scope.
    """

    def __init__(self, repeat: Repeat, max_scopes: int = 10_000) -> None:
        self.repeat = repeat
        self.taken = 0
        """How many turns were taken so far, in all scopes."""
        self._max_scopes = max_scopes
        self._used: dict[bytes, int] = {}
        self._made: dict[bytes, int] = {}
        self._scopes: dict[str, dict[bytes, int]] = {}

    @property
    def is_new(self) -> bool:
        """Whether nothing has been answered yet."""
        return not self._scopes

    def next(self, scope: str, digest: bytes, places: Sequence[int]) -> int | None:
        """The place that answers now; ``None`` if the recordings are used up."""
        heads = self._heads(scope)
        head = heads.get(digest, 0)
        at = head % ROUND
        if at >= len(places):
            match self.repeat:
                case Repeat.CYCLE:
                    head += ROUND - at
                    at = 0
                case Repeat.LAST:
                    at = head = len(places) - 1
                case Repeat.ONCE:
                    return None
        heads[digest] = head + 1
        self.taken += 1
        return places[at]

    def heads(self, scope: str, names: Sequence[bytes]) -> list[int]:
        """How often each name was answered, in rounds and since."""
        heads = self._scopes.get(scope, {})
        return [heads.get(name, 0) for name in names]

    def move(self, scope: str, name: bytes, head: int) -> None:
        """Go on from another head."""
        self._heads(scope)[name] = head

    def answered(self, scope: str, digest: bytes) -> None:
        """The upstream answered the key, and the answer was recorded."""
        heads = self._heads(scope)
        heads[digest] = heads.get(digest, 0) + 1

    def replaced(self, scope: str, old: bytes, new: bytes) -> None:
        """The answer whose turn was taken was recorded again, and filed by another name."""
        heads = self._heads(scope)
        if old != new and heads.get(old, 0):
            heads[old] -= 1
            heads[new] = heads.get(new, 0) + 1

    def use(self, name: bytes, number: int) -> None:
        """One of the recordings that are filed by a name has answered."""
        if number > self._used.get(name, 0):
            self._used[name] = number

    def used(self, name: bytes) -> int:
        return self._used.get(name, 0)

    def make(self, name: bytes) -> None:
        """A recording that is filed by this name was made."""
        self._made[name] = self._made.get(name, 0) + 1

    def made(self, name: bytes) -> int:
        """How many of those that are filed by a name were made in this run: its last ones."""
        return self._made.get(name, 0)

    @property
    def names(self) -> set[bytes]:
        """By what those are filed that were used or made."""
        return {*self._used, *self._made}

    @property
    def scopes(self) -> Sequence[str]:
        """The scopes that have been answered, the latest last."""
        return tuple(self._scopes)

    def keys(self, scope: str) -> int:
        """For how many keys a scope has been answered."""
        return len(self._scopes.get(scope, ()))

    def reset(self, scope: str) -> None:
        """Restart every key of the scope."""
        self._scopes.pop(scope, None)

    def _heads(self, scope: str) -> dict[bytes, int]:
        heads = self._scopes.pop(scope, None)
        if heads is None:
            heads = {}
            if len(self._scopes) >= self._max_scopes:
                del self._scopes[next(iter(self._scopes))]
        self._scopes[scope] = heads
        return heads
