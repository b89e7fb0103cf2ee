"""What differs between two requests, place by place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Final

from attrs import frozen
from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from buffr.matching.canonical_json import Digits, as_written
from buffr.matching.forms import field_name
from buffr.matching.key import MatchKey
from buffr.matching.messages import document_in

__all__ = ["ABSENT", "MOST", "Absent", "Change", "Place", "changes"]

MOST = 200
"""The search stops after this many changes."""

_LONGEST_NAME = 1024
_LARGEST_READ = 256 * 1024

_DOCUMENTS = frozenset(("body", "frame"))
_ORIGIN_PARTS = frozenset(("scheme", "host", "port"))


class Absent:
    """Stands for a value that is absent."""


ABSENT: Final = Absent()

Place = tuple[str | int, ...]
"""A place in a part: names and indices in JSON, a field's name; empty for the whole part."""


@frozen(eq=False)
class Change:
    """One place and its two values: Python objects for JSON, otherwise bytes.

    ``json`` says that the place is in a JSON document, otherwise it is a field
    of a query or form.
    """

    part: str
    place: Place
    recorded: object
    live: object
    json: bool = False

    @cached_property
    def name(self) -> tuple[object, ...] | None:
        """What distinguishes it from all others; ``None`` if that is long, or cannot be spelled."""
        try:
            old, new = _spelled(self.recorded), _spelled(self.live)
        except _UNSPELLABLE:
            return None
        if len(old or b"") + len(new or b"") > _LONGEST_NAME:
            return None
        return (self.part, self.json, self.place, old, new)


def changes(live: MatchKey, recorded: MatchKey) -> tuple[Change, ...]:
    """All changes, up to ``MOST``, in the order of the keys' parts.

    A part of the origin that one key lacks is not a change.
    """
    ours, theirs = dict(live.parts), dict(recorded.parts)
    found: list[Change] = []
    for part in {**ours, **theirs}:
        old, new = theirs.get(part), ours.get(part)
        if old == new or (part in _ORIGIN_PARTS and None in (old, new)):
            continue
        found += _in_part(part, old, new)
    return tuple(found[:MOST])


def _in_part(part: str, old: bytes | None, new: bytes | None) -> list[Change]:
    if old is None or new is None:
        return [Change(part, (), ABSENT if old is None else old, ABSENT if new is None else new)]
    found: list[Change] = []
    if part == "query":
        found = _in_fields(part, old.removeprefix(b"?"), new.removeprefix(b"?"))
    elif part in _DOCUMENTS and len(old) <= _LARGEST_READ and len(new) <= _LARGEST_READ:
        found = _in_body(part, document_in(old), document_in(new))
    return found or [Change(part, (), old, new)]


def _in_body(part: str, old: bytes, new: bytes) -> list[Change]:
    if old.startswith((b"{", b"[")) and new.startswith((b"{", b"[")):
        try:
            documents = _read(old), _read(new)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return []
        found: list[Change] = []
        _compare(part, (), *documents, found)
        return found
    if _looks_like_form(old) and _looks_like_form(new):
        return _in_fields(part, old, new)
    return []


_decode = Decoder(float_hook=Digits).decode
_SHORT_BYTES = 16384
_read_before = lru_cache(maxsize=32)(_decode)


def _read(text: bytes) -> object:
    """A document, which nobody changes. A request is compared with several recordings."""
    return _read_before(text) if len(text) <= _SHORT_BYTES else _decode(text)


_encode = Encoder(enc_hook=as_written).encode
_UNSPELLABLE = (OverflowError, UnicodeEncodeError)


def _spelled(value: object) -> bytes | None:
    if isinstance(value, bytes):
        return value
    return None if isinstance(value, Absent) else _encode(value)


def _compare(part: str, place: Place, old: object, new: object, found: list[Change]) -> None:
    if len(found) >= MOST:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            inner = (*place, name)
            _compare(part, inner, old.get(name, ABSENT), new.get(name, ABSENT), found)
    elif isinstance(old, list) and isinstance(new, list):
        if not _spelled_alike(old, new):
            found += _between_lists(part, place, old, new)[: MOST - len(found)]
    elif not _same(old, new):
        found.append(Change(part, place, old, new, json=True))


def _between_lists(
    part: str, place: Place, old: list[object], new: list[object]
) -> Sequence[Change]:
    """The changes between two lists. Requests that miss often have the same lists at the top."""
    if len(place) == 1:
        try:
            texts = _encode(old), _encode(new)
        except _UNSPELLABLE:
            texts = b"", b""
        if 0 < len(texts[0]) + len(texts[1]) <= _SHORT_BYTES:
            return _between_short_lists(part, place, *texts)
    return _compared_lists(part, place, old, new)


@lru_cache(maxsize=32)
def _between_short_lists(part: str, place: Place, old: bytes, new: bytes) -> Sequence[Change]:
    """The same for lists that are spelled as here: reading them gives equal ones."""
    return tuple(_compared_lists(part, place, _decode(old), _decode(new)))


def _compared_lists(part: str, place: Place, old: list[object], new: list[object]) -> list[Change]:
    found: list[Change] = []
    shorter = min(len(old), len(new))
    start = 0
    if len(old) != len(new):
        # Where elements were inserted or removed, those after them are still the same.
        while start < shorter and _alike(old[start], new[start]):
            start += 1
        end = 0
        while end < shorter - start and _alike(old[-1 - end], new[-1 - end]):
            end += 1
        old, new = old[: len(old) - end], new[: len(new) - end]
    for index in range(start, max(len(old), len(new))):
        value = old[index] if index < len(old) else ABSENT
        other = new[index] if index < len(new) else ABSENT
        if value is ABSENT or other is ABSENT or not _spelled_alike(value, other):
            _compare(part, (*place, index), value, other, found)
    return found


def _spelled_alike(old: object, new: object) -> bool:
    """Whether two values are certainly equal, found faster than member by member.

    Only Python considers true and 1 equal.
    """
    try:
        return old == new and _encode(old) == _encode(new)
    except _UNSPELLABLE:
        return False


def _alike(old: object, new: object) -> bool:
    if _spelled_alike(old, new):
        return True
    found: list[Change] = []
    _compare("", (), old, new, found)
    return not found


def _same(old: object, new: object) -> bool:
    if isinstance(old, Digits) and isinstance(new, Digits):
        return old.written == new.written
    return type(old) is type(new) and old == new


def _looks_like_form(body: bytes) -> bool:
    return b"=" in body and not any(mark in body for mark in (b" ", b"\n", b"\r", b"<", b'"'))


def _by_name(form: bytes) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for each in form.split(b"&") if form else ():
        fields.setdefault(field_name(each), []).append(each.partition(b"=")[2])
    return fields


def _in_fields(part: str, old: bytes, new: bytes) -> list[Change]:
    """Changed fields by name; none if only their order differs."""
    before, after = _by_name(old), _by_name(new)
    found: list[Change] = []
    for name in {**before, **after}:
        values, others = before.get(name, []), after.get(name, [])
        for index in range(max(len(values), len(others))):
            value, other = (
                each[index] if index < len(each) else ABSENT for each in (values, others)
            )
            if value != other:
                found.append(Change(part, (name.decode("utf-8", "replace"),), value, other))
    return found
