"""A bounded memory of results."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Memo"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Recently used values: at most ``entries``, of at most ``size_bytes`` together.

    There are two generations. When the young one has reached half of a bound,
    it becomes the old one, and what was not used since then is dropped. So a
    hit moves nothing, unlike in an LRU list.
    """

    def __init__(self, *, entries: int, size_bytes: int) -> None:
        self._most_entries = max(1, entries // 2)
        self._most_bytes = size_bytes // 2
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
        self._young_bytes = 0

    def get(self, key: K) -> V | None:
        """The value of this key, or ``None`` if it is not remembered."""
        known = self._young.get(key)
        if known is not None:
            return known[0]
        known = self._old.pop(key, None)
        if known is None:
            return None
        self.put(key, *known)
        return known[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Remember a value. ``size_bytes`` includes its key. Very large values are not kept."""
        if size_bytes > self._most_bytes // 4:
            return
        replaced = self._young.pop(key, None)
        self._young_bytes += size_bytes - (0 if replaced is None else replaced[1])
        if len(self._young) >= self._most_entries or self._young_bytes > self._most_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, size_bytes
        self._young[key] = (value, size_bytes)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
