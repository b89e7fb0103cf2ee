"""Changes to a cache file that are not committed yet, so that lookups see them at once."""

from __future__ import annotations

from collections.abc import Container, Sequence

from attrs import define, evolve, field, frozen

from buffr.stores.cache import StoredEntry
from buffr.stores.sqlite.ledger import Refreshed, Removed
from buffr.stores.sqlite.rows import variant_of
from buffr.stores.sqlite.thread import Put, Write

__all__ = ["Pending", "Variants"]


@frozen(eq=False)
class _Found:
    variant: bytes
    cached: StoredEntry


@define(eq=False)
class Variants:
    """The variants of one key, by their places."""

    _by_place: dict[int, _Found] = field(init=False, factory=dict)

    def add(self, variant: bytes, cached: StoredEntry) -> None:
        self._by_place[cached.place] = _Found(variant, cached)

    def in_order(self) -> list[StoredEntry]:
        """In order, the one stored last first."""
        places = sorted(self._by_place, reverse=True)
        return [self._by_place[place].cached for place in places]

    def apply(self, change: Put | Refreshed) -> None:
        match change:
            case Put(place, entry):
                self._give_way(variant_of(entry), place)
                self.add(variant_of(entry), StoredEntry(place, entry))
            case Refreshed(place, entry):
                found = self._by_place.get(place)
                if found is not None:
                    self._give_way(variant_of(entry), place)
                    whole = evolve(entry, body=found.cached.entry.body)
                    self.add(variant_of(entry), StoredEntry(place, whole))

    def _give_way(self, variant: bytes, place: int) -> None:
        for other, found in list(self._by_place.items()):
            if found.variant == variant and other != place:
                del self._by_place[other]

    def remove(self, places: Container[int]) -> None:
        for place in list(self._by_place):
            if place in places:
                del self._by_place[place]


@define(eq=False)
class Pending:
    """Changes on their way to the file, in order."""

    _by_key: dict[bytes, list[Write]] = field(init=False, factory=dict)
    _removed: set[int] = field(init=False, factory=set)

    def concerns(self, key: bytes, found: Sequence[StoredEntry]) -> bool:
        """Whether what was found for a key is about to change."""
        if key in self._by_key:
            return True
        return bool(self._removed) and any(one.place in self._removed for one in found)

    def add(self, write: Write) -> None:
        change = write.change
        if isinstance(change, Removed):
            self._removed.add(change.place)
        else:
            self._by_key.setdefault(change.entry.key, []).append(write)

    def discard(self, write: Write) -> None:
        change = write.change
        if isinstance(change, Removed):
            self._removed.discard(change.place)
            return
        writes = self._by_key[change.entry.key]
        writes.remove(write)
        if not writes:
            del self._by_key[change.entry.key]

    def unreadable(self, key: bytes) -> Write | None:
        """The last change of a key whose body is in a file that may be removed."""
        for write in reversed(self._by_key.get(key, ())):
            if isinstance(write.change, Put) and write.change.entry.body.file is not None:
                return write
        return None

    def apply(self, key: bytes, variants: Variants) -> None:
        """Change the variants to what they will be in the file."""
        for write in self._by_key.get(key, ()):
            change = write.change
            if not isinstance(change, Removed):
                variants.apply(change)
        variants.remove(self._removed)
