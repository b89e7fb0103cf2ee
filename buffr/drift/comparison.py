"""Compares what was recorded with what came live: structure first, values second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from attrs import frozen

from buffr.drift.documents import (
    JSON,
    Document,
    Messages,
    Opaque,
    Text,
    document_of,
    frames_of,
)
from buffr.drift.finding import Finding, Place, Severity, excerpt
from buffr.drift.noise import is_habitual
from buffr.drift.structure import changed_values, compare, structure_of, text_of
from buffr.interaction import HTTPInteraction, Interaction, WebSocketInteraction
from buffr.message import Headers, media_type

__all__ = ["HEADERS", "Comparison"]

MOST = 200
"""Findings beyond these are left out."""

HEADERS = frozenset(
    [
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "allow",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "deprecation",
        "etag",
        "last-modified",
        "link",
        "location",
        "retry-after",
        "sec-websocket-protocol",
        "sunset",
        "vary",
        "www-authenticate",
    ]
)
"""The header fields that count, besides ``Content-Type`` and the names of cookies."""

_NEEDED = frozenset(
    [
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "content-disposition",
        "etag",
        "link",
        "location",
        "sec-websocket-protocol",
        "www-authenticate",
    ]
)
"""Those without which clients fail."""

_NAMELESS_VALUES = frozenset(("etag", "last-modified", "retry-after"))
"""Their values say nothing about an API."""


def _never(_old: str, _new: str) -> bool:
    return False


@frozen(eq=False)
class Comparison:
    """How answers are compared.

    ``headers`` are the names that count, in lower case. ``is_known`` says of a
    recorded and a live value whether the one takes the other's place. Without
    ``habits``, identifiers and times that differ are findings, too.
    """

    headers: frozenset[str] = HEADERS
    is_known: Callable[[str, str], bool] = _never
    habits: bool = True

    def of(self, old: Interaction, new: Interaction) -> tuple[Finding, ...]:
        """The differences between a recorded and a live answer, up to ``MOST``.

        Raises ``CassetteError`` if a body's file cannot be read.
        """
        found = []
        for finding in self._all(old, new):
            found.append(finding)
            if len(found) == MOST:
                break
        return tuple(found)

    def _all(self, old: Interaction, new: Interaction) -> Iterator[Finding]:
        was_session = isinstance(old, WebSocketInteraction)
        if was_session is not isinstance(new, WebSocketInteraction):
            yield self._status(old, new)
            return
        if isinstance(old, WebSocketInteraction) and isinstance(new, WebSocketInteraction):
            yield from self._fields(old.response.headers, new.response.headers, "header")
            yield from self._messages(frames_of(old), frames_of(new))
            return
        assert isinstance(old, HTTPInteraction)
        assert isinstance(new, HTTPInteraction)
        if old.response.status != new.response.status:
            yield self._status(old, new)
            if _class(old) != _class(new):
                return  # the rest is that of another answer
        before, after = old.response.headers, new.response.headers
        yield from _content_type(before, after)
        yield from self._fields(before, after, "header")
        yield from self._bodies(old, new)
        yield from _trailers(old.trailers, new.trailers)

    def _bodies(self, old: HTTPInteraction, new: HTTPInteraction) -> Iterator[Finding]:
        before, after = old.response.headers, new.response.headers
        is_same = old.body.file is None and old.body == new.body
        if is_same or media_type(before) != media_type(after) or old.request.method == b"HEAD":
            return
        yield from self._documents(document_of(old.body, before), document_of(new.body, after))

    @staticmethod
    def _status(old: Interaction, new: Interaction) -> Finding:
        severity = Severity.VALUE if _class(old) == _class(new) else Severity.BREAKING
        statuses = str(old.response.status), str(new.response.status)
        return Finding(severity, "status", (), "changed", *statuses)

    def _fields(self, old: Headers, new: Headers, word: str) -> Iterator[Finding]:
        before, after = _by_name(old), _by_name(new)
        for name in sorted(self.headers & (before.keys() | after.keys())):
            part = f"{word} {name}"
            was, is_now = before.get(name), after.get(name)
            if is_now is None:
                needed = name in _NEEDED or name not in HEADERS
                severity = Severity.BREAKING if needed else Severity.VALUE
                yield Finding(severity, part, (), "is gone", recorded=excerpt(was or ""))
            elif was is None:
                yield Finding(Severity.ADDITION, part, (), "is new", live=excerpt(is_now))
            elif was != is_now and name not in _NAMELESS_VALUES:
                yield from self._value(part, (), was, is_now)
        cookies, others = _cookies(old), _cookies(new)
        for name in [one for one in cookies if one not in others]:
            yield Finding(Severity.BREAKING, f"cookie {name}", (), "is gone")
        for name in [one for one in others if one not in cookies]:
            yield Finding(Severity.ADDITION, f"cookie {name}", (), "is new")

    def _value(self, part: str, place: Place, old: object, new: object) -> Iterator[Finding]:
        name = next((one for one in reversed(place) if isinstance(one, str)), "")
        if self.habits and is_habitual(name, old, new, self.is_known):
            return
        texts = excerpt(text_of(old)), excerpt(text_of(new))
        yield Finding(Severity.VALUE, part, place, "differs", *texts)

    def _documents(self, old: Document, new: Document) -> Iterator[Finding]:
        match old, new:
            case JSON(was), JSON(is_now):
                yield from self._json("body", [was], [is_now])
            case Messages(), Messages():
                yield from self._messages(old, new)
            case Text(was), Text(is_now):
                if was != is_now:
                    yield from self._value("body", (), was, is_now)
            case Opaque(), Opaque():
                if old != new:
                    sizes = f"{old.size_bytes} bytes", f"{new.size_bytes} bytes"
                    yield Finding(Severity.VALUE, "body", (), "differs", *sizes)
            case _:
                words = _word(old), _word(new)
                yield Finding(Severity.BREAKING, "body", (), "type changed", *words)

    def _json(self, part: str, old: list[object], new: list[object]) -> Iterator[Finding]:
        """Documents of one kind: their common structure, and their values if they are as many."""
        told: set[Place] = set()
        for finding in compare(structure_of(old), structure_of(new), part):
            told.add(finding.place)
            yield finding
        if len(old) != len(new):
            return
        for was, is_now in zip(old, new, strict=True):
            for place, one, other in changed_values(was, is_now):
                if any(place[:length] in told for length in range(len(place) + 1)):
                    continue
                for finding in self._value(part, place, one, other):
                    told.add(place)
                    yield finding

    def _messages(self, old: Messages, new: Messages) -> Iterator[Finding]:
        before, after = old.kinds, new.kinds
        noun = old.noun
        gone = [kind for kind in before if kind not in after]
        come = [kind for kind in after if kind not in before]
        for kind in gone:
            yield Finding(Severity.BREAKING, f"{noun} {kind}", (), "is gone")
        for kind in come:
            yield Finding(Severity.ADDITION, f"{noun} {kind}", (), "is new")
        order = [kind for kind in before if kind in after]
        now = [kind for kind in after if kind in before]
        if order != now:
            orders = excerpt(", ".join(order)), excerpt(", ".join(now))
            yield Finding(Severity.BREAKING, f"{noun}s", (), "come in another order", *orders)
        if len(old.all) != len(new.all) and not gone and not come:
            counts = str(len(old.all)), str(len(new.all))
            yield Finding(Severity.VALUE, f"{noun}s", (), "are more or fewer", *counts)
        for kind in order:
            yield from self._json(f"{noun} {kind}", before[kind], after[kind])


def _class(interaction: Interaction) -> int:
    return interaction.response.status // 100


def _word(document: Document) -> str:
    match document:
        case JSON():
            return "JSON"
        case Messages():
            return f"{document.noun}s"
        case Text():
            return "text"
        case Opaque():
            return "bytes"
        case other:
            assert_never(other)


def _content_type(old: Headers, new: Headers) -> Iterator[Finding]:
    types = media_type(old).decode("latin-1"), media_type(new).decode("latin-1")
    if types[0] != types[1]:
        severity = Severity.BREAKING if types[0] else Severity.ADDITION
        words = [excerpt(one) or "none" for one in types]
        yield Finding(severity, "media type", (), "changed", *words)
        return
    fields = [dict.get(_by_name(one), "content-type", "") for one in (old, new)]
    if fields[0].lower().replace(" ", "") != fields[1].lower().replace(" ", ""):
        yield Finding(Severity.VALUE, "header content-type", (), "differs", *map(excerpt, fields))


def _by_name(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        lower, text = name.lower().decode("latin-1"), value.decode("latin-1")
        found[lower] = f"{found[lower]}, {text}" if lower in found else text
    return found


def _cookies(headers: Headers) -> list[str]:
    """The names of the cookies that an answer sets, in order."""
    names = [
        value.partition(b"=")[0].strip().decode("latin-1")
        for name, value in headers
        if name.lower() == b"set-cookie"
    ]
    return list(dict.fromkeys(names))


def _trailers(old: Headers, new: Headers) -> Iterator[Finding]:
    before, after = _by_name(old), _by_name(new)
    for name in _missing(before, after):
        yield Finding(Severity.BREAKING, f"trailer {name}", (), "is gone")
    for name in _missing(after, before):
        yield Finding(Severity.ADDITION, f"trailer {name}", (), "is new")


def _missing(names: Iterable[str], others: Iterable[str]) -> list[str]:
    there = set(others)
    return [name for name in names if name not in there]
