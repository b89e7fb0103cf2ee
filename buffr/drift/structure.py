"""The structure of JSON documents, compared: members, types, nullability, and known values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec
from attrs import define, field

from buffr.drift.finding import ANY, Finding, Place, Severity, excerpt
from buffr.matching.noise import whole_noise

__all__ = ["Structure", "changed_values", "compare", "structure_of", "text_of"]

_DEEPEST = 100
_MOST_VALUES = 32
_WORD = re.compile(r"[A-Za-z][A-Za-z_.:/-]{0,39}")
_ENUM_NAME = re.compile(
    r"(?:^|_)(?:status|state|type|kind|object|role|level|category|phase|mode|reason|currency|unit)$"
)
_CAMEL = re.compile("(?<=[a-z0-9])(?=[A-Z])")
_DIGITS = re.compile(r"-?[0-9]+")

_NULL, _OBJECT, _ARRAY, _STRING = "null", "object", "array", "string"


@define(eq=False)
class Structure:
    """What one or several values at one place have in common.

    ``seen`` counts the values, ``objects`` those that are objects, and
    ``members`` says how each of their members looks. ``elements`` is that of
    all elements of arrays, and of all members of objects that are maps: those
    whose names are identifiers. ``values`` are the strings, while there are few.
    """

    seen: int = 0
    objects: int = 0
    kinds: set[str] = field(factory=set)
    members: dict[str, Structure] = field(factory=dict)
    elements: Structure | None = None
    values: set[str] | None = field(factory=set)

    def add(self, value: object, depth: int = 0) -> None:
        """Take one more value."""
        self.seen += 1
        kind = _kind(value)
        self.kinds.add(kind)
        if depth >= _DEEPEST:
            return
        if isinstance(value, dict):
            if _is_map(value):
                self._add_elements(value.values(), depth)
                return
            self.objects += 1
            for name, inner in value.items():
                member = self.members.get(name)
                if member is None:
                    member = self.members[name] = Structure()
                member.add(inner, depth + 1)
        elif isinstance(value, list):
            self._add_elements(value, depth)
        elif kind == _STRING and self.values is not None:
            self.values.add(str(value))
            if len(self.values) > _MOST_VALUES:
                self.values = None

    def _add_elements(self, values: Iterable[object], depth: int) -> None:
        for each in values:
            if self.elements is None:
                self.elements = Structure()
            self.elements.add(each, depth + 1)

    @property
    def types(self) -> set[str]:
        """The kinds other than ``null``."""
        return self.kinds - {_NULL}

    def has_every(self, member: Structure) -> bool:
        """Whether every object has this member."""
        return member.seen == self.objects


def structure_of(documents: Iterable[object]) -> Structure:
    """The common structure of some documents."""
    made = Structure()
    for document in documents:
        made.add(document)
    return made


def _kind(value: object) -> str:
    match value:
        case None:
            return _NULL
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return _STRING
        case list():
            return _ARRAY
    return _OBJECT


def _is_map(value: dict[str, object]) -> bool:
    """Whether the names of members are identifiers, not a schema's."""
    return bool(value) and all(_is_identifier(name) for name in value)


def _is_identifier(name: str) -> bool:
    return _DIGITS.fullmatch(name) is not None or whole_noise(name) is not None


def compare(old: Structure, new: Structure, part: str, place: Place = ()) -> Iterator[Finding]:
    """The differences in structure, from the outside in."""
    if old.types and new.types and not new.types <= old.types:
        types = _listed(old.types), _listed(new.types)
        yield Finding(Severity.BREAKING, part, place, "type changed", *types)
        return
    if _NULL in new.kinds and _NULL not in old.kinds:
        what = "may be null" if new.types else "is null"
        yield Finding(Severity.BREAKING, part, place, what, _listed(old.types), _NULL)
    elif new.types and not old.types:
        yield Finding(Severity.VALUE, part, place, "is no longer null", _NULL, _listed(new.types))
    if old.objects and new.objects:
        yield from _compare_members(old, new, part, place)
    if old.elements is not None and new.elements is not None:
        yield from compare(old.elements, new.elements, part, (*place, ANY))
    if _STRING in old.kinds and _STRING in new.kinds:
        yield from _compare_known(old, new, part, place)


def _compare_members(old: Structure, new: Structure, part: str, place: Place) -> Iterator[Finding]:
    for name in {**old.members, **new.members}:
        inner = (*place, name)
        before, after = old.members.get(name), new.members.get(name)
        if before is None:
            assert after is not None
            yield Finding(Severity.ADDITION, part, inner, "is new", live=_listed(after.kinds))
        elif after is None:
            if old.has_every(before):
                yield Finding(
                    Severity.BREAKING, part, inner, "is gone", recorded=_listed(before.kinds)
                )
            else:
                yield Finding(Severity.VALUE, part, inner, "is gone; it was not always there")
        else:
            if old.has_every(before) and not new.has_every(after):
                yield Finding(Severity.BREAKING, part, inner, "is not always there any more")
            yield from compare(before, after, part, inner)


def _compare_known(old: Structure, new: Structure, part: str, place: Place) -> Iterator[Finding]:
    """New values of what seems to be an enumeration."""
    known, values = old.values, new.values
    if known is None or values is None or not _enumerates(old, place):
        return
    for value in sorted(values - known):
        if _is_word(value):
            live = excerpt(text_of(value))
            yield Finding(Severity.ADDITION, part, place, "has a new value", live=live)


def _enumerates(old: Structure, place: Place) -> bool:
    values = old.values or set()
    if not all(map(_is_word, values)):
        return False
    name = next((one for one in reversed(place) if isinstance(one, str)), "")
    named = _ENUM_NAME.search(_CAMEL.sub("_", name).lower()) is not None
    return named or (old.seen >= 4 and 2 * len(values) <= old.seen)


def _is_word(value: str) -> bool:
    return _WORD.fullmatch(value) is not None


def _listed(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))


def changed_values(
    old: object, new: object, place: Place = ()
) -> Iterator[tuple[Place, object, object]]:
    """Places at which both documents have a value, and these differ; elements are paired by place.

    Arrays of different lengths are yielded as a whole.
    """
    if len(place) > _DEEPEST:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        mapped = _is_map(old) and _is_map(new)
        for name in [one for one in old if one in new]:
            step = ANY if mapped else name
            yield from changed_values(old[name], new[name], (*place, step))
        if mapped and len(old) != len(new):
            yield place, old, new
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield place, old, new
            return
        pairs = zip(old, new, strict=True)
        yield from chain.from_iterable(changed_values(*pair, (*place, ANY)) for pair in pairs)
    elif _kind(old) == _kind(new) and old != new:
        yield place, old, new


def text_of(value: object) -> str:
    """A value as JSON; of an array or object only how many it holds."""
    if isinstance(value, dict | list):
        noun = "member" if isinstance(value, dict) else "element"
        return f"{len(value)} {noun}{'' if len(value) == 1 else 's'}"
    return msgspec.json.encode(value).decode()
