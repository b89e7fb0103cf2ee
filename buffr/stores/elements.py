"""The interactions that a store holds in memory as raw slices, and the index over them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from buffr.interaction import RecordedRequest
from buffr.matching.key import MatchKey
from buffr.stores.base import Found
from buffr.stores.cassette_layout import Spans, Text

__all__ = ["DigestOf", "Elements", "Index"]

DigestOf = Callable[[RecordedRequest], bytes]
"""The match key's digest of a stored request. Called on any thread."""


@define
class Index:
    """Where the whole interactions of each digest stand, in recorded order.

    Bytes, integers and arrays only: the garbage collector passes over them,
    however many there are.
    """

    digest_of: DigestOf
    places: dict[bytes, array[int]] = field(factory=dict)

    def add(self, request: RecordedRequest, place: int) -> None:
        digest = self.digest_of(request)
        places = self.places.get(digest)
        if places is None:
            self.places[digest] = array("q", (place,))
        else:
            places.append(place)

    def find(self, keys: Sequence[MatchKey]) -> Found | None:
        """The places of the first key that has any."""
        for key in keys:
            places = self.places.get(key.digest)
            if places is not None:
                return Found(key.digest, places)
        return None


@frozen
class _Text:
    first_place: int
    text: Text
    spans: Spans


class Elements:
    """Slices of texts by place. Places count on from ``first_place``, without gaps."""

    def __init__(self, first_place: int) -> None:
        self.first_place = self.next_place = first_place
        self._texts: list[_Text] = []
        self._firsts: list[int] = []

    def add(self, text: Text, spans: Spans) -> None:
        if len(spans):
            self._texts.append(_Text(self.next_place, text, spans))
            self._firsts.append(self.next_place)
            self.next_place += len(spans)

    def slice(self, place: int) -> memoryview | None:
        """The element at a place; ``None`` for one of an earlier reading."""
        if not self.first_place <= place < self.next_place:
            return None
        part = self._texts[bisect_right(self._firsts, place) - 1]
        at = place - part.first_place
        return memoryview(part.text)[part.spans.starts[at] : part.spans.ends[at]]
