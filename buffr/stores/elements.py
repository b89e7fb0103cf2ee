"""The interactions that a store holds in memory as raw slices, and the index over them.

Bytes, integers and arrays: the garbage collector passes over what is held
here, however much it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from attrs import Factory, define, field

from buffr.interaction import RecordedRequest
from buffr.matching.key import MatchKey
from buffr.stores.base import Found
from buffr.stores.spans import Spans, Text

__all__ = ["DigestOf", "Elements", "Index"]

DigestOf = Callable[[RecordedRequest], bytes]
"""The match key's digest of a stored request. Called on any thread."""


@define
class Index:
    """Where the whole interactions of each digest stand, in recorded order."""

    digest_of: DigestOf
    _places: dict[bytes, int | array[int]] = field(init=False, factory=dict)

    def add(self, request: RecordedRequest, place: int) -> None:
        digest = self.digest_of(request)
        places = self._places.get(digest)
        if places is None:
            self._places[digest] = place
        elif isinstance(places, int):
            self._places[digest] = array("q", (places, place))
        else:
            places.append(place)

    def find(self, keys: Sequence[MatchKey]) -> Found | None:
        """The places of the first key that has any."""
        for key in keys:
            places = self._places.get(key.digest)
            if places is not None:
                return Found(key.digest, (places,) if isinstance(places, int) else places)
        return None

    def all(self) -> Iterator[Found]:
        """The places of every key."""
        for digest, places in self._places.items():
            yield Found(digest, (places,) if isinstance(places, int) else places)


@define
class Elements:
    """Slices of texts by place. Places count on from ``first_place``, without gaps."""

    first_place: int
    _texts: list[Text] = Factory(list)
    _text_of: array[int] = Factory(lambda: array("L"))
    _spans: Spans = Factory(Spans)

    @property
    def next_place(self) -> int:
        return self.first_place + len(self._spans)

    def add(self, text: Text, spans: Spans) -> None:
        self._text_of.extend(array("L", (len(self._texts),)) * len(spans))
        self._texts.append(text)
        self._spans.extend(spans)

    def slice(self, place: int) -> memoryview | None:
        """The element at a place; ``None`` for one of an earlier reading."""
        at = place - self.first_place
        if not 0 <= at < len(self._spans):
            return None
        start, end = self._spans[at]
        return memoryview(self._texts[self._text_of[at]])[start:end]

    def give_up(self) -> list[Text]:
        """The texts, for whoever frees them; no element can be had any more."""
        texts, self._texts, self._spans = self._texts, [], Spans()
        return texts
