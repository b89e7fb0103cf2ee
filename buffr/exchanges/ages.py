"""Finds recordings that are too old, and the recordings that replace them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, field

from buffr.stores.base import Store

__all__ = ["Ages", "recorded_s"]

_MOST_KNOWN = 100_000


def recorded_s(recorded_at: str | None) -> float | None:
    """When something was recorded, in seconds since 1970; ``None`` if that is unknown."""
    if recorded_at is None:
        return None
    try:
        moment = datetime.fromisoformat(recorded_at)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@define(eq=False)
class Ages:
    """Separates recordings older than ``most_s`` seconds from the others.

    A recording without a date never becomes too old. ``logged`` says that an old
    one was logged.
    """

    most_s: float
    logged: bool = False
    _known: dict[int, float | None] = field(factory=dict, init=False)

    async def in_turn(
        self, store: Store, places: Sequence[int], now_s: float
    ) -> tuple[Sequence[int], frozenset[int]]:
        """The places in order, and those among them that are too old.

        A later recording replaces an old one: the first later one replaces the
        first old one, and so on. Raises ``CassetteError`` if one cannot be
        read.
        """
        old = []
        for place in places:
            made_s = await self._recorded_s(store, place)
            if made_s is not None and now_s - made_s > self.most_s:
                old.append(place)
        if not old:
            return places, frozenset()
        too_old = frozenset(old)
        later = [place for place in places if place not in too_old]
        left = old[len(later) :]
        return later + left, frozenset(left)

    async def _recorded_s(self, store: Store, place: int) -> float | None:
        if place not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[place] = recorded_s((await store.load(place)).recorded_at)
        return self._known[place]
