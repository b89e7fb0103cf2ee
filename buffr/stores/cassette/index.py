"""The index from match keys to the places of interactions.

Bytes, integers and arrays: the garbage collector ignores them, however many
there are.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field, frozen

from buffr.formats.codings import GZIP_START
from buffr.interaction import IndexEntry, RecordedRequest
from buffr.matching.key import MatchKey, RecordedKey, Variant, recording_name
from buffr.matching.rough import Rough
from buffr.message import first_value
from buffr.stores.base import Matches
from buffr.stores.cassette.body_files import INLINE_BYTES
from buffr.stores.cassette.waiting import Waiting

__all__ = ["Filing", "Index", "KeyOf", "LateIndex", "RoughOf", "always_exact"]

KeyOf = Callable[[IndexEntry], RecordedKey]
"""Computes the key of an interaction. Called on any thread."""

RoughOf = Callable[[RecordedRequest], Rough | None]
"""Computes its rough key; ``None`` if that does not do. Called on any thread."""

_SMALLEST_CODED = 1024
"""Below this size DEFLATE expands to less than a megabyte; other codings have no such bound."""
_DEFLATED = frozenset((b"gzip", b"x-gzip", b"deflate", b"identity"))
_VARIANT_BITS = 32
_VARIANT_MASK = (1 << _VARIANT_BITS) - 1


class _Group:
    """Several places of one key and variant."""

    __slots__ = ("places", "variant")

    def __init__(self, variant: int, places: array[int]) -> None:
        self.variant = variant
        self.places = places


def always_exact(_: RecordedRequest) -> None:
    """Every key is computed at once."""


@frozen(eq=False)
class Filing:
    """How interactions are filed: by their keys, and until those are computed by rough ones."""

    key_of: KeyOf
    rough_of: RoughOf = always_exact


@define
class Index:
    """The places of the whole interactions of each key, in recorded order, by variant.

    A key with one interaction, as most have, takes one integer: the place, and
    the number of its variant. ``waiting`` are those whose keys were put off:
    whoever looks something up files those first that may match, by ``settle``.
    """

    filing: Filing
    generation: object = field(init=False, factory=object)
    """Replaced whenever something was added that no lookup has counted with."""
    late: LateIndex = field(init=False)
    waiting: Waiting = field(init=False, factory=Waiting)
    _places: dict[bytes, int | _Group | list[_Group]] = field(init=False, factory=dict)
    _variants: list[Variant | None] = field(init=False, factory=list)
    _numbers: dict[bytes | None, int] = field(init=False, factory=dict)
    _loose: dict[bytes, tuple[bytes, tuple[bytes, ...]] | None] = field(init=False, factory=dict)
    _values: dict[bytes, bytes | None] = field(init=False, factory=dict)

    @late.default
    def _nothing_late(self) -> LateIndex:
        return LateIndex()

    def add(self, entry: IndexEntry, place: int, key: RecordedKey | None = None) -> None:
        """File an interaction, under its key if that was computed before."""
        self.add_key(self.filing.key_of(entry) if key is None else key, place)
        if _takes_long(entry.request):
            self.late.places.append(place)

    def put_off(self, entry: IndexEntry, place: int, size_bytes: int) -> None:
        """File an interaction that takes this many bytes to read, at once only if necessary."""
        request = entry.request
        rough = (
            None
            if request.body.size_bytes and _takes_long(request)
            else self.filing.rough_of(request)
        )
        if rough is None or not self.waiting.put(rough, place, size_bytes):
            self.add(entry, place)

    def settle(self, rough: Rough, keys: Sequence[RecordedKey]) -> None:
        """File those that wait under a rough key, given their keys; nothing if they are filed."""
        for key, place in zip(keys, self.waiting.take(rough), strict=False):
            self._file(key, place)

    def add_key(self, key: RecordedKey, place: int) -> None:
        self.generation = object()
        self._file(key, place)

    def _file(self, key: RecordedKey, place: int) -> None:
        number = self._number(key.variant)
        known = self._places.get(key.digest)
        if known is None:
            self._places[key.digest] = place << _VARIANT_BITS | number
        else:
            self._places[key.digest] = _with(known, number, place)
        if key.loose is not None:
            self._add_loose(key.loose, key)

    def _number(self, variant: Variant | None) -> int:
        name = None if variant is None else variant.name
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._variants)
            self._variants.append(variant)
        return number

    def _add_loose(self, loose: bytes, key: RecordedKey) -> None:
        names = tuple([name for name, _ in key.counted])
        for name, value in key.counted:
            if self._values.setdefault(name, value) != value:
                self._values[name] = None
        known = self._loose.setdefault(loose, (key.digest, names))
        if known is not None and known[0] != key.digest:
            self._loose[loose] = None

    def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        """The places of the first key that has any."""
        for key in keys:
            digest = key.digest
            known = self._places.get(digest)
            if known is not None:
                if type(known) is int:
                    variant = self._variants[known & _VARIANT_MASK]
                    name = digest if variant is None else digest + variant.name
                    return Matches(name, (known >> _VARIANT_BITS,), variant)
                return self._found(digest, known)
        return None

    def find_loose(self, keys: Sequence[MatchKey]) -> Matches | None:
        """The places of a loose key, if its values are the only ones of their names."""
        for key in keys if self._loose else ():
            known = self._loose.get(key.digest)
            if known is not None and all(self._values[name] for name in known[1]):
                return self._found(known[0], self._places[known[0]])
        return None

    def _found(self, digest: bytes, known: int | _Group | list[_Group]) -> Matches:
        if isinstance(known, int):
            known = _group(known)
        groups = known if isinstance(known, list) else (known,)
        first, *others = [
            Matches(recording_name(digest, variant), group.places, variant)
            for group in groups
            for variant in (self._variants[group.variant],)
        ]
        return Matches(first.name, first.places, first.variant, others)

    def all(self) -> Iterator[Matches]:
        """The places of every key and variant."""
        for digest, known in self._places.items():
            found = self._found(digest, known)
            yield found
            yield from found.others


class LateIndex:
    """Interactions filed by their bytes, and filed again once their body was read.

    ``places`` are those of all interactions whose request bodies take long to
    read.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self._index: Index | None = None

    def add(self, place: int, key: RecordedKey) -> None:
        if self._index is None:
            self._index = Index(Filing(_never))
        self._index.add_key(key, place)

    def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        return None if self._index is None else self._index.find(keys)


def _never(_: IndexEntry) -> RecordedKey:
    raise AssertionError("late interactions have their keys")


def _takes_long(request: RecordedRequest) -> bool:
    """Whether a body is long, or may decode to much."""
    size_bytes = request.body.size_bytes
    if size_bytes > INLINE_BYTES:
        return True
    coded = first_value(request.headers, b"content-encoding")
    if size_bytes <= _SMALLEST_CODED:
        return bool(size_bytes and coded and coded.lower() not in _DEFLATED)
    return bool(coded) or request.body.data.startswith(GZIP_START)


def _group(packed: int) -> _Group:
    return _Group(packed & _VARIANT_MASK, array("q", (packed >> _VARIANT_BITS,)))


def _with(known: int | _Group | list[_Group], variant: int, place: int) -> _Group | list[_Group]:
    """The entry of a key with one more place."""
    if isinstance(known, int):
        known = _group(known)
    groups = known if isinstance(known, list) else [known]
    for group in groups:
        if group.variant == variant:
            insort(group.places, place)
            break
    else:
        groups = known = [*groups, _Group(variant, array("q", (place,)))]
    if len(groups) > 1:
        groups.sort(key=_first_place)
    return known


def _first_place(group: _Group) -> int:
    return group.places[0]
