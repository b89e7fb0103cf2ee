"""Recordings whose match keys have not been computed yet, by their rough keys.

Integers, mostly: the garbage collector ignores them, however many there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from attrs import define, field

from buffr.matching.rough import Rough, Sought

__all__ = ["Waiting"]

_REST_BITS = 32
_REST_MASK = (1 << _REST_BITS) - 1
_MOST = 16
_MOST_BYTES = 256 * 1024
"""What is read at once when one rough key is looked up: a few milliseconds' work."""

_Places: TypeAlias = "int | array[int]"


@define(eq=False)
class Waiting:
    """The places of recordings with each rough key, in recorded order.

    A head with one recording, as most have, takes one integer: the place, and
    the rest of the rough key.
    """

    _heads: dict[int, int | dict[int, _Places]] = field(init=False, factory=dict)

    def __bool__(self) -> bool:
        return bool(self._heads)

    def put(self, rough: Rough, place: int, size_bytes: int) -> bool:
        """Add a recording of about this size. False if there are too many with this rough key."""
        head, rest = rough
        known = self._heads.get(head)
        if known is None:
            if size_bytes > _MOST_BYTES:
                return False
            self._heads[head] = place << _REST_BITS | rest
            return True
        if isinstance(known, int):
            known = self._heads[head] = {known & _REST_MASK: known >> _REST_BITS}
        places = known.get(rest)
        count = 0 if places is None else 1 if isinstance(places, int) else len(places)
        if count == _MOST or (count + 1) * size_bytes > _MOST_BYTES:
            return False
        if places is None:
            known[rest] = place
        elif isinstance(places, int):
            known[rest] = array("q", (places, place))
        else:
            places.append(place)
        return True

    def places(self, rough: Rough) -> Sequence[int]:
        """The recordings with a rough key."""
        known = self._heads.get(rough.head)
        if isinstance(known, int):
            return (known >> _REST_BITS,) if known & _REST_MASK == rough.rest else ()
        return _as_sequence(known.get(rough.rest)) if known else ()

    def take(self, rough: Rough) -> Sequence[int]:
        """The same, and remove them."""
        found = self.places(rough)
        if found:
            known = self._heads[rough.head]
            if not isinstance(known, int):
                del known[rough.rest]
            if isinstance(known, int) or not known:
                del self._heads[rough.head]
        return found

    def sought(self, sought: Sought) -> Iterator[Rough]:
        """The rough keys of all recordings that may match."""
        if sought.head is None:
            for head in self._heads:
                yield from self._of_head(head)
        elif sought.rest is None:
            yield from self._of_head(sought.head)
        elif self.places(rough := Rough(sought.head, sought.rest)):
            yield rough

    def _of_head(self, head: int) -> Iterator[Rough]:
        known = self._heads.get(head)
        if isinstance(known, int):
            yield Rough(head, known & _REST_MASK)
        elif known is not None:
            for rest in known:
                yield Rough(head, rest)

    def __iter__(self) -> Iterator[int]:
        """All places, in no particular order."""
        for rough in self.sought(Sought(None, None)):
            yield from self.places(rough)


def _as_sequence(places: _Places | None) -> Sequence[int]:
    if places is None:
        return ()
    return (places,) if isinstance(places, int) else places
